"""What is measured of consumer groups, and the goals that the project has set itself; see scenarios.py."""

import contextlib
import dataclasses
import json
import signal
import subprocess

import systems
from scenarios import Goal, Scenario, own_instance, usage
from systems import BenchError

SYSTEMS = ("millrace", "kafka")
COMMIT_SYSTEMS = ("millrace", "kafka", "kafka-flush", "floor-sync")
HALF_OF_KAFKA = tuple(Goal(metric, "kafka", 0.5) for metric in ("first_ms", "leave_ms", "join_ms"))
# Members of the consumer protocol that don't wait for the broker to ask them: for what isn't measured.
FAST_HEARTBEAT_MS = 20


@dataclasses.dataclass(frozen=True)
class Pace:
    """How much there is of everything."""

    members: int
    partitions: int
    groups: int  # with positions
    positions: int  # of each
    warmup_ms: int
    measure_ms: int
    end_to_end_ms: int


FULL = Pace(100, 1000, 10_000, 100, 2000, 5000, 8000)
QUICK = Pace(100, 1000, 1000, 100, 500, 1000, 2000)
SMOKE = Pace(5, 20, 20, 10, 0, 300, 300)


@dataclasses.dataclass(frozen=True)
class Rebalance(Scenario):
    protocol: str = ""
    heartbeat_ms: int = 0

    def measure(self, system, pace, run):
        with system.running(), system.topic(f"{self.name}-{run}", pace.partitions) as (topic, _):
            # What a broker does once in its life is no part of a rebalance: Millrace, which is new each time, makes
            # its first journal files with its first records.
            once = dataclasses.replace(self, heartbeat_ms=FAST_HEARTBEAT_MS) if self.protocol == "consumer" else self
            once.rebalance(system, topic, pace, f"{self.name}-{run}-first")
            result = self.rebalance(system, topic, pace, f"{self.name}-{run}")
            numbers = {f"{phase}_ms": result[phase]["ms"] for phase in result}
            numbers["cpu_s"] = sum(result[phase]["cpu_s"] for phase in result)
            return numbers

    def rebalance(self, system, topic, pace, group):
        return system.bench.group_client(
            "rebalance", system, topic=topic, protocol=self.protocol, group=group, partitions=pace.partitions,
            members=pace.members, heartbeat_ms=self.heartbeat_ms,
        )  # fmt: skip


@dataclasses.dataclass(frozen=True)
class Commit(Scenario):
    partitions: int = 10
    connections: int = 50
    depth: int = 1  # as of a client that commits without waiting for the answer before

    def measure(self, system, pace, run):
        with system.running(), system.topic(self.name, self.partitions, reuse=True) as (topic, _), system.offsets():
            result = self.commit(system, topic, pace.warmup_ms, pace.measure_ms)
            numbers = usage(result, result["requests"])
            numbers["rate"] = result["requests"] / result["seconds"]
            numbers["per_cpu_s"] = 1e6 / numbers["cpu"]
            return {**numbers, "p99": result["p99_us"] / 1000}

    def commit(self, system, topic, warmup_ms, measure_ms):
        return system.bench.group_client(
            "commit", system, topic=topic, partitions=self.partitions, connections=self.connections, groups=200,
            depth=self.depth, warmup_ms=warmup_ms, measure_ms=measure_ms,
            await_coordinators=int(system.has_coordinators),
        )  # fmt: skip


