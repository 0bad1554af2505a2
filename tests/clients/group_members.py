"""Members of a group that read and commit in the background, alike for every client that can be one."""

from __future__ import annotations

import abc
import itertools
import threading
import time
from collections.abc import Callable

import confluent_kafka as ck
from conftest import open_client

from java_client import JavaClient

TIMEOUT_S = 90
_numbers = itertools.count(1)


class Member(abc.ABC):
    """Reads a topic, or all topics that match a regular expression ("^..."), from the start on, and commits
    what it has read."""

    def __init__(self, address: str, group: str, topic: str, settings: dict[str, str]):
        self.settings = {"bootstrap.servers": address, "group.id": group, **settings}
        self.topic = topic
        self.values: list[str] = []

    @abc.abstractmethod
    def assigned(self) -> list[str]:
        """Its partitions, as "topic-0", sorted; raises if the member has failed."""

    @abc.abstractmethod
    def close(self) -> None:
        """Leaves the group. `values` is complete after that."""


class RdkafkaMember(Member):
    def __init__(self, *arguments):
        super().__init__(*arguments)
        self._assigned: list[str] = []
        self._failure: Exception | None = None
        self._closing = False
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def assigned(self) -> list[str]:
        if self._failure is not None:
            raise self._failure
        return self._assigned

    def close(self) -> None:
        self._closing = True
        self._thread.join(TIMEOUT_S)
        self.assigned()

    def _run(self) -> None:
        try:
            consumer = ck.Consumer(
                {"auto.offset.reset": "earliest", "enable.auto.commit": False, **self.settings}
            )
            consumer.subscribe([self.topic])
            while not self._closing:
                self._read_some(consumer)
            consumer.close()
        except Exception as failure:  # reported by assigned()
            self._failure = failure

    def _read_some(self, consumer: ck.Consumer) -> None:
        read = [message for message in consumer.consume(500, 0.1) if message.error() is None]
        self.values += [message.value().decode() for message in read]
        self._assigned = sorted(f"{p.topic}-{p.partition}" for p in consumer.assignment())
        if not read:
            return
        try:
            consumer.commit(asynchronous=False)
        except ck.KafkaException:
            pass  # a rebalance may have taken the partitions: their new owner reads it again


class JavaMember(Member):
    def __init__(self, *arguments):
        super().__init__(*arguments)
        self._name = f"member-{next(_numbers)}"
        self._worker = open_client(JavaClient).worker
        self._worker.call(
            "open_member", member=self._name, settings=self.settings, topic=self.topic
        )

    def assigned(self) -> list[str]:
        return self._take(self._worker.call("look_at_member", member=self._name))

    def close(self) -> None:
        self._take(self._worker.call("close_member", member=self._name))

    def _take(self, seen: dict) -> list[str]:
        self.values += seen["values"]
        assert seen["failure"] is None, seen["failure"]
        return seen["assigned"]


class Waiting(str):
    """What there is still to wait for, in words."""

    def __bool__(self) -> bool:
        return False


def wait_for(what: Callable[[], object], timeout_s: float = TIMEOUT_S) -> None:
    """Returns once `what()` is true; fails with its last value."""
    deadline = time.monotonic() + timeout_s
    while not (seen := what()):
        assert time.monotonic() < deadline, f"{seen!r} after {timeout_s} s"
        time.sleep(0.1)


def wait_for_shares(members: list[Member], *sizes: int) -> None:
    """Returns once the members have that many partitions each, no partition twice; sizes in any order."""
    deadline = time.monotonic() + TIMEOUT_S
    while True:
        shares = [member.assigned() for member in members]
        every = [partition for share in shares for partition in share]
        if sorted(map(len, shares)) == sorted(sizes) and len(set(every)) == len(every):
            return
        assert time.monotonic() < deadline, f"assigned: {shares}, not {sizes}"
        time.sleep(0.1)
