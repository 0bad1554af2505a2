"""Topic settings whose effect a client can see."""

from __future__ import annotations

import time

import pytest
from conftest import client_params, open_client
from confluent_kafka.admin import OffsetSpec

import records
from client import ALL_CODECS, ClientError
from confluent_client import ConfluentClient
from records import Record, assert_same

HOUR_MS = 60 * 60 * 1000


@pytest.mark.parametrize("stored_as", ["gzip", "snappy", "lz4", "zstd", "uncompressed"])
def test_a_topics_own_compression(broker, topics, stored_as):
    """Whatever the producer chose, what comes back is the same."""
    client, topic = open_client(ConfluentClient), topics.create(compression_type=stored_as)
    sent = []
    for codec in ALL_CODECS:
        batch = records.plain(50, seed=len(sent))
        client.produce(broker.address, topic, batch, codec=codec)
        sent += batch
    assert_same(sent, client.consume(broker.address, topic, offset=0))


@pytest.mark.parametrize("client", client_params(can_set_timestamps=True), indirect=True)
def test_log_append_time(broker, topics, client):
    """The broker's clock replaces the producer's, in compressed batches too, and the CRC still holds."""
    topic = topics.create(message_timestamp_type="LogAppendTime")
    long_ago = int(time.time() * 1000) - 1000 * HOUR_MS
    sent = [Record(b"k", b"%d" % i, (), long_ago + i) for i in range(100)]
    before = int(time.time() * 1000)
    client.produce(broker.address, topic, sent, codec="zstd")
    after = int(time.time() * 1000)
    read = client.consume(broker.address, topic, offset=0)
    assert [r.content() for r in read] == [r.content() for r in sent]
    assert all(before <= r.timestamp_ms <= after for r in read)


@pytest.mark.parametrize("client", client_params(can_set_timestamps=True), indirect=True)
def test_a_timestamp_too_far_off_is_refused(broker, topics, client):
    topic = topics.create(message_timestamp_before_max_ms=str(HOUR_MS))
    now = int(time.time() * 1000)
    client.produce(broker.address, topic, [Record(b"k", b"now", (), now)])
    with pytest.raises(ClientError, match="(?i)timestamp"):
        client.produce(broker.address, topic, [Record(b"k", b"old", (), now - 2 * HOUR_MS)])
    assert len(client.consume(broker.address, topic, offset=0)) == 1


def test_max_timestamp(broker, topics):
    client, topic = open_client(ConfluentClient), topics.create(retention_ms="-1")
    base = 1_700_000_000_000
    times = [base, base + 5000, base + 9000, base + 1000, base + 2000]
    for i, timestamp in enumerate(times):
        client.produce(broker.address, topic, [Record(b"k", b"%d" % i, (), timestamp)])
    found = topics.offsets(topic, OffsetSpec.max_timestamp())
    assert (found.offset, found.timestamp) == (2, base + 9000)
    assert topics.offsets(topic, OffsetSpec.earliest()).offset == 0
    assert topics.offsets(topic, OffsetSpec.latest()).offset == 5


def test_many_small_segments(broker, topics):
    """A log of many segments reads as one, from every offset."""
    client = open_client(ConfluentClient)
    topic = topics.create(segment_bytes="1048576", index_interval_bytes="4096")
    sent = [Record(b"k%d" % i, bytes([i % 251]) * 3000) for i in range(2000)]
    for start in range(0, 2000, 100):
        client.produce(broker.address, topic, sent[start : start + 100])
    assert_same(sent, client.consume(broker.address, topic, offset=0))
    for offset in (1, 333, 777, 1234, 1999):
        read = client.consume(broker.address, topic, offset=offset)
        assert_same(sent[offset:], read, first_offset=offset)
