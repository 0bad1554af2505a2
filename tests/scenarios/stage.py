"""What the scenarios have in common: a broker of their own, workers as processes, lines that tell, a table at the end."""

from __future__ import annotations

import contextlib
import json
import pathlib
import shutil
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator

import confluent_kafka as ck
from confluent_kafka.admin import AdminClient, NewTopic

from broker import Broker

TIMEOUT_S = 60
GROUPS_REACT_FAST = {"group.initial.rebalance.delay.ms": "300", "auto.create.topics.enable": "false"}
MEMBER = {
    "auto.offset.reset": "earliest",
    "enable.auto.commit": False,
    "heartbeat.interval.ms": 500,
    "session.timeout.ms": 6000,
    "log_level": 0,
}
_began = time.monotonic()
_processes: list[Process] = []


def tell(text: str) -> None:
    print(f"{time.monotonic() - _began:6.1f} s  {text}", flush=True)


def is_short() -> bool:
    return "--short" in sys.argv


def wait_until(what: Callable[[], object], told: str) -> None:
    deadline = time.monotonic() + TIMEOUT_S
    while not what():
        if time.monotonic() > deadline:
            raise SystemExit(f"FAILED: waited {TIMEOUT_S} s for: {told}")
        time.sleep(0.05)


class Verdict:
    """The table at the end. A line that isn't as it has to be fails the scenario."""

    def __init__(self, scenario: str):
        self._scenario = scenario
        self._lines: list[tuple[str, str, bool]] = []

    def count(self, what: str, number: object) -> None:
        self._lines.append((what, str(number), True))

    def check(self, what: str, number: object, is_right: bool) -> None:
        self._lines.append((what, str(number), is_right))

    def give(self) -> None:
        """Prints the table, and exits with 1 if something was wrong."""
        width = max(len(what) for what, _, _ in self._lines)
        print()
        for what, number, is_right in self._lines:
            print(f"  {what:<{width}}  {number:>9}{'' if is_right else '   WRONG'}")
        passed = all(is_right for _, _, is_right in self._lines)
        print(f"\n{self._scenario}: {'passed' if passed else 'FAILED'}", flush=True)
        sys.exit(not passed)


@contextlib.contextmanager
def broker_with(topics: dict[str, int]) -> Iterator[tuple[Broker, pathlib.Path]]:
    """A broker with these topics (partitions each), and a directory for what workers keep."""
    place = pathlib.Path(tempfile.mkdtemp(prefix="millrace-scenario-"))
    broker = Broker(place / "broker", GROUPS_REACT_FAST)
    try:
        broker.start()
        tell(f"a broker listens on {broker.address}")
        admin = AdminClient({"bootstrap.servers": broker.address, "log_level": 0})
        for made in admin.create_topics([NewTopic(n, p, 1) for n, p in topics.items()]).values():
            made.result(30)
        yield broker, place
    finally:
        for process in _processes:
            process.kill()  # what a failed scenario has left
        broker.kill()
        shutil.rmtree(place, ignore_errors=True)


def producer(broker: Broker) -> ck.Producer:
    return ck.Producer(
        {"bootstrap.servers": broker.address, "enable.idempotence": True, "linger.ms": 5, "log_level": 0}
    )


class Process:
    """A worker in a process of its own; it says lines of JSON, which are kept. Always ended by finish() or kill()."""

    def __init__(self, name: str, script: str, *arguments: object):
        self.name = name
        self.said: list[dict] = []
        command = [sys.executable, script, *map(str, arguments)]
        self._process = subprocess.Popen(
            command, stdout=subprocess.PIPE, stdin=subprocess.PIPE, text=True
        )
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()
        _processes.append(self)

    def events(self, kind: str) -> list[dict]:
        return [event for event in list(self.said) if event["event"] == kind]

    def handled(self) -> list[dict]:
        return self.events("handled")

    def kill(self) -> None:
        """SIGKILL: nothing is tidied up."""
        self._process.kill()
        self._process.wait()
        self._reader.join()

    def finish(self) -> None:
        """Lets it commit and leave its group."""
        self._process.stdin.close()
        if self._process.wait(TIMEOUT_S) != 0:
            raise SystemExit(f"FAILED: {self.name} ended with {self._process.returncode}")
        self._reader.join()

    def _read(self) -> None:
        for line in self._process.stdout:
            self.said.append(json.loads(line))


def say(event: str, **fields: object) -> None:
    """In a worker: one line to whoever started it."""
    print(json.dumps({"event": event, "at": time.time(), **fields}), flush=True)


def told_to_end() -> threading.Event:
    """In a worker: set when finish() closes its standard input."""
    ending = threading.Event()
    threading.Thread(target=lambda: (sys.stdin.read(), ending.set()), daemon=True).start()
    return ending
