"""Groups of the consumer protocol (KIP-848): librdkafka's and Java's members, alone and with classic ones."""

from __future__ import annotations

import time

import confluent_kafka as ck
import pytest
from conftest import Topics
from confluent_kafka.admin import NewPartitions

from broker import Broker
from group_load import QUICK, Load, all_values, close_all, fill
from group_members import JavaMember, Member, RdkafkaMember, wait_for, wait_for_shares
from java_client import run_tool

GROUPS = "org.apache.kafka.tools.consumer.group.ConsumerGroupCommand"
CONSUMER = {"group.protocol": "consumer"}
CLASSIC = {"heartbeat.interval.ms": "500", "session.timeout.ms": "6000"}
MEMBERS = [
    pytest.param(RdkafkaMember, id="librdkafka"),
    pytest.param(JavaMember, id="java", marks=pytest.mark.java),
]

pytestmark = pytest.mark.timeout(300)


@pytest.fixture(scope="module")
def quick(tmp_path_factory):
    shared = Broker(tmp_path_factory.mktemp("quick-broker"), QUICK)
    shared.start()
    yield shared
    assert shared.is_running(), f"the broker ended:\n{shared.log_tail()}"
    shared.stop()


def describe(broker, group: str):
    admin = Topics(broker).admin  # has to live until the answer is there
    return admin.describe_consumer_groups([group])[group].result(30)


def is_stable(broker, group: str) -> bool:
    try:
        return describe(broker, group).state == ck.ConsumerGroupState.STABLE
    except (ck.KafkaException, TimeoutError):  # the coordinator is not there yet
        return False


@pytest.mark.parametrize("assignor", ["uniform", "range"])
@pytest.mark.parametrize("kind", MEMBERS)
def test_members_share_the_partitions(quick, kind, assignor):
    topic = Topics(quick).create(partitions=6)
    sent = fill(quick.address, topic, 6)
    group = f"shares-{topic}"
    settings = {**CONSUMER, "group.remote.assignor": assignor}
    members = [kind(quick.address, group, topic, settings) for _ in range(3)]
    wait_for_shares(members, 2, 2, 2)
    described = describe(quick, group)
    assert described.state == ck.ConsumerGroupState.STABLE
    assert described.partition_assignor == assignor
    assert len(described.members) == 3
    members.pop().close()
    wait_for_shares(members, 3, 3)
    members.append(kind(quick.address, group, topic, settings))
    wait_for_shares(members, 2, 2, 2)
    wait_for(lambda: [m.assigned() for m in members] and set(all_values(members)) <= set(sent))
    close_all(members)
    wait_for(lambda: describe(quick, group).state == ck.ConsumerGroupState.EMPTY)


@pytest.mark.parametrize("kind", MEMBERS)
def test_each_record_is_read_and_committed(quick, kind):
    topic = Topics(quick).create(partitions=4)
    sent = fill(quick.address, topic, 4)
    group = f"reads-{topic}"
    first = kind(quick.address, group, topic, CONSUMER)
    wait_for(lambda: first.assigned() is not None and len(first.values) >= len(sent))
    first.close()
    assert sorted(first.values) == sorted(sent)
    more = fill(quick.address, topic, 4, per_partition=5)
    second = kind(quick.address, group, topic, CONSUMER)
    wait_for(lambda: second.assigned() is not None and len(second.values) >= len(more))
    second.close()
    assert sorted(second.values) == sorted(more)


@pytest.mark.parametrize("kind", MEMBERS)
def test_topics_by_regular_expression(quick, kind):
    topics = Topics(quick)
    first, other = topics.create(partitions=2), topics.create(partitions=2)
    member = kind(quick.address, f"regex-{first}", f"^({first}|{first}-.*)", CONSUMER)
    wait_for_shares([member], 2)
    assert all(partition.startswith(f"{first}-") for partition in member.assigned())
    # Another one that matches.
    later = f"{first}-later"
    topics.admin.create_topics([ck.admin.NewTopic(later, 3, 1)])[later].result(30)
    wait_for_shares([member], 5)
    topics.admin.delete_topics([later])[later].result(30)
    wait_for_shares([member], 2)
    assert not any(partition.startswith(f"{other}-") for partition in member.assigned())
    member.close()


