"""Time from process start to the first answered Metadata request, after SIGKILL, with much data stored.

    tests/crash/recovery_time [--gib 1 10] [--partitions 8] [--rounds 3] [--kafka]

For each size: fills a topic with 1 KiB records (`millrace bench produce`), kills the broker in the middle of more of
them, and times the next start; again in each round. --kafka does the same to Apache Kafka afterwards. The files go to
$TMPDIR and are removed. MILLRACE_BINARY is what is measured.
"""

from __future__ import annotations

import argparse
import os
import pathlib
import shutil
import statistics
import subprocess
import sys
import tempfile
import time

from broker import BINARY, IS_KAFKA, Broker
from start_time import launch_and_time

RECORD_BYTES = 1024
SPARE_BYTES = 4 << 30


def produce_command(broker: Broker, partitions: int, *limits: str) -> list[str]:
    return [BINARY, "bench", "produce", "filled", "-b", broker.address, "--create", str(partitions), "--size",
            str(RECORD_BYTES), "--batch-size", "500k", *limits]  # fmt: skip


def fill(broker: Broker, partitions: int, gib: float) -> None:
    count = int(gib * (1 << 30)) // RECORD_BYTES
    subprocess.run(produce_command(broker, partitions, "--count", str(count)), check=True,
                   stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)  # fmt: skip


def kill_under_load(broker: Broker, partitions: int) -> None:
    load = subprocess.Popen(produce_command(broker, partitions, "--duration", "60s", "--rate", "50000"),
                            stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)  # fmt: skip
    time.sleep(1.5)
    broker.kill()
    load.kill()
    load.wait()


def stored_bytes(directory: pathlib.Path) -> int:
    """What takes space on the disk: preallocated files count as a whole."""
    return sum(f.stat().st_blocks * 512 for f in directory.rglob("*") if f.is_file())


def measure(gib: float, partitions: int, rounds: int) -> None:
    directory = pathlib.Path(tempfile.mkdtemp(prefix="millrace-recovery."))
    broker = Broker(directory)
    try:
        broker.start()
        fill(broker, partitions, gib)
        times = []
        for _ in range(rounds):
            kill_under_load(broker, partitions)
            times.append(launch_and_time(broker))
        who = "Apache Kafka" if IS_KAFKA else "Millrace"
        print(f"{who:13} {gib:5g} GiB written, {stored_bytes(directory) / (1 << 30):5.2f} GiB on disk, "
              f"{partitions} partitions: {statistics.median(times) * 1000:7.0f} ms "
              f"({', '.join(f'{t * 1000:.0f}' for t in times)})", flush=True)  # fmt: skip
    finally:
        broker.kill()
        shutil.rmtree(directory)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--gib", type=float, nargs="+", default=[1, 10])
    parser.add_argument("--partitions", type=int, default=8)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--kafka", action="store_true", help="Apache Kafka, too")
    arguments = parser.parse_args()
    needed = max(arguments.gib) * 1.1 * (1 << 30) + SPARE_BYTES
    if shutil.disk_usage(tempfile.gettempdir()).free < needed:
        print(f"less than {needed / (1 << 30):.1f} GiB are free in {tempfile.gettempdir()}", file=sys.stderr)
        return 1
    for gib in arguments.gib:
        measure(gib, arguments.partitions, arguments.rounds)
    if arguments.kafka:
        again = [a for a in sys.argv[1:] if a != "--kafka"]
        return subprocess.run(
            [sys.executable, __file__, *again], env={**os.environ, "MILLRACE_TEST_TARGET": "kafka"}
        ).returncode
    return 0


if __name__ == "__main__":
    sys.exit(main())
