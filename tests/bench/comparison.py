"""Runs scenarios on systems, round after round, and prints what comes out. tests/bench/compare and tests/bench/groups
are this with scenarios of their own.
"""

import argparse
import dataclasses
import json
import pathlib
import sys
import time
import typing

import report
import systems

ROOT = pathlib.Path(__file__).resolve().parents[2]
# By then the last measurement has ended; the rest is for stopping.
QUICK_LIMIT_S = 110
# What a scenario may take that wasn't measured yet: the start of an Apache Kafka of its own.
LONGEST_ROUND_S = 20


@dataclasses.dataclass(frozen=True)
class Suite:
    """What a program of the benchmark compares."""

    documentation: str  # the program's; its first and third part are the help
    scenarios: list
    paces: dict  # by mode: smoke, quick, full
    columns: list
    # (comparison, Kafka's column): Kafka's compiler needs to have seen everything: before that, it would be measured
    # slower than it is.
    warm_up: typing.Callable
    settings: tuple = ()  # of all brokers, KEY=VALUE

    def by_name(self, names):
        known = {scenario.name: scenario for scenario in self.scenarios}
        for name in names:
            if name not in known:
                raise systems.BenchError(f"no scenario '{name}'; there are {', '.join(known)}")
        return [known[name] for name in names]


