"""A disk that becomes full and has space again: what clients see, what the log says, and that nothing is lost.

    tests/crash/disk_full [--keep]

On a small file system of its own (ext4 in a loop-mounted file, or a tmpfs): an idempotent producer writes until nothing
fits any more. Then: how produce requests are answered, reads, commits, new topics. Space comes back twice: by a file
that is removed, and by retention. In between the broker is killed and started on the full disk. At the end every
acknowledged record is accounted for. The last line is "N passed, N failed". Needs root; without it, it is skipped.
"""

from __future__ import annotations

import argparse
import pathlib
import shutil
import subprocess
import sys
import tempfile
import time

import confluent_kafka as ck
from confluent_kafka.admin import AdminClient, AlterConfigOpType, ConfigEntry, ConfigResource, NewTopic, ResourceType

import small_disk
import wire
from broker import BINARY, Broker
from ledger import TopicPlan, Verdict, compare, read_partition
from load import ProducerWorker

DISK_MIB = 400
ROOM_BYTES = 24 << 20
KAFKA_STORAGE_ERROR = 56
FULL_LINE = "The disk is full"
AGAIN_LINE = "The disk has space again"
FILLED = TopicPlan("filled", 2, {"internal.segment.bytes": "2000000", "file.delete.delay.ms": "0"})
QUIET = "quiet"
PROBE = "probe"
QUIET_COUNT = 1000
WAIT_S = 60
REFUSED_IN_A_ROW = 10
DONE = ("done", "TOPIC_ALREADY_EXISTS")


