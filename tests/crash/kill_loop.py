"""The crash test: kills the broker with SIGKILL, again and again, and accounts for every acknowledged record.

    tests/crash/kill_loop [--kills 50] [--seed N] [--rate 6000] [--keep]

Idempotent producers with acks=all (different batch sizes and codecs) write to topics with small segments, retention,
compaction and DeleteRecords; beside them others commit offsets, make and drop topics, and read. Most kills come under
this load, some while the broker starts or stops. At the end everything is read: acknowledged records that are lost,
duplicated, out of order or elsewhere, commits that went back, topics that are back or gone, deletions undone.

Prints each kill with the time from the next start to the first answered Metadata request; the last line is
"N passed, N failed", one for each kind of violation. MILLRACE_BINARY is what is killed.
"""

from __future__ import annotations

import argparse
import pathlib
import random
import shutil
import signal
import statistics
import sys
import tempfile
import time

from confluent_kafka.admin import AdminClient, NewTopic

import planted
from broker import Broker
from ledger import TopicPlan, Verdict, compare, read_partition
from load import CommitWorker, ProducerWorker, ReadWorker, TopicWorker, TrimWorker
from start_time import launch_and_time

SMALL = {"internal.segment.bytes": "300000", "index.interval.bytes": "1000"}
PLAIN = TopicPlan("plain", 3, {})
ROLLING = TopicPlan("rolling", 2, SMALL)
RETAINED = TopicPlan("retained", 2, {**SMALL, "retention.bytes": "1000000", "file.delete.delay.ms": "100"}, forgets=True)
TRIMMED = TopicPlan("trimmed", 2, {**SMALL, "file.delete.delay.ms": "0"}, forgets=True)
COMPACTED = TopicPlan(
    "compacted", 2, {**SMALL, "cleanup.policy": "compact", "min.cleanable.dirty.ratio": "0.01"}, compacts=True
)
PLANS = [PLAIN, ROLLING, RETAINED, TRIMMED, COMPACTED]
BROKER = {
    "log.retention.check.interval.ms": "300",
    "log.cleaner.backoff.ms": "200",
    "offsets.topic.num.partitions": "4",
    "log.scrub.interval.ms": "1000",
}
PRODUCERS = (
    {"codec": "none", "batch_bytes": 200_000, "linger_ms": 20, "value_bytes": 200},
    {"codec": "lz4", "batch_bytes": 16_384, "linger_ms": 5, "value_bytes": 300},
    {"codec": "zstd", "batch_bytes": 1_000, "linger_ms": 0, "value_bytes": 100},
    {"codec": "gzip", "batch_bytes": 50_000, "linger_ms": 10, "value_bytes": 2_000},
)
LOAD_TIMEOUT_S = 60


