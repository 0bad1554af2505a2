"""The broker under test, as a process: Millrace, or Apache Kafka to check the tests themselves.

MILLRACE_TEST_TARGET=kafka chooses Kafka. Settings are given under Kafka's names either way.
"""

from __future__ import annotations

import os
import pathlib
import shutil
import signal
import socket
import struct
import subprocess
import time

ROOT = pathlib.Path(__file__).resolve().parents[2]
KAFKA = ROOT / "tests" / "peers" / "kafka"
BINARY = os.environ.get("MILLRACE_BINARY", str(ROOT / "build" / "release" / "millrace"))
IS_KAFKA = os.environ.get("MILLRACE_TEST_TARGET") == "kafka"
# It keeps several bytes for each one that was ever used, and takes ten times as long.
UNDER_TSAN = os.environ.get("MILLRACE_SANITIZER") == "tsan"
START_TIMEOUT_S = 60


def free_port() -> int:
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return s.getsockname()[1]


class Broker:
    """One broker on 127.0.0.1. Its port and its data stay the same over restarts."""

    def __init__(
        self,
        directory: pathlib.Path,
        settings: dict[str, str] | None = None,
        is_kafka: bool = IS_KAFKA,
    ):
        self.directory = directory
        self.is_kafka = is_kafka
        self.settings = dict(settings or {})
        self.port = free_port()
        self.pid = 0
        # Added to the process's environment.
        self.environment: dict[str, str] = {}
        self.log_path = directory / "log"
        self._process: subprocess.Popen | None = None
        directory.mkdir(parents=True, exist_ok=True)

    @property
    def address(self) -> str:
        return f"127.0.0.1:{self.port}"

    @property
    def log_file(self) -> pathlib.Path:
        return self.log_path

    def start(self) -> Broker:
        """Returns once the broker answers an ApiVersions request."""
        self.launch()
        self._wait_until_it_answers()
        return self

    def launch(self) -> None:
        """Starts the process and doesn't wait for it (for Kafka: waits until its port is open)."""
        if self.is_kafka:
            self._start_kafka()
        else:
            self._start_millrace()

    def signal(self, number: int) -> None:
        """Sends the signal and doesn't wait for what comes of it."""
        os.kill(self.pid, number)

    def stop(self) -> None:
        """SIGTERM, and waits for the end."""
        self._end(signal.SIGTERM)

    def kill(self) -> None:
        """SIGKILL, and waits for the end."""
        self._end(signal.SIGKILL)

    def restart(self) -> None:
        self.stop()
        self.start()

    def is_running(self) -> bool:
        if self._process is not None:
            return self._process.poll() is None
        return self.pid != 0 and _is_alive(self.pid)

    def resident_bytes(self) -> int:
        for line in pathlib.Path(f"/proc/{self.pid}/status").read_text().splitlines():
            if line.startswith("VmRSS:"):
                return int(line.split()[1]) * 1024
        raise AssertionError("no VmRSS")

    def log_tail(self, lines: int = 30) -> str:
        if not self.log_file.exists():
            return "(no log)"
        return "\n".join(self.log_file.read_text(errors="replace").splitlines()[-lines:])

    def _start_kafka(self) -> None:
        settings = [f"{key}={value}" for key, value in self.settings.items()]
        subprocess.run(
            [str(KAFKA), "start", str(self.port), str(self.directory), *settings], check=True
        )
        self.pid = int((self.directory / "pid").read_text())

    def _start_millrace(self) -> None:
        command = [BINARY, "broker"]
        settings = {
            "listeners": f"PLAINTEXT://{self.address}",
            "http.listener": "",
            "log.dirs": str(self.directory / "data"),
            **self.settings,
        }
        for key, value in settings.items():
            command += ["--set", f"{key}={value}"]
        with open(self.log_file, "ab") as log:
            self._process = subprocess.Popen(
                command,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                env={**os.environ, **self.environment},
            )
        self.pid = self._process.pid

    def _wait_until_it_answers(self) -> None:
        deadline = time.monotonic() + START_TIMEOUT_S
        while time.monotonic() < deadline:
            if not self.is_running():
                raise AssertionError(f"the broker ended at start:\n{self.log_tail()}")
            try:
                with socket.create_connection(("127.0.0.1", self.port), timeout=5) as s:
                    s.sendall(api_versions_request())
                    if len(s.recv(8)) == 8:
                        return
            except OSError:
                pass
            time.sleep(0.05)
        raise AssertionError(f"the broker did not answer in {START_TIMEOUT_S} s:\n{self.log_tail()}")

    def _end(self, sig: int) -> None:
        if not self.is_running():
            return
        os.kill(self.pid, sig)
        deadline = time.monotonic() + 30
        while self.is_running():
            if time.monotonic() > deadline:
                os.kill(self.pid, signal.SIGKILL)
                raise AssertionError(f"signal {sig} did not end the broker in 30 s")
            time.sleep(0.02)
        self._process = None
        self.pid = 0


def api_versions_request(correlation_id: int = 1) -> bytes:
    """ApiVersions v0, framed: the smallest request that every broker answers."""
    body = struct.pack(">hhih", 18, 0, correlation_id, 2) + b"me"
    return struct.pack(">i", len(body)) + body


def _is_alive(pid: int) -> bool:
    """A zombie that nobody reaps is not alive."""
    try:
        stat = pathlib.Path(f"/proc/{pid}/stat").read_text()
    except OSError:
        return False
    return stat.rpartition(")")[2].split()[0] != "Z"


def has_java() -> bool:
    return shutil.which("java") is not None and shutil.which("mvn") is not None