@pytest.mark.parametrize("kind", MEMBERS)
def test_new_partitions_are_assigned(quick, kind):
    topics = Topics(quick)
    topic = topics.create(partitions=2)
    members = [kind(quick.address, f"grows-{topic}", topic, CONSUMER) for _ in range(2)]
    wait_for_shares(members, 1, 1)
    topics.admin.create_partitions([NewPartitions(topic, 6)])[topic].result(30)
    wait_for_shares(members, 3, 3)
    close_all(members)


@pytest.mark.parametrize("kind", MEMBERS)
def test_a_static_member_finds_its_partitions_again(quick, kind):
    topic = Topics(quick).create(partitions=4)
    group = f"static-{topic}"

    def member(name: str) -> Member:
        return kind(quick.address, group, topic, {**CONSUMER, "group.instance.id": name})

    one, two = member("one"), member("two")
    wait_for_shares([one, two], 2, 2)
    before, epoch = one.assigned(), two.assigned()
    one.close()
    one = member("one")
    wait_for_shares([one, two], 2, 2)
    assert one.assigned() == before
    assert two.assigned() == epoch
    close_all([one, two])


@pytest.mark.parametrize("kind", MEMBERS)
def test_rolling_restarts_under_load(quick, kind):
    """Every member is replaced, one after the other: no record is missed."""
    topic = Topics(quick).create(partitions=6)
    group = f"rolls-{topic}"
    load = Load(quick.address, topic, 6)
    members = [kind(quick.address, group, topic, CONSUMER) for _ in range(3)]
    left: list[Member] = []
    wait_for_shares(members, 2, 2, 2)
    for _ in range(3):
        left.append(members.pop(0))
        left[-1].close()
        members.append(kind(quick.address, group, topic, CONSUMER))
        wait_for_shares(members, 2, 2, 2)
    load.expect_all(left, members)


@pytest.mark.parametrize("how", ["stopped", "killed"])
@pytest.mark.parametrize("kind", MEMBERS)
def test_broker_restarts_under_load(own_broker, kind, how):
    """The group goes on with the members that it had, and no record is missed."""
    broker = own_broker(QUICK)
    topic = Topics(broker).create(partitions=6)
    group = f"goes-on-{topic}"
    load = Load(broker.address, topic, 6)
    members = [kind(broker.address, group, topic, CONSUMER) for _ in range(3)]
    wait_for_shares(members, 2, 2, 2)
    before = sorted(m.member_id for m in describe(broker, group).members)
    for _ in range(2):
        broker.kill() if how == "killed" else broker.stop()
        broker.start()
        wait_for(lambda: is_stable(broker, group))
    wait_for_shares(members, 2, 2, 2)
    assert sorted(m.member_id for m in describe(broker, group).members) == before
    load.expect_all([], members)


@pytest.mark.java
@pytest.mark.parametrize("strategy", ["RangeAssignor", "CooperativeStickyAssignor"])
def test_upgrade_and_downgrade_of_a_live_group(quick, strategy):
    """Java's classic members give way to members of the consumer protocol one by one, and back."""
    topic = Topics(quick).create(partitions=6)
    group = f"migrates-{topic}"
    name = f"org.apache.kafka.clients.consumer.{strategy}"
    classic = {**CLASSIC, "partition.assignment.strategy": name}
    load = Load(quick.address, topic, 6)
    members: list[Member] = [JavaMember(quick.address, group, topic, classic) for _ in range(2)]
    left: list[Member] = []
    wait_for_shares(members, 3, 3)
    assert group_type(quick, group) == ck.ConsumerGroupType.CLASSIC
    for settings, final in ((CONSUMER, ck.ConsumerGroupType.CONSUMER), (classic, ck.ConsumerGroupType.CLASSIC)):
        for _ in range(2):
            members.append(JavaMember(quick.address, group, topic, settings))
            wait_for_shares(members, 2, 2, 2)
            assert group_type(quick, group) == ck.ConsumerGroupType.CONSUMER
            left.append(members.pop(0))
            left[-1].close()
            wait_for_shares(members, 3, 3)
        assert group_type(quick, group) == final
    load.expect_all(left, members)


