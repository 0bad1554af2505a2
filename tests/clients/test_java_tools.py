"""Kafka's own command line tools, each in a JVM of its own, as an operator runs them."""

from __future__ import annotations

import json
import re

import pytest
from conftest import open_client
from confluent_kafka.admin import OffsetSpec

import records
from client import ClientError
from confluent_client import ConfluentClient
from java_client import run_tool
from records import assert_same

TOPIC = "org.apache.kafka.tools.TopicCommand"
CONFIG = "kafka.admin.ConfigCommand"
CONSOLE_PRODUCER = "org.apache.kafka.tools.ConsoleProducer"
CONSOLE_CONSUMER = "org.apache.kafka.tools.consumer.ConsoleConsumer"
GET_OFFSETS = "org.apache.kafka.tools.GetOffsetShell"
DELETE_RECORDS = "org.apache.kafka.tools.DeleteRecordsCommand"
PRODUCER_PERFORMANCE = "org.apache.kafka.tools.ProducerPerformance"
CONSUMER_PERFORMANCE = "org.apache.kafka.tools.ConsumerPerformance"
LOG_DIRS = "org.apache.kafka.tools.LogDirsCommand"
API_VERSIONS = "org.apache.kafka.tools.BrokerApiVersionsCommand"
CLUSTER = "org.apache.kafka.tools.ClusterTool"

pytestmark = pytest.mark.java


def _at(broker) -> list[str]:
    return ["--bootstrap-server", broker.address]


def test_topic_command(broker, topics):
    name = "made-by-topic-command"
    run_tool(
        TOPIC, *_at(broker), "--create", "--topic", name, "--partitions", "2", "--replication-factor", "1",
        "--config", "retention.ms=3600000",
    )  # fmt: skip
    assert name in run_tool(TOPIC, *_at(broker), "--list").split()

    described = run_tool(TOPIC, *_at(broker), "--describe", "--topic", name)
    assert "PartitionCount: 2" in described
    assert "ReplicationFactor: 1" in described
    assert "retention.ms=3600000" in described
    assert re.search(r"Partition: 1\s+Leader: \d+\s+Replicas: \d+\s+Isr: \d+", described)

    run_tool(TOPIC, *_at(broker), "--alter", "--topic", name, "--partitions", "5")
    described = run_tool(TOPIC, *_at(broker), "--describe", "--topic", name)
    assert "PartitionCount: 5" in described

    run_tool(TOPIC, *_at(broker), "--delete", "--topic", name)
    assert name not in run_tool(TOPIC, *_at(broker), "--list").split()


def test_topic_command_is_told_what_is_wrong(broker, topics):
    existing = topics.create()
    for arguments, complaint in [
        (["--create", "--topic", existing], "already exists"),
        (["--create", "--topic", "in/valid"], "(?i)invalid|contains one or more characters"),
        (["--create", "--topic", "x", "--config", "no.such=1"], "(?i)unknown topic config|no.such"),
        (["--create", "--topic", "x", "--config", "retention.ms=abc"], "(?i)invalid value abc|not a number"),
        (["--create", "--topic", "x", "--replication-factor", "3"], "(?i)replication factor"),
        (["--alter", "--topic", existing, "--partitions", "1"], "(?i)partition"),
    ]:
        with pytest.raises(ClientError, match=complaint):
            run_tool(TOPIC, *_at(broker), *arguments)


def test_config_command_on_a_topic(broker, topics):
    name = topics.create()
    entity = [*_at(broker), "--entity-type", "topics", "--entity-name", name]
    run_tool(CONFIG, *entity, "--alter", "--add-config", "retention.bytes=123456,cleanup.policy=[compact,delete]")
    described = run_tool(CONFIG, *entity, "--describe")
    assert "retention.bytes=123456" in described
    assert "cleanup.policy=compact,delete" in described

    everything = run_tool(CONFIG, *entity, "--describe", "--all")
    assert re.search(r"segment\.bytes=1073741824 ", everything)

    run_tool(CONFIG, *entity, "--alter", "--delete-config", "retention.bytes")
    assert "retention.bytes=123456" not in run_tool(CONFIG, *entity, "--describe")
    with pytest.raises(ClientError, match="(?i)invalid|unknown"):
        run_tool(CONFIG, *entity, "--alter", "--add-config", "cleanup.policy=shred")


