"""Groups on the command line: list, describe, lag, seek, delete. The same with Apache Kafka."""

from __future__ import annotations

import itertools
import json
import signal
import subprocess
import time

import pytest
from group_members import RdkafkaMember, wait_for

from command_line import TIMEOUT_S, CommandLine

PROTOCOLS = [pytest.param({}, id="classic"), pytest.param({"group.protocol": "consumer"}, id="consumer")]
_numbers = itertools.count(1)


@pytest.fixture
def group():
    return f"group-{next(_numbers)}"


@pytest.fixture
def topic(millrace, topics):
    """A topic of three partitions with ten records in each, a second apart from 2026-01-01."""
    name = topics.create(partitions=3, retention_ms="-1")
    lines = [json.dumps({"value": f"{p}-{n}", "partition": p, "timestamp": f"2026-01-01T00:00:0{n}Z"})
             for n in range(10) for p in range(3)]  # fmt: skip
    millrace("produce", name, "--json", "-q", stdin="\n".join(lines))
    return name


def offsets(millrace, group: str, topic: str) -> list[int | None]:
    lag = millrace.json("group", "lag", group)
    return [p["committed_offset"] for p in lag["partitions"] if p["topic"] == topic]


@pytest.mark.parametrize("settings", PROTOCOLS)
def test_a_group_with_members(millrace, broker, topic, group, settings):
    members = [RdkafkaMember(broker.address, group, topic, {"client.id": f"worker-{n}", **settings}) for n in range(2)]
    try:
        wait_for(lambda: sorted(len(member.assigned()) for member in members) == [1, 2])
        wait_for(lambda: sum(len(member.values) for member in members) == 30)
        listed = {g["name"]: g for g in millrace.json("group", "list")}[group]
        assert listed["type"] == ("consumer" if settings else "classic")
        assert (listed["protocol_type"], listed["state"], listed["members"]) == ("consumer", "Stable", 2)
        assert group in millrace.lines("group", "list", "--names")
        assert group in millrace.text("group", "list", "--match", group)

        described = millrace.json("group", "describe", group)[0]
        assert [m["client_id"] for m in sorted(described["members"], key=lambda m: m["client_id"])] == ["worker-0", "worker-1"]
        assert {m["host"].strip("/") for m in described["members"]} == {"127.0.0.1"}
        parts = sorted(p for m in described["members"] for a in m["assignment"] for p in a["partitions"])
        assert parts == [0, 1, 2]
        assert all(m["topics"] == [topic] for m in described["members"])
        if settings:
            assert described["assignor"] == "uniform"
            assert {m["epoch"] for m in described["members"]} == {described["epoch"]}
        text = millrace.text("group", "describe", group)
        assert f"{topic}:" in text and "worker-0" in text and "Stable" in text

        wait_for(lambda: offsets(millrace, group, topic) == [10, 10, 10])
        lag = millrace.json("group", "lag", group)
        assert (lag["lag"], lag["lag_seconds"], lag["members"]) == (0, 0, 2)
        assert {p["client_id"] for p in lag["partitions"]} == {"worker-0", "worker-1"}

        refused = millrace.complaint("group", "seek", group, "--to", "start")
        assert "2 active members" in refused and "worker-0 at" in refused and "Stop them" in refused
        assert "has members" in millrace.complaint("group", "delete", group)
    finally:
        for member in members:
            member.close()
    wait_for(lambda: millrace.json("group", "describe", group)[0]["state"] == "Empty")
    millrace("group", "seek", group, "--to", "start")
    assert offsets(millrace, group, topic) == [0, 0, 0]
    assert millrace.json("group", "delete", group) == [{"name": group, "deleted": True, "error": None, "message": None}]
    assert group not in millrace.lines("group", "list", "-q")


