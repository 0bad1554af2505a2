"""Runs the command line under test."""

from __future__ import annotations

import json
import os
import subprocess

from broker import BINARY

TIMEOUT_S = 90


class CommandLine:
    """Runs commands with one broker's address in the environment."""

    def __init__(self, address: str):
        self.environment = {**os.environ, "MILLRACE_BROKER": address}

    def __call__(self, *arguments: str, stdin: bytes | str = b"", code: int = 0) -> subprocess.CompletedProcess:
        data = stdin.encode() if isinstance(stdin, str) else stdin
        done = subprocess.run(
            [BINARY, *arguments], input=data, capture_output=True, timeout=TIMEOUT_S, env=self.environment, check=False
        )
        assert done.returncode == code, f"{arguments}: exit code {done.returncode}\n{done.stderr.decode()}"
        return done

    def text(self, *arguments: str, stdin: bytes | str = b"") -> str:
        return self(*arguments, stdin=stdin).stdout.decode()

    def json(self, *arguments: str, stdin: bytes | str = b""):
        return json.loads(self.text(*arguments, "--output", "json", stdin=stdin))

    def lines(self, *arguments: str) -> list[str]:
        return self.text(*arguments).splitlines()

    def complaint(self, *arguments: str, code: int = 1, stdin: bytes | str = b"") -> str:
        return self(*arguments, code=code, stdin=stdin).stderr.decode()

    def start_words(self, *arguments: str) -> list[str]:
        return [BINARY, *arguments]

    def start(self, *arguments: str) -> subprocess.Popen:
        return subprocess.Popen(
            self.start_words(*arguments), stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, env=self.environment
        )
