"""Members of a group that read and commit in the background, alike for every client that can be one."""

from __future__ import annotations

import abc
import functools
import itertools
import re
import subprocess
import threading
import time
from collections.abc import Callable

from conftest import open_client

from client import WorkerClient
from java_client import JavaClient
from rdkafka_member import RdkafkaThread

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
    """The newest librdkafka, in this process."""

    def __init__(self, *arguments):
        super().__init__(*arguments)
        self._thread = RdkafkaThread(self.settings, self.topic, self.values)

    def assigned(self) -> list[str]:
        if self._thread.failure is not None:
            raise self._thread.failure
        return self._thread.assigned

    def close(self) -> None:
        self._thread.close()
        self.assigned()


class WorkerMember(Member):
    """A member in the worker of a client."""

    def __init__(self, client: type[WorkerClient], *arguments):
        super().__init__(*arguments)
        self._name = f"member-{next(_numbers)}"
        self._worker = open_client(client).worker
        self._worker.call("open_member", member=self._name, settings=self.settings, topic=self.topic)

    def assigned(self) -> list[str]:
        return self._take(self._worker.call("look_at_member", member=self._name))

    def close(self) -> None:
        self._take(self._worker.call("close_member", member=self._name))

    def _take(self, seen: dict) -> list[str]:
        self.values += seen["values"]
        assert seen["failure"] is None, seen["failure"]
        return seen["assigned"]


JavaMember = functools.partial(WorkerMember, JavaClient)


class KcatMember(Member):
    """kcat -G: it commits by itself, once a second. It is killed in the end, and leaves when its session does: when it
    is told to end, it commits a record that it then doesn't print."""

    ASSIGNED = re.compile(r"rebalanced \(memberid [^)]*\): (assigned|revoked): ?(.*)")

    def __init__(self, *arguments):
        super().__init__(*arguments)
        settings = {"auto.offset.reset": "earliest", "auto.commit.interval.ms": "1000", **self.settings}
        options = itertools.chain.from_iterable(("-X", f"{k}={v}") for k, v in settings.items())
        self._process = subprocess.Popen(
            ["kcat", "-G", self.settings["group.id"], "-E", "-u", *options, self.topic],
            stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        )  # fmt: skip
        self._assigned: list[str] = []
        self._readers = [
            threading.Thread(target=read, daemon=True) for read in (self._read_values, self._read_events)
        ]
        for reader in self._readers:
            reader.start()

    def assigned(self) -> list[str]:
        assert self._process.poll() is None, f"kcat ended with {self._process.returncode}"
        return self._assigned

    def close(self) -> None:
        self._process.kill()
        self._process.wait()
        for reader in self._readers:
            reader.join()

    def _read_values(self) -> None:
        for line in self._process.stdout:
            self.values.append(line.rstrip("\n"))

    def _read_events(self) -> None:
        for line in self._process.stderr:
            if (event := self.ASSIGNED.search(line)) is None:
                continue
            partitions = re.findall(r"(\S+) \[(\d+)\]", event[2]) if event[1] == "assigned" else []
            self._assigned = sorted(f"{topic}-{number}" for topic, number in partitions)


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
