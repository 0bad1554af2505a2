"""Topics that a producer or a consumer brings into being by naming them, and the setting against it."""

from __future__ import annotations

import pytest
from conftest import Topics, client_params, open_client
from confluent_kafka.admin import ConfigResource, ResourceType

import records
from client import ClientError
from confluent_client import ConfluentClient
from records import assert_same


@pytest.fixture(scope="module")
def creating_broker(tmp_path_factory):
    from broker import Broker

    made = Broker(tmp_path_factory.mktemp("creating-broker"), {"num.partitions": "3"}).start()
    yield made
    made.kill()


@pytest.mark.parametrize("client", client_params(), indirect=True)
def test_produce_creates_the_topic(creating_broker, client):
    topic = "made-by-" + client.name.replace(" ", "-")
    sent = records.plain(10)
    client.produce(creating_broker.address, topic, sent)
    assert_same(sent, client.consume(creating_broker.address, topic, offset=0))
    made = Topics(creating_broker).admin.list_topics(timeout=30).topics[topic]
    assert sorted(made.partitions) == [0, 1, 2]


# Without a topic most clients ask for its metadata again until their time is up: kept short here where it can be.
SHORT = {
    "kcat": {"message.timeout.ms": "4000", "topic.metadata.propagation.max.ms": "1000"},
    "confluent-kafka": {"message.timeout.ms": "4000", "topic.metadata.propagation.max.ms": "1000"},
    "kafka-python": {"max.block.ms": "4000"},
    "kafka-python 2.0.2": {"max.block.ms": "4000"},
    "java": {"max.block.ms": "4000"},
    "millrace": {"timeout": "4s"},
}


@pytest.mark.parametrize("client", client_params(), indirect=True)
def test_no_topic_without_the_setting(broker, topics, client):
    topic = "never-made-by-" + client.name.replace(" ", "-")
    with pytest.raises(ClientError):
        client.produce(broker.address, topic, records.plain(1), options=SHORT.get(client.name, {}))
    assert topic not in topics.names()


def test_an_illegal_name_creates_nothing(creating_broker):
    client = open_client(ConfluentClient)
    with pytest.raises(ClientError):
        client.produce(creating_broker.address, "no/slash", records.plain(1), options=SHORT[client.name])
    assert "no/slash" not in Topics(creating_broker).names()


def test_asking_for_metadata_alone_creates_nothing(creating_broker):
    """An admin client's look is not a use."""
    admin = Topics(creating_broker).admin
    resource = ConfigResource(ResourceType.TOPIC, "only-looked-at")
    with pytest.raises(Exception):
        admin.describe_configs([resource])[resource].result(30)
    assert "only-looked-at" not in Topics(creating_broker).names()