class DiskFull:
    def __init__(self, place: pathlib.Path):
        self.disk = small_disk.SmallDisk(place, DISK_MIB)
        self.broker = Broker(self.disk.directory / "broker", {"log.retention.check.interval.ms": "500"})
        # The broker's own output must not want space there.
        self.broker.log_path = place / "log"
        self.passed = self.failed = 0

    def check(self, what: str, holds: bool, detail: object = "") -> None:
        self.passed, self.failed = (self.passed + 1, self.failed) if holds else (self.passed, self.failed + 1)
        print(f"{'ok    ' if holds else 'FAILED'} {what}{f': {detail}' if detail != '' else ''}", flush=True)

    def run(self) -> None:
        print(f"{self.disk.kind}, {DISK_MIB} MiB")
        self.broker.start()
        self.prepare()
        self.producer = self.new_producer(1)
        self.producer.start()
        self.disk.fill_up_to(ROOM_BYTES)
        self.wait_until_full()
        self.look_around()
        lines = self.count_lines(FULL_LINE)
        self.check("the log says once that the disk is full", lines == 1, f"{lines} lines")
        self.disk.free_filler()
        self.wait_until_written("after a file was removed")
        self.wait_for("the log says once that it has space again", lambda: self.count_lines(AGAIN_LINE) == 1)
        self.start_on_a_full_disk()
        self.make_space_by_retention()
        self.account()

    def prepare(self) -> None:
        self.admin = AdminClient({"bootstrap.servers": self.broker.address, "log_level": 0})
        made = [NewTopic(FILLED.name, FILLED.partitions, 1, config=FILLED.settings), NewTopic(QUIET, 1, 1), NewTopic(PROBE, 1, 1)]
        for future in self.admin.create_topics(made).values():
            future.result(30)
        quiet = ck.Producer({"bootstrap.servers": self.broker.address})
        for i in range(QUIET_COUNT):
            quiet.produce(QUIET, (1).to_bytes(4, "big") + i.to_bytes(8, "big"))
        quiet.flush(30)
        self.commit(1)

    def new_producer(self, number: int) -> ProducerWorker:
        return ProducerWorker(self.broker.address, number, [FILLED], rate=20_000, codec="none", batch_bytes=100_000,
                              linger_ms=5, value_bytes=2000, seed=1)  # fmt: skip

    def produce_error(self) -> int:
        """The error of a tiny batch, sent without a client's retries."""
        with wire.Connection(self.broker.port) as connection:
            connection.send(wire.produce(1, PROBE, wire.Batch().encode()))
            return wire.produce_error(connection.read_reply())

    def wait_for(self, what: str, condition) -> None:
        deadline = time.monotonic() + WAIT_S
        while not (holds := condition()) and time.monotonic() < deadline:
            time.sleep(0.05)
        self.check(what, holds)

    def wait_until_full(self) -> None:
        """For good: a journal file that is being made takes the last space, and gives it back when it fits nowhere."""
        deadline = time.monotonic() + WAIT_S
        refused = 0
        while refused < REFUSED_IN_A_ROW and time.monotonic() < deadline:
            refused = refused + 1 if self.produce_error() else 0
            if self.disk.free_bytes() < 2_000_000:
                self.disk.take_the_rest()
            time.sleep(0.05)
        self.check("a batch of one small record is answered with KAFKA_STORAGE_ERROR",
                   self.produce_error() == KAFKA_STORAGE_ERROR, f"{self.producer.ledger.count()} acknowledged")  # fmt: skip

    def look_around(self) -> None:
        """Everything that isn't a write goes on; writes say what is wrong."""
        # More than is left of the last block of a file.
        said = subprocess.run([BINARY, "produce", PROBE, "-b", self.broker.address, "--timeout", "2s"],
                              input=b"x" * 50_000 + b"\n", capture_output=True)  # fmt: skip
        text = said.stderr.decode().strip()
        self.check("the command line says why", said.returncode != 0 and "No space left" in text, text)
        read = read_partition(self.broker.address, QUIET, 0)
        self.check("reads go on", sum(map(len, read.sequences.values())) == QUIET_COUNT)
        sound = sum(len(s) for p in range(FILLED.partitions)
                    for s in read_partition(self.broker.address, FILLED.name, p).sequences.values())  # fmt: skip
        self.check("what was acknowledged is read", sound >= self.producer.ledger.count(), f"{sound} records")
        print(f"       a commit: {self.commit(2)}")
        self.check("a new topic is refused", (answer := self.create("made-while-full")) == "KAFKA_STORAGE_ERROR", answer)
        self.check("the broker lives, and no send failed",
                   self.broker.is_running() and not self.producer.ledger.failures)  # fmt: skip
        self.exhaust_metadata()

    def exhaust_metadata(self) -> None:
        """Settings until none can be stored: the metadata store has some space of its own to use up."""
        answers = set()
        for i in range(400):
            pairs = ",".join(f"{n}:{i}" for n in range(3000))
            answers.add(self.alter(QUIET, "follower.replication.throttled.replicas", pairs))
            if answers == {"done", "KAFKA_STORAGE_ERROR"}:
                break
        self.check("a setting that can't be stored is refused, and nothing ends",
                   self.broker.is_running() and answers == {"done", "KAFKA_STORAGE_ERROR"}, answers)  # fmt: skip

    def alter(self, topic: str, name: str, value: str) -> str:
        change = ConfigEntry(name, value, incremental_operation=AlterConfigOpType.SET)
        resource = ConfigResource(ResourceType.TOPIC, topic, incremental_configs=[change])
        (altered,) = self.admin.incremental_alter_configs([resource]).values()
        try:
            altered.result(30)
            return "done"
        except ck.KafkaException as error:
            return error.args[0].name()

    def commit(self, offset: int) -> str:
        consumer = ck.Consumer({"bootstrap.servers": self.broker.address, "group.id": "g", "log_level": 0})
        try:
            consumer.commit(offsets=[ck.TopicPartition(QUIET, 0, offset)], asynchronous=False)
            return "done"
        except ck.KafkaException as error:
            return error.args[0].name()
        finally:
            consumer.close()

    def create(self, name: str, partitions: int = 1) -> str:
        (future,) = self.admin.create_topics([NewTopic(name, partitions, 1)], request_timeout=20).values()
        try:
            future.result(60)
            return "done"
        except ck.KafkaException as error:
            return error.args[0].name()

    def wait_until_written(self, when: str) -> None:
        before = self.producer.ledger.count()
        self.wait_for(f"{when}, the same producer goes on",
                      lambda: self.producer.ledger.count() > before and self.produce_error() == 0)  # fmt: skip
        # The producer may have filled what was free before the next check of retention: such errors are retriable.
        self.wait_for(f"{when}, topics are made", lambda: self.create(f"made {when}".replace(" ", "-")) in DONE)
        self.wait_for(f"{when}, offsets are committed", lambda: self.commit(3) == "done")

    def start_on_a_full_disk(self) -> None:
        self.disk.fill_up_to(ROOM_BYTES)
        self.wait_until_full()
        self.broker.kill()
        try:
            self.broker.start()
        except AssertionError as error:
            said = self.broker.log_tail(1)
            self.check("a start on a full disk says why it can't", "No space left" in said, said)
            self.disk.free_filler()
            self.broker.start()
            self.disk.fill_up_to(ROOM_BYTES)
            self.wait_until_full()
            return
        self.check("a start on a full disk serves", True)
        read = read_partition(self.broker.address, QUIET, 0)
        self.check("reads go on", sum(map(len, read.sequences.values())) >= QUIET_COUNT)

    def make_space_by_retention(self) -> None:
        answer = self.alter(FILLED.name, "retention.bytes", "3000000")
        self.check("retention can be lowered on a full disk", answer == "done", answer)
        self.wait_until_written("after retention made space")

    def account(self) -> None:
        self.producer.stop()
        self.producer.join(120)
        verdict = Verdict()
        forgetful = TopicPlan(FILLED.name, FILLED.partitions, {}, forgets=True)
        for partition in range(FILLED.partitions):
            stored = read_partition(self.broker.address, FILLED.name, partition)
            compare(forgetful, partition, stored, [self.producer.ledger], verdict)
        failures = self.producer.ledger.failures + ([self.producer.failure] if self.producer.failure else [])
        self.check("no send failed", not failures, failures[:3] or self.producer.ledger.count())
        wrong = (verdict.lost, verdict.duplicated, verdict.out_of_order, verdict.moved)
        self.check("nothing is lost, duplicated, out of order or moved", wrong == (0, 0, 0, 0), wrong)
        for line in verdict.examples[:5]:
            print(f"       {line}")

    def count_lines(self, text: str) -> int:
        return sum(text in line for line in self.broker.log_file.read_text(errors="replace").splitlines())


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--keep", action="store_true", help="keep the broker's log")
    arguments = parser.parse_args()
    if reason := small_disk.why_not():
        print(f"skipped: {reason}\n0 passed, 0 failed, 1 skipped")
        return 0
    place = pathlib.Path(tempfile.mkdtemp(prefix="millrace-disk-full."))
    test = DiskFull(place)
    try:
        test.run()
    except Exception as error:  # whatever it was, the disk must be unmounted and the log shown
        test.check("the test could be run to its end", False, error)
    finally:
        test.broker.kill()
        test.disk.unmount()
    print("\nWhat the broker's log said, but for recovery:")
    for line in test.broker.log_file.read_text(errors="replace").splitlines():
        if " error " in line or " warning " in line or AGAIN_LINE in line:
            print(f"  {line[:250]}")
    shutil.rmtree(place) if not arguments.keep else print(f"kept {place}")
    print(f"{test.passed} passed, {test.failed} failed")
    return 1 if test.failed else 0


if __name__ == "__main__":
    sys.exit(main())
