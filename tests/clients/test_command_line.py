"""The command line, from topic to topic's end. It must do the same with Apache Kafka: MILLRACE_TEST_TARGET=kafka."""

from __future__ import annotations

import json
import pathlib
import re
import signal
import socket
import subprocess
import time

import pytest
from confluent_kafka import Producer

from broker import IS_KAFKA
from command_line import TIMEOUT_S, CommandLine


@pytest.fixture
def topic(topics):
    # Records of some tests are old; retention must leave them.
    return topics.create(partitions=3, retention_ms="-1")


def test_life_of_a_topic(millrace):
    name = "life-of-a-topic"
    made = millrace.json("topic", "create", name, "-p", "3", "-c", "retention.ms=86400000")
    assert (made["name"], made["created"], made["partitions"]) == (name, True, 3)
    assert "already exists" in millrace.complaint("topic", "create", name)
    assert millrace.json("topic", "create", name, "--if-not-exists")["created"] is False
    assert "--partitions" in millrace.complaint("topic", "create", "other", "-p", "0", code=2)
    listed = {t["name"]: t for t in millrace.json("topic", "list")}
    assert listed[name]["partitions"] == 3
    assert listed[name]["id"] == made["id"]
    assert name in millrace.lines("topic", "list", "--names", "--match", "^life")
    assert name not in millrace.lines("topic", "list", "--names", "--match", "^death")

    millrace("topic", "alter", name, "-p", "5", "--set", "compression.type=zstd", "--unset", "retention.ms")
    described = millrace.json("topic", "describe", name)[0]
    assert len(described["partitions"]) == 5
    settings = {c["name"]: c for c in described["configs"]}
    assert (settings["compression.type"]["value"], settings["compression.type"]["source"]) == ("zstd", "topic")
    assert settings["retention.ms"]["source"] != "topic"
    assert "compression.type" in millrace.text("topic", "describe", name)
    assert "INVALID_CONFIG" in millrace.complaint("topic", "alter", name, "--set", "retention.ms=soon")
    assert "INVALID_PARTITIONS" in millrace.complaint("topic", "alter", name, "--partitions", "2")
    assert "nothing to change" in millrace.complaint("topic", "alter", name, code=2)

    assert millrace.json("topic", "delete", name)[0]["deleted"] is True
    assert name not in millrace.lines("topic", "list", "-q")
    for command in (["delete"], ["describe"], ["alter", "--partitions", "9"]):
        assert f'no topic "{name}"' in millrace.complaint("topic", command[0], name, *command[1:])
    millrace("topic", "delete", name, "--if-exists")


def test_validate_only_creates_nothing(millrace):
    millrace("topic", "create", "only-validated", "--validate-only")
    assert "only-validated" not in millrace.lines("topic", "list", "-q")


def test_delete_by_expression_takes_whole_names(millrace):
    for name in ("bulk-1", "bulk-2", "bulk-2-not"):
        millrace("topic", "create", name)
    deleted = millrace.json("topic", "delete", "--match", "bulk-[0-9]")
    assert [t["name"] for t in deleted] == ["bulk-1", "bulk-2"]
    assert "bulk-2-not" in millrace.lines("topic", "list", "-q")


def test_cluster_info(millrace, broker):
    info = millrace.json("cluster", "info")
    assert re.fullmatch(r"[\w-]{22}", info["cluster_id"])
    assert [f"{b['host']}:{b['port']}" for b in info["brokers"]] == [broker.address]
    assert {a["name"] for a in info["brokers"][0]["apis"]} >= {"Produce", "Fetch", "Metadata"}
    assert info["cluster_id"] in millrace.text("cluster", "info")


def test_keys_land_where_java_puts_them(millrace, topic):
    report = millrace.json("produce", topic, "-K", ":", stdin="a:1\nab:2\nabc:3\nabcd:4\nkey-1:5\n")
    assert report["records"] == 5
    where = dict(line.split("=") for line in millrace.lines("consume", topic, "-F", "%k=%p\\n"))
    # toPositive(murmur2(key)) % 3 of kafka-clients 4.3.1.
    assert where == {"a": "1", "ab": "2", "abc": "0", "abcd": "2", "key-1": "0"}