class KillLoop:
    def __init__(self, directory: pathlib.Path, kills: int, seed: int, rate: int):
        self.random = random.Random(seed)
        self.kills = kills
        self.broker = Broker(directory, BROKER)
        address = self.broker.address
        self.producers = [
            ProducerWorker(address, i, PLANS, rate=rate / len(PRODUCERS), seed=self.random.random(), **how)
            for i, how in enumerate(PRODUCERS)
        ]
        self.committers = [CommitWorker(address, i, PLAIN.name, i) for i in range(2)]
        self.trimmer = TrimWorker(address, TRIMMED)
        self.topics = TopicWorker(address, self.random.random())
        self.readers = [ReadWorker(address, i, plan) for i, plan in enumerate((PLAIN, ROLLING))]
        self.starts: list[float] = []
        self.counts = {"under load": 0, "during a start": 0, "during a stop": 0}

    @property
    def workers(self):
        return [*self.producers, *self.committers, self.trimmer, self.topics, *self.readers]

    def run(self) -> bool:
        self.start()
        self.make_topics()
        for worker in self.workers:
            worker.start()
        while sum(self.counts.values()) < self.kills:
            self.kill_once()
        time.sleep(1)
        for worker in self.workers:
            worker.stop()
        for worker in self.workers:
            worker.join(180)
        return self.account()

    def make_topics(self) -> None:
        admin = AdminClient({"bootstrap.servers": self.broker.address})
        made = admin.create_topics([NewTopic(p.name, p.partitions, 1, config=p.settings) for p in PLANS])
        for future in made.values():
            future.result(30)

    def start(self) -> float:
        self.starts.append(launch_and_time(self.broker))
        return self.starts[-1]

    def kill_once(self) -> None:
        how = self.random.choices(list(self.counts), weights=(14, 4, 2))[0]
        # Mostly when all are at work again; else in the middle of their retries.
        if self.random.random() < 0.8:
            self.wait_for_load()
        after = self.random.uniform(0.05, 1)
        time.sleep(after)
        if how == "during a stop":
            self.broker.signal(signal.SIGTERM)
            after = self.random.uniform(0, 0.2)
            time.sleep(after)
        self.broker.kill()
        if how == "during a start":
            # The kill just now only makes the start to come one that recovers.
            after = self.random.uniform(0, 1.3 * statistics.median(self.starts))
            self.broker.launch()
            time.sleep(after)
            self.broker.kill()
        self.counts[how] += 1
        acknowledged = sum(p.ledger.count() for p in self.producers)
        took = self.start()
        number = sum(self.counts.values())
        print(f"kill {number} {how} after {after * 1000:.0f} ms, {acknowledged} records acknowledged so far; "
              f"the next start answered after {took * 1000:.0f} ms", flush=True)  # fmt: skip

    def wait_for_load(self) -> None:
        """Until every producer has had something acknowledged."""
        before = [p.ledger.count() for p in self.producers]
        deadline = time.monotonic() + LOAD_TIMEOUT_S
        while any(p.ledger.count() == count for p, count in zip(self.producers, before)):
            if time.monotonic() > deadline:
                raise AssertionError(f"nothing is acknowledged for {LOAD_TIMEOUT_S} s")
            time.sleep(0.01)

    def account(self) -> bool:
        verdict = Verdict()
        ledgers = [p.ledger for p in self.producers]
        shown_and_gone = 0
        for plan in PLANS:
            for partition in range(plan.partitions):
                stored = read_partition(self.broker.address, plan.name, partition)
                compare(plan, partition, stored, ledgers, verdict)
                shown_and_gone += self._missing_of_readers(plan, partition, stored, verdict)
        for worker in (*self.committers, self.trimmer, self.topics):
            worker.look_at_the_end()
        return self.report(verdict, shown_and_gone)

    def _missing_of_readers(self, plan, partition, stored, verdict) -> int:
        missing = 0
        for reader in self.readers:
            if reader.plan is not plan:
                continue
            there = {o: (p, s) for p in stored.sequences for s, o in zip(stored.sequences[p], stored.offsets[p])}
            for (of, offset), record in reader.seen.items():
                if of == partition and there.get(offset) != record:
                    missing += 1
                    verdict.example(f"{plan.name}-{of} showed {record} at {offset}, and has {there.get(offset)}")
        return missing

    def report(self, verdict: Verdict, shown_and_gone: int) -> bool:
        failures = [f for p in self.producers for f in p.ledger.failures]
        failures += [w.failure for w in self.workers if w.failure]
        failures += [f"{w.name} didn't end" for w in self.workers if w.is_alive()]
        missed = planted.missed()
        behind = [b for c in self.committers for b in c.behind]
        checks = {
            "lost": verdict.lost,
            "duplicated": verdict.duplicated,
            "out of order": verdict.out_of_order,
            "acknowledged at another offset": verdict.moved,
            "shown to a consumer and gone": shown_and_gone,
            "sends and workers that failed": len(failures),
            "commits that went back": len(behind),
            "deletions undone": len(self.trimmer.undone),
            "topics wrongly there, gone or filled": len(self.topics.wrong),
            "planted faults that were missed": len(missed),
        }
        facts = {
            "kills": ", ".join(f"{count} {how}" for how, count in self.counts.items()),
            "records acknowledged": sum(p.ledger.count() for p in self.producers),
            "records read at the end": verdict.records,
            "records seen by readers": sum(len(r.seen) for r in self.readers),
            "commits acknowledged": sum(c.acknowledged for c in self.committers),
            "DeleteRecords acknowledged": self.trimmer.acknowledged,
            "topics made and dropped": self.topics.acknowledged,
        }
        print()
        for name, value in {**facts, **checks}.items():
            print(f"{name:38} {value}")
        starts = sorted(s * 1000 for s in self.starts[1:])
        print(f"{'start to the first Metadata answer':38} median {statistics.median(starts):.0f} ms, "
              f"longest {starts[-1]:.0f} ms")  # fmt: skip
        for line in [*verdict.examples, *missed, *failures[:20], *behind[:5], *self.trimmer.undone[:5], *self.topics.wrong[:5]]:
            print(f"  {line}")
        # A load that did nothing proves nothing.
        idle = [name for name, value in facts.items() if value == 0]
        for name in idle:
            print(f"  nothing happened: {name}")
        failed = sum(1 for count in checks.values() if count) + len(idle)
        print(f"{len(checks) + len(idle) - failed} passed, {failed} failed")
        return failed == 0


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--kills", type=int, default=50)
    parser.add_argument("--seed", type=int, default=None, help="of the moments and kinds of kills")
    parser.add_argument("--rate", type=int, default=6000, help="records a second, all producers together")
    parser.add_argument("--keep", action="store_true", help="keep the broker's directory")
    arguments = parser.parse_args()
    seed = random.randrange(1 << 31) if arguments.seed is None else arguments.seed
    directory = pathlib.Path(tempfile.mkdtemp(prefix="millrace-crash."))
    print(f"seed {seed}, {arguments.kills} kills, data in {directory}", flush=True)
    loop = KillLoop(directory, arguments.kills, seed, arguments.rate)
    passed = False
    try:
        passed = loop.run()
    except AssertionError as error:
        print(f"{error}\n0 passed, 1 failed")
    finally:
        loop.broker.kill()
        if not passed:
            print(f"seed {seed}; the end of the broker's log:\n{loop.broker.log_tail()}", file=sys.stderr)
        if arguments.keep or not passed:
            print(f"kept {directory}", file=sys.stderr)
        else:
            shutil.rmtree(directory)
    return 0 if passed else 1


if __name__ == "__main__":
    sys.exit(main())