def test_seek(millrace, topic, group):
    def seek(to: str, *more: str) -> list[int | None]:
        millrace("group", "seek", group, "--to", to, *more)
        return offsets(millrace, group, topic)

    # A group that isn't there yet.
    assert "--topic" in millrace.complaint("group", "seek", group, "--to", "start")
    assert seek("end-3", "--topic", topic) == [7, 7, 7]
    assert seek("+2") == [9, 9, 9]
    assert seek("-4") == [5, 5, 5]
    assert seek("2", "-t", topic, "-p", "0,2") == [2, 5, 2]
    assert seek("+1") == [3, 6, 3]
    assert seek("@2026-01-01T00:00:04Z") == [4, 4, 4]
    assert seek("@2026-01-01T00:00:04.5Z") == [5, 5, 5]
    assert seek("@-1h") == [10, 10, 10]
    assert seek("start") == [0, 0, 0]
    assert seek("end") == [10, 10, 10]
    done = millrace.json("group", "seek", group, "--to", "5", "--dry-run")
    assert done["dry_run"] is True
    assert [(p["from"], p["to"]) for p in done["partitions"]] == [(10, 5)] * 3
    assert offsets(millrace, group, topic) == [10, 10, 10]


def test_seek_stays_within_the_log(millrace, topic, group):
    millrace("topic", "trim", topic, "--before", "4")
    done = millrace.json("group", "seek", group, "--to", "2", "--topic", topic)
    assert [p["to"] for p in done["partitions"]] == [4, 4, 4]
    assert "starts there" in done["partitions"][0]["note"]
    assert [p["to"] for p in millrace.json("group", "seek", group, "--to", "+100")["partitions"]] == [10, 10, 10]
    assert "ends there" in millrace.text("group", "seek", group, "--to", "1000")
    assert "no record is so late" in millrace.text("group", "seek", group, "--to", "@2099-01-01")
    assert "so late" not in millrace.text("group", "seek", group, "-o", "@2001-01-01")


def test_seek_refuses_what_makes_no_sense(millrace, topic, group):
    assert "no place to go to" in millrace.complaint("group", "seek", group, "--to", "soon", code=2)
    assert "--to" in millrace.complaint("group", "seek", group, code=2)
    assert "one topic" in millrace.complaint("group", "seek", group, "--to", "end", "-p", "0", code=2)
    assert "no partition 7" in millrace.complaint("group", "seek", group, "--to", "end", "-t", topic, "-p", "7")
    assert "no partition 7" in millrace.complaint("group", "seek", group, "--to", "5", "-t", topic, "-p", "7")
    assert 'no topic "nothing-here"' in millrace.complaint("group", "seek", group, "--to", "5", "-t", "nothing-here")
    assert "to step on or back from" in millrace.complaint("group", "seek", group, "--to", "-1", "-t", topic)
    assert group not in millrace.lines("group", "list", "-q")


def test_seek_of_a_topic_that_is_named_twice(millrace, topic, group):
    millrace("group", "seek", group, "--to", "start", "-t", topic, "-t", topic)
    assert offsets(millrace, group, topic) == [0, 0, 0]


def test_what_keeps_the_groups_stays_as_it_is(own_broker):
    millrace = CommandLine(own_broker().address)
    millrace("topic", "create", "kept")
    millrace("group", "seek", "g", "--to", "start", "-t", "kept")
    assert "keeps a group" in millrace.complaint("topic", "alter", "__consumer_offsets", "--partitions", "60")
    assert "--force" in millrace.complaint("topic", "delete", "__consumer_offsets", "-y", code=2)
    assert millrace.lines("group", "list", "-q") == ["g"]
    millrace("topic", "delete", "__consumer_offsets", "-y", "--force")


def test_groups_are_listed_without_those_that_cannot_be_read(own_broker):
    broker = own_broker({"offsets.topic.num.partitions": "2"})
    millrace = CommandLine(broker.address)
    millrace("topic", "create", "read")
    names = [f"g{n}" for n in range(6)]
    for name in names:
        millrace("group", "seek", name, "--to", "start", "-t", "read")
    subprocess.run(
        ["kcat", "-b", broker.address, "-X", "client.id=__admin_client", "-t", "__consumer_offsets",
         "-p", "0", "-P", "-k", "k"],
        input=b"x", check=True, timeout=TIMEOUT_S,
    )  # fmt: skip
    broker.restart()
    listed = set(millrace.lines("group", "list", "-q"))
    assert listed
    assert listed < set(names)
    assert "can't coordinate its groups: record at offset" in broker.log_tail()


