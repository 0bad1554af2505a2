"""kafka-python from PyPI: its newest release, and 2.0.2, which opens with old protocol versions."""

from __future__ import annotations

import os
import pathlib
import sys

from client import WorkerClient

WORKER = pathlib.Path(__file__).with_name("kafka_python_worker.py")


class KafkaPythonClient(WorkerClient):
    name = "kafka-python"
    can_send_null_headers = False

    def command(self) -> list[str]:
        return [sys.executable, str(WORKER)]


class OldKafkaPythonClient(KafkaPythonClient):
    name = "kafka-python 2.0.2"
    can_be_idempotent = False

    def command(self) -> list[str]:
        return [os.environ["MILLRACE_OLD_PYTHON"], str(WORKER)]
