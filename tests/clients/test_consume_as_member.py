"""consume -g: members of a group on the command line. The same with Apache Kafka."""

from __future__ import annotations

import itertools
import os
import signal
import subprocess
import threading
import time

import pytest
from group_members import RdkafkaMember, wait_for

from broker import free_port
from command_line import TIMEOUT_S, CommandLine

_numbers = itertools.count(1)
SHORT_SESSION = {
    "group.consumer.session.timeout.ms": "2000",
    "group.consumer.heartbeat.interval.ms": "500",
    "group.consumer.min.heartbeat.interval.ms": "500",
    "group.consumer.min.session.timeout.ms": "2000",
}
VALUES = [f"{p}-{n}" for p in range(4) for n in range(50)]


@pytest.fixture
def group():
    return f"members-{next(_numbers)}"


@pytest.fixture
def topic(millrace, topics):
    """Four partitions of fifty records each, whose values are VALUES."""
    name = topics.create(partitions=4)
    produce(millrace, name, VALUES)
    return name


def produce(millrace, topic: str, values: list[str]) -> None:
    """The partition stands before the dash."""
    lines = "\n".join(f'{{"value": "{value}", "partition": {value.split("-")[0]}}}' for value in values)
    millrace("produce", topic, "--json", "-q", stdin=lines)


def committed(millrace, group: str) -> dict[int, int]:
    lag = millrace.json("group", "lag", group)
    return {p["partition"]: p["committed_offset"] for p in lag["partitions"]}


def shares(millrace, group: str) -> list[int]:
    """How many partitions each member has."""
    members = millrace.json("group", "describe", group)[0]["members"]
    return sorted(sum(len(a["partitions"]) for a in m["assignment"]) for m in members)


class Reader:
    """consume -g in the background, and what it has written."""

    def __init__(self, millrace, *arguments: str):
        self.process = millrace.start("consume", *arguments, "-q")
        self.values: list[str] = []
        self._thread = threading.Thread(target=self._read, daemon=True)
        self._thread.start()

    def _read(self) -> None:
        for line in self.process.stdout:
            self.values.append(line.decode().strip())

    def end(self, how: signal.Signals = signal.SIGINT) -> str:
        """Signals, waits, and returns what it complained about."""
        self.process.send_signal(how)
        code = self.process.wait(TIMEOUT_S)
        self._thread.join(TIMEOUT_S)
        complaint = self.process.stderr.read().decode()
        assert code == (0 if how != signal.SIGKILL else -9), complaint
        return complaint


def test_a_group_goes_on_where_it_was(millrace, topic, group):
    assert sorted(millrace.lines("consume", topic, "-g", group)) == sorted(VALUES)
    assert committed(millrace, group) == {p: 50 for p in range(4)}
    described = millrace.json("group", "describe", group)[0]
    assert (described["type"], described["state"], described["members"]) == ("consumer", "Empty", [])
    assert millrace.lines("consume", topic, "-g", group) == []
    produce(millrace, topic, ["0-new", "3-new"])
    assert sorted(millrace.lines("consume", topic, "--group", group)) == ["0-new", "3-new"]
    # Another group has its own place.
    assert len(millrace.lines("consume", topic, "-g", group + "-other")) == 202
    millrace("group", "seek", group, "--to", "-1")
    assert sorted(millrace.lines("consume", topic, "-g", group)) == ["0-new", "1-49", "2-49", "3-new"]


def test_what_was_not_written_is_not_committed(millrace, topics, group):
    topic = topics.create()
    produce(millrace, topic, [f"0-{n}" for n in range(20)])
    read = []
    for _ in range(5):
        read += millrace.lines("consume", topic, "-g", group, "-c", "4")
    assert read == [f"0-{n}" for n in range(20)]


def test_where_a_new_group_starts(millrace, topic, group):
    assert millrace.lines("consume", topic, "-g", group, "--reset", "end") == []
    produce(millrace, topic, ["1-new"])
    assert millrace.lines("consume", topic, "-g", group, "--reset", "start", "-c", "1") in (["1-new"], [])
    assert millrace.lines("consume", topic, "-g", group + "-b", "--from-beginning", "-c", "1") != []