def test_everything_a_record_has(millrace, topic):
    line = {"key": "k", "value_base64": "AP8Q", "partition": 2, "timestamp": 1764000000000,
            "headers": [{"name": "h", "value": "1"}, {"name": "n", "value": None}, {"name": "b", "value_base64": "/w=="}]}  # fmt: skip
    millrace("produce", topic, "--json", "-H", "all=yes", "-q", stdin=json.dumps(line))
    read = json.loads(millrace.text("consume", topic, "--json"))
    assert read.pop("headers") == [*line.pop("headers"), {"name": "all", "value": "yes"}]
    assert read == {"topic": topic, "offset": 0, "timestamp_type": "create", **line}


def test_what_consume_writes_as_json_produce_reads(millrace, topics):
    first, second = topics.create(), topics.create()
    millrace("produce", first, "-F", "%k\\t%h\\t%s\\n", stdin="a\tx=1,y=\tone\nb\t\ttwo\n")
    lines = millrace.text("consume", first, "--json")
    millrace("produce", second, "--json", stdin=lines)
    assert millrace.text("consume", second, "--json").replace(second, first) == lines


def test_null_and_empty_differ(millrace, topics):
    topic = topics.create()
    millrace("produce", topic, "-K", ":", "-Z", "NULL", stdin="NULL:v\nk:NULL\nk:\n")
    assert millrace.lines("consume", topic, "-F", "%K %S\\n") == ["-1 1", "1 -1", "1 0"]


def test_files_are_records(millrace, topics, tmp_path):
    topic = topics.create()
    (tmp_path / "one").write_bytes(b"first\nfile\n")
    (tmp_path / "two").write_bytes(bytes(range(256)))
    millrace("produce", topic, str(tmp_path / "one"), str(tmp_path / "two"), "-k", "f")
    assert millrace("consume", topic, "-F", "%k%s|").stdout == b"ffirst\nfile\n|f" + bytes(range(256)) + b"|"
    assert "no such" in millrace.complaint("produce", topic, str(tmp_path / "three")).lower()


@pytest.mark.parametrize("codec", ["none", "gzip", "snappy", "lz4", "zstd"])
@pytest.mark.parametrize("how", [["-a", "0"], ["-a", "1"], ["-i"]], ids=["acks-0", "acks-1", "idempotent"])
def test_codecs_and_acks(millrace, topic, codec, how):
    numbers = [str(n) for n in range(20_000)]
    # With acks 0 a broker that doesn't lead the new partitions yet would drop records.
    millrace("produce", topic, "--json", stdin="\n".join(f'{{"value":"x","partition":{p}}}' for p in range(3)))
    millrace("topic", "trim", topic, "--before", "end")
    millrace("produce", topic, "-z", codec, "--batch-size", "8k", *how, stdin="\n".join(numbers))
    deadline = time.monotonic() + 20
    while time.monotonic() < deadline:
        got = millrace.lines("consume", topic)
        if len(got) == len(numbers):  # Nobody waited for acks 0.
            break
    assert sorted(got, key=int) == numbers


@pytest.fixture
def hundred(millrace, topics):
    """A topic with the values 0 to 99 in one partition, a second apart from 2026-01-01."""
    topic = topics.create(retention_ms="-1")
    lines = [json.dumps({"value": str(n), "timestamp": f"2026-01-01T00:{n // 60:02}:{n % 60:02}Z"}) for n in range(100)]
    millrace("produce", topic, "--json", "--batch-size", "1", "-i", stdin="\n".join(lines))
    return topic


@pytest.mark.parametrize(
    ("position", "first", "last"),
    [("start", 0, 99), ("97", 97, 99), ("-3", 97, 99), ("10:13", 10, 12), (":2", 0, 1), ("-5:-2", 95, 97),
     ("@2026-01-01T00:01:30Z", 90, 99), ("@2026-01-01T01:00:10+01:00:@2026-01-01T00:00:12Z", 10, 11),
     ("@1767225600500:3", 1, 2), ("98:end", 98, 99), ("0:1000000", 0, 99)],
)  # fmt: skip
def test_positions(millrace, hundred, position, first, last):
    assert millrace.lines("consume", hundred, "-o", position) == [str(n) for n in range(first, last + 1)]


