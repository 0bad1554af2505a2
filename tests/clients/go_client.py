"""franz-go and sarama, in one program (go/), which tests/clients/run builds."""

from __future__ import annotations

import os

from client import WorkerClient


class FranzGoClient(WorkerClient):
    name = "franz-go"

    def command(self) -> list[str]:
        return [os.environ["MILLRACE_GO_WORKER"], self.name]

    @staticmethod
    def has_consumer_protocol() -> bool:
        """Not the release that Debian 12's Go builds."""
        return not os.environ["MILLRACE_GO_WORKER"].endswith("-old")


class SaramaClient(FranzGoClient):
    name = "sarama"
