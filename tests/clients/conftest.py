"""Fixtures: a broker that the tests share, brokers of one's own, every client, topics."""

from __future__ import annotations

import itertools
import pathlib
import sys

sys.path.insert(0, str(pathlib.Path(__file__).parent))

import pytest

pytest.register_assert_rewrite("records")

from confluent_kafka import TopicPartition
from confluent_kafka.admin import AdminClient, NewTopic

from broker import BINARY, Broker, has_java
from command_line import CommandLine
from confluent_client import ConfluentClient
from go_client import FranzGoClient, SaramaClient
from java_client import JavaClient
from kafka_python_client import KafkaPythonClient, OldKafkaPythonClient
from kafkajs_client import KafkajsClient
from kcat_client import KcatClient
from millrace_client import MillraceClient

CLIENTS = (
    KcatClient,
    ConfluentClient,
    KafkaPythonClient,
    OldKafkaPythonClient,
    JavaClient,
    FranzGoClient,
    SaramaClient,
    KafkajsClient,
    *((MillraceClient,) if pathlib.Path(BINARY).exists() else ()),
)
# kafkajs reads only as a member of a group: don't let each such read wait for other members.
NO_DELAY = {"group.initial.rebalance.delay.ms": "0"}
_topic_numbers = itertools.count(1)
_open_clients: dict[type, object] = {}


def client_params(**needs: bool):
    """One pytest parameter for each client that has all that is named, e.g. can_be_idempotent=True."""
    return [
        pytest.param(cls, id=cls.name, marks=[pytest.mark.java] if cls is JavaClient else [])
        for cls in CLIENTS
        if all(getattr(cls, name) == want for name, want in needs.items())
    ]


def client_codec_params():
    return [
        pytest.param(cls, codec, id=f"{cls.name}-{codec}",
                     marks=[pytest.mark.java] if cls is JavaClient else [])  # fmt: skip
        for cls in CLIENTS
        for codec in cls.codecs
    ]


def open_client(cls):
    """The one instance of a client; it lives until the end of the session."""
    if cls not in _open_clients:
        _open_clients[cls] = cls()
    return _open_clients[cls]


def pytest_collection_modifyitems(items):
    for item in items:
        if item.get_closest_marker("java") and not has_java():
            item.add_marker(pytest.mark.skip(reason="no java or no mvn here"))


def pytest_sessionfinish(session):
    for client in _open_clients.values():
        client.close()


@pytest.fixture(scope="session")
def broker(tmp_path_factory):
    """The broker that most tests share; it must still run after the last of them."""
    shared = Broker(tmp_path_factory.mktemp("shared-broker"), {"auto.create.topics.enable": "false", **NO_DELAY})
    shared.start()
    yield shared
    assert shared.is_running(), f"the shared broker ended:\n{shared.log_tail()}"
    shared.stop()


@pytest.fixture
def own_broker(tmp_path):
    """Makes brokers for one test: own_broker(settings) is one that runs, and is ended after the test."""
    brokers = []

    def make(settings: dict[str, str] | None = None) -> Broker:
        made = Broker(tmp_path / f"broker-{len(brokers)}", {**NO_DELAY, **(settings or {})})
        brokers.append(made)
        return made.start()

    yield make
    for made in brokers:
        made.kill()


@pytest.fixture
def client(request):
    return open_client(request.param)


class Topics:
    """Makes and asks about topics on one broker."""

    def __init__(self, broker: Broker):
        self.admin = AdminClient({"bootstrap.servers": broker.address})

    def create(self, partitions: int = 1, **config: str) -> str:
        """A new topic; settings as Kafka names them with underscores, e.g. retention_ms='1000'."""
        name = f"topic-{next(_topic_numbers)}"
        settings = {key.replace("_", "."): value for key, value in config.items()}
        made = self.admin.create_topics([NewTopic(name, partitions, 1, config=settings)])
        made[name].result(30)
        return name

    def names(self) -> set[str]:
        return set(self.admin.list_topics(timeout=30).topics)

    def offsets(self, topic: str, spec, partition: int = 0):
        """The answer of ListOffsets for one partition; spec is an OffsetSpec."""
        asked = TopicPartition(topic, partition)
        return self.admin.list_offsets({asked: spec})[asked].result(30)


@pytest.fixture
def topics(broker):
    return Topics(broker)


@pytest.fixture
def millrace(broker):
    """The command line, with the shared broker."""
    return CommandLine(broker.address)