def test_members_share_and_hand_over(millrace, topic, group):
    first = Reader(millrace, topic, "-g", group, "-f")
    wait_for(lambda: len(first.values) == 200)
    second = Reader(millrace, topic, "-g", group, "-f")

    wait_for(lambda: shares(millrace, group) == [2, 2])
    produce(millrace, topic, [f"{p}-second" for p in range(4)])
    wait_for(lambda: len(first.values) + len(second.values) == 204)
    assert len(second.values) == 2
    assert first.end() == ""
    wait_for(lambda: shares(millrace, group) == [4])
    produce(millrace, topic, [f"{p}-third" for p in range(4)])
    wait_for(lambda: len(first.values) + len(second.values) == 208)
    assert second.end(signal.SIGTERM) == ""
    assert sorted(first.values + second.values) == sorted(
        [*VALUES, *(f"{p}-{n}" for p in range(4) for n in ("second", "third"))]
    )
    assert committed(millrace, group) == {p: 52 for p in range(4)}
    # Both have left, so nothing waits for a session to time out.
    assert millrace.json("group", "describe", group)[0]["state"] == "Empty"


@pytest.mark.parametrize("apart_s", [0, 0.05], ids=["at-once", "soon"])
def test_a_signal_that_comes_twice_is_one(millrace, topic, group, apart_s):
    """timeout(1) signals its child, and then the whole process group."""
    reader = Reader(millrace, topic, "-g", group, "-f")
    wait_for(lambda: len(reader.values) == 200)
    reader.process.send_signal(signal.SIGTERM)
    time.sleep(apart_s)
    assert reader.end(signal.SIGTERM) == ""
    assert committed(millrace, group) == dict.fromkeys(range(4), 50)
    assert millrace.json("group", "describe", group)[0]["state"] == "Empty"


def test_it_ends_under_timeout(millrace, topic, group):
    words = ["timeout", "1", *millrace.start_words("consume", topic, "-g", group, "-f", "-q")]
    for _ in range(10):
        done = subprocess.run(words, capture_output=True, env=millrace.environment, timeout=TIMEOUT_S, check=False)
        assert (done.returncode, done.stderr) == (124, b"")
        assert millrace.json("group", "describe", group)[0]["members"] == []


def follow_one(millrace, topic: str, group: str) -> Reader:
    """A new topic's reader, which has read and committed one record, "0-before"."""
    millrace("topic", "create", topic)
    reader = Reader(millrace, topic, "-g", group, "-f")
    produce(millrace, topic, ["0-before"])
    wait_for(lambda: reader.values == ["0-before"] and committed(millrace, group) == {0: 1})
    return reader


def test_a_second_signal_kills(own_broker, group):
    """Of somebody who doesn't want to wait until the broker is there again."""
    broker = own_broker()
    reader = follow_one(CommandLine(broker.address), "stuck", group)
    broker.signal(signal.SIGSTOP)
    try:
        reader.process.send_signal(signal.SIGINT)
        time.sleep(1)
        assert reader.process.poll() is None
        reader.process.send_signal(signal.SIGINT)
        assert reader.process.wait(5) == -signal.SIGINT
    finally:
        broker.signal(signal.SIGCONT)


def test_it_shares_with_other_clients(millrace, broker, topic, group):
    other = RdkafkaMember(broker.address, group, topic, {"group.protocol": "consumer"})
    wait_for(lambda: len(other.values) == 200)
    reader = Reader(millrace, topic, "-g", group, "-f")
    wait_for(lambda: len(other.assigned()) == 2)
    produce(millrace, topic, [f"{p}-shared" for p in range(4)])
    wait_for(lambda: len(other.values) + len(reader.values) == 204)
    other.close()
    produce(millrace, topic, [f"{p}-alone" for p in range(4)])
    wait_for(lambda: sum(value.endswith("-alone") for value in reader.values) == 4)
    reader.end()
    assert sorted(other.values + reader.values) == sorted(
        [*VALUES, *(f"{p}-{n}" for p in range(4) for n in ("shared", "alone"))]
    )


def test_a_member_that_gets_no_partition_says_so(millrace, topics, group):
    topic = topics.create(partitions=1)
    produce(millrace, topic, ["0-one"])
    first = Reader(millrace, topic, "-g", group, "-f")
    wait_for(lambda: first.values == ["0-one"])
    second = millrace("consume", topic, "-g", group)
    assert second.stdout == b""
    assert "no partition was left" in second.stderr.decode()
    first.end()


