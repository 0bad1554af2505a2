"""Numbered records that a group of members has to handle, and the broker settings that make groups quick."""

from __future__ import annotations

import collections
import threading

import confluent_kafka as ck

from group_members import Member, Waiting, wait_for

QUICK = {
    "group.consumer.heartbeat.interval.ms": "500",
    "group.consumer.session.timeout.ms": "6000",
    "group.consumer.min.heartbeat.interval.ms": "500",
    "group.consumer.min.session.timeout.ms": "6000",
    "group.initial.rebalance.delay.ms": "500",
    "auto.create.topics.enable": "false",
    "offsets.topic.num.partitions": "5",
}


class Load:
    """Numbers, sent one after the other to the partitions of a topic in turn, until stop()."""

    def __init__(self, address: str, topic: str, partitions: int, interval_s: float = 0.005):
        self._producer = ck.Producer(
            {
                "bootstrap.servers": address,
                "enable.idempotence": True,
                "message.timeout.ms": 120_000,
                "log_level": 0,  # a broker that is away is what these tests are about
            }
        )
        self._topic, self._partitions, self._interval_s = topic, partitions, interval_s
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)
        self.sent: list[str] = []
        self._failures: list = []
        self._thread.start()

    def _delivered(self, error, _message) -> None:
        if error is not None:
            self._failures.append(error)

    def stop(self) -> None:
        """All that is in `sent` has been acknowledged."""
        self._stopping.set()
        self._thread.join()
        assert self._producer.flush(120) == 0
        assert not self._failures, self._failures[0]

    def _run(self) -> None:
        while not self._stopping.wait(self._interval_s):
            number = len(self.sent)
            self._producer.produce(
                self._topic, str(number), partition=number % self._partitions, on_delivery=self._delivered
            )
            self.sent.append(str(number))
            self._producer.poll(0)

    def expect_all(self, left: list[Member], members: list[Member]) -> None:
        """Stops, waits until the members have handled what is missing, closes them: no record was missed."""
        self.stop()
        sent = set(self.sent)

        def none_missing():
            assigned = [member.assigned() for member in members]
            missing = sent - set(all_values(left + members))
            return not missing or Waiting(f"missing {len(missing)}: {sorted(missing, key=int)[:12]}, {assigned}")

        wait_for(none_missing)
        close_all(members)
        assert set(all_values(left + members)) == sent

    def expect_each_once(self, left: list[Member], members: list[Member]) -> None:
        """expect_all(), and no record was handled a second time."""
        self.expect_all(left, members)
        counts = collections.Counter(all_values(left + members))
        again = sorted((value for value, count in counts.items() if count > 1), key=int)
        assert not again, f"{len(again)} of {len(self.sent)} handled more than once: {again[:20]}"


def fill(address: str, topic: str, partitions: int, per_partition: int = 50) -> list[str]:
    producer = ck.Producer({"bootstrap.servers": address})
    values = [f"{topic}/{p}/{n}" for p in range(partitions) for n in range(per_partition)]
    for value in values:
        producer.produce(topic, value, partition=int(value.split("/")[1]))
    assert producer.flush(60) == 0
    return values


def all_values(members: list[Member]) -> list[str]:
    return [value for member in members for value in member.values]


def close_all(members: list[Member]) -> None:
    for member in members:
        member.close()
