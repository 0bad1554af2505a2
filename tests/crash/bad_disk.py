"""A disk whose syncs take for ever, and one whose syncs fail.

    tests/crash/bad_disk

While no sync ends, everything else must be answered: the disk is released only after it was, so that a broker that
waits fails here by a client's timeout. When a sync fails, the broker must end, say why, and have acknowledged nothing
since; what it had acknowledged before is there after the next start. The last line is "N passed, N failed".
"""

from __future__ import annotations

import pathlib
import shutil
import subprocess
import sys
import tempfile
import time

import confluent_kafka as ck
from confluent_kafka.admin import AdminClient, NewTopic

import wire
from broker import Broker

HERE = pathlib.Path(__file__).resolve().parent
SMALL_SEGMENTS = {"internal.segment.bytes": "3000"}
PARTITIONS = 8  # on all shards
BATCHES = 40  # of one request each: several segments' worth
WAIT_S = 20


class BadDisk:
    def __init__(self, place: pathlib.Path):
        shim = place / "faulty_sync.so"
        subprocess.run(["c++", "-shared", "-fPIC", "-o", shim, HERE / "faulty_sync.cc", "-ldl"], check=True)
        self.fault = place / "fault"
        self.broker = Broker(place / "broker")
        self.broker.environment = {"LD_PRELOAD": str(shim), "MILLRACE_SYNC_FAULT": str(self.fault)}
        self.passed = self.failed = 0

    def check(self, what: str, holds: bool, detail: object = "") -> None:
        self.passed, self.failed = (self.passed + 1, self.failed) if holds else (self.passed, self.failed + 1)
        print(f"{'ok    ' if holds else 'FAILED'} {what}{f': {detail}' if detail != '' else ''}", flush=True)

    def set_fault(self, what: str) -> None:
        written = self.fault.with_suffix(".new")
        written.write_text(what)
        written.rename(self.fault)

    def run(self) -> None:
        self.broker.start()
        admin = AdminClient({"bootstrap.servers": self.broker.address, "log_level": 0})
        made = [NewTopic("written", 1, 1, config=SMALL_SEGMENTS), NewTopic("read", PARTITIONS, 1)]
        for future in admin.create_topics(made).values():
            future.result(30)
        producer = ck.Producer({"bootstrap.servers": self.broker.address, "acks": "all"})
        for partition in range(PARTITIONS):
            for i in range(100):
                producer.produce("read", str(i), partition=partition)
        producer.flush(30)
        # Also makes the internal topic, for which a consumer would have to wait.
        self.check("all partitions are read", self.reads_all())
        self.slow_syncs()
        self.failing_sync()

    def slow_syncs(self) -> None:
        with wire.Connection(self.broker.port) as writer:
            self.set_fault("wait")
            for i in range(BATCHES):
                writer.send(wire.produce(i, "written", wire.Batch(records=wire.record(bytes(200))).encode()))
            time.sleep(0.2)
            self.check("while no sync ends, all partitions are read", self.reads_all())
            self.check("metadata are answered", self.answers(wire.metadata(1, ["read", "written"])))
            self.check("a fetch of the partition that is written is answered",
                       self.answers(wire.fetch(1, "written", max_wait_ms=10, min_bytes=1)))  # fmt: skip
            writer.socket.setblocking(False)
            try:
                early = writer.socket.recv(1, 0x02)  # MSG_PEEK
            except BlockingIOError:
                early = b""
            writer.socket.settimeout(WAIT_S)
            self.check("nothing is acknowledged meanwhile", early == b"")
            self.set_fault("")
            errors = {wire.produce_error(writer.read_reply()) for _ in range(BATCHES)}
            self.check("when syncs end again, everything is acknowledged", errors == {0}, errors)

    def answers(self, request: bytes) -> bool:
        with wire.Connection(self.broker.port) as connection:
            connection.send(request)
            try:
                return connection.read_reply() is not None
            except TimeoutError:
                return False

    def reads_all(self) -> bool:
        consumer = ck.Consumer({"bootstrap.servers": self.broker.address, "group.id": "r", "log_level": 0,
                                "enable.auto.commit": False})  # fmt: skip
        consumer.assign([ck.TopicPartition("read", p, 0) for p in range(PARTITIONS)])
        read = 0
        deadline = time.monotonic() + WAIT_S
        while read < 100 * PARTITIONS and time.monotonic() < deadline:
            read += sum(1 for m in consumer.consume(1000, 0.5) if not m.error())
        consumer.close()
        return read == 100 * PARTITIONS

    def failing_sync(self) -> None:
        self.set_fault("fail")
        with wire.Connection(self.broker.port) as writer:
            writer.send(wire.produce(1, "written", wire.Batch().encode()))
            reply = writer.read_reply()
        self.check("a record whose sync failed is not acknowledged", reply is None or wire.produce_error(reply) != 0)
        deadline = time.monotonic() + WAIT_S
        while self.broker.is_running() and time.monotonic() < deadline:
            time.sleep(0.05)
        self.check("the broker ends", not self.broker.is_running())
        said = self.broker.log_tail(1)
        self.check("and says why", "Syncing to disk failed, so this broker stops" in said, said)
        self.set_fault("")
        self.broker.kill()
        self.broker.start()
        self.check("what was acknowledged before is there", self.reads_all())
        consumer = ck.Consumer({"bootstrap.servers": self.broker.address, "group.id": "r"})
        _, end = consumer.get_watermark_offsets(ck.TopicPartition("written", 0), 30)
        consumer.close()
        # The batch that wasn't acknowledged may be there, whole.
        self.check("and nothing more than was sent", end in (BATCHES, BATCHES + 1), end)


def main() -> int:
    if sys.argv[1:]:
        print(__doc__)
        return 0
    place = pathlib.Path(tempfile.mkdtemp(prefix="millrace-bad-disk."))
    test = BadDisk(place)
    try:
        test.run()
    except (AssertionError, ck.KafkaException, OSError) as error:
        test.check("the test could be run to its end", False, f"{type(error).__name__} {error}")
    finally:
        test.set_fault("")
        test.broker.kill()
    if test.failed:
        print(test.broker.log_tail())
    shutil.rmtree(place)
    print(f"{test.passed} passed, {test.failed} failed")
    return 1 if test.failed else 0


if __name__ == "__main__":
    sys.exit(main())