def test_config_command_on_a_broker(broker, topics):
    (broker_id,) = topics.admin.list_topics(timeout=30).brokers
    entity = [*_at(broker), "--entity-type", "brokers", "--entity-name", str(broker_id)]
    everything = run_tool(CONFIG, *entity, "--describe", "--all")
    assert "num.partitions=" in everything
    assert "log.retention.hours=168" in everything

    run_tool(CONFIG, *entity, "--alter", "--add-config", "message.max.bytes=2000000")
    assert "message.max.bytes=2000000" in run_tool(CONFIG, *entity, "--describe")
    run_tool(CONFIG, *entity, "--alter", "--delete-config", "message.max.bytes")
    assert "message.max.bytes=2000000" not in run_tool(CONFIG, *entity, "--describe")


def test_config_command_on_a_group(own_broker):
    broker = own_broker()
    entity = [*_at(broker), "--entity-type", "groups", "--entity-name", "some group"]
    everything = run_tool(CONFIG, *entity, "--describe", "--all")
    assert "consumer.session.timeout.ms=45000" in everything
    assert "consumer.heartbeat.interval.ms=5000" in everything
    run_tool(CONFIG, *entity, "--alter", "--add-config", "consumer.session.timeout.ms=50000")
    with pytest.raises(ClientError, match="group.consumer.max.session.timeout.ms"):
        run_tool(CONFIG, *entity, "--alter", "--add-config", "consumer.session.timeout.ms=70000")
    broker.kill()
    broker.start()
    all_groups = run_tool(CONFIG, *_at(broker), "--entity-type", "groups", "--describe")
    assert "configs for group some group are:" in all_groups
    assert "DYNAMIC_GROUP_CONFIG:consumer.session.timeout.ms=50000" in all_groups
    assert "consumer.heartbeat.interval.ms" not in all_groups
    run_tool(CONFIG, *entity, "--alter", "--delete-config", "consumer.session.timeout.ms")
    assert "50000" not in run_tool(CONFIG, *entity, "--describe", "--all")


def test_console_producer_and_consumer(broker, topics):
    topic = topics.create()
    lines = [f"key{i}\tvalue {i}" for i in range(500)]
    run_tool(
        CONSOLE_PRODUCER, *_at(broker), "--topic", topic, "--compression-codec", "lz4",
        "--reader-property", "parse.key=true", stdin="\n".join(lines).encode(),
    )  # fmt: skip
    read = _console(broker, topic, "--partition", "0", "--offset", "earliest", "--max-messages", "500")
    assert read.splitlines() == lines
    replayed = _console(broker, topic, "--partition", "0", "--offset", "490", "--max-messages", "10")
    assert replayed.splitlines() == lines[490:]


def _console(broker, topic, *arguments):
    return run_tool(
        CONSOLE_CONSUMER, *_at(broker), "--topic", topic, "--timeout-ms", "30000",
        "--formatter-property", "print.key=true", *arguments,
    )  # fmt: skip


def test_console_producer_with_headers(broker, topics):
    topic = topics.create()
    run_tool(
        CONSOLE_PRODUCER, *_at(broker), "--topic", topic, "--reader-property", "parse.headers=true",
        stdin=b"trace:abc,span:7\thello",
    )  # fmt: skip
    (read,) = open_client(ConfluentClient).consume(broker.address, topic, offset=0)
    assert read.value == b"hello"
    assert read.headers == (("trace", b"abc"), ("span", b"7"))


