"""A member of a group with librdkafka, in a thread of its own: commits what it has handled after it has handled it,
and before partitions are taken away. Runs under confluent-kafka 1.7 (Debian's) and later."""

from __future__ import annotations

import collections
import threading
import time

import confluent_kafka as ck

TIMEOUT_S = 60
# The group has moved on to another generation.
MOVED_ON = {
    ck.KafkaError.ILLEGAL_GENERATION,
    ck.KafkaError.UNKNOWN_MEMBER_ID,
    ck.KafkaError.REBALANCE_IN_PROGRESS,
    ck.KafkaError.FENCED_INSTANCE_ID,
    *(getattr(ck.KafkaError, name) for name in ("STALE_MEMBER_EPOCH",) if hasattr(ck.KafkaError, name)),
}


class RdkafkaThread:
    """Appends what it reads to `handled`; `assigned` and `failure` are what they are now."""

    def __init__(self, settings: dict[str, str], topic: str, handled: list[str] | collections.deque[str]):
        self.handled = handled
        self.assigned: list[str] = []
        self.failure: Exception | None = None
        self._settings = {"auto.offset.reset": "earliest", "enable.auto.commit": False, "log_level": 0, **settings}
        self._topic = topic
        self._uncommitted: dict[tuple[str, int], int] = {}
        self._closing = False
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def close(self) -> None:
        """Leaves the group."""
        self._closing = True
        self._thread.join(TIMEOUT_S + 30)

    def _run(self) -> None:
        try:
            consumer = ck.Consumer(self._settings)
            consumer.subscribe([self._topic], on_revoke=self._on_revoke, on_lost=self._on_lost)
            while not self._closing:
                self._read_some(consumer)
            consumer.close()
        except Exception as failure:
            self.failure = failure

    def _read_some(self, consumer: ck.Consumer) -> None:
        for _ in range(100):
            message = consumer.poll(0 if self._uncommitted else 0.1)
            if message is None:
                break
            if message.error() is None:
                self.handled.append(message.value().decode())
                self._uncommitted[message.topic(), message.partition()] = message.offset() + 1
        self._commit(consumer, list(self._uncommitted))
        self.assigned = sorted(f"{p.topic}-{p.partition}" for p in consumer.assignment())

    def _on_revoke(self, consumer: ck.Consumer, revoked: list[ck.TopicPartition]) -> None:
        self._commit(consumer, [(p.topic, p.partition) for p in revoked])
        self._on_lost(consumer, revoked)

    def _on_lost(self, _consumer: ck.Consumer, lost: list[ck.TopicPartition]) -> None:
        for partition in lost:
            self._uncommitted.pop((partition.topic, partition.partition), None)

    def _commit(self, consumer: ck.Consumer, partitions: list[tuple[str, int]]) -> None:
        """Commits until it is done. Not while a rebalance goes on: the next call, or whoever has the partition then,
        has to."""
        until = time.monotonic() + TIMEOUT_S
        while offsets := [
            ck.TopicPartition(*partition, self._uncommitted[partition])
            for partition in partitions
            if partition in self._uncommitted
        ]:
            try:
                answered = consumer.commit(offsets=offsets, asynchronous=False)
                codes = {partition.error.code() for partition in answered if partition.error is not None}
                self._on_lost(consumer, [partition for partition in answered if partition.error is None])
            except ck.KafkaException as failure:
                codes = {failure.args[0].code()}
            if codes & MOVED_ON:
                return
            if time.monotonic() > until:
                raise TimeoutError(f"a commit was not taken: {codes}")
            time.sleep(0.05 if codes else 0)