def test_a_reader_that_goes_away_takes_nothing_along(millrace, topics, group):
    topic = topics.create()
    produce(millrace, topic, [f"0-{n:030}" for n in range(20_000)])
    reader = subprocess.Popen(
        ["bash", "-c", '"$@" | head -n 1', "-", *millrace.start_words("consume", topic, "-g", group, "-q")],
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, env=millrace.environment,
    )  # fmt: skip
    out, err = reader.communicate(timeout=TIMEOUT_S)
    assert out == f"0-{0:030}\n".encode()
    assert b"Broken pipe" in err
    assert millrace.json("group", "describe", group)[0]["state"] == "Empty"
    # What head never had comes again.
    assert len(millrace.lines("consume", topic, "-g", group)) >= 10_000


class SlowPipe:
    """consume -g in the background, into a pipe that is full until somebody takes."""

    def __init__(self, millrace, *arguments: str):
        self.process = millrace.start("consume", *arguments, "-q")
        self.taken = b""

    def take(self, size: int) -> None:
        end = len(self.taken) + size
        while len(self.taken) < end:
            self.taken += os.read(self.process.stdout.fileno(), end - len(self.taken))

    def end(self) -> tuple[list[str], str]:
        """What was in the pipe, and what it complained about."""
        self.process.send_signal(signal.SIGINT)
        out, err = self.process.communicate(timeout=TIMEOUT_S)
        assert self.process.returncode == 0, err.decode()
        return (self.taken + out).decode().splitlines(), err.decode()


def slow_member(millrace, topic: str, partitions: int, values: list[str], group: str) -> SlowPipe:
    """Follows a topic of its own with these values; its pipe is full."""
    millrace("topic", "create", topic, "-p", str(partitions))
    produce(millrace, topic, values)
    member = SlowPipe(millrace, topic, "-g", group, "-f")
    member.take(1000)
    return member


def test_a_member_whose_reader_is_slow_stays_in_the_group(own_broker, group):
    millrace = CommandLine(own_broker(SHORT_SESSION).address)
    values = [f"0-{n:030}" for n in range(20_000)]
    first = slow_member(millrace, "slow", 1, values, group)
    # Longer than a session.
    for _ in range(6):
        time.sleep(1)
        assert shares(millrace, group) == [1]
    place = committed(millrace, group)[0]
    assert place > 1000
    first.take(40_000)
    wait_for(lambda: committed(millrace, group)[0] > place)
    written, complaint = first.end()
    assert complaint == ""
    # What it committed is what the pipe had taken, in order and whole.
    assert written == values[: len(written)]
    assert committed(millrace, group) == {0: len(written)}
    assert millrace.lines("consume", "slow", "-g", group) == values[len(written) :]


def test_a_partition_that_goes_to_another_member_is_written_by_one(own_broker, group):
    millrace = CommandLine(own_broker(SHORT_SESSION).address)
    values = [f"{n % 2}-{n:030}" for n in range(10_000)]
    first = slow_member(millrace, "given", 2, values, group)
    second = Reader(millrace, "given", "-g", group, "-f")
    wait_for(lambda: shares(millrace, group) == [1, 1])
    wait_for(lambda: len(second.values) > 3000)
    written, complaint = first.end()
    assert complaint == ""
    rest = [value for value in values if value not in set(written)]
    wait_for(lambda: len(second.values) >= len(rest))
    assert second.end() == ""
    assert len(written) == len(set(written))
    assert sorted(second.values) == sorted(rest)


@pytest.mark.parametrize("between", [0, 2], ids=["at-once", "later"])
def test_a_member_goes_on_with_a_topic_that_was_made_again(own_broker, group, between):
    broker = own_broker(SHORT_SESSION)
    millrace = CommandLine(broker.address)
    millrace("topic", "create", "again", "-p", "2")
    reader = Reader(millrace, "again", "-g", group, "-f")
    produce(millrace, "again", [f"{p}-{n}" for p in range(2) for n in range(5)])
    wait_for(lambda: len(reader.values) == 10)
    wait_for(lambda: committed(millrace, group) == {0: 5, 1: 5})
    millrace("topic", "delete", "again", "-y")
    time.sleep(between)
    millrace("topic", "create", "again", "-p", "3")
    new = [f"{p}-new-{n}" for p in range(3) for n in range(8)]
    produce(millrace, "again", new)
    wait_for(lambda: len(reader.values) >= 10 + len(new))
    assert sorted(reader.values[10:]) == sorted(new)
    wait_for(lambda: committed(millrace, group) == {0: 8, 1: 8, 2: 8})
    complaint = reader.end()
    assert "was deleted and made again" in complaint
    assert not between or complaint.count("was deleted; waiting for a new one") == 1


