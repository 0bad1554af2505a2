"""What the broker says of groups on /metrics and /groups/NAME."""

from __future__ import annotations

import json
import re
import struct
import time
import urllib.error
import urllib.parse
import urllib.request

import pytest
from confluent_kafka import Consumer, ConsumerGroupTopicPartitions, TopicPartition
from confluent_kafka.admin import AdminClient
from group_members import RdkafkaMember, wait_for

import wire
from broker import IS_KAFKA, UNDER_TSAN, free_port
from command_line import CommandLine

pytestmark = pytest.mark.skipif(IS_KAFKA, reason="Kafka has neither")
SAMPLE = re.compile(r'(\w+)(?:\{(.*)\})? ([^ ]+)')
LABEL = re.compile(r'(\w+)="((?:[^"\\]|\\.)*)"')
UNESCAPED = {r"\n": "\n", r"\"": '"', r"\\": "\\"}


class Watched:
    """A broker with its HTTP port."""

    def __init__(self, own_broker, settings: dict[str, str] | None = None):
        self.http = f"http://127.0.0.1:{free_port()}"
        own = {"http.listener": self.http.removeprefix("http://"), "offsets.topic.num.partitions": "5"}
        self.broker = own_broker({**own, **(settings or {})})
        self.millrace = CommandLine(self.broker.address)

    def get(self, path: str) -> tuple[int, str]:
        try:
            with urllib.request.urlopen(self.http + path) as answer:
                return answer.status, answer.read().decode()
        except urllib.error.HTTPError as error:
            return error.code, error.read().decode()

    def group(self, name: str) -> dict:
        status, text = self.get("/groups/" + urllib.parse.quote(name, safe=""))
        assert status == 200, text
        return json.loads(text)

    def samples(self) -> dict[tuple, float]:
        """By name and labels; nothing twice."""
        found = {}
        for line in self.get("/metrics")[1].splitlines():
            if line.startswith("#"):
                continue
            name, labels, value = SAMPLE.fullmatch(line).groups()
            pairs = [(k, re.sub(r"\\.", lambda m: UNESCAPED[m[0]], v)) for k, v in LABEL.findall(labels or "")]
            key = (name, *sorted(pairs))
            assert key not in found, key
            found[key] = float(value)
        return found


@pytest.fixture
def watched(own_broker):
    return Watched(own_broker)


def fill(millrace, topic: str, partitions: int, records: int, timestamp: str = "-1h") -> None:
    at = int((time.time() - 3600) * 1000) if timestamp == "-1h" else timestamp
    lines = "\n".join(f'{{"value": "{n}", "partition": {p}, "timestamp": {at}}}' for p in range(partitions) for n in range(records))
    millrace("produce", topic, "--json", "-q", stdin=lines)


def series(name: str, group: str, **labels: str) -> tuple:
    return (name, *sorted({"consumergroup": group, **labels}.items()))


def test_kafka_exporters_names(watched):
    millrace = watched.millrace
    millrace("topic", "create", "orders", "-p", "3")
    fill(millrace, "orders", 3, 10)
    millrace("group", "seek", "billing", "--to", "4", "-t", "orders", "-p", "0,1")
    millrace("group", "seek", "billing", "--to", "end", "-t", "orders", "-p", "2")
    seen = watched.samples()
    for partition, committed in (("0", 4), ("1", 4), ("2", 10)):
        labels = {"topic": "orders", "partition": partition}
        assert seen[series("kafka_consumergroup_current_offset", "billing", **labels)] == committed
        assert seen[series("kafka_consumergroup_lag", "billing", **labels)] == 10 - committed
        age = seen[series("millrace_consumergroup_lag_seconds", "billing", **labels)]
        assert (3600 <= age < 4200) if committed == 4 else age == 0
    assert seen[series("kafka_consumergroup_current_offset_sum", "billing", topic="orders")] == 18
    assert seen[series("kafka_consumergroup_lag_sum", "billing", topic="orders")] == 12
    assert seen[series("kafka_consumergroup_members", "billing")] == 0
    assert 3600 <= seen[series("millrace_consumergroup_oldest_unread_age_seconds", "billing")] < 4200
    assert seen[series("millrace_consumergroup_useful_members", "billing")] == 2
    assert seen[("millrace_consumergroups",)] == 1
    assert seen[("millrace_consumergroups_left_out",)] == 0
    # A second look has rates.
    time.sleep(1.1)
    millrace("group", "seek", "billing", "--to", "+1")
    seen = watched.samples()
    assert seen[series("millrace_consumergroup_in_rate", "billing", topic="orders")] == 0
    assert seen[series("millrace_consumergroup_out_rate", "billing", topic="orders")] > 0
    millrace("group", "delete", "billing")
    assert not [key for key in watched.samples() if ("consumergroup", "billing") in key]