def test_lag_in_records_and_seconds(millrace, topic, group):
    millrace("group", "seek", group, "--to", "8", "--topic", topic)
    millrace("produce", topic, "-p", "0", "-q", stdin="new\n")
    millrace("group", "seek", group, "--to", "10", "--topic", topic, "-p", "0")
    millrace("group", "seek", group, "--to", "end", "--topic", topic, "-p", "2")
    lag = millrace.json("group", "lag", group)
    first, second, third = lag["partitions"]
    assert (first["lag"], second["lag"], third["lag"], lag["lag"]) == (1, 2, 0, 3)
    # The oldest unread one is offset 8, of 2026-01-01T00:00:08Z; the new one is seconds old.
    assert second["oldest_unread"] == "2026-01-01T00:00:08.000Z"
    assert abs(time.time() - 1767225608 - second["lag_seconds"]) < 600
    assert 0 <= first["lag_seconds"] < 600
    assert (third["lag_seconds"], third["oldest_unread"]) == (0, None)
    assert lag["lag_seconds"] == second["lag_seconds"]
    assert lag["in_rate"] is None
    text = millrace.text("group", "lag", group)
    assert "lag 3 records" in text and "CAUGHT UP IN" not in text
    assert "never" in millrace.text("group", "lag", group, "--rates", "100ms")


def test_lag_where_a_partition_has_no_commit(millrace, topics, topic, group):
    """It may be all unread or all read."""

    def look() -> tuple:
        lag = millrace.json("group", "lag", group)
        return lag["uncommitted_partitions"], lag["lag"], lag["lag_seconds"] and round(lag["lag_seconds"]), lag["catch_up_seconds"]

    def summary() -> str:
        return millrace.lines("group", "lag", group)[0].partition("; ")[2]

    millrace("group", "seek", group, "--to", "end", "--topic", topic, "-p", "0")
    assert look() == (2, None, None, None)
    assert summary() == "lag at least 0 records; 2 partitions with records but no commit"
    assert [p["committed_offset"] for p in millrace.json("group", "lag", group)["partitions"]] == [10, None, None]
    millrace("group", "seek", group, "--to", "8", "--topic", topic, "-p", "1")
    uncommitted, lag, seconds, catch_up = look()
    assert (uncommitted, lag, catch_up) == (1, 2, None)
    assert seconds > 0
    assert summary().startswith("lag at least 2 records, ") and summary().endswith("; 1 partition with records but no commit")
    millrace("group", "seek", group, "--to", "end", "--topic", topic)
    assert look() == (0, 0, 0, 0)
    assert summary() == "lag 0 records"
    # There is nothing to read in the other one.
    half = topics.create(partitions=2)
    millrace("produce", half, "-p", "0", "-q", stdin="one\n")
    millrace("group", "seek", group, "--to", "end", "--topic", half, "-p", "0")
    assert look() == (0, 0, 0, 0)


def test_age_is_found_within_a_batch(millrace, topics, group):
    topic = topics.create(retention_ms="-1")
    lines = [json.dumps({"value": "x" * 30_000, "timestamp": f"2026-01-01T00:00:{n:02}Z"}) for n in range(60)]
    millrace("produce", topic, "--json", "-q", "-z", "gzip", stdin="\n".join(lines))
    for offset in (0, 1, 37, 59):
        millrace("group", "seek", group, "--to", str(offset), "--topic", topic)
        partition = millrace.json("group", "lag", group)["partitions"][0]
        assert (partition["lag"], partition["oldest_unread"]) == (60 - offset, f"2026-01-01T00:00:{offset:02}.000Z")


def test_lag_after_retention_passed_the_group_by(millrace, topic, group):
    millrace("group", "seek", group, "--to", "start", "--topic", topic)
    millrace("topic", "trim", topic, "--before", "6")
    lag = millrace.json("group", "lag", group)
    assert [(p["committed_offset"], p["start_offset"], p["lag"]) for p in lag["partitions"]] == [(0, 6, 10)] * 3
    assert {p["oldest_unread"] for p in lag["partitions"]} == {"2026-01-01T00:00:06.000Z"}


def test_watch_until_interrupted(millrace, topic, group):
    millrace("group", "seek", group, "--to", "start", "--topic", topic)
    watch = millrace.start("group", "lag", group, "--watch", "--interval", "200ms", "--output", "json")
    first = json.loads(watch.stdout.readline())
    assert (first["lag"], first["in_rate"]) == (30, None)
    millrace("group", "seek", group, "--to", "+5")
    for line in watch.stdout:
        seen = json.loads(line)
        if seen["lag"] == 15:
            break
    assert seen["out_rate"] > 0 and seen["catches_up"] is True and seen["catch_up_seconds"] > 0
    watch.send_signal(signal.SIGINT)
    assert watch.wait(TIMEOUT_S) == 0
    assert watch.stderr.read() == b""