def test_a_member_says_that_it_waits_for_the_broker(own_broker, group):
    broker = own_broker()
    millrace = CommandLine(broker.address)
    reader = follow_one(millrace, "away", group)
    broker.stop()
    time.sleep(6)
    broker.start()
    produce(millrace, "away", ["0-after"])
    wait_for(lambda: reader.values == ["0-before", "0-after"])
    complaint = reader.end()
    assert complaint.count("trying again for up to 30 s") == complaint.count("the broker answers again") == 1


def test_an_outage_is_told_once_though_another_address_answers(own_broker):
    """What the broker has it says at its own address, and nobody is at the one that it advertises."""
    broker = own_broker({"advertised.listeners": f"PLAINTEXT://127.0.0.1:{free_port()}"})
    millrace = CommandLine(broker.address)
    millrace("topic", "create", "elsewhere")
    complaint = millrace.complaint("consume", "elsewhere", "--timeout", "6s")
    assert complaint.count("trying again for up to 6 s") == 1
    assert "answers again" not in complaint


def test_a_member_ends_though_the_broker_is_away(own_broker, group):
    """Sooner than it would give up: the patience here is less than the 30 seconds of --timeout."""
    broker = own_broker()
    reader = follow_one(CommandLine(broker.address), "away", group)
    broker.stop()
    time.sleep(1)
    reader.process.send_signal(signal.SIGINT)
    assert reader.process.wait(25) == 1
    assert "nothing listens there" in reader.process.stderr.read().decode()


def test_a_member_that_was_silent_joins_again(own_broker, group):
    broker = own_broker(SHORT_SESSION)
    millrace = CommandLine(broker.address)
    reader = follow_one(millrace, "silent", group)
    reader.process.send_signal(signal.SIGSTOP)
    wait_for(lambda: millrace.json("group", "describe", group)[0]["state"] == "Empty")
    reader.process.send_signal(signal.SIGCONT)
    produce(millrace, "silent", ["0-after"])
    wait_for(lambda: reader.values == ["0-before", "0-after"])
    complaint = reader.end()
    assert "went on without this member" in complaint


@pytest.mark.parametrize("meanwhile", ["deleted", "classic"])
def test_a_member_that_was_silent_joins_again_whatever_became_of_the_group(own_broker, group, meanwhile):
    """The coordinator doesn't know a group by the consumer protocol then."""
    broker = own_broker(SHORT_SESSION)
    millrace = CommandLine(broker.address)
    millrace("topic", "create", "silent", "-p", "2")
    reader = Reader(millrace, "silent", "-g", group, "-f")
    produce(millrace, "silent", ["0-before", "1-before"])
    wait_for(lambda: len(reader.values) == 2 and committed(millrace, group) == {0: 1, 1: 1})
    reader.process.send_signal(signal.SIGSTOP)
    wait_for(lambda: millrace.json("group", "describe", group)[0]["state"] == "Empty")
    other = None
    if meanwhile == "deleted":
        millrace("group", "delete", group)
    else:
        other = RdkafkaMember(broker.address, group, "silent", {})
        wait_for(lambda: len(other.assigned()) == 2)
    reader.process.send_signal(signal.SIGCONT)
    wait_for(lambda: group in millrace.lines("group", "list", "-q") and shares(millrace, group) == ([1, 1] if other else [2]))
    produce(millrace, "silent", ["0-after", "1-after"])
    wait_for(lambda: {"0-after", "1-after"} <= {*reader.values, *(other.values if other else [])})
    if other:
        other.close()
    assert "went on without this member" in reader.end()


def test_a_static_member_that_left_is_told_from_those_that_read(millrace, topic, group):
    reader = Reader(millrace, topic, "-g", group, "-f", "--instance", "one")
    wait_for(lambda: len(reader.values) == 200)
    wait_for(lambda: committed(millrace, group) == dict.fromkeys(range(4), 50))
    reader.end()
    text = millrace.text("group", "describe", group)
    assert " left " in text and " -2 " not in text
    refused = millrace.complaint("group", "seek", group, "--to", "start")
    assert "1 static member that left" in refused and "one at 127.0.0.1" in refused and "session ends" in refused
    assert "active" not in refused
    other = Reader(millrace, topic, "-g", group, "-f")
    wait_for(lambda: len(millrace.json("group", "describe", group)[0]["members"]) == 2)
    refused = millrace.complaint("group", "seek", group, "--to", "start")
    assert "1 active member (millrace at 127.0.0.1)" in refused and "1 static member that left" in refused
    other.end()
    assert "static one that left" in millrace.complaint("group", "delete", group)