@pytest.mark.parametrize("settings", [{}, {"group.protocol": "consumer"}], ids=["classic", "consumer"])
def test_members_and_the_document(watched, settings):
    millrace = watched.millrace
    millrace("topic", "create", "orders", "-p", "3")
    fill(millrace, "orders", 3, 10)
    member = RdkafkaMember(watched.broker.address, "billing", "orders", settings)
    try:
        wait_for(lambda: len(member.values) == 30 and watched.group("billing")["lag"] == 0)
        seen = watched.group("billing")
        assert (seen["state"], seen["members"], seen["partitions"]) == ("Stable", 1, 3)
        assert (seen["type"], seen["protocol_type"]) == ("consumer" if settings else "classic", "consumer")
        assert (seen["lag_seconds"], seen["useful_members"]) == (0, 0)
        assert watched.samples()[series("kafka_consumergroup_members", "billing")] == 1
        time.sleep(1.1)
        fill(millrace, "orders", 3, 10)
        wait_for(lambda: len(member.values) == 60 and watched.group("billing")["lag"] == 0)
        wait_for(lambda: (watched.group("billing")["in_rate"] or 0) > 0)
        assert watched.group("billing")["out_rate"] > 0
    finally:
        member.close()
    wait_for(lambda: watched.group("billing")["state"] == "Empty")
    fill(millrace, "orders", 2, 1)
    seen = watched.group("billing")
    # Nobody reads, and two of three partitions have something to read.
    assert (seen["members"], seen["lag"], seen["lagging_partitions"], seen["useful_members"]) == (0, 2, 2, 2)


