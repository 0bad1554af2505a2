"""What is measured. A scenario measures one system once and returns named numbers; the goals are those that the
project has set itself, held against the medians.
"""

import contextlib
import dataclasses
import json
import pathlib
import signal
import subprocess
import time

import systems
from systems import BenchError

MIB = 2**20
GIB = 2**30


@dataclasses.dataclass(frozen=True)
class Pace:
    """How long things take."""

    warmup_ms: int
    measure_ms: int
    max_bytes: int  # produced within one measurement, at most
    read_bytes: int  # the same for consumed
    fill_bytes: int  # what there is to consume
    end_to_end_ms: int
    idle_s: float
    idle_partitions: int
    crash_bytes: int
    kcat_records: int


# Three rounds of everything in half an hour.
FULL = Pace(300, 2000, 1024 * MIB, 64 * GIB, 256 * MIB, 4000, 3, 2000, 1024 * MIB, 2_000_000)
QUICK = Pace(50, 250, 256 * MIB, 64 * GIB, 32 * MIB, 600, 0.5, 1000, 64 * MIB, 200_000)
# As a test: so many bytes, however long they take.
SMOKE = Pace(0, 60_000, MIB // 4, 4 * MIB, MIB, 300, 0.05, 20, MIB, 1000)


@dataclasses.dataclass(frozen=True)
class Goal:
    """`metric` of Millrace, against `of` of another column (or of no other: an absolute limit)."""

    metric: str
    against: "str | None"
    at_most: float  # times the other's value, or the limit itself
    # For what is better when it is larger.
    at_least: bool = False

    def judge(self, medians):
        """The factor that was reached and whether it is enough; None when there is nothing to compare."""
        own = medians.get("millrace", {}).get(self.metric)
        other = 1.0 if self.against is None else medians.get(self.against, {}).get(self.metric)
        if own is None or not other:
            return None
        factor = own / other
        return factor, factor >= self.at_most if self.at_least else factor <= self.at_most


def against_kafka_and_floor(floor, factor):
    return (
        Goal("cpu", "kafka", 1 / 5),
        Goal("cpu", floor, factor),
        Goal("rss_peak", "kafka", 1 / 10),
    )


PRODUCE_GOALS = against_kafka_and_floor("floor-sync", 1.5)
CONSUME_GOALS = against_kafka_and_floor("floor-sync", 1.25)
ALL = ("millrace", "kafka", "kafka-flush", "floor-sync", "floor")
WITHOUT_FLUSH = tuple(system for system in ALL if system != "kafka-flush")
# Reading is the same whether writing was synced or not.
READERS = ("millrace", "kafka", "floor-sync")
BROKERS = ("millrace", "kafka")


def usage(result, records=None):
    """The part that every load reports: per million records."""
    millions = (records or result["records"]) / 1e6
    if millions == 0:
        raise BenchError("nothing was measured: the time was too short")
    return {
        "cpu": (result["user_s"] + result["system_s"]) / millions,
        "user": result["user_s"] / millions,
        "system": result["system_s"] / millions,
        "rate": result["records"] / result["seconds"],
    }


@dataclasses.dataclass(frozen=True)
class Scenario:
    name: str
    title: str
    systems: tuple = ALL
    goals: tuple = ()
    quick: bool = False
    smoke: bool = False
    # Of Kafka, whose starts take long.
    max_rounds: int = 1000

    def measure(self, system, pace, run):
        """Numbers by metric. `run` is another for each measurement."""
        raise NotImplementedError


@dataclasses.dataclass(frozen=True)
class Load(Scenario):
    """What produce loads are made of."""

    shape: dict = dataclasses.field(default_factory=dict)
    partitions: int = 1
    connections: int = 4
    depth: int = 5
    partitions_per_request: int = 1

    def produce(self, system, topic, **options):
        return system.bench.client(
            "produce", system, topic=topic, partitions=self.partitions, connections=self.connections,
            depth=self.depth, partitions_per_request=self.partitions_per_request, **{**self.shape, **options},
        )  # fmt: skip


@dataclasses.dataclass(frozen=True)
class Produce(Load):
    latency: bool = False
    times_as_long: int = 1  # where a request takes a good part of a measurement

    def measure(self, system, pace, run):
        with system.running(), system.topic(f"{self.name}-{run}", self.partitions) as (topic, _):
            result = self.produce(
                system, topic, warmup_ms=pace.warmup_ms, measure_ms=pace.measure_ms * self.times_as_long,
                max_bytes=pace.max_bytes,
            )  # fmt: skip
            numbers = {**usage(result), "rss_peak": systems.peak_rss_mib(system.pid)}
            if self.latency:
                numbers.update(p50=result["p50_us"] / 1000, p99=result["p99_us"] / 1000)
            return numbers


@dataclasses.dataclass(frozen=True)
class Consume(Load):
    readers: int = 1

    def measure(self, system, pace, run):
        with system.running(), system.topic(self.name, self.partitions, reuse=True) as (topic, filled):
            if not filled:
                stored = self.produce(system, topic, measure_ms=600_000, max_bytes=pace.fill_bytes)["all_records"]
                self.check_all_is_there(system, topic, stored)
            result = self.consume(system, topic, pace, self.readers)
            numbers = {**usage(result), "rss_peak": systems.peak_rss_mib(system.pid)}
            numbers["cpu_per_gib"] = (result["user_s"] + result["system_s"]) / (result["bytes"] / 2**30)
            if self.readers > 1:
                alone = self.consume(system, topic, pace, 1)
                cost_alone = (alone["user_s"] + alone["system_s"]) / alone["bytes"]
                numbers["against_one"] = numbers["cpu_per_gib"] / 2**30 / cost_alone
            return numbers

    def consume(self, system, topic, pace, readers, **options):
        options = {
            "warmup_ms": pace.warmup_ms, "measure_ms": pace.measure_ms, "max_bytes": pace.read_bytes, **options,
        }  # fmt: skip
        return system.bench.client(
            "consume", system, topic=topic, partitions=self.partitions, connections=readers, **options
        )

    def check_all_is_there(self, system, topic, stored):
        once = system.bench.client(
            "consume", system, topic=topic, partitions=self.partitions, connections=1, once=1, measure_ms=600_000
        )
        if once["all_records"] != stored:
            raise BenchError(f"{system.title}: {stored} records acknowledged, {once['all_records']} read")


@dataclasses.dataclass(frozen=True)
class InTurn(Load):
    """The same load on few and on many partitions, written in turn."""

    few: int = 10
    many: int = 1000

    def measure(self, system, pace, run):
        rates = []
        for partitions in (self.few, self.many):
            load = dataclasses.replace(self, partitions=partitions)
            with system.running(), system.topic(f"{self.name}-{partitions}-{run}", partitions) as (topic, _):
                # The first round of all partitions makes their files.
                result = load.produce(
                    system, topic, warmup_ms=max(pace.warmup_ms, pace.measure_ms), measure_ms=pace.measure_ms
                )
                rates.append(result["records"] / result["seconds"])
        return {"rate_few": rates[0], "rate": rates[1], "kept": rates[1] / rates[0]}


@dataclasses.dataclass(frozen=True)
class EndToEnd(Scenario):
    rate: int = 1000

    def measure(self, system, pace, run):
        with system.running(), system.topic(f"{self.name}-{run}", 1) as (topic, _):
            result = system.bench.client(
                "end-to-end", system, topic=topic, rate=self.rate, record_bytes=1024,
                warmup_ms=pace.warmup_ms, measure_ms=pace.end_to_end_ms,
            )  # fmt: skip
            numbers = {"p50": result["p50_us"] / 1000, "p99": result["p99_us"] / 1000, **usage(result)}
            del numbers["rate"]
            return numbers


@contextlib.contextmanager
def own_instance(system):
    """A process of its own, stopped: of Kafka not the one that the other scenarios use."""
    is_kafka = isinstance(system, systems.KafkaColumn)
    own = systems.KafkaServer(system.bench, pausable=False) if is_kafka else type(system)(system.bench)
    try:
        yield own
    finally:
        own.stop()


@dataclasses.dataclass(frozen=True)
class Start(Scenario):
    """An empty broker: how soon it answers, and what it takes when nobody asks for anything."""

    def measure(self, system, pace, run):
        with own_instance(system) as own:
            numbers = {"start_ms": own.start()}
            time.sleep(min(pace.idle_s, 1))
            numbers["rss_idle"] = systems.rss_mib(own.pid)
            before = systems.cpu_seconds(own.pid)
            time.sleep(pace.idle_s)
            numbers["cpu_idle"] = (systems.cpu_seconds(own.pid) - before) / pace.idle_s * 100
            own.create_topic("idle", pace.idle_partitions)
            time.sleep(min(pace.idle_s, 1))
            more = systems.rss_mib(own.pid) - numbers["rss_idle"]
            numbers["per_partition"] = more * 1024 / pace.idle_partitions
            return numbers


@dataclasses.dataclass(frozen=True)
class Crash(Load):
    """SIGKILL, then a start: until the first answered Metadata request."""

    def measure(self, system, pace, run):
        with own_instance(system) as own:
            own.start()
            own.create_topic("crash", self.partitions)
            stored = self.produce(own, "crash", measure_ms=600_000, max_bytes=pace.crash_bytes)["all_records"]
            own.end_process(signal.SIGKILL)
            numbers = {"start_ms": own.start_again()}
            if isinstance(own, systems.Millrace):
                # Synced, so all of it must be there.
                Consume("", "", partitions=self.partitions).check_all_is_there(own, "crash", stored)
            return numbers


@dataclasses.dataclass(frozen=True)
class Kcat(Scenario):
    """What a user of librdkafka sees. Its start counts, too."""

    consume: bool = False

    def measure(self, system, pace, run):
        records = pace.kcat_records
        lines = system.bench.directory / "lines"
        if not lines.exists() or lines.stat().st_size != records * 101:
            lines.write_text(f"{'x' * 92}%08d\n" * records % tuple(range(records)))
        with system.running(), system.topic(f"{self.name}-{run}", 1) as (topic, _):
            produced = self.kcat(system, records, "-P", "-t", topic, "-l", lines)
            result = produced
            if self.consume:
                wanted = ["-C", "-t", topic, "-e", "-q", "-f", "%o\n"]
                result = self.kcat(system, records, *wanted)
            return usage(result)

    @staticmethod
    def kcat(system, records, *arguments):
        command = systems.on_core(system.bench.client_core, ["kcat", "-b", system.address, *arguments])
        began, cpu = time.monotonic(), systems.cpu_seconds(system.pid)
        done = subprocess.run(command, capture_output=True, timeout=systems.CLIENT_TIMEOUT_S)
        if done.returncode != 0:
            raise BenchError(f"kcat against {system.title}: {done.stderr.decode()}")
        if "-C" in arguments and done.stdout.count(b"\n") != records:
            raise BenchError(f"kcat read {done.stdout.count(10)} of {records} records from {system.title}")
        # Only the sum: the ticks of so short a time say nothing.
        cpu = systems.cpu_seconds(system.pid) - cpu
        return {"records": records, "seconds": time.monotonic() - began, "user_s": cpu, "system_s": 0.0}


def records_of(size, batch):
    """Options of a batch shape: large, 16 KiB or ten records."""
    sizes = {"large": {"batch_bytes": 1_000_000}, "16k": {"batch_bytes": 16 << 10}, "10": {"batch_records": 10}}
    return {"record_bytes": size, **sizes[batch]}


BATCH_TITLES = {"large": "large batches", "16k": "16 KiB batches", "10": "10-record batches"}
SIZE_TITLES = {100: "100 B", 1024: "1 KiB"}
QUICK_PRODUCE = {(100, "large"), (100, "10"), (1024, "16k")}


def produce_scenarios():
    for size, size_title in SIZE_TITLES.items():
        for batch, batch_title in BATCH_TITLES.items():
            yield Produce(
                f"produce-{size}-{batch}", f"produce {size_title}, {batch_title}", goals=PRODUCE_GOALS,
                shape=records_of(size, batch), quick=(size, batch) in QUICK_PRODUCE, smoke=(size, batch) == (100, "10"),
            )  # fmt: skip
    small = records_of(100, "16k")
    for name, title, more in (
        ("idempotent", "idempotent", {"idempotent": 1}),
        ("lz4", "lz4", {"codec": "lz4"}),
        ("zstd", "zstd", {"codec": "zstd"}),
    ):
        # A compressed batch of 16 KiB has some 40 KiB of records.
        yield Produce(
            f"produce-{name}", f"produce 100 B, 16 KiB batches, {title}", goals=PRODUCE_GOALS, shape={**small, **more},
            quick=name == "idempotent", smoke=name == "idempotent",
        )  # fmt: skip
    for partitions in (100, 1000):
        yield Produce(
            f"produce-{partitions}p", f"produce 100 B, 16 KiB batches, {partitions} partitions", goals=PRODUCE_GOALS,
            shape=small, partitions=partitions,
        )  # fmt: skip
        yield Produce(
            f"produce-{partitions}p-together",
            f"produce 100 B, 10-record batches, {partitions} partitions in each request", goals=PRODUCE_GOALS,
            shape=records_of(100, "10"), partitions=partitions, partitions_per_request=partitions,
            # A request takes Kafka a thousand syncs, which is longer than a measurement.
            systems=ALL if partitions == 100 else WITHOUT_FLUSH, smoke=partitions == 100,
            **({} if partitions == 100 else {"times_as_long": 4, "depth": 1}),
        )  # fmt: skip


def consume_scenarios():
    def consume(name, title, size, batch, **more):
        return Consume(
            f"consume-{name}", f"consume {title}", systems=READERS,
            **{"goals": CONSUME_GOALS, "shape": records_of(size, batch), **more},
        )  # fmt: skip

    yield consume("100", "100 B, large batches", 100, "large", quick=True, smoke=True)
    yield consume("100-10", "100 B, 10-record batches", 100, "10")
    yield consume("1024", "1 KiB, large batches", 1024, "large")
    yield consume("lz4", "100 B, lz4", 100, "16k", shape={**records_of(100, "16k"), "codec": "lz4"})
    yield consume("100p", "100 B, 16 KiB batches, 100 partitions", 100, "16k", partitions=100)
    yield consume("1000p", "100 B, 16 KiB batches, 1000 partitions", 100, "16k", partitions=1000)
    yield consume(
        "fan-out", "100 B, large batches, 5 readers", 100, "large", readers=5, quick=True, smoke=True,
        goals=(*CONSUME_GOALS, Goal("against_one", None, 1.0)),
    )  # fmt: skip


ONE_RECORD = {"record_bytes": 100, "batch_records": 1}


def latency_scenarios():
    for partitions, factor in ((1, 12), (100, 50)):
        yield Produce(
            f"synced-{partitions}p", f"16 connections, one record in flight each, partitions: {partitions}",
            goals=(Goal("rate", "kafka-flush", factor, at_least=True),), shape=ONE_RECORD, partitions=partitions,
            connections=16, depth=1, latency=True, quick=partitions == 1, smoke=partitions == 1,
        )  # fmt: skip
    yield InTurn(
        "in-turn", "16 connections, one record in flight each, 1000 partitions against 10",
        goals=(Goal("kept", None, 0.8, at_least=True),), shape=ONE_RECORD, connections=16, depth=1,
        systems=("millrace", "kafka-flush", "floor-sync"),
    )  # fmt: skip
    slow = (Goal("p50", "floor-sync", 1.25), Goal("p99", "kafka", 1 / 3))
    fast = (Goal("p50", "kafka", 1 / 4), Goal("p99", "kafka", 1 / 4))
    yield EndToEnd("end-to-end-1000", "end to end 1 KiB, 1,000/s", goals=slow, rate=1000, quick=True, smoke=True)
    yield EndToEnd("end-to-end-10000", "end to end 1 KiB, 10,000/s", goals=fast, rate=10000)


def start_scenarios():
    idle = (
        Goal("start_ms", None, 100),
        Goal("cpu_idle", None, 0.1),
        Goal("per_partition", None, 16),
    )
    yield Start("start", "start and idle", systems=BROKERS, goals=idle, quick=True, smoke=True, max_rounds=3)
    yield Crash(
        "crash", "start after SIGKILL under load", systems=BROKERS, goals=(Goal("start_ms", None, 100),),
        shape=records_of(1024, "large"), max_rounds=3, smoke=True,
    )  # fmt: skip


def client_scenarios():
    for consume in (False, True):
        name = "consume" if consume else "produce"
        yield Kcat(f"kcat-{name}", f"kcat (librdkafka), {name} 100 B", systems=BROKERS, consume=consume)


SCENARIOS = [
    *produce_scenarios(), *consume_scenarios(), *latency_scenarios(), *start_scenarios(), *client_scenarios(),
]  # fmt: skip
