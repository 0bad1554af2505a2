"""What was acknowledged, and the comparison with what is stored."""

from __future__ import annotations

import dataclasses
import struct
import time
from array import array

import confluent_kafka as ck

HEAD = struct.Struct(">IQ")  # producer, its sequence number in the partition
READ_TIMEOUT_S = 120


@dataclasses.dataclass(frozen=True)
class TopicPlan:
    name: str
    partitions: int
    settings: dict[str, str]
    # Whether old records may go (retention, DeleteRecords), or all but the last of a key.
    forgets: bool = False
    compacts: bool = False


@dataclasses.dataclass
class Acknowledged:
    """One producer's acknowledged records in one partition, in the order of their acknowledgement."""

    sequences: array = dataclasses.field(default_factory=lambda: array("Q"))
    # Below 0 where the broker answered that the record was there already.
    offsets: array = dataclasses.field(default_factory=lambda: array("q"))


class Ledger:
    """Written by one producer's thread."""

    def __init__(self, producer: int):
        self.producer = producer
        self.sent: dict[tuple[str, int], int] = {}
        self.acknowledged: dict[tuple[str, int], Acknowledged] = {}
        self.failures: list[str] = []

    def next_sequence(self, topic: str, partition: int) -> int:
        sequence = self.sent.get((topic, partition), 0)
        self.sent[topic, partition] = sequence + 1
        return sequence

    def acknowledge(self, topic: str, partition: int, sequence: int, offset: int) -> None:
        seen = self.acknowledged.setdefault((topic, partition), Acknowledged())
        seen.sequences.append(sequence)
        seen.offsets.append(offset)

    def count(self) -> int:
        return sum(len(seen.sequences) for seen in list(self.acknowledged.values()))


@dataclasses.dataclass
class Verdict:
    records: int = 0
    lost: int = 0
    duplicated: int = 0
    out_of_order: int = 0
    # Acknowledged with an offset that another record has now.
    moved: int = 0
    examples: list[str] = dataclasses.field(default_factory=list)

    def example(self, text: str) -> None:
        if len(self.examples) < 20:
            self.examples.append(text)


class Stored:
    """What one partition holds: sequences by producer, in the order of the log, and their offsets."""

    def __init__(self, start: int):
        self.start = start
        self.sequences: dict[int, array] = {}
        self.offsets: dict[int, array] = {}

    def add(self, producer: int, sequence: int, offset: int) -> None:
        self.sequences.setdefault(producer, array("Q")).append(sequence)
        self.offsets.setdefault(producer, array("q")).append(offset)


def read_partition(address: str, topic: str, partition: int) -> Stored:
    """All records from the log's start to its end. Begins again where retention takes the start while it is read."""
    consumer = ck.Consumer(
        {"bootstrap.servers": address, "group.id": "reads-all", "enable.auto.commit": False, "check.crcs": True,
         "auto.offset.reset": "error", "enable.partition.eof": True}
    )  # fmt: skip
    deadline = time.monotonic() + READ_TIMEOUT_S
    try:
        while True:
            start, end = consumer.get_watermark_offsets(ck.TopicPartition(topic, partition), 60)
            try:
                return _read(consumer, topic, partition, start, end, deadline)
            except ck.KafkaException as failure:
                moved = consumer.get_watermark_offsets(ck.TopicPartition(topic, partition), 60)[0] > start
                if failure.args[0].code() != ck.KafkaError._AUTO_OFFSET_RESET or not moved:
                    raise AssertionError(f"reading {topic}-{partition}: {failure}") from None
    finally:
        consumer.close()


def _read(consumer: ck.Consumer, topic: str, partition: int, start: int, end: int, deadline: float) -> Stored:
    stored = Stored(start)
    if start == end:
        return stored
    consumer.assign([ck.TopicPartition(topic, partition, start)])
    while time.monotonic() < deadline:
        for message in consumer.consume(10_000, 0.5):
            if message.error() and message.error().code() == ck.KafkaError._PARTITION_EOF:
                return stored
            if message.error():
                raise ck.KafkaException(message.error())
            stored.add(*HEAD.unpack_from(message.value()), message.offset())
    raise AssertionError(f"{topic}-{partition} could not be read to offset {end} in {READ_TIMEOUT_S} s")


def compare(plan: TopicPlan, partition: int, stored: Stored, ledgers: list[Ledger], verdict: Verdict) -> None:
    for ledger in ledgers:
        acknowledged = ledger.acknowledged.get((plan.name, partition), Acknowledged())
        sequences = stored.sequences.get(ledger.producer, array("Q"))
        offsets = stored.offsets.get(ledger.producer, array("q"))
        where = f"{plan.name}-{partition}, producer {ledger.producer}"
        _check_order(where, sequences, verdict)
        position = dict(zip(sequences, offsets))
        if plan.compacts:
            _check_last_of_keys(where, acknowledged, position, verdict)
        else:
            _check_all(where, plan, acknowledged, position, stored.start, verdict)
    verdict.records += sum(map(len, stored.sequences.values()))


def _check_order(where: str, sequences: array, verdict: Verdict) -> None:
    seen_up_to = -1
    seen = set()
    for sequence in sequences:
        if sequence in seen:
            verdict.duplicated += 1
            verdict.example(f"{where}: sequence {sequence} is there twice")
        elif sequence < seen_up_to:
            verdict.out_of_order += 1
            verdict.example(f"{where}: sequence {sequence} stands behind {seen_up_to}")
        seen.add(sequence)
        seen_up_to = max(seen_up_to, sequence)


def _check_all(where, plan, acknowledged, position, start, verdict) -> None:
    first = min(position, default=None)
    for sequence, offset in zip(acknowledged.sequences, acknowledged.offsets):
        found = position.get(sequence)
        if found is None:
            # What the log has let go of: below its start, or before the first record that is left.
            let_go = offset < start if offset >= 0 else first is None or sequence < first
            if plan.forgets and let_go:
                continue
            verdict.lost += 1
            verdict.example(f"{where}: sequence {sequence}, acknowledged at offset {offset}, is lost")
        elif offset >= 0 and found != offset:
            verdict.moved += 1
            verdict.example(f"{where}: sequence {sequence} was acknowledged at {offset} and is at {found}")


def key_of(producer: int, sequence: int) -> bytes:
    """Many records to a key, for compaction."""
    return f"{producer}-{sequence % 50}".encode()


def _check_last_of_keys(where, acknowledged, position, verdict) -> None:
    last: dict[bytes, int] = {}
    for sequence in acknowledged.sequences:
        key = key_of(0, sequence)
        last[key] = max(last.get(key, 0), sequence)
    for sequence in last.values():
        if sequence not in position:
            verdict.lost += 1
            verdict.example(f"{where}: sequence {sequence}, the last of its key, is lost")
