"""kafkajs, in node/worker.js, with the codecs that tests/clients/run installs."""

from __future__ import annotations

import os
import pathlib

from client import WorkerClient

WORKER = pathlib.Path(__file__).with_name("node") / "worker.js"


class KafkajsClient(WorkerClient):
    name = "kafkajs"
    can_send_null_headers = False

    def command(self) -> list[str]:
        modules = os.environ["MILLRACE_NODE_MODULES"]
        return ["env", f"NODE_PATH={modules}", "KAFKAJS_NO_PARTITIONER_WARNING=1", "node", str(WORKER)]
