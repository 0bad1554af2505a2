"""Debian's python3-confluent-kafka over Debian's librdkafka 2.0.2."""

from __future__ import annotations

import pathlib

from client import Worker

WORKER = pathlib.Path(__file__).with_name("rdkafka_worker.py")


class DebianRdkafka:
    """Only members of groups: kcat does the rest with the same library."""

    name = "librdkafka 2.0.2"

    def __init__(self):
        self.worker = Worker(["/usr/bin/python3", str(WORKER)])

    def close(self) -> None:
        self.worker.close()
