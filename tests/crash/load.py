"""What works against the broker while it is killed: producers, committers, whoever makes, drops and trims topics.

Each is a thread that goes on until its stop, over any number of restarts, and remembers what was acknowledged.
"""

from __future__ import annotations

import random
import threading
import time

import confluent_kafka as ck
from confluent_kafka.admin import AdminClient, NewTopic

from ledger import HEAD, Ledger, TopicPlan, key_of

# Short, so that the load is back soon after the broker is.
RECONNECT = {
    "reconnect.backoff.ms": 20, "reconnect.backoff.max.ms": 200, "retry.backoff.ms": 20, "retry.backoff.max.ms": 200,
    "log_level": 0,
}  # fmt: skip
ADMIN_TIMEOUT_S = 2


class Worker(threading.Thread):
    def __init__(self, address: str, name: str):
        super().__init__(name=name, daemon=True)
        self.address = address
        self.failure: str | None = None
        self._stopping = threading.Event()

    def run(self) -> None:
        try:
            self.work()
        except Exception as error:  # told by the main thread: a worker that died tests nothing
            self.failure = f"{self.name}: {type(error).__name__}: {error}"

    def work(self) -> None:
        raise NotImplementedError

    def pause(self, seconds: float) -> None:
        self._stopping.wait(seconds)

    @property
    def is_stopping(self) -> bool:
        return self._stopping.is_set()

    def stop(self) -> None:
        self._stopping.set()


class ProducerWorker(Worker):
    """An idempotent producer with acks=all; every record is sent until it is acknowledged."""

    FLUSH_S = 120

    def __init__(self, address, number, plans, *, rate, codec, batch_bytes, linger_ms, value_bytes, seed):
        super().__init__(address, f"producer {number}")
        self.ledger = Ledger(number)
        self._plans: list[TopicPlan] = plans
        self._rate = rate
        self._value_bytes = value_bytes
        self._random = random.Random(seed)
        self._settings = {
            "bootstrap.servers": address, "enable.idempotence": True, "acks": "all", "message.timeout.ms": 0,
            "compression.type": codec, "batch.size": batch_bytes, "linger.ms": linger_ms,
            "error_cb": self._heard, **RECONNECT,
        }  # fmt: skip

    def work(self) -> None:
        producer = ck.Producer(self._settings)
        began, sent = time.monotonic(), 0
        while not self.is_stopping:
            due = int((time.monotonic() - began) * self._rate) - sent
            for _ in range(min(due, 500)):
                if not self._send(producer):
                    break
                sent += 1
            producer.poll(0.005)
        left = producer.flush(self.FLUSH_S)
        if left:
            self.ledger.failures.append(f"{self.name}: {left} records were not acknowledged in {self.FLUSH_S} s")

    def _send(self, producer) -> bool:
        plan = self._random.choice(self._plans)
        partition = self._random.randrange(plan.partitions)
        sequence = self.ledger.sent.get((plan.name, partition), 0)
        value = HEAD.pack(self.ledger.producer, sequence) + bytes(self._random.randrange(self._value_bytes))
        try:
            producer.produce(plan.name, value, key_of(self.ledger.producer, sequence), partition,
                             on_delivery=self._delivered)  # fmt: skip
        except BufferError:
            return False
        self.ledger.next_sequence(plan.name, partition)
        return True

    def _delivered(self, error, message) -> None:
        if error is not None:
            self.ledger.failures.append(f"{self.name}: {message.topic()}-{message.partition()}: {error}")
            return
        sequence = HEAD.unpack_from(message.value())[1]
        self.ledger.acknowledge(message.topic(), message.partition(), sequence, message.offset())

    def _heard(self, error) -> None:
        if error.fatal():
            self.ledger.failures.append(f"{self.name}: fatal: {error}")


class CommitWorker(Worker):
    """Commits ever higher offsets and looks that none goes back."""

    def __init__(self, address, number, topic, partition):
        super().__init__(address, f"committer {number}")
        self.acknowledged = 0
        self.behind: list[str] = []
        self._group = f"group-{number}"
        self._partition = ck.TopicPartition(topic, partition)
        self._tried = 0
        self._last = 0

    def work(self) -> None:
        consumer = ck.Consumer({"bootstrap.servers": self.address, "group.id": self._group,
                                "enable.auto.commit": False, **RECONNECT})  # fmt: skip
        while not self.is_stopping:
            self._tried += 1
            at = ck.TopicPartition(self._partition.topic, self._partition.partition, self._tried)
            try:
                consumer.commit(offsets=[at], asynchronous=False)
                self._last = self._tried
                self.acknowledged += 1
                if self._tried % 10 == 0:
                    self._look(consumer, 2)
            except ck.KafkaException:
                self.pause(0.02)
            self.pause(0.005)
        consumer.close()

    def look_at_the_end(self) -> None:
        consumer = ck.Consumer({"bootstrap.servers": self.address, "group.id": self._group})
        self._look(consumer, 60)
        consumer.close()

    def _look(self, consumer, timeout_s) -> None:
        (found,) = consumer.committed([self._partition], timeout_s)
        if found.error:
            raise ck.KafkaException(found.error)
        if not self._last <= found.offset <= self._tried:
            self.behind.append(f"{self._group}: {self._last} was acknowledged, {found.offset} is there")


