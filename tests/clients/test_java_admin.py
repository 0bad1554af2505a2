"""Java's admin client, in the JVM that the other tests of Java share."""

from __future__ import annotations

import re

import pytest
from conftest import open_client

import records
from java_client import JavaClient
from records import Record

pytestmark = pytest.mark.java


def test_the_life_of_a_topic(broker):
    seen = open_client(JavaClient).worker.call("administer", address=broker.address, topic="java-administers")
    assert re.fullmatch(r"[A-Za-z0-9_-]{22}", seen["cluster_id"])
    assert seen["nodes"] == 1
    assert seen["controller"] == seen["leader"]
    assert re.fullmatch(r"[A-Za-z0-9_-]{22}", seen["created_id"])
    assert seen["listed"]
    assert (seen["described_name"], seen["described_partitions"]) == ("java-administers", 3)
    assert seen["cleanup.policy"] == "delete,compact"
    assert (seen["segment.ms"], seen["segment.ms from"]) == ("12345", "DYNAMIC_TOPIC_CONFIG")
    assert (seen["retention.ms"], seen["retention.ms from"]) == ("604800000", "DEFAULT_CONFIG")
    assert not seen["listed_after"]


def test_a_partition_seen_by_the_admin_client(broker, topics):
    client, topic = open_client(JavaClient), topics.create(retention_ms="-1")
    base = 1_700_000_000_000
    sent = [Record(b"k", r.value, (), base - i) for i, r in enumerate(records.plain(100))]
    client.produce(broker.address, topic, sent, idempotent=True)
    seen = client.worker.call("examine", address=broker.address, topic=topic, delete_before=40)
    assert [(p["epoch"], p["last_sequence"]) for p in seen["producers"]] == [(0, 99)]
    assert seen["low_watermark"] == 40
    assert (seen["earliest"], seen["latest"], seen["earliest_local"]) == (40, 100, 40)
