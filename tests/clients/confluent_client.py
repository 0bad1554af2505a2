"""confluent-kafka from PyPI: the newest librdkafka."""

from __future__ import annotations

import time

import confluent_kafka as ck

from client import Client, ClientError
from records import Stored

TIMEOUT_S = 60


class ConfluentClient(Client):
    name = "confluent-kafka"

    def produce(self, address, topic, records, *, partition=0, codec="none", acks="all",
                idempotent=False, options=None):  # fmt: skip
        producer = ck.Producer(
            {
                "bootstrap.servers": address,
                "compression.type": codec,
                "acks": acks,
                "enable.idempotence": idempotent,
                "linger.ms": 20,
                "message.timeout.ms": 30_000,
                **(options or {}),
            }
        )
        errors: list = []

        def delivered(error, _message):
            if error is not None:
                errors.append(error)

        for record in records:
            producer.produce(
                topic,
                value=record.value,
                key=record.key,
                partition=partition,
                headers=list(record.headers),
                timestamp=record.timestamp_ms or 0,
                on_delivery=delivered,
            )
            producer.poll(0)
        left = producer.flush(TIMEOUT_S)
        if errors or left:
            raise ClientError(f"{errors[0] if errors else f'{left} records not sent'}")

    def consume(self, address, topic, *, partition=0, offset=None, timestamp_ms=None):
        consumer = open_consumer(address)
        try:
            start = offset
            if start is None:
                start = _offset_of_time(consumer, topic, partition, timestamp_ms)
            _, end = consumer.get_watermark_offsets(ck.TopicPartition(topic, partition), TIMEOUT_S)
            if start >= end:
                return []
            consumer.assign([ck.TopicPartition(topic, partition, start)])
            return read_to(consumer, end)
        finally:
            consumer.close()


def open_consumer(address: str, **settings) -> ck.Consumer:
    return ck.Consumer(
        {
            "bootstrap.servers": address,
            "group.id": "not-used",
            "enable.auto.commit": False,
            "auto.offset.reset": "error",
            "check.crcs": True,
            **settings,
        }
    )


def read_to(consumer: ck.Consumer, end: int) -> list[Stored]:
    """Reads the one assigned partition up to the offset `end`, exclusive."""
    records: list[Stored] = []
    deadline = time.monotonic() + TIMEOUT_S
    while not records or records[-1].offset < end - 1:
        if time.monotonic() > deadline:
            raise ClientError(f"read {len(records)} records in {TIMEOUT_S} s, want up to {end}")
        for message in consumer.consume(10_000, 0.2):
            if message.error():
                raise ClientError(str(message.error()))
            records.append(stored(message))
    return records


def stored(message: ck.Message) -> Stored:
    return Stored(
        key=message.key(),
        value=message.value(),
        headers=tuple(message.headers() or ()),
        timestamp_ms=message.timestamp()[1],
        offset=message.offset(),
    )


def _offset_of_time(consumer, topic, partition, timestamp_ms) -> int:
    (found,) = consumer.offsets_for_times(
        [ck.TopicPartition(topic, partition, timestamp_ms)], TIMEOUT_S
    )
    if found.error:
        raise ClientError(str(found.error))
    if found.offset >= 0:
        return found.offset
    return consumer.get_watermark_offsets(ck.TopicPartition(topic, partition), TIMEOUT_S)[1]