class TrimWorker(Worker):
    """DeleteRecords up to what the partition held a while ago; what is deleted must stay so."""

    def __init__(self, address, plan: TopicPlan):
        super().__init__(address, "trimmer")
        self.acknowledged = 0
        self.undone: list[str] = []
        self._plan = plan
        self._starts = [0] * plan.partitions

    def work(self) -> None:
        admin = AdminClient({"bootstrap.servers": self.address, **RECONNECT})
        consumer = ck.Consumer({"bootstrap.servers": self.address, "group.id": "trims", **RECONNECT})
        while not self.is_stopping:
            for partition in range(self._plan.partitions):
                try:
                    self._trim(admin, consumer, partition)
                except ck.KafkaException:
                    pass
            self.pause(0.1)
        consumer.close()

    def _trim(self, admin, consumer, partition) -> None:
        at = ck.TopicPartition(self._plan.name, partition)
        start, end = consumer.get_watermark_offsets(at, ADMIN_TIMEOUT_S)
        self._look(partition, start)
        at.offset = (start + end) // 2
        if at.offset <= start:
            return
        (done,) = admin.delete_records([at], request_timeout=ADMIN_TIMEOUT_S).values()
        self._starts[partition] = max(self._starts[partition], done.result(ADMIN_TIMEOUT_S * 2).low_watermark)
        self.acknowledged += 1

    def look_at_the_end(self) -> None:
        consumer = ck.Consumer({"bootstrap.servers": self.address, "group.id": "trims"})
        for partition in range(self._plan.partitions):
            at = ck.TopicPartition(self._plan.name, partition)
            self._look(partition, consumer.get_watermark_offsets(at, 60)[0])
        consumer.close()

    def _look(self, partition, start) -> None:
        if start < self._starts[partition]:
            self.undone.append(f"{self._plan.name}-{partition} begins at {start}, not at {self._starts[partition]}")


class TopicWorker(Worker):
    """Makes and drops topics of few names; a new one must be empty, a dropped one gone, a made one there."""

    NAMES = ("comes-and-goes-a", "comes-and-goes-b", "comes-and-goes-c")

    def __init__(self, address, seed):
        super().__init__(address, "topic maker")
        self.acknowledged = 0
        self.wrong: list[str] = []
        self._random = random.Random(seed)
        # What was acknowledged last; None while nobody can know.
        self._exists: dict[str, bool | None] = {name: False for name in self.NAMES}
        self._number = 0
        self._inside: dict[str, list[int]] = {}

    def work(self) -> None:
        self._admin = AdminClient({"bootstrap.servers": self.address, **RECONNECT})
        while not self.is_stopping:
            name = self._random.choice(self.NAMES)
            try:
                self._drop(name) if self._exists[name] else self._make(name)
            except ck.KafkaException:
                pass
            self.pause(0.02)

    def _make(self, name) -> None:
        # A creation of unknown outcome is dropped first, so that the next one is new.
        if self._exists[name] is None:
            return self._drop(name)
        self._exists[name] = None
        topic = NewTopic(name, self._random.randrange(1, 4), 1, config={"internal.segment.bytes": "20000"})
        self._result(self._admin.create_topics([topic], request_timeout=ADMIN_TIMEOUT_S))
        self._exists[name] = True
        self._inside[name] = []
        self._put(name)

    def _put(self, name) -> None:
        producer = ck.Producer({"bootstrap.servers": self.address, "message.timeout.ms": 3000,
                                "enable.idempotence": True, **RECONNECT})  # fmt: skip
        self._number += 1
        self._inside[name].append(self._number)
        producer.produce(name, str(self._number).encode(), partition=0)
        producer.flush(5)

    def _drop(self, name) -> None:
        self._exists[name] = None
        try:
            self._result(self._admin.delete_topics([name], request_timeout=ADMIN_TIMEOUT_S))
        except ck.KafkaException as error:
            if error.args[0].code() != ck.KafkaError.UNKNOWN_TOPIC_OR_PART:
                raise
        self._exists[name] = False

    def _result(self, futures) -> None:
        (future,) = futures.values()
        future.result(ADMIN_TIMEOUT_S * 2)
        self.acknowledged += 1

    def look_at_the_end(self) -> None:
        there = AdminClient({"bootstrap.servers": self.address}).list_topics(timeout=60).topics
        for name, exists in self._exists.items():
            if exists is not None and exists != (name in there):
                self.wrong.append(f"{name} should be {'there' if exists else 'gone'}, and isn't")
            if exists and name in there:
                self._look_into(name)

    def _look_into(self, name) -> None:
        consumer = ck.Consumer({"bootstrap.servers": self.address, "group.id": "looks", "enable.partition.eof": True,
                                "enable.auto.commit": False})  # fmt: skip
        consumer.assign([ck.TopicPartition(name, 0, 0)])
        while (message := consumer.poll(30)) is not None and not message.error():
            if int(message.value()) not in self._inside[name]:
                self.wrong.append(f"{name} holds the record {message.value()} of an earlier topic of that name")
        if message is None or message.error().code() != ck.KafkaError._PARTITION_EOF:
            self.wrong.append(f"{name} can't be read: {message and message.error()}")
        consumer.close()


class ReadWorker(Worker):
    """Reads along. What a consumer was shown must still be there at the end."""

    def __init__(self, address, number, plan: TopicPlan):
        super().__init__(address, f"reader {number}")
        self.plan = plan
        # (partition, offset) -> (producer, sequence); a part of what was read.
        self.seen: dict[tuple[int, int], tuple[int, int]] = {}

    def work(self) -> None:
        consumer = ck.Consumer({"bootstrap.servers": self.address, "group.id": self.name, "enable.auto.commit": False,
                                "auto.offset.reset": "earliest", **RECONNECT})  # fmt: skip
        consumer.assign([ck.TopicPartition(self.plan.name, p, 0) for p in range(self.plan.partitions)])
        while not self.is_stopping:
            messages = [m for m in consumer.consume(1000, 0.1) if not m.error()]
            for message in messages[-20:]:
                self.seen[message.partition(), message.offset()] = HEAD.unpack_from(message.value())
        consumer.close()
