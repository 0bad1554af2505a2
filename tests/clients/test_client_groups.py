"""Groups of every client, each in every way that it can be a member, through restarts of members and of the broker.

All groups go through one fixture at the same time, each on a topic of its own; each test looks at one of them.
"""

from __future__ import annotations

import concurrent.futures
import dataclasses
import functools
import time
from collections.abc import Callable

import pytest
from conftest import Topics, open_client

from broker import IS_KAFKA, Broker
from debian_rdkafka import DebianRdkafka
from go_client import FranzGoClient, SaramaClient
from group_load import QUICK, Load, all_values, fill
from group_members import KcatMember, Member, RdkafkaMember, WorkerMember, wait_for, wait_for_shares
from java_client import JavaClient
from kafka_python_client import KafkaPythonClient, OldKafkaPythonClient
from kafkajs_client import KafkajsClient

PARTITIONS = 6
INTERVAL_S = 0.01
MORE = 30
OUTAGE_S = 1
# librdkafka 2.0.2 takes more than five seconds to find a coordinator again that went away.
CLASSIC = {"heartbeat.interval.ms": "500", "session.timeout.ms": "30000"}
KILLED = {**CLASSIC, "session.timeout.ms": "6000"}
STRATEGY = "partition.assignment.strategy"
JAVA = "org.apache.kafka.clients.consumer"

pytestmark = pytest.mark.timeout(300)


@dataclasses.dataclass(frozen=True)
class Kind:
    """A client, and how its members are set. What it can't promise, it says: that nothing is handled twice when
    members come and go, and when the broker restarts (with Apache Kafka, neither)."""

    name: str
    client: type | None
    settings: dict[str, str]
    make: Callable[..., Member] | None = None
    commits_before_it_moves: bool = True
    keeps_its_place: bool = True

    def __str__(self) -> str:
        return self.name

    def member(self, address: str, group: str, topic: str) -> Member:
        make = self.make or functools.partial(WorkerMember, self.client)
        return make(address, group, topic, self.settings)


def classic(strategy: str | None = None) -> dict[str, str]:
    return {**CLASSIC, **({STRATEGY: strategy} if strategy else {})}


KINDS = [
    Kind("librdkafka-range", None, classic("range"), RdkafkaMember),
    Kind("librdkafka-cooperative", None, classic("cooperative-sticky"), RdkafkaMember),
    Kind("librdkafka-2.0.2-range", DebianRdkafka, classic("range")),
    Kind("librdkafka-2.0.2-cooperative", DebianRdkafka, classic("cooperative-sticky"), None, False, False),
    Kind("kcat", None, KILLED, KcatMember, commits_before_it_moves=False, keeps_its_place=False),
    Kind("java-range", JavaClient, classic(f"{JAVA}.RangeAssignor")),
    Kind("java-cooperative", JavaClient, classic(f"{JAVA}.CooperativeStickyAssignor")),
    Kind("kafka-python-range", KafkaPythonClient, classic("range")),
    Kind("kafka-python-cooperative", KafkaPythonClient, classic("cooperative-sticky")),
    Kind("kafka-python-2.0.2", OldKafkaPythonClient, classic("range")),
    Kind("franz-go-range", FranzGoClient, classic("range")),
    *(
        [Kind("franz-go-consumer-protocol", FranzGoClient, {"group.protocol": "consumer"})]
        if FranzGoClient.has_consumer_protocol()
        else []
    ),
    Kind("franz-go-cooperative", FranzGoClient, classic("cooperative-sticky")),
    # Its Commit() doesn't say whether it has committed.
    Kind("sarama-range", SaramaClient, classic("range"), keeps_its_place=False),
    Kind("sarama-sticky", SaramaClient, classic("sticky"), keeps_its_place=False),
    Kind("kafkajs", KafkajsClient, classic()),
]
every_kind = pytest.mark.parametrize(
    "kind",
    [pytest.param(k, id=str(k), marks=[pytest.mark.java] if k.client is JavaClient else []) for k in KINDS],
)


def together(request, what: Callable[[Kind], object]) -> dict[str, concurrent.futures.Future]:
    """Does it for all kinds that were selected, at the same time."""
    kinds = {
        str(item.callspec.params["kind"]): item.callspec.params["kind"]
        for item in request.session.items
        if request.fixturename in item.fixturenames and not item.get_closest_marker("skip")
    }
    for kind in kinds.values():
        if kind.client is not None:
            open_client(kind.client)
    with concurrent.futures.ThreadPoolExecutor(len(kinds)) as pool:
        return {name: pool.submit(what, kind) for name, kind in kinds.items()}