def join(watched, topic: str, partitions: int, count: int = 1) -> list[Consumer]:
    """Members of the group "some" that read, and commit nothing on their own."""
    settings = {
        "bootstrap.servers": watched.broker.address,
        "group.id": "some",
        "group.protocol": "consumer",
        "enable.auto.commit": False,
        "auto.offset.reset": "earliest",
    }
    members = [Consumer(settings) for _ in range(count)]
    for member in members:
        member.subscribe([topic])

    def settled() -> bool:
        for member in members:
            member.poll(0.1)
        return all(len(member.assignment()) == partitions // count for member in members)

    wait_for(settled)
    return members


def test_topics_that_nobody_reads_any_more(watched):
    """What the group once committed in another topic is no work for anybody who joins."""
    millrace = watched.millrace
    millrace("topic", "create", "former", "-p", "10")
    millrace("topic", "create", "orders", "-p", "2")
    fill(millrace, "former", 10, 5)
    millrace("group", "seek", "some", "--to", "start", "-t", "former")
    assert watched.group("some")["useful_members"] == 10
    members = join(watched, "orders", 2, 2)
    watched.group("some")
    time.sleep(1.1)
    seen = watched.group("some")
    assert (seen["members"], seen["partitions"], seen["lagging_partitions"], seen["lag"]) == (2, 2, 0, 0)
    assert (seen["lag_seconds"], seen["useful_members"]) == (None, 0)
    # The names of kafka_exporter have all that is committed.
    assert watched.samples()[series("kafka_consumergroup_lag_sum", "some", topic="former")] == 50
    for member in members:
        member.close()


def test_partitions_without_a_commit(watched):
    """They may be all unread or none of them: the document says how many there are, and no zero."""
    millrace = watched.millrace
    millrace("topic", "create", "orders", "-p", "5")
    fill(millrace, "orders", 4, 5)  # the last one is empty, whoever reads it has read all
    (member,) = join(watched, "orders", 5)

    def committed(*offsets: int) -> tuple:
        if offsets:
            member.commit(offsets=[TopicPartition("orders", p, o) for p, o in enumerate(offsets)], asynchronous=False)
        seen = watched.group("some")
        return seen["uncommitted_partitions"], seen["lag"], seen["lag_seconds"], seen["useful_members"]

    assert committed() == (4, None, None, None)
    seen = watched.samples()
    assert seen[series("millrace_consumergroup_uncommitted_partitions", "some")] == 4
    assert series("millrace_consumergroup_useful_members", "some") not in seen
    assert committed(5) == (3, None, None, None)
    uncommitted, lag, seconds, _ = committed(5, 2)
    assert (uncommitted, lag) == (2, 3)
    assert seconds >= 3600
    assert committed(5, 5, 5, 5) == (0, 0, 0, 0)
    member.close()


def test_a_group_in_its_first_rebalance(own_broker):
    """What its members will read isn't known yet: a zero would say that there is nothing to do."""
    watched = Watched(own_broker, {"group.initial.rebalance.delay.ms": "60000"})
    watched.millrace("topic", "create", "orders", "-p", "3")
    fill(watched.millrace, "orders", 3, 10)
    member = Consumer({"bootstrap.servers": watched.broker.address, "group.id": "some"})
    member.subscribe(["orders"])
    wait_for(lambda: (member.poll(0.1), '"members":1' in watched.get("/groups/some")[1])[1])
    seen = watched.group("some")
    assert (seen["state"], seen["lag"], seen["useful_members"]) == ("PreparingRebalance", None, None)
    assert series("millrace_consumergroup_useful_members", "some") not in watched.samples()
    member.close()


def test_names_that_look_alike(watched):
    """Bytes that are no text are told as \\xNN; a group whose name has that already is another one."""
    watched.millrace("topic", "create", "orders")
    raw, text = b"\xffdup", rb"\xffdup"
    with wire.Connection(watched.broker.port) as connection:
        watched.millrace("group", "seek", "other", "--to", "end", "-t", "orders")  # all coordinators are there after that
        for name in (raw, text):
            connection.send(wire.frame(wire.header(8, 2, 7) + offset_commit_body(name)))
            connection.read_reply()
    seen = watched.samples()
    assert series("kafka_consumergroup_members", r"\xffdup") in seen
    assert series("kafka_consumergroup_members", r"\x5cxffdup") in seen


def offset_commit_body(group: bytes) -> bytes:
    """Offset 0 of orders/0, in version 2."""
    body = struct.pack(">h", len(group)) + group + struct.pack(">ihq", -1, 0, -1)
    return body + struct.pack(">ih6siiqh", 1, 6, b"orders", 1, 0, 0, 0)


def test_groups_that_are_not_there(watched):
    wait_for(lambda: watched.get("/groups/none") == (404, 'no group "none"\n'))  # once it has started
    watched.millrace("topic", "create", "orders")
    watched.millrace("group", "seek", "some", "--to", "end", "-t", "orders")
    # Its coordinator may still be loading.
    wait_for(lambda: watched.get("/groups/none") == (404, 'no group "none"\n'))
    wait_for(lambda: watched.get("/groups/%ff%fe")[0] == 404)
    assert watched.get("/groups/")[0] == 404
    assert watched.get("/groups/%zz")[0] == 400


@pytest.mark.parametrize("name", ["a b/c", "日本", "%41", '"\\\n', "x" * 2000])
def test_names_of_any_characters(watched, name):
    consumer = Consumer({"bootstrap.servers": watched.broker.address, "group.id": name})
    watched.millrace("topic", "create", "orders")
    consumer.commit(offsets=[TopicPartition("orders", 0, 0)], asynchronous=False)
    consumer.close()
    assert watched.group(name)["group"] == name
    assert watched.samples()[series("kafka_consumergroup_members", name)] == 0


def test_a_deleted_topic_has_no_lag(watched):
    millrace = watched.millrace
    for topic in ("kept", "dropped"):
        millrace("topic", "create", topic)
        fill(millrace, topic, 1, 5)
        millrace("group", "seek", "both", "--to", "start", "-t", topic)
    assert watched.group("both")["lag"] == 10
    millrace("topic", "delete", "dropped")
    seen = watched.group("both")
    assert (seen["lag"], seen["partitions"]) == (5, 1)
    assert watched.samples()[series("kafka_consumergroup_lag_sum", "both", topic="kept")] == 5


def test_retention_passes_the_group_by(watched):
    millrace = watched.millrace
    millrace("topic", "create", "orders")
    fill(millrace, "orders", 1, 5)
    fill(millrace, "orders", 1, 5, str(int(time.time() * 1000)))
    millrace("group", "seek", "slow", "--to", "start", "-t", "orders")
    assert watched.group("slow")["lag_seconds"] >= 3600
    millrace("topic", "trim", "orders", "--before", "5")
    seen = watched.group("slow")
    assert seen["lag"] == 10
    assert seen["lag_seconds"] < 600


def test_rates_are_of_all_positions_or_of_none(watched):
    """A sum over some of them would look like a group that has become slow."""
    millrace = watched.millrace
    millrace("topic", "create", "orders", "-p", "2")
    fill(millrace, "orders", 2, 10)

    def look() -> tuple:
        seen, samples = watched.group("some"), watched.samples()
        rates = [samples.get(series(f"millrace_consumergroup_{which}_rate", "some", topic="orders")) for which in ("in", "out")]
        assert rates == [seen["in_rate"], seen["out_rate"]]
        return tuple(rates)

    millrace("group", "seek", "some", "--to", "start", "-t", "orders", "-p", "0")
    assert look() == (None, None)
    time.sleep(1.1)
    assert look() == (0, 0)
    millrace("group", "seek", "some", "--to", "start", "-t", "orders", "-p", "1")
    assert look() == (None, None)
    time.sleep(1.1)
    assert look() == (0, 0)


class Compacted:
    """A compacted topic with one partition, of which a group has read nothing. Segments end by their records' times."""

    def __init__(self, own_broker, **settings: str):
        self.watched = Watched(own_broker, {"log.cleaner.backoff.ms": "100"})
        self.millrace = self.watched.millrace
        own = {
            "cleanup.policy": "compact",
            "segment.ms": "600000",
            "min.cleanable.dirty.ratio": "0.0001",
            **settings,
        }
        self.millrace("topic", "create", "kept", *(word for name, value in own.items() for word in ("-c", f"{name}={value}")))
        self.millrace("group", "seek", "slow", "--to", "start", "-t", "kept")

    def append(self, *records: tuple[str, str | None], hours_ago: float, options: tuple[str, ...] = ("--no-idempotent",)) -> None:
        at = int((time.time() - 3600 * hours_ago) * 1000)
        lines = [json.dumps({"key": key, "value": value, "timestamp": at}) for key, value in records]
        self.millrace("produce", "kept", "--json", "-q", *options, stdin="\n".join(lines))

    def end_segment(self) -> None:
        self.append(("roller", "x"), hours_ago=0)

    def wait_until_left(self, *keys: str) -> None:
        """Until compaction has left records of these keys, in that order, and the roller."""
        wait_for(lambda: self.millrace.lines("consume", "kept", "--from-beginning", "-q", "--format", r"%k\n") == [*keys, "roller"])

    def age_hours(self) -> float | None:
        """What both say of the oldest unread record's age, to the tenth of an hour."""
        seen = self.watched.group("slow")
        assert seen["lag"] > 0
        in_tool = self.millrace.json("group", "lag", "slow")["lag_seconds"]
        by_both = [None if seconds is None else round(seconds / 3600, 1) for seconds in (seen["lag_seconds"], in_tool)]
        assert by_both[0] == by_both[1], by_both
        return by_both[0]


@pytest.mark.parametrize("codec", ["none", "gzip"])
def test_age_behind_a_tombstone(own_broker, codec):
    """Its batch says until when the tombstone stays, where others say their first timestamp (KIP-534)."""
    topic = Compacted(own_broker)
    options = ("--no-idempotent", "-z", codec)
    topic.append(("a", "1"), ("b", None), hours_ago=5, options=options)
    topic.append(("a", "2"), hours_ago=4)
    topic.end_segment()
    topic.wait_until_left("b", "a")
    assert topic.age_hours() == 5
    topic.millrace("group", "seek", "slow", "--to", "+2")
    assert topic.age_hours() == 4


def test_age_behind_batches_that_compaction_emptied(own_broker):
    """They stay for what they say of their producers."""
    topic = Compacted(own_broker)
    for _ in range(3):
        topic.append(("a", "1"), hours_ago=5, options=("--idempotent",))
    topic.append(("b", "1"), hours_ago=4)
    topic.append(("a", "2"), hours_ago=3)
    topic.end_segment()
    topic.wait_until_left("b", "a")
    assert topic.age_hours() == 4


def test_age_behind_records_that_compaction_took_from_a_batch(own_broker):
    """What is left of the batch that holds the group's position lies before it."""
    topic = Compacted(own_broker)
    topic.append(("a", "1"), ("b", "1"), ("b", "2"), hours_ago=5)
    topic.append(("b", "3"), hours_ago=4)
    topic.end_segment()
    topic.wait_until_left("a", "b")
    topic.millrace("group", "seek", "slow", "--to", "1")
    assert topic.age_hours() == 4


def test_age_when_compaction_takes_the_oldest_unread_record(own_broker):
    """A group that is watched gets older with what it has to read, not with what is gone."""
    topic = Compacted(own_broker, **{"min.compaction.lag.ms": "864000000"})
    topic.append(("a", "1"), hours_ago=5)
    topic.append(("a", "2"), hours_ago=3)
    topic.end_segment()
    assert topic.age_hours() == 5
    topic.millrace("topic", "alter", "kept", "--set", "min.compaction.lag.ms=0")
    topic.wait_until_left("a")
    wait_for(lambda: topic.watched.group("slow")["lag_seconds"] < 4 * 3600)
    assert topic.age_hours() == 3


def test_ten_thousand_groups(watched):
    """More positions than one scrape tells of, and more unread records than it dates: both bounds are kept, and the
    rest is told, or comes with the next scrape."""
    millrace, groups, partitions = watched.millrace, 10_000, 6
    millrace("topic", "create", "orders", "-p", str(partitions))
    fill(millrace, "orders", partitions, 5)
    millrace("group", "seek", "group-0", "--to", "start", "-t", "orders")  # all coordinators are there after that
    commit_for(watched.broker.port, [f"group-{n}" for n in range(groups)], "orders", dict.fromkeys(range(partitions), 2))
    seen = watched.samples()
    assert seen[("millrace_consumergroups",)] == groups
    assert seen[("millrace_consumergroups_left_out",)] == groups - MOST_POSITIONS // partitions
    assert count(seen, "kafka_consumergroup_members") == groups
    told = MOST_POSITIONS // partitions * partitions
    assert count(seen, "kafka_consumergroup_lag") == count(seen, "kafka_consumergroup_current_offset") == told
    assert {value for key, value in seen.items() if key[0] == "kafka_consumergroup_lag"} == {3}
    assert count(seen, "millrace_consumergroup_lag_seconds") == MOST_TIMESTAMPS
    assert count(watched.samples(), "millrace_consumergroup_lag_seconds") == 2 * MOST_TIMESTAMPS
    # One that is left out is still told of when it is asked for by name.
    assert watched.group(f"group-{groups - 1}")["lag"] == 3 * partitions


def test_rates_outlast_those_who_look_at_everything(watched):
    # Looks at 100,000 positions are kept.
    watched.millrace("topic", "create", "wide", "-p", "1000")
    names = [f"group-{number}" for number in range(105)]
    admin = AdminClient({"bootstrap.servers": watched.broker.address})
    positions = [TopicPartition("wide", p, 0) for p in range(1000)]
    commits = [admin.alter_consumer_group_offsets([ConsumerGroupTopicPartitions(name, positions)]) for name in names]
    for commit in commits:
        for future in commit.values():
            future.result(60)
    for name in names:
        watched.group(name)
    time.sleep(1.1)
    assert watched.group(names[0])["out_rate"] == 0
    assert watched.group(names[-1])["out_rate"] is None


@pytest.mark.skipif(UNDER_TSAN, reason="64 MiB of metrics take it longer than HTTP waits")
def test_groups_with_huge_ids(watched):
    """Ids of 32 kB stand in every line: what a scrape says is bounded, and it says how many groups it leaves out."""
    millrace, groups = watched.millrace, 1_000
    millrace("topic", "create", "orders")
    millrace("group", "seek", "group-0", "--to", "start", "-t", "orders")  # all coordinators are there after that
    commit_for(watched.broker.port, [f"{n:032000}" for n in range(groups)], "orders", {0: 0})
    status, text = watched.get("/metrics")
    assert (status, len(text) < MOST_BYTES + (8 << 20)) == (200, True)
    (left_out,) = re.findall(r"^millrace_consumergroups_left_out (\d+)$", text, re.MULTILINE)
    told = len(re.findall("^kafka_consumergroup_current_offset{", text, re.MULTILINE))
    assert 100 < told == groups + 1 - int(left_out) < groups


@pytest.mark.parametrize(
    ("name", "shown"),
    [(b"\xff\xfe", r"\xff\xfe"), (b"\xed\xa0\x80", r"\xed\xa0\x80"), (b"a\x00\x1b[31m", "a\0\x1b[31m")],
)
def test_an_id_of_any_bytes_is_told_apart(watched, name, shown):
    millrace = watched.millrace
    millrace("topic", "create", "orders")
    millrace("group", "seek", "group-0", "--to", "start", "-t", "orders")  # all coordinators are there after that
    commit = wire.offset_commit(1, "?" * len(name), "orders", {0: 0}).replace(b"?" * len(name), name)
    with wire.Connection(watched.broker.port) as connection:
        connection.send(commit)
        assert wire.commit_errors(connection.read_reply()) == {0}
    assert {group["name"] for group in millrace.json("group", "list")} == {"group-0", shown}
    in_metrics = shown.replace("\0", r"\x00").replace("\x1b", r"\x1b")
    assert series("kafka_consumergroup_members", in_metrics) in watched.samples()


# As broker/group_monitor.h has them.
MOST_POSITIONS, MOST_TIMESTAMPS, MOST_BYTES = 50_000, 2_000, 64 << 20


def count(samples: dict[tuple, float], name: str) -> int:
    return sum(key[0] == name for key in samples)


def commit_for(port: int, groups: list[str], topic: str, offsets: dict[int, int]) -> None:
    """One commit for each of them, of no member, a hundred under way at once."""
    with wire.Connection(port) as connection:
        for first in range(0, len(groups), 100):
            some = groups[first : first + 100]
            connection.send(b"".join(wire.offset_commit(1, group, topic, offsets) for group in some))
            for _ in some:
                assert wire.commit_errors(connection.read_reply()) == {0}