def test_a_static_member_finds_its_partitions_again(millrace, topic, group):
    """The other member keeps what it had while one is replaced."""
    readers = [Reader(millrace, topic, "-g", group, "-f", "--instance", "one")]
    wait_for(lambda: len(readers[0].values) == 200)
    readers.append(Reader(millrace, topic, "-g", group, "-f", "--instance", "two"))
    wait_for(lambda: shares(millrace, group) == [2, 2])
    wait_for(lambda: committed(millrace, group) == dict.fromkeys(range(4), 50))
    before = instances(millrace, group)
    assert sorted(before) == ["one", "two"]
    third = Reader(millrace, topic, "-g", group, "--instance", "one")
    time.sleep(2)
    assert third.end().count("another member is instance") == 1  # it waits, and says so once
    readers[0].end()
    assert instances(millrace, group).keys() == before.keys()  # it is only away
    readers[0] = Reader(millrace, topic, "-g", group, "-f", "--instance", "one")
    produce(millrace, topic, [f"{p}-more" for p in range(4)])
    wait_for(lambda: len(readers[0].values) == 2)
    assert instances(millrace, group) == before
    assert not set(readers[0].values) & set(readers[1].values)
    for reader in readers:
        reader.end()


def test_a_static_member_that_was_killed_goes_on_when_its_session_ends(own_broker, group):
    broker = own_broker(SHORT_SESSION)
    millrace = CommandLine(broker.address)
    millrace("topic", "create", "killed", "-p", "2")
    produce(millrace, "killed", ["0-a", "1-b"])
    first = Reader(millrace, "killed", "-g", group, "-f", "--instance", "one")
    wait_for(lambda: len(first.values) == 2)
    wait_for(lambda: committed(millrace, group) == {0: 1, 1: 1})
    first.end(signal.SIGKILL)
    second = Reader(millrace, "killed", "-g", group, "-f", "--instance", "one")
    produce(millrace, "killed", ["0-c", "1-d"])
    wait_for(lambda: sorted(second.values) == ["0-c", "1-d"])
    assert second.end().count("another member is instance") == 1


def instances(millrace, group: str) -> dict[str, list[int]]:
    """What each static member is assigned."""
    (described,) = millrace.json("group", "describe", group)
    return {
        member["instance_id"]: [p for topic in member["assignment"] for p in topic["partitions"]]
        for member in described["members"]
    }


def test_a_member_outlives_a_restart(own_broker, group):
    broker = own_broker()
    millrace = CommandLine(broker.address)
    millrace("topic", "create", "restarted", "-p", "2")
    reader = Reader(millrace, "restarted", "-g", group, "-f")
    produce(millrace, "restarted", ["0-before", "1-before"])
    wait_for(lambda: len(reader.values) == 2)
    wait_for(lambda: committed(millrace, group) == {0: 1, 1: 1})
    broker.stop()
    time.sleep(1)
    broker.start()
    produce(millrace, "restarted", ["0-after", "1-after"])
    wait_for(lambda: len(reader.values) == 4)
    reader.end()
    assert sorted(reader.values) == ["0-after", "0-before", "1-after", "1-before"]


@pytest.mark.parametrize(
    ("arguments", "words"),
    [(["-o", "5"], "group seek g --to 5"), (["-o", "start"], "--reset"), (["-p", "0"], "shares all partitions"),
     (["--from-beginning", "--reset", "end"], "contradict")],
)
def test_what_a_group_decides_is_not_an_option(millrace, topic, arguments, words):
    assert words in millrace.complaint("consume", topic, "-g", "g", *arguments, code=2)


def test_reset_needs_a_group(millrace, topic):
    assert "--group" in millrace.complaint("consume", topic, "--instance", "one", code=2)
    assert "--group" in millrace.complaint("consume", topic, "--reset", "end", code=2)
    assert "name" in millrace.complaint("consume", topic, "-g", "", code=2)


def test_there_must_be_a_topic(millrace, group):
    assert 'no topic "nothing-here"' in millrace.complaint("consume", "nothing-here", "-g", group)
    assert group not in millrace.lines("group", "list", "-q")