def test_positions_with_nothing_to_read(millrace, hundred):
    for position in ("end", "5:5", "@-1h", "@2030-01-01"):
        assert millrace.text("consume", hundred, "-o", position) == ""
    assert '"7:3" ends before it starts' in millrace.complaint("consume", hundred, "-o", "7:3", code=2)
    assert "past the end" in millrace("consume", hundred, "-o", "1000").stderr.decode()
    assert millrace.lines("consume", hundred, "-c", "2") == ["0", "1"]
    assert millrace.text("consume", hundred, "-c", "0") == ""


def test_trim(millrace, hundred):
    assert millrace.json("topic", "trim", hundred, "--before", "@2026-01-01T00:00:40Z")[0]["start_offset"] == 40
    assert millrace.lines("consume", hundred)[0] == "40"
    done = millrace("consume", hundred, "-o", "5", "-c", "1")
    assert done.stdout == b"40\n"
    assert "before offset 40 are gone" in done.stderr.decode()
    assert millrace.json("topic", "trim", hundred, "--before", "10")[0]["deleted"] == 0
    assert millrace.json("topic", "trim", hundred, "--before", "end")[0]["start_offset"] == 100
    assert millrace.text("consume", hundred) == ""


def test_partitions_merge_by_time(millrace, topic):
    lines = [json.dumps({"value": str(n), "partition": n * 7 % 3, "timestamp": 1764000000000 + n}) for n in range(3000)]
    millrace("produce", topic, "--json", "--batch-size", "2k", stdin="\n".join(lines))
    assert millrace.lines("consume", topic) == [str(n) for n in range(3000)]
    assert millrace.lines("consume", topic, "-p", "1,2", "--grep", "^7[0-9]$") == [str(n) for n in range(70, 80) if n * 7 % 3]


def test_follow_until_interrupted(millrace, topics):
    topic = topics.create()
    millrace("produce", topic, stdin="old\n")
    follower = millrace.start("consume", topic, "-f", "-o", "-1")
    try:
        assert follower.stdout.readline() == b"old\n"
        millrace("produce", topic, stdin="new\n")
        assert follower.stdout.readline() == b"new\n"
        follower.send_signal(signal.SIGINT)
        assert follower.wait(20) == 0
    finally:
        follower.kill()


def test_lines_are_sent_as_they_come(millrace, topics):
    topic = topics.create()
    producer = millrace.start("produce", topic)
    try:
        producer.stdin.write(b"typed\n")
        producer.stdin.flush()
        deadline = time.monotonic() + 20
        while millrace.lines("consume", topic) != ["typed"]:
            assert time.monotonic() < deadline
        producer.send_signal(signal.SIGINT)
        assert producer.wait(20) == 0
    finally:
        producer.kill()


def test_kafkas_option_names(millrace, broker):
    name = "kafkas-names"
    millrace("topic", "create", "--bootstrap-server", broker.address, "--topic", name, "--partitions", "1",
             "--replication-factor", "1", "--config", "retention.ms=1000000")  # fmt: skip
    millrace("produce", "--topic", name, "--property", "parse.key=true", "--property", "key.separator=:", stdin="k:v\n")
    read = millrace.text("consume", "--topic", name, "--from-beginning", "--max-messages", "1", "--partition", "0",
                         "--property", "print.key=true")  # fmt: skip
    assert read == "k\tv\n"


def test_failures_name_what_failed(millrace, topic):
    report = millrace.complaint("produce", topic, "-K", ":", stdin="a:1\nno delimiter\nb:2\n")
    assert 'record 2: no ":" in the line, so no key (--key-delimiter)' in report
    assert millrace.lines("consume", topic) == ["1"]
    assert "has no partition 9" in millrace.complaint("produce", topic, "-p", "9", stdin="x\n")
    too_large = millrace.complaint("produce", topic, "--batch-size", "2M", stdin="small\n" + "x" * 1_500_000 + "\n")
    assert re.search(r"record.* (1-)?2 for .*MESSAGE_TOO_LARGE", too_large)
    assert "has no partition 3" in millrace.complaint("consume", topic, "-p", "1-3")
    assert "did you mean" in millrace.complaint("consume", topic + "x")
    assert "did you mean" in millrace.complaint("produce", topic + "x", stdin="x")


