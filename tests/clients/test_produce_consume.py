"""Every client writes and reads back, in every codec, from offsets and from times."""

from __future__ import annotations

import random
import time

import pytest
from conftest import client_codec_params, client_params, open_client

import records
from client import ClientError
from confluent_client import ConfluentClient
from records import Record, assert_same

DAY_MS = 24 * 60 * 60 * 1000
T0 = 1_700_000_000_000


def _sendable(client, candidates):
    return [r for r in candidates if client.can_send(r)]


@pytest.mark.parametrize("cls, codec", client_codec_params())
def test_what_goes_in_comes_out(broker, topics, cls, codec):
    client, topic = open_client(cls), topics.create()
    sent = records.plain(500) + _sendable(client, records.awkward())
    client.produce(broker.address, topic, sent, codec=codec)
    assert_same(sent, client.consume(broker.address, topic, offset=0))


@pytest.mark.parametrize("client", client_params(), indirect=True)
def test_headers(broker, topics, client):
    topic = topics.create()
    sent = _sendable(client, records.with_headers())
    client.produce(broker.address, topic, sent)
    assert_same(sent, client.consume(broker.address, topic, offset=0))


@pytest.mark.parametrize("client", client_params(), indirect=True)
def test_replay_from_each_offset(broker, topics, client):
    topic = topics.create()
    sent = records.plain(40)
    for start in range(0, 40, 10):
        client.produce(broker.address, topic, sent[start : start + 10], codec="gzip")
    for offset in (0, 1, 9, 10, 25, 39):
        read = client.consume(broker.address, topic, offset=offset)
        assert_same(sent[offset:], read, first_offset=offset)
    assert client.consume(broker.address, topic, offset=40) == []


@pytest.mark.parametrize("client", client_params(can_set_timestamps=True), indirect=True)
def test_replay_from_a_time(broker, topics, client):
    topic = topics.create(retention_ms="-1")
    sent = [Record(b"k", b"%d" % i, (), T0 + i * 1000) for i in range(50)]
    for start in range(0, 50, 5):
        client.produce(broker.address, topic, sent[start : start + 5], codec="snappy")
    _check_replay_from_times(client, broker.address, topic, sent)


@pytest.mark.parametrize("client", client_params(can_set_timestamps=False), indirect=True)
def test_replay_from_a_time_that_another_client_wrote(broker, topics, client):
    topic = topics.create(retention_ms="-1")
    sent = [Record(b"k", b"%d" % i, (), T0 + i * 1000) for i in range(50)]
    for start in range(0, 50, 5):
        open_client(ConfluentClient).produce(broker.address, topic, sent[start : start + 5])
    _check_replay_from_times(client, broker.address, topic, sent)


def _check_replay_from_times(client, address, topic, sent):
    for timestamp, first in [
        (T0 - DAY_MS, 0),
        (T0, 0),
        (T0 + 1, 1),
        (T0 + 23_000, 23),  # Within a batch: the very record, not its batch.
        (T0 + 23_500, 24),
        (T0 + 49_000, 49),
    ]:
        read = client.consume(address, topic, timestamp_ms=timestamp)
        assert_same(sent[first:], read, first_offset=first)
    assert client.consume(address, topic, timestamp_ms=T0 + DAY_MS) == []


@pytest.mark.parametrize("client", client_params(), indirect=True)
def test_each_partition_keeps_its_own_offsets(broker, topics, client):
    topic = topics.create(partitions=3)
    sent = {p: records.plain(20 + p, seed=p) for p in range(3)}
    for partition, batch in sent.items():
        client.produce(broker.address, topic, batch, partition=partition)
    for partition, batch in sent.items():
        assert_same(batch, client.consume(broker.address, topic, partition=partition, offset=0))


@pytest.mark.parametrize("client", client_params(can_be_idempotent=True), indirect=True)
def test_idempotent_produce(broker, topics, client):
    topic = topics.create()
    sent = records.plain(2000)
    client.produce(broker.address, topic, sent, codec="lz4", idempotent=True)
    assert_same(sent, client.consume(broker.address, topic, offset=0))


@pytest.mark.parametrize("acks", ["0", "1", "all"])
@pytest.mark.parametrize("client", client_params(), indirect=True)
def test_acks(broker, topics, client, acks):
    topic = topics.create()
    sent = records.plain(100)
    client.produce(broker.address, topic, sent, acks=acks)
    if acks == "0":  # The client may be done before the broker is.
        _wait_for_records(client, broker.address, topic, 100)
    assert_same(sent, client.consume(broker.address, topic, offset=0))


def _wait_for_records(client, address, topic, count):
    for _ in range(100):
        if len(client.consume(address, topic, offset=0)) >= count:
            return
        time.sleep(0.1)


@pytest.mark.parametrize("codec", ["none", "zstd"])
@pytest.mark.parametrize("client", client_params(), indirect=True)
def test_records_near_the_limit(broker, topics, client, codec):
    """The default limit of 1,048,588 bytes is on the whole batch, its header of 61 bytes included."""
    topic = topics.create()
    value = random.Random(3).randbytes(1_048_000)
    sent = [Record(b"big", value), Record(b"small", b"after"), Record(b"big", value[::-1])]
    options = {"message.max.bytes": "1100000"}
    client.produce(broker.address, topic, sent, codec=codec, options=options)
    assert_same(sent, client.consume(broker.address, topic, offset=0))


@pytest.mark.parametrize("client", client_params(), indirect=True)
def test_a_record_over_the_limit_is_refused(broker, topics, client):
    topic = topics.create(max_message_bytes="10000")
    fits, too_large = [Record(b"k", b"x" * 9000)], [Record(b"k", b"x" * 11_000)]
    client.produce(broker.address, topic, fits)
    with pytest.raises(ClientError, match="(?i)too.?large|larger than|max message size"):
        client.produce(broker.address, topic, too_large)
    client.produce(broker.address, topic, fits)
    assert_same(fits * 2, client.consume(broker.address, topic, offset=0))


@pytest.mark.parametrize("client", client_params(), indirect=True)
def test_a_topic_may_allow_larger_records(broker, topics, client):
    topic = topics.create(max_message_bytes="5000000")
    sent = [Record(b"k", b"%07d" % i * 600_000) for i in range(1)]
    client.produce(broker.address, topic, sent, options={"message.max.bytes": "8000000"})
    assert_same(sent, client.consume(broker.address, topic, offset=0))


@pytest.mark.parametrize("reader", client_params())
@pytest.mark.parametrize("writer", client_params())
def test_each_reads_what_each_wrote(broker, topics, writer, reader):
    """One topic, one batch in every codec of the writer, read by every other client."""
    client, topic = open_client(writer), topics.create()
    sent = []
    for codec in writer.codecs:
        batch = records.plain(30, seed=len(sent)) + _sendable(client, records.awkward(seed=len(sent)))
        client.produce(broker.address, topic, batch, codec=codec)
        sent += batch
    assert_same(sent, open_client(reader).consume(broker.address, topic, offset=0))