class Group:
    """Members of one kind on a topic of their own, under load."""

    def __init__(self, broker: Broker, kind: Kind, size: int):
        self.broker, self.kind = broker, kind
        self.topic = Topics(broker).create(partitions=PARTITIONS)
        self.load = Load(broker.address, self.topic, PARTITIONS, INTERVAL_S)
        self.left: list[Member] = []
        self.members = [self.new_member() for _ in range(size)]

    def new_member(self) -> Member:
        return self.kind.member(self.broker.address, f"{self.kind}-{self.topic}", self.topic)

    def shares(self) -> list[list[str]]:
        """Also collects what the members have handled."""
        return [member.assigned() for member in self.members]

    def finish(self, each_once: bool) -> None:
        expect = self.load.expect_each_once if each_once else self.load.expect_all
        expect(self.left, self.members)


@pytest.fixture(scope="module")
def rolled(request, tmp_path_factory):
    broker = Broker(tmp_path_factory.mktemp("rolled"), QUICK).start()

    def roll(kind: Kind) -> None:
        group = Group(broker, kind, 3)
        wait_for_shares(group.members, 2, 2, 2)
        for _ in range(3):
            group.left.append(group.members.pop(0))
            group.left[-1].close()
            wait_for_shares(group.members, 3, 3)
            group.members.append(group.new_member())
            wait_for_shares(group.members, 2, 2, 2)
        group.finish(kind.commits_before_it_moves)

    yield together(request, roll)
    assert broker.is_running(), broker.log_tail()
    broker.stop()


@every_kind
def test_members_restart_one_by_one(rolled, kind):
    """Three members share the work; each leaves and is replaced. No record is missed, and none is handled twice,
    because all commit after the work and before they give partitions away."""
    rolled[str(kind)].result()


class Restarts:
    """What came of the groups in each stage."""

    def __init__(self, request, broker: Broker):
        self.broker = broker
        do = functools.partial(together, request)
        self.opened = do(self._open)
        self._end_and_start(broker.kill)
        self.went_on = do(self._go_on)
        self._end_and_start(broker.stop)
        self.finished = do(lambda kind: self.opened[str(kind)].result().finish(kind.keeps_its_place and not IS_KAFKA))
        self._end_and_start(broker.kill)
        self.resumed = do(self._resume)

    def _end_and_start(self, end: Callable[[], None]) -> None:
        end()
        time.sleep(OUTAGE_S)
        self.broker.start()

    def _open(self, kind: Kind) -> Group:
        group = Group(self.broker, kind, 2)
        wait_for_shares(group.members, 3, 3)
        return group

    def _go_on(self, kind: Kind) -> None:
        group = self.opened[str(kind)].result()
        sent = len(group.load.sent)
        wait_for(lambda: group.shares() and any(int(v) >= sent for v in all_values(group.members)))

    def _resume(self, kind: Kind) -> None:
        self.finished[str(kind)].result()
        group = self.opened[str(kind)].result()
        more = fill(self.broker.address, group.topic, PARTITIONS, MORE // PARTITIONS)
        member = group.new_member()
        wait_for(lambda: member.assigned() and set(member.values) >= set(more))
        member.close()
        if kind.keeps_its_place:
            assert sorted(member.values) == sorted(more)


@pytest.fixture(scope="module")
def restarts(request, tmp_path_factory):
    broker = Broker(tmp_path_factory.mktemp("restarts"), QUICK).start()
    yield Restarts(request, broker)
    assert broker.is_running(), broker.log_tail()
    broker.stop()


@every_kind
def test_the_broker_restarts_under_load(restarts, kind):
    """Killed once, stopped once: no record is missed. Members that commit until it is done, and that the broker still
    knows, handle none twice. (Apache Kafka's start takes so long that members begin anew.)"""
    restarts.opened[str(kind)].result()
    restarts.went_on[str(kind)].result()
    restarts.finished[str(kind)].result()


@every_kind
def test_commits_survive_a_kill(restarts, kind):
    """A new member reads what came since the last commit, and nothing else."""
    restarts.resumed[str(kind)].result()


@pytest.mark.java
def test_clients_of_all_languages_share_one_group(broker):
    """What all know is `range`, and each in turn may have to assign for the others."""
    named = {str(kind): kind for kind in KINDS}
    kinds = [named[f"{name}-range"] for name in ("librdkafka", "java", "kafka-python", "franz-go", "sarama")]
    topic = Topics(broker).create(partitions=2 * len(kinds))
    load = Load(broker.address, topic, 2 * len(kinds), INTERVAL_S)
    members = [kind.member(broker.address, f"mixed-{topic}", topic) for kind in kinds]
    wait_for_shares(members, *[2] * len(members))
    left = []
    for kind in kinds:
        left.append(members.pop(0))
        left[-1].close()
        members.append(kind.member(broker.address, f"mixed-{topic}", topic))
        wait_for_shares(members, *[2] * len(members))
    load.expect_each_once(left, members)