def test_a_deleted_topic_leaves_the_rest(millrace, topics, topic, group):
    other = topics.create()
    millrace("group", "seek", group, "--to", "start", "--topic", topic, "--topic", other)
    millrace("topic", "delete", other)
    lag = millrace.json("group", "lag", group)
    assert [p["lag"] for p in lag["partitions"] if p["topic"] == topic] == [10, 10, 10]
    assert all(p["end_offset"] is None for p in lag["partitions"] if p["topic"] == other)
    millrace("group", "seek", group, "--to", "+1")
    assert offsets(millrace, group, topic) == [1, 1, 1]


def test_alter(millrace, topic, group):
    name = "consumer.session.timeout.ms"
    assert millrace.text("group", "alter", group, "--set", f"{name}=50000") == f"Altered {group}\n"
    assert group not in millrace.lines("group", "list", "-q")  # settings make no group
    millrace("group", "seek", group, "--to", "end", "-t", topic)
    assert millrace.json("group", "describe", group)[0]["settings"] == {name: "50000"}
    assert f"Settings: {name}=50000" in millrace.text("group", "describe", group)
    assert "group.consumer.max.session.timeout.ms" in millrace.complaint("group", "alter", group, "-s", f"{name}=99999")
    assert "Unknown group config name: x" in millrace.complaint("group", "alter", group, "-s", "x=1")
    assert "nothing to change" in millrace.complaint("group", "alter", group, code=2)
    altered = millrace.json("group", "alter", group, "--unset", name)
    assert altered == {"name": group, "altered": True, "set": {}, "unset": [name]}
    assert millrace.json("group", "describe", group)[0]["settings"] == {}


def test_groups_that_are_not_there(millrace, topic, group):
    millrace("group", "seek", group, "--to", "end", "--topic", topic)
    for words in (["describe"], ["lag"], ["delete"], ["seek", "--to", "end"]):
        complaint = millrace.complaint("group", words[0], group + "x", *words[1:])
        assert f'no group "{group}x"; did you mean' in complaint
    assert millrace.text("group", "delete", group + "x", "--if-exists") == f"Not there: {group}x\n"
    assert "which groups" in millrace.complaint("group", "delete", code=2)
    assert [g["name"] for g in millrace.json("group", "delete", "--match", group)] == [group]


def test_names_leave_a_terminal_alone(millrace, broker, topic, group):
    """Groups, clients and what they call themselves come from the network."""
    bad, shown = "\x1b[2J\nfake: line", r"\x1b[2J\x0afake: line"
    name, told = f"{group}-{bad}", f"{group}-{shown}"

    def complaint(*words: str) -> str:
        said = millrace.complaint("group", *words)
        assert "\x1b" not in said and "\nfake" not in said
        return said

    millrace("group", "seek", name, "--to", "end", "--topic", topic)
    assert f'did you mean "{told}"' in complaint("describe", f"{group}-x" + bad)
    for words in (["lag"], ["delete"], ["seek", "--to", "end"]):
        assert shown in complaint(words[0], f"{group}-x" + bad, *words[1:])
    member = RdkafkaMember(broker.address, name, topic, {"client.id": bad})
    wait_for(lambda: len(member.assigned()) == 3)
    refused = complaint("seek", name, "--to", "start")
    assert f'"{told}"' in refused and f"{shown} at" in refused
    assert f'"{told}"' in complaint("delete", name)
    member.close()
    text = millrace.text("group", "delete", "-y", "-m", f"(?s){group}-.*")
    assert text == f"Deleted {told}\n"
    assert millrace.text("group", "delete", name, "--if-exists") == f"Not there: {told}\n"


def test_names_of_any_characters(millrace, topic):
    name = "日本 group/with:all\"sorts"
    millrace("group", "seek", name, "--to", "end", "--topic", topic)
    assert millrace.json("group", "describe", name)[0]["name"] == name
    assert millrace.json("group", "delete", name)[0]["deleted"] is True