def group_type(broker, group: str):
    admin = Topics(broker).admin
    listed = admin.list_consumer_groups().result(30).valid
    return next(one.type for one in listed if one.group_id == group)


@pytest.mark.parametrize("kind", MEMBERS)
def test_a_group_has_a_session_timeout_of_its_own(quick, kind):
    """Set while a member is in: it holds from its next heartbeat, for the members of that group only. Static members
    that close are members until their session ends."""
    topic = Topics(quick).create(partitions=2)
    groups = [f"{name}-{topic}" for name in ("patient", "usual")]
    members = [kind(quick.address, group, topic, {**CONSUMER, "group.instance.id": "one"}) for group in groups]
    for member in members:
        wait_for_shares([member], 2)
    configure(quick, groups[0], "consumer.session.timeout.ms", "60000")
    time.sleep(2)  # some heartbeats
    close_all(members)
    wait_for(lambda: describe(quick, groups[1]).state == ck.ConsumerGroupState.EMPTY)
    assert len(describe(quick, groups[0]).members) == 1
    configure(quick, groups[0], "consumer.session.timeout.ms", None)


def configure(broker, group: str, name: str, value: str | None) -> None:
    change = "SET" if value is not None else "DELETE"
    entry = ck.admin.ConfigEntry(name, value or "", incremental_operation=ck.admin.AlterConfigOpType[change])
    resource = ck.admin.ConfigResource(ck.admin.ResourceType.GROUP, group, incremental_configs=[entry])
    admin = Topics(broker).admin
    admin.incremental_alter_configs([resource])[resource].result(30)


@pytest.mark.java
def test_kafkas_group_command(quick):
    topic = Topics(quick).create(partitions=2)
    sent = fill(quick.address, topic, 2)
    group = f"command-{topic}"
    at = ["--bootstrap-server", quick.address]
    member = RdkafkaMember(quick.address, group, topic, CONSUMER)
    wait_for(lambda: member.assigned() and len(member.values) >= len(sent))

    listed = run_tool(GROUPS, *at, "--list", "--state", "--type").splitlines()
    assert any(line.split() == [group, "Consumer", "Stable"] for line in listed), listed
    members = run_tool(GROUPS, *at, "--describe", "--group", group, "--members", "--verbose")
    assert f"{topic}:0,1" in members.replace(f"{topic}(0,1)", f"{topic}:0,1"), members
    state = run_tool(GROUPS, *at, "--describe", "--group", group, "--state")
    assert "Stable" in state and "uniform" in state, state

    refused = run_tool(GROUPS, *at, "--reset-offsets", "--group", group, "--topic", topic,
                       "--to-earliest", "--execute")  # fmt: skip
    assert "can only be reset if the group" in refused, refused
    member.close()
    wait_for(lambda: describe(quick, group).state == ck.ConsumerGroupState.EMPTY)
    reset = run_tool(GROUPS, *at, "--reset-offsets", "--group", group, "--topic", topic,
                     "--to-earliest", "--execute")  # fmt: skip
    assert topic in reset
    offsets = run_tool(GROUPS, *at, "--describe", "--group", group)
    assert [line.split()[3] for line in offsets.splitlines() if line.startswith(group)] == ["0", "0"]
    assert "was successful" in run_tool(GROUPS, *at, "--delete", "--group", group)
    assert group not in run_tool(GROUPS, *at, "--list").split()