def test_get_offset_shell(broker, topics):
    topic = topics.create(partitions=2, retention_ms="-1")
    client = open_client(ConfluentClient)
    base = 1_700_000_000_000
    sent = [records.Record(b"k", b"v", (), base + i * 1000) for i in range(20)]
    client.produce(broker.address, topic, sent)

    def offsets(time):
        output = run_tool(GET_OFFSETS, *_at(broker), "--topic", topic, "--time", time)
        return [line.strip() for line in output.splitlines() if line.startswith(topic)]

    assert offsets("latest") == [f"{topic}:0:20", f"{topic}:1:0"]
    assert offsets("earliest") == [f"{topic}:0:0", f"{topic}:1:0"]
    assert f"{topic}:0:7" in offsets(str(base + 6_500))
    assert f"{topic}:0:19" in offsets("max-timestamp")


def test_delete_records_command(broker, topics, tmp_path):
    topic = topics.create()
    client, sent = open_client(ConfluentClient), records.plain(100)
    client.produce(broker.address, topic, sent)
    request = tmp_path / "delete.json"
    partitions = [{"topic": topic, "partition": 0, "offset": 60}]
    request.write_text(json.dumps({"partitions": partitions, "version": 1}))
    output = run_tool(DELETE_RECORDS, *_at(broker), "--offset-json-file", str(request))
    assert re.search(rf"partition: {topic}-0\s+low_watermark: 60", output)
    assert topics.offsets(topic, OffsetSpec.earliest()).offset == 60
    assert_same(sent[60:], client.consume(broker.address, topic, offset=60), first_offset=60)
    with pytest.raises(ClientError, match="(?i)out.of.range"):
        client.consume(broker.address, topic, offset=10)


@pytest.mark.parametrize("codec", ["none", "zstd"])
def test_performance_tools(broker, topics, codec):
    """Not for the figures: 50,000 records go in and as many come out."""
    topic = topics.create(partitions=3)
    output = run_tool(
        PRODUCER_PERFORMANCE, "--topic", topic, "--num-records", "50000", "--record-size", "100", "--throughput",
        "-1", "--producer-props", f"bootstrap.servers={broker.address}", "acks=all", f"compression.type={codec}",
    )  # fmt: skip
    assert "50000 records sent" in output
    total = sum(topics.offsets(topic, OffsetSpec.latest(), p).offset for p in range(3))
    assert total == 50_000

    # Needs group coordination: the tool subscribes.
    output = run_tool(
        CONSUMER_PERFORMANCE, *_at(broker), "--topic", topic, "--num-records", "50000", "--timeout", "30000"
    )
    figures = [field.strip() for field in output.strip().splitlines()[-1].split(",")]
    assert int(figures[4]) == 50_000


def test_log_dirs_command(broker, topics):
    topic = topics.create()
    open_client(ConfluentClient).produce(broker.address, topic, records.plain(100))
    output = run_tool(LOG_DIRS, *_at(broker), "--describe", "--topic-list", topic)
    described = json.loads(next(line for line in output.splitlines() if line.startswith("{")))
    (directory,) = described["brokers"][0]["logDirs"]
    assert directory["error"] is None
    (partition,) = directory["partitions"]
    assert partition["partition"] == f"{topic}-0"
    assert partition["size"] > 5000


def test_broker_api_versions_command(broker):
    output = run_tool(API_VERSIONS, *_at(broker))
    for api in ("Produce(0)", "Fetch(1)", "ListOffsets(2)", "Metadata(3)", "ApiVersions(18)", "CreateTopics(19)"):
        line = next(line for line in output.splitlines() if line.strip().startswith(api))
        assert "usable" in line, line


def test_cluster_tool(broker):
    output = run_tool(CLUSTER, "cluster-id", *_at(broker))
    assert re.search(r"Cluster ID: [A-Za-z0-9_-]{22}$", output.strip())