@dataclasses.dataclass(frozen=True)
class Positions(Scenario):
    """Start-ups with many committed positions: until all of them have been fetched."""

    def measure(self, system, pace, run):
        shape = {"topic": "positions", "partitions": pace.positions, "groups": pace.groups}
        numbers = {}
        with own_instance(system) as own:
            own.start()
            own.create_topic("positions", pace.positions)
            own.bench.group_client("fill", own, connections=4, depth=5, **shape)
            for how, metric in ((signal.SIGKILL, "killed_ms"), (signal.SIGTERM, "stopped_ms")):
                own.end_process(how)
                with self.fetching(own, shape) as fetched:
                    own.start_again(own.port)
                    began_ns = own.began_ns()
                    numbers[metric] = (fetched() - began_ns) / 1e6
                    numbers["start_cpu_s"] = systems.cpu_seconds(own.pid)
            numbers["rss"] = systems.rss_mib(own.pid)
            return numbers

    @staticmethod
    @contextlib.contextmanager
    def fetching(own, shape):
        """A client that waits for the positions, started before the broker is."""
        own.port = systems.free_port()
        client = own.bench.group_client_process("await-positions", own.address, **shape)

        def fetched():
            output, errors = client.communicate(timeout=systems.CLIENT_TIMEOUT_S)
            if client.returncode != 0:
                raise BenchError(f"{own.title}: {errors.strip()}")
            return json.loads(output)["answered_ns"]

        try:
            yield fetched
        finally:
            with contextlib.suppress(ProcessLookupError):
                client.kill()
            with contextlib.suppress(subprocess.TimeoutExpired):
                client.wait(systems.STOP_TIMEOUT_S)


@dataclasses.dataclass(frozen=True)
class FanOut(Scenario):
    """Groups that all read what one topic gets, against one group that does."""

    groups: int = 10
    rate: int = 10_000

    def measure(self, system, pace, run):
        latency = {}
        for groups in (1, self.groups):
            with system.running(), system.topic(f"{self.name}-{groups}-{run}", 1) as (topic, _):
                result = system.bench.client(
                    "end-to-end", system, topic=topic, rate=self.rate, record_bytes=100, readers=groups, commits=1,
                    warmup_ms=max(pace.warmup_ms, 100), measure_ms=pace.end_to_end_ms,
                )  # fmt: skip
                latency[groups] = {name: result[f"{name}_us"] / 1000 for name in ("p50", "p99")}
        alone, all_of_them = latency[1], latency[self.groups]
        return {
            "p50_one": alone["p50"], "p99_one": alone["p99"], **all_of_them,
            "p99_against_one": all_of_them["p99"] / alone["p99"],
        }  # fmt: skip


SCENARIOS = [
    Rebalance(
        "rebalance-classic", "rebalance, classic protocol, delay 0", systems=SYSTEMS, goals=HALF_OF_KAFKA,
        protocol="classic", quick=True, smoke=True,
    ),
    Rebalance(
        "rebalance-consumer", "rebalance, consumer protocol, heartbeats as the broker says", systems=SYSTEMS,
        goals=HALF_OF_KAFKA, protocol="consumer", quick=True, smoke=True,
    ),
    Rebalance(
        "rebalance-consumer-fast", "rebalance, consumer protocol, heartbeats every 20 ms", systems=SYSTEMS,
        goals=HALF_OF_KAFKA, protocol="consumer", heartbeat_ms=20,
    ),
    Positions(
        "positions", "start with committed positions", systems=SYSTEMS, quick=True, smoke=True, max_rounds=3,
        goals=(Goal("stopped_ms", None, 2000), Goal("killed_ms", None, 2000), Goal("rss", "kafka", 0.1)),
    ),
    Commit(
        "commit", "commits of 10 partitions, 50 connections", systems=COMMIT_SYSTEMS, quick=True, smoke=True,
        goals=(Goal("per_cpu_s", "kafka", 5, at_least=True),),
    ),
    Commit(
        "commit-async", "commits of 10 partitions, 50 connections, 5 in flight each", systems=COMMIT_SYSTEMS, depth=5,
        goals=(Goal("per_cpu_s", "kafka", 5, at_least=True),),
    ),
    Commit(
        "commit-100", "commits of 100 partitions, 50 connections", systems=COMMIT_SYSTEMS, partitions=100,
        goals=(Goal("per_cpu_s", "kafka", 5, at_least=True),),
    ),
    Commit(
        "commit-1", "commits of 1 partition, 50 connections", systems=COMMIT_SYSTEMS, partitions=1,
        goals=(Goal("per_cpu_s", "kafka", 5, at_least=True),),
    ),
    FanOut(
        "groups-tail", "end to end 100 B, 10,000/s, 10 groups against 1", systems=SYSTEMS, quick=True, smoke=True,
        goals=(Goal("p99_against_one", None, 1.5),),
    ),
]  # fmt: skip
