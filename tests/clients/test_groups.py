"""Consumers that subscribe as a group: each record once, committed positions kept, work handed over."""

from __future__ import annotations

import time

import confluent_kafka as ck
import pytest
from conftest import open_client

import records
from confluent_client import ConfluentClient
from kcat_client import RECORD_END, run_kcat

TIMEOUT_S = 60


def subscribe(address: str, group: str, topic: str, **settings) -> ck.Consumer:
    consumer = ck.Consumer(
        {
            "bootstrap.servers": address,
            "group.id": group,
            "auto.offset.reset": "earliest",
            "enable.auto.commit": False,
            "session.timeout.ms": 10_000,
            **settings,
        }
    )
    consumer.subscribe([topic])
    return consumer


def poll_values(consumers, count: int) -> list[bytes]:
    """Polls all of them in turn until `count` values have come."""
    values: list[bytes] = []
    deadline = time.monotonic() + TIMEOUT_S
    while len(values) < count:
        assert time.monotonic() < deadline, f"{len(values)} of {count} records came"
        for consumer in consumers:
            for message in consumer.consume(1000, 0.1):
                assert message.error() is None, message.error()
                values.append(message.value())
    return values


def wait_for_assignments(consumers, partitions: int) -> list[int]:
    deadline = time.monotonic() + TIMEOUT_S
    while True:
        for consumer in consumers:
            consumer.poll(0.1)
        sizes = [len(consumer.assignment()) for consumer in consumers]
        if sum(sizes) == partitions and all(sizes):
            return sizes
        assert time.monotonic() < deadline, f"assigned: {sizes} of {partitions}"


@pytest.fixture
def filled(broker, topics):
    topic = topics.create(partitions=4)
    sent = []
    for partition in range(4):
        batch = records.plain(100, seed=partition)
        open_client(ConfluentClient).produce(broker.address, topic, batch, partition=partition)
        sent += [r.value for r in batch]
    return topic, sorted(sent)


def test_one_consumer_gets_everything(broker, filled):
    topic, sent = filled
    consumer = subscribe(broker.address, f"group-{topic}", topic)
    assert sorted(poll_values([consumer], len(sent))) == sent
    consumer.close()


def test_kcat_as_a_member(broker, filled):
    topic, sent = filled
    output = run_kcat(
        "-G", f"group-{topic}", "-b", broker.address, "-e", "-q", "-D", RECORD_END,
        "-X", "auto.offset.reset=earliest", topic,
    )  # fmt: skip
    assert sorted(output.split(RECORD_END.encode())[:-1]) == sent


def test_committed_positions_are_kept(broker, filled):
    topic, sent = filled
    group = f"group-{topic}"
    first = subscribe(broker.address, group, topic)
    poll_values([first], len(sent))
    first.commit(asynchronous=False)
    first.close()

    more = records.plain(50, seed=9)
    open_client(ConfluentClient).produce(broker.address, topic, more, partition=2)
    second = subscribe(broker.address, group, topic)
    assert poll_values([second], 50) == [r.value for r in more]
    second.close()


def test_two_groups_see_everything_each(broker, filled):
    topic, sent = filled
    for name in ("a", "b"):
        consumer = subscribe(broker.address, f"group-{topic}-{name}", topic)
        assert sorted(poll_values([consumer], len(sent))) == sent
        consumer.close()


@pytest.mark.parametrize("strategy", ["range", "roundrobin", "cooperative-sticky"])
def test_members_share_the_partitions(broker, filled, strategy):
    topic, sent = filled
    settings = {"partition.assignment.strategy": strategy, "heartbeat.interval.ms": 500}
    members = [
        subscribe(broker.address, f"group-{topic}", topic, **settings, **{"auto.offset.reset": "latest"})
        for _ in range(2)
    ]
    assert wait_for_assignments(members, 4) == [2, 2]
    members[0].close()
    assert wait_for_assignments(members[1:], 4) == [4]
    members[1].close()


def test_positions_survive_a_restart(own_broker):
    from conftest import Topics

    broker = own_broker()
    topic = Topics(broker).create()
    client = open_client(ConfluentClient)
    client.produce(broker.address, topic, records.plain(100, seed=1))
    consumer = subscribe(broker.address, "kept", topic)
    poll_values([consumer], 100)
    consumer.commit(asynchronous=False)
    consumer.close()
    broker.kill()
    broker.start()
    more = records.plain(10, seed=2)
    client.produce(broker.address, topic, more)
    consumer = subscribe(broker.address, "kept", topic)
    assert poll_values([consumer], 10) == [r.value for r in more]
    consumer.close()