def test_a_lost_batch_does_not_block_an_idempotent_producer(millrace, topics):
    topic = topics.create(max_message_bytes="5000")
    lines = ["first", "x" * 10_000, "last"]
    complaint = millrace.complaint("produce", topic, "-i", "--batch-size", "1", stdin="\n".join(lines))
    assert "record 2 for" in complaint
    assert millrace.lines("consume", topic) == ["first", "last"]


def test_no_broker():
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        nobody = CommandLine(f"127.0.0.1:{unused.getsockname()[1]}")
        started = time.monotonic()
        assert "Connection refused" in nobody.complaint("topic", "list")
        assert time.monotonic() - started < 20, "it must not wait for a broker that isn't there"


def test_what_answers_is_no_broker():
    with socket.create_server(("127.0.0.1", 0)) as server:
        process = CommandLine(f"127.0.0.1:{server.getsockname()[1]}").start("topic", "list", "--timeout", "10s")
        connection, _ = server.accept()
        connection.sendall(b"HTTP/1.1 400 Bad Request\r\n\r\n")
        _, complaint = process.communicate(timeout=TIMEOUT_S)
        connection.close()
    assert process.returncode == 1
    assert b"not Kafka's protocol" in complaint


def test_produce_outlives_a_restart(own_broker):
    broker = own_broker()
    millrace = CommandLine(broker.address)
    millrace("topic", "create", "restarted", "-p", "1")
    producer = millrace.start("produce", "restarted", "-i", "--timeout", "60s")
    for n in range(50):
        producer.stdin.write(f"{n}\n".encode())
    producer.stdin.flush()
    while len(millrace.lines("consume", "restarted")) < 50:
        time.sleep(0.05)
    broker.kill()
    for n in range(50, 100):
        producer.stdin.write(f"{n}\n".encode())
    producer.stdin.flush()
    time.sleep(0.3)
    broker.start()
    _, complaint = producer.communicate(timeout=TIMEOUT_S)
    assert producer.returncode == 0, complaint.decode()
    assert millrace.lines("consume", "restarted") == [str(n) for n in range(100)]


@pytest.mark.parametrize("end", ["end of input", "SIGTERM"])
def test_produce_ends_without_its_broker(own_broker, end):
    """Records come while the broker dies for good: each is reported as failed, with the reason, in time."""
    broker = own_broker()
    millrace = CommandLine(broker.address)
    millrace("topic", "create", "bereft", "-p", "1")
    producer = millrace.start("produce", "bereft", "--timeout", "2s", "--output", "json")
    try:
        for n in range(40):
            producer.stdin.write(f"{n}\n".encode())
            producer.stdin.flush()
            if n == 10:
                broker.kill()
            time.sleep(0.1)
        started = time.monotonic()
        if end == "SIGTERM":
            producer.send_signal(signal.SIGTERM)
            assert producer.wait(20) == 1
        report, complaint = producer.communicate(timeout=20)
    finally:
        producer.kill()
    assert time.monotonic() - started < 8, "it must not wait for a broker that isn't there"
    assert producer.returncode == 1
    report = json.loads(report)
    assert report["records"] > 0
    assert report["failed"] > 0
    if end == "end of input":
        assert report["records"] + report["failed"] == 40
    assert "Connection refused" in complaint.decode()
    assert "no leader" not in complaint.decode()


def test_benchmarks(millrace):
    sent = millrace.json("bench", "produce", "benchmark", "--create", "2", "-c", "5000", "-s", "100", "-z", "lz4", "-i")
    assert (sent["records"], sent["failed"]) == (5000, 0)
    latency = sent["latency_ms"]
    assert 0 < latency["p50"] <= latency["p95"] <= latency["p99"] <= latency["p99.9"] <= latency["max"]
    got = millrace.json("bench", "consume", "benchmark", "--decode")
    assert got["records"] == 5000
    assert "RECORDS/S" in millrace.text("bench", "consume", "benchmark")


