"""What the tests ask of every client, whatever its language."""

from __future__ import annotations

import abc
import collections
import json
import os
import select
import subprocess
import threading
import time

from records import Record, Stored, from_json, to_json

ALL_CODECS = ("none", "gzip", "snappy", "lz4", "zstd")
REPLY_TIMEOUT_S = 120


class Client(abc.ABC):
    """One client library or tool. What it can't do, it says, so that no test asks for it."""

    name: str
    codecs: tuple[str, ...] = ALL_CODECS
    can_be_idempotent = True
    can_send_binary_headers = True
    can_send_null_headers = True
    can_send_empty_records = True
    can_set_timestamps = True

    @abc.abstractmethod
    def produce(
        self,
        address: str,
        topic: str,
        records: list[Record],
        *,
        partition: int = 0,
        codec: str = "none",
        acks: str = "all",
        idempotent: bool = False,
        options: dict[str, str] | None = None,
    ) -> None:
        """Sends the records in order and waits until each is acknowledged; raises ClientError otherwise.

        options: more client settings, under librdkafka's and Java's common names.
        """

    @abc.abstractmethod
    def consume(
        self,
        address: str,
        topic: str,
        *,
        partition: int = 0,
        offset: int | None = None,
        timestamp_ms: int | None = None,
    ) -> list[Stored]:
        """Reads from an offset, or from the first record at or after a time, up to the end as of now."""

    def close(self) -> None:
        """Ends what the client keeps running."""

    def can_send(self, record: Record) -> bool:
        for _, value in record.headers:
            if value is None and not self.can_send_null_headers:
                return False
            if value is not None and b"\0" in value and not self.can_send_binary_headers:
                return False
        return self.can_send_empty_records or record.key is not None or bool(record.value)


class ClientError(Exception):
    """What the client said when it refused or failed."""


class Worker:
    """A client in a process of its own, told what to do in lines of JSON and answering in the same."""

    def __init__(self, command: list[str], env: dict[str, str] | None = None):
        self._process = subprocess.Popen(
            command,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            env={**os.environ, **(env or {})},
        )
        self._said: collections.deque[str] = collections.deque(maxlen=50)
        self._pending = {self._process.stdout.fileno(): b"", self._process.stderr.fileno(): b""}
        self._lines: collections.deque[bytes] = collections.deque()
        self._calling = threading.Lock()

    def call(self, operation: str, **arguments) -> dict:
        """One call at a time: the calls of other threads wait."""
        with self._calling:
            self.begin(operation, **arguments)
            while True:
                reply = self.next_reply()
                if "progress" not in reply:
                    return reply

    def begin(self, operation: str, **arguments) -> None:
        line = json.dumps({"operation": operation, **arguments}).encode() + b"\n"
        self._process.stdin.write(line)
        self._process.stdin.flush()

    def next_reply(self) -> dict:
        """A progress report or the result; raises ClientError if the operation failed."""
        deadline = time.monotonic() + REPLY_TIMEOUT_S
        while not self._lines:
            self._read_some(deadline)
        reply = json.loads(self._lines.popleft())
        if "error" in reply:
            raise ClientError(reply["error"])
        return reply

    def close(self) -> None:
        self._process.stdin.close()
        try:
            self._process.wait(20)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()

    def _read_some(self, deadline: float) -> None:
        ready, _, _ = select.select(list(self._pending), [], [], max(0.0, deadline - time.monotonic()))
        if not ready:
            raise ClientError(f"no answer in {REPLY_TIMEOUT_S} s; it said:\n" + "\n".join(self._said))
        out, err = self._process.stdout.fileno(), self._process.stderr.fileno()
        for fd in ready:
            data = os.read(fd, 1 << 20)
            if not data and fd == out:
                raise ClientError("the client ended; it said:\n" + "\n".join(self._said))
            if not data:
                del self._pending[err]
                continue
            *lines, self._pending[fd] = (self._pending[fd] + data).split(b"\n")
            if fd == out:
                self._lines.extend(lines)
            else:
                self._said.extend(line.decode(errors="replace") for line in lines)


class WorkerClient(Client):
    """A client behind a worker; the worker starts with the first use."""

    def __init__(self):
        self._worker: Worker | None = None

    @abc.abstractmethod
    def command(self) -> list[str]:
        """The command that starts the worker."""

    @property
    def worker(self) -> Worker:
        if self._worker is None:
            self._worker = Worker(self.command())
        return self._worker

    def produce(self, address, topic, records, *, partition=0, codec="none", acks="all",
                idempotent=False, options=None):  # fmt: skip
        self.worker.call(
            "produce",
            address=address,
            topic=topic,
            partition=partition,
            codec=codec,
            acks=acks,
            idempotent=idempotent,
            options=options or {},
            records=[to_json(r) for r in records],
        )

    def consume(self, address, topic, *, partition=0, offset=None, timestamp_ms=None):
        reply = self.worker.call(
            "consume",
            address=address,
            topic=topic,
            partition=partition,
            offset=offset,
            timestamp=timestamp_ms,
        )
        return [from_json(fields) for fields in reply["records"]]

    def close(self) -> None:
        if self._worker is not None:
            self._worker.close()
            self._worker = None