def parse_arguments(suite):
    parts = suite.documentation.split("\n\n")
    parser = argparse.ArgumentParser(
        description=parts[0], epilog="\n\n".join(parts[2:]), formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--quick", action="store_true", help="a selection, short measurements: within two minutes")
    parser.add_argument("--smoke", action="store_true", help="as a test: without Kafka, next to no time")
    parser.add_argument("--scenarios", metavar="A,B", help="only these; 'list' names all")
    parser.add_argument("--systems", metavar="A,B", help=f"only these of {', '.join(suite.columns)}")
    parser.add_argument("--rounds", type=int, metavar="N", help="measurements of each (default: 3)")
    parser.add_argument("--json", metavar="FILE", help="also write every measurement to this file")
    parser.add_argument("--build", default=ROOT / "build" / "release", metavar="DIR", help="default: build/release")
    parser.add_argument("--directory", metavar="DIR", help="where temporary data goes (default: the system's)")
    return parser.parse_args()


class Progress:
    """What is being done: on a terminal one line that changes, elsewhere a line for each scenario's round."""

    def __init__(self):
        self.shown = sys.stderr.isatty()
        self.began = time.monotonic()

    def elapsed_s(self):
        return time.monotonic() - self.began

    def say(self, text):
        if self.shown:
            print(f"\r\033[K{self.elapsed_s():4.0f} s  {text}", end="", file=sys.stderr, flush=True)

    def begin(self, text):
        if not self.shown:
            print(f"{self.elapsed_s():4.0f} s  {text}", file=sys.stderr, flush=True)

    def clear(self):
        if self.shown:
            print("\r\033[K", end="", file=sys.stderr, flush=True)


class Comparison:
    def __init__(self, suite, arguments):
        self.suite = suite
        self.arguments = arguments
        self.progress = Progress()
        self.mode = "smoke" if arguments.smoke else "quick" if arguments.quick else "full"
        self.pace = suite.paces[self.mode]
        self.rounds = arguments.rounds or (1 if arguments.smoke else 3)
        self.limit_s = QUICK_LIMIT_S if arguments.quick else float("inf")
        self.columns = [c for c in self.wanted_columns() if not (arguments.smoke and c.startswith("kafka"))]
        self.scenarios = self.wanted_scenarios()
        self.bench = systems.Bench(arguments.build, arguments.directory, suite.settings)
        self.systems = {}
        self.results = []
        self.failed = []
        self.runs = 0

    def wanted_columns(self):
        known = self.suite.columns
        wanted = self.arguments.systems.split(",") if self.arguments.systems else known
        for column in wanted:
            if column not in known:
                raise systems.BenchError(f"no system '{column}'; there are {', '.join(known)}")
        return [column for column in known if column in wanted]

    def wanted_scenarios(self):
        if self.arguments.scenarios:
            return self.suite.by_name(self.arguments.scenarios.split(","))
        return [s for s in self.suite.scenarios if self.mode == "full" or getattr(s, self.mode)]

    def start_systems(self):
        self.systems = {
            "millrace": systems.Millrace(self.bench),
            "floor-sync": systems.Floor(self.bench, sync=True),
            "floor": systems.Floor(self.bench, sync=False),
        }
        if not any(column.startswith("kafka") for column in self.columns):
            return
        self.progress.say("starting Apache Kafka")
        server = systems.KafkaServer(self.bench)
        server.start()
        for flush in (False, True):
            column = systems.KafkaColumn(server, flush)
            self.systems[column.key] = column
        with self.systems["kafka"].running():
            self.suite.warm_up(self, self.systems["kafka"])

    def steps(self):
        """(scenario, number of the round) in order. When the time is short, rounds are missing, not scenarios."""
        rounds = range(self.rounds)
        if self.arguments.quick:
            steps = [(scenario, number) for number in rounds for scenario in self.scenarios]
        else:
            steps = [(scenario, number) for scenario in self.scenarios for number in rounds]
        # Where a limit is set, a round takes long: in a short comparison there are as many fewer of them.
        share = 3 if self.arguments.quick else 1
        return [(scenario, number) for scenario, number in steps if number * share < scenario.max_rounds]

    def measure(self, scenario, number, values):
        for column in values:
            self.progress.say(f"{scenario.title}: round {number + 1} of {self.rounds}, {report.TITLES[column]}")
            self.runs += 1
            found = scenario.measure(self.systems[column], self.pace, self.runs)
            for metric, value in found.items():
                values[column].setdefault(metric, []).append(value)

    def measure_all(self):
        """{scenario's name: {column: {metric: values}}}, without the scenarios that there was no time for."""
        found = {}
        took_s = {}
        failed = set()
        steps = self.steps()
        for i, (scenario, number) in enumerate(steps):
            began_s = self.progress.elapsed_s()
            is_late = began_s + took_s.get(scenario.name, LONGEST_ROUND_S) > self.limit_s
            if is_late or scenario.name in failed:
                continue
            self.progress.begin(f"{i + 1} of {len(steps)}: {scenario.title}, round {number + 1}")
            values = found.setdefault(scenario.name, {c: {} for c in self.columns if c in scenario.systems})
            try:
                self.measure(scenario, number, values)
            except systems.BenchError as error:
                self.failed.append(f"{scenario.name}: {error}")
                failed.add(scenario.name)
            took_s[scenario.name] = self.progress.elapsed_s() - began_s
            if i + 1 == len(steps) or steps[i + 1][0] is not scenario:
                self.forget_topics()
        return {name: values for name, values in found.items() if name not in failed}

    def forget_topics(self):
        for column in self.columns:
            if column.startswith("kafka"):
                self.systems[column].forget_topics()

    def run(self):
        self.start_systems()
        found = self.measure_all()
        self.results = [(scenario, found[scenario.name]) for scenario in self.scenarios if scenario.name in found]
        failed = {text.partition(":")[0] for text in self.failed}
        left_out = [s.name for s in self.scenarios if s.name not in found and s.name not in failed]
        self.progress.clear()
        lines = report.table(self.results, self.columns)
        print(f"{len(self.results)} scenarios ran" if self.mode == "smoke" else "\n".join(lines))
        if left_out:
            print(f"left out, for want of time: {', '.join(left_out)}")
        if self.arguments.json:
            self.write_json()
        if self.failed:
            raise systems.BenchError("\n".join(self.failed))

    def write_json(self):
        found = {scenario.name: values for scenario, values in self.results}
        pathlib.Path(self.arguments.json).write_text(json.dumps(found, indent=1) + "\n")


def run(suite):
    """The program: its exit status."""
    arguments = parse_arguments(suite)
    if arguments.scenarios == "list":
        for scenario in suite.scenarios:
            print(f"{scenario.name:24} {scenario.title}")
        return 0
    comparison = None
    try:
        comparison = Comparison(suite, arguments)
        comparison.run()
    except systems.BenchError as error:
        print(f"{sys.argv[0]}: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        return 130
    finally:
        if comparison is not None:
            comparison.progress.clear()
            comparison.bench.close()
    return 0
