"""Compacted topics, compared with Apache Kafka: from the same input both keep the same records."""

from __future__ import annotations

import random
import time

import pytest
from confluent_kafka import TopicPartition
from conftest import Topics, open_client

from broker import IS_KAFKA, Broker
from client import ALL_CODECS
from confluent_client import ConfluentClient, open_consumer
from records import Record, Stored

SEED = 20261124
KEYS = 400
RECORDS_PER_PHASE = 2500
# Cleaning begins at once, and goes on until nothing is dirty.
CLEANER = {"log.cleaner.backoff.ms": "100", "log.cleaner.dedupe.buffer.size": "4194304"}
TOPIC = {
    "cleanup_policy": "compact",
    "segment_bytes": "1048576",
    "segment_ms": "600000",
    "min_cleanable_dirty_ratio": "0.0001",
    "retention_ms": "-1",
    "file_delete_delay_ms": "0",
}
CLEANED_TIMEOUT_S = 45
MINUTE_MS = 60_000


class Input:
    """Records with few keys, some of them tombstones, in phases that each have a codec."""

    def __init__(self, seed: int):
        self.random = random.Random(seed)
        self.clock_ms = int(time.time() * 1000) - 600 * MINUTE_MS

    def phase(self) -> list[Record]:
        made = []
        for _ in range(RECORDS_PER_PHASE):
            self.clock_ms += 1
            key = b"key-%d" % min(int(self.random.expovariate(1 / 80)), KEYS - 1)
            value = None if self.random.random() < 0.15 else self.random.randbytes(self.random.randrange(600))
            headers = (("n", b"%d" % self.random.randrange(9)),) if self.random.random() < 0.1 else ()
            made.append(Record(key, value, headers, self.clock_ms))
        return made

    def roller(self, number: int) -> Record:
        """Has a timestamp by which segment.ms has passed: the segment before it is closed."""
        self.clock_ms += 30 * MINUTE_MS
        return Record(b"roller-%d" % number, b"x", (), self.clock_ms)


def fill(broker: Broker, topic: str, phases: list[list[Record]], roller: Record) -> None:
    client = open_client(ConfluentClient)
    for i, phase in enumerate(phases):
        codec = ALL_CODECS[i % len(ALL_CODECS)]
        client.produce(broker.address, topic, phase, codec=codec, idempotent=i % 2 == 1)
    client.produce(broker.address, topic, [roller])


def cleaned(broker: Broker, topic: str, is_clean) -> list[Stored]:
    """What the topic has once is_clean(records) holds."""
    client = open_client(ConfluentClient)
    deadline = time.monotonic() + CLEANED_TIMEOUT_S
    while True:
        read = client.consume(broker.address, topic, offset=0)
        if is_clean(read):
            return read
        assert time.monotonic() < deadline, f"not compacted: {len(read)} records\n{broker.log_tail()}"
        time.sleep(0.3)


def each_key_once(read: list[Stored]) -> bool:
    return len({record.key for record in read}) == len(read)


def latest(sent: list[Record]) -> dict[bytes, tuple[int, Record]]:
    return {record.key: (offset, record) for offset, record in enumerate(sent)}


def check_latest(sent: list[Record], read: list[Stored], with_tombstones: bool) -> None:
    expected = {
        offset: record.content()
        for offset, record in latest(sent).values()
        if with_tombstones or record.value is not None
    }
    assert {record.offset: record.content() for record in read} == expected
    times = {offset: record.timestamp_ms for offset, record in enumerate(sent)}
    assert all(record.timestamp_ms == times[record.offset] for record in read)


@pytest.fixture
def both(tmp_path):
    """Millrace and Apache Kafka; only Kafka where that is what is tested."""
    brokers = [Broker(tmp_path / "kafka", CLEANER, is_kafka=True)]
    if not IS_KAFKA:
        brokers.append(Broker(tmp_path / "millrace", CLEANER, is_kafka=False))
    for broker in brokers:
        broker.start()
    yield brokers
    for broker in brokers:
        broker.kill()


@pytest.mark.java
def test_the_same_records_stay_as_in_kafka(both):
    """All codecs, idempotent and not; tombstones that stay, and ones that go."""
    source = Input(SEED)
    phases = [source.phase() for _ in range(2 * len(ALL_CODECS))]
    first, second = source.roller(1), source.roller(2)
    sent = [record for phase in phases for record in phase] + [first]
    results = []
    for broker in both:
        topics = Topics(broker)
        keeping = topics.create(**TOPIC, delete_retention_ms="86400000")
        dropping = topics.create(**TOPIC, delete_retention_ms="0")
        for topic in (keeping, dropping):
            fill(broker, topic, phases, first)
        kept = cleaned(broker, keeping, each_key_once)
        cleaned(broker, dropping, each_key_once)
        # A tombstone goes with the compaction after the one that has met it.
        fill(broker, dropping, [], second)
        dropped = cleaned(broker, dropping, lambda read: all(r.value is not None for r in read))
        results.append((kept, dropped))
        check_latest(sent, kept, with_tombstones=True)
        check_latest([*sent, second], dropped, with_tombstones=False)
    for other in results[1:]:
        assert other == results[0]
    tombstones = sum(r.value is None for r in results[0][0])
    print(
        f"seed {SEED}: of {len(sent)} records {len(results[0][0])} stay, {tombstones} of them tombstones; "
        f"{len(results[0][1])} once the tombstones have gone"
    )
    assert tombstones > 0


def segment_bytes(broker: Broker, topic: str) -> int:
    directories = (broker.directory / "data" / "topics").glob(f"{topic}-*")
    return sum(file.stat().st_size for directory in directories for file in directory.glob("*.log"))


@pytest.mark.skipif(IS_KAFKA, reason="looks into Millrace's data directory")
def test_committed_offsets_survive_compaction(own_broker):
    """The coordinator reads its compacted topic at the next start, and finds the last commit of each group."""
    settings = {**CLEANER, "offsets.topic.num.partitions": "1", "offsets.topic.segment.bytes": "1048576"}
    broker = own_broker({**settings, "log.segment.delete.delay.ms": "0"})
    topic = Topics(broker).create(partitions=4)
    committed = {}
    for group in ("one", "two"):
        consumer = open_consumer(broker.address, **{"group.id": group})
        consumer.committed([TopicPartition(topic, 0)], timeout=30)  # waits for the coordinator
        for round_number in range(250):
            offsets = [TopicPartition(topic, p, round_number * 10 + p, "m" * 4000) for p in range(4)]
            consumer.commit(offsets=offsets, asynchronous=False)
        committed[group] = [offset.offset for offset in offsets]
        consumer.close()
    deadline = time.monotonic() + CLEANED_TIMEOUT_S
    # Of 8 MB some 32 kB are kept, and the active segment.
    while (size := segment_bytes(broker, "__consumer_offsets")) > 1_200_000:
        assert time.monotonic() < deadline, f"not compacted: {size} bytes\n{broker.log_tail()}"
        time.sleep(0.2)
    for end in (broker.stop, broker.kill):
        end()
        broker.start()
        for group, offsets in committed.items():
            consumer = open_consumer(broker.address, **{"group.id": group})
            found = consumer.committed([TopicPartition(topic, p) for p in range(4)], timeout=30)
            assert [offset.offset for offset in found] == offsets
            consumer.close()