def test_logs_offline(own_broker):
    broker = own_broker()
    millrace = CommandLine(broker.address)
    millrace("topic", "create", "offline", "-p", "1")
    millrace("produce", "offline", "-z", "gzip", "-K", ":", stdin="a:1\nb:2\n")
    millrace("produce", "offline", stdin="3\n")
    broker.stop()
    data = str(broker.directory / "data")
    verdict = next(v for v in millrace.json("log", "verify", data) if v["topic"] == "offline")
    assert (verdict["sound"], verdict["records"], verdict["batches"], verdict["last_offset"]) == (True, 3, 2, 2)
    partition = verdict["path"]
    batches = [json.loads(line) for line in millrace.lines("log", "dump", partition, "--output", "json")]
    assert [(b["base_offset"], b["records"], b["compression"]) for b in batches] == [(0, 2, "gzip"), (2, 1, "none")]
    assert millrace.lines("log", "dump", "-r", partition, "-o", "-2", "-F", "%o %k=%s\\n") == ["1 b=2", "2 =3"]

    segment = next(pathlib.Path(partition).glob("*.log"))
    content = bytearray(segment.read_bytes())
    content[batches[1]["position"] + 65] ^= 1
    segment.write_bytes(content)
    done = millrace("log", "verify", str(segment), "--output", "json", code=1)
    assert json.loads(done.stdout)[0]["damages"][0]["position"] == batches[1]["position"]
    assert str(segment) in done.stderr.decode()


def test_a_partition_out_of_service_leaves_the_others_readable(own_broker):
    broker = own_broker()
    millrace = CommandLine(broker.address)
    millrace("topic", "create", "partly", "-p", "3")
    for partition in range(3):
        millrace("produce", "partly", "-p", str(partition), stdin=f"of {partition}\n")
    broker.stop()
    segment = next((broker.directory / "data" / "topics" / "partly-1").glob("*.log"))
    segment.rename(segment.with_suffix(".elsewhere"))
    broker.start()
    done = millrace("consume", "partly", code=1)
    assert sorted(done.stdout.decode().split("\n")) == ["", "of 0", "of 2"]
    assert "out of service: partition 1" in done.stderr.decode()
    assert millrace.lines("consume", "partly", "-p", "0,2") != []
    assert b"out of service" in millrace("consume", "partly", "-p", "1", code=1).stderr
    described = millrace("topic", "describe", "partly", "--output", "json")
    partitions = json.loads(described.stdout)[0]["partitions"]
    assert [p["end_offset"] for p in partitions] == [1, None, 1]
    assert b"out of service: partition 1" in described.stderr


def test_completion_scripts():
    millrace = CommandLine("127.0.0.1:1")
    script = millrace.text("completion", "bash")

    def complete(*words: str) -> list[str]:
        quoted = " ".join(f"'{word}'" for word in words)
        code = f'COMP_WORDS=({quoted}); COMP_CWORD={len(words) - 1}; _millrace; printf "%s\\n" "${{COMPREPLY[@]}}"'
        done = subprocess.run(["bash", "-c", script + code], capture_output=True, text=True, check=True, timeout=20)
        return done.stdout.split()

    assert {"topic", "produce", "consume", "completion"} <= set(complete("millrace", ""))
    assert complete("millrace", "topic", "cr") == ["create"]
    assert complete("millrace", "topic", "create", "--repl") == ["--replication-factor"]
    assert complete("millrace", "produce", "t", "-z", "zs") == ["zstd"]
    assert complete("millrace", "completion", "z") == ["zsh"]
    for shell in ("zsh", "fish"):
        assert "consume" in millrace.text("completion", shell)


@pytest.mark.skipif(not IS_KAFKA, reason="needs a broker with transactions")
def test_isolation_levels(millrace, topics, broker):
    topic = topics.create()
    producer = Producer({"bootstrap.servers": broker.address, "transactional.id": topic})
    producer.init_transactions()
    for value, commits in (("a", True), ("b", False), ("c", True)):
        producer.begin_transaction()
        for copy in range(3):
            producer.produce(topic, f"{value}{copy}")
        producer.flush()  # An abort drops what hasn't been sent.
        producer.commit_transaction() if commits else producer.abort_transaction()
    everything = [f"{v}{n}" for v in "abc" for n in range(3)]
    assert millrace.lines("consume", topic) == everything
    committed = [v for v in everything if not v.startswith("b")]
    assert millrace.lines("consume", topic, "--isolation", "read_committed") == committed
