"""What is compared: how each broker is started, found, paused, measured and removed.

Each runs on the broker's core, in a temporary directory. Floor and Millrace are started afresh for every measurement;
Apache Kafka, which starts slowly and gets faster while it runs, stays and is stopped (SIGSTOP) while others are
measured.
"""

import contextlib
import json
import os
import pathlib
import random
import shutil
import signal
import socket
import subprocess
import tempfile
import time

ROOT = pathlib.Path(__file__).resolve().parents[2]
KAFKA = ROOT / "tests" / "peers" / "kafka"
# What kafka-server-start.sh gives the JVM.
KAFKA_JVM = (
    "-Xms1g -XX:+UseG1GC -XX:MaxGCPauseMillis=20 -XX:InitiatingHeapOccupancyPercent=35 "
    "-XX:+ExplicitGCInvokesConcurrent -Djava.awt.headless=true"
)
# The records are of a fixed day, and would be too old to be kept.
KEPT = ("-c", "retention.ms=-1")
# Deleted files needn't wait for readers.
KAFKA_SETTINGS = ["log.segment.delete.delay.ms=100"]
# Paused or not, its controller must not think that it's dead.
KAFKA_PAUSABLE = ["broker.session.timeout.ms=3600000"]
STOP_TIMEOUT_S = 30
START_TIMEOUT_S = 120
CLIENT_TIMEOUT_S = 300
PAGE = os.sysconf("SC_PAGE_SIZE")


class BenchError(Exception):
    """A program of the benchmark failed; says which and how."""


def free_port():
    """Not one that the kernel gives to clients: who tries it until somebody listens might connect to itself."""
    while True:
        port = random.randrange(20000, 32000)
        with socket.socket() as listener, contextlib.suppress(OSError):
            listener.bind(("127.0.0.1", port))
            return port


def on_core(core, command):
    return ["taskset", "-c", str(core), *map(str, command)]


def rss_mib(pid):
    return int(pathlib.Path(f"/proc/{pid}/statm").read_text().split()[1]) * PAGE / 2**20


def peak_rss_mib(pid):
    for line in pathlib.Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith("VmHWM:"):
            return int(line.split()[1]) / 1024
    return 0.0


def cpu_seconds(pid):
    """Of all threads, also those that have ended."""
    process_clock = (~pid << 3) | 2
    return time.clock_gettime(process_clock)


class Bench:
    """The programs, the cores and the place for temporary files; knows every process that was started."""

    def __init__(self, build, directory=None, settings=()):
        self.build = pathlib.Path(build)
        self.settings = settings  # of the brokers, KEY=VALUE
        self.millrace = self.build / "millrace"
        self.client_program = self.build / "tests" / "bench_client"
        self.group_client_program = self.build / "tests" / "bench_group_client"
        self.floor = self.build / "tests" / "bench_floor"
        for program in (self.millrace, self.client_program, self.group_client_program, self.floor):
            if not os.access(program, os.X_OK):
                raise BenchError(f"{program} is missing: build first")
        cores = sorted(os.sched_getaffinity(0))
        self.broker_core, self.client_core = cores[0], cores[-1]
        self.directory = pathlib.Path(tempfile.mkdtemp(prefix="millrace-bench.", dir=directory))
        self.systems = []

    def close(self):
        for system in list(self.systems):
            with contextlib.suppress(Exception):
                system.stop()
        shutil.rmtree(self.directory, ignore_errors=True)

    def client(self, mode, system, **options):
        """Runs the raw client against a system and returns what it reports."""
        return self.run_client(self.client_program, mode, system, options)

    def group_client(self, mode, system, **options):
        """The same with the raw client of consumer groups."""
        return self.run_client(self.group_client_program, mode, system, options)

    def run_client(self, program, mode, system, options):
        command = self.client_command(program, mode, broker=system.address, server_pid=system.pid, **options)
        done = subprocess.run(command, capture_output=True, text=True, timeout=CLIENT_TIMEOUT_S)
        if done.returncode != 0:
            raise BenchError(f"{system.title}: {done.stderr.strip()}")
        return json.loads(done.stdout)

    def group_client_process(self, mode, address, **options):
        command = self.client_command(self.group_client_program, mode, broker=address, **options)
        return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)

    def client_command(self, program, mode, **options):
        words = [word for name, value in options.items() for word in ("--" + name.replace("_", "-"), value)]
        return on_core(self.client_core, [program, mode, *words])

    def await_answer(self, port):
        """A client that waits for the first answer at this port, started before the broker is."""
        arguments = [self.client_program, "await", "--broker", f"127.0.0.1:{port}"]
        return subprocess.Popen(on_core(self.client_core, arguments), stdout=subprocess.PIPE, text=True)

    def millrace_command(self, *arguments):
        done = subprocess.run(
            on_core(self.client_core, [self.millrace, *arguments]), capture_output=True, text=True, timeout=120
        )
        if done.returncode != 0:
            raise BenchError(f"millrace {' '.join(map(str, arguments))}: {done.stderr.strip()}")
        return done.stdout


class System:
    """One broker. `key` names its column."""

    key = title = ""
    has_coordinators = True

    def __init__(self, bench):
        self.bench = bench
        self.process = None
        self.directory = None
        self.port = 0
        self.pid = 0

    @property
    def address(self):
        return f"127.0.0.1:{self.port}"

    def make_directory(self):
        self.directory = pathlib.Path(tempfile.mkdtemp(prefix=self.key + ".", dir=self.bench.directory))
        self.bench.systems.append(self)

    def launch(self, command, **pipes):
        log = open(self.directory / "log", "ab")
        with log:
            self.process = subprocess.Popen(
                on_core(self.bench.broker_core, command),
                stdin=subprocess.DEVNULL, stderr=log, **{"stdout": log, **pipes},
            )  # fmt: skip
        self.pid = self.process.pid

    def began_ns(self):
        """When the process began, on the monotonic clock: formatting the directory isn't part of a start."""
        fields = pathlib.Path(f"/proc/{self.pid}/stat").read_text().rpartition(")")[2].split()
        since_boot = int(fields[19]) / os.sysconf("SC_CLK_TCK")
        ahead = time.clock_gettime(time.CLOCK_BOOTTIME) - time.monotonic()
        return (since_boot - ahead) * 1e9

    def end_process(self, how=signal.SIGTERM):
        if self.process is None:
            return
        self.process.send_signal(how)
        try:
            self.process.wait(STOP_TIMEOUT_S)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
        self.process = None

    def stop(self):
        self.end_process()
        if self.directory is not None:
            shutil.rmtree(self.directory, ignore_errors=True)
            self.bench.systems.remove(self)
        self.directory = None

    def create_topic(self, name, partitions):
        raise NotImplementedError

    @contextlib.contextmanager
    def running(self):
        """Ready to be measured within, out of the way afterwards."""
        self.start()
        try:
            yield self
        finally:
            self.stop()

    @contextlib.contextmanager
    def topic(self, name, partitions, reuse=False):
        """A topic to measure with: its name and whether it has the data of an earlier measurement, which may be
        only with `reuse`."""
        del reuse
        self.create_topic(name, partitions)
        yield name, False

    @contextlib.contextmanager
    def offsets(self):
        """Committed positions are kept as this system keeps its topics."""
        yield

    def log_tail(self):
        try:
            return (self.directory / "log").read_text(errors="replace")[-2000:]
        except OSError:
            return ""


class Floor(System):
    has_coordinators = False

    def __init__(self, bench, sync):
        super().__init__(bench)
        self.sync = sync
        self.key = "floor-sync" if sync else "floor"
        self.title = "floor, synced" if sync else "floor, not synced"

    def start(self):
        self.make_directory()
        command = [self.bench.floor, "--dir", self.directory, "--sync", int(self.sync)]
        self.launch(command, stdout=subprocess.PIPE)
        with self.process.stdout as output:
            line = output.readline()
        if not line:
            raise BenchError(f"the floor didn't start: {self.log_tail()}")
        self.port = int(line)

    def create_topic(self, name, partitions):
        """Partitions make themselves."""


class Millrace(System):
    key, title = "millrace", "Millrace"

    def start(self):
        self.make_directory()
        return self.start_again()

    def start_again(self, port=None):
        """On the data that is there; returns how long it took until Metadata was answered, in ms."""
        self.port = port or free_port()
        waiting = self.bench.await_answer(self.port)
        begun_ns = time.monotonic_ns()
        self.launch([
            self.bench.millrace, "broker", "--set", f"listeners=PLAINTEXT://{self.address}",
            "--set", f"log.dirs={self.directory}/data", "--set", "http.listener=",
            *(word for setting in self.bench.settings for word in ("--set", setting)),
        ])  # fmt: skip
        output, _ = waiting.communicate(timeout=START_TIMEOUT_S + 10)
        if waiting.returncode != 0 or self.process.poll() is not None:
            raise BenchError(f"Millrace didn't start: {self.log_tail()}")
        return (json.loads(output)["answered_ns"] - begun_ns) / 1e6

    def create_topic(self, name, partitions):
        self.bench.millrace_command("topic", "create", name, "-p", partitions, "-b", self.address, *KEPT)


class KafkaServer(System):
    """The process that both of Kafka's columns share."""

    key, title = "kafka-server", "Apache Kafka"

    def __init__(self, bench, pausable=True):
        super().__init__(bench)
        # One that isn't can be killed: the next one takes its place when its session has ended.
        self.settings = [*KAFKA_SETTINGS, *(KAFKA_PAUSABLE if pausable else [])]

    def start(self):
        self.make_directory()
        return self.start_again()

    def start_again(self, port=None):
        self.port = port or free_port()
        waiting = self.bench.await_answer(self.port)
        environment = {**os.environ, "KAFKA_HEAP": "1g", "KAFKA_JVM": KAFKA_JVM}
        settings = [*self.settings, *self.bench.settings]
        command = on_core(self.bench.broker_core, [KAFKA, "start", self.port, self.directory, *settings])
        done = subprocess.run(command, capture_output=True, text=True, env=environment)
        if done.returncode != 0:
            waiting.kill()
        output, _ = waiting.communicate(timeout=START_TIMEOUT_S + 10)
        if done.returncode != 0 or waiting.returncode != 0:
            raise BenchError(f"Kafka didn't start: {done.stderr} {self.log_tail()}")
        self.pid = int((self.directory / "pid").read_text())
        return (json.loads(output)["answered_ns"] - self.began_ns()) / 1e6

    def end_process(self, how=signal.SIGTERM):
        if self.pid == 0:
            return
        pid, self.pid = self.pid, 0
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGCONT)
            os.kill(pid, how)
        for _ in range(STOP_TIMEOUT_S * 10):
            if not pathlib.Path(f"/proc/{pid}").exists():
                return
            time.sleep(0.1)
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)

    def create_topic(self, name, partitions, *settings):
        options = [*KEPT, *(word for setting in settings for word in ("-c", setting))]
        self.bench.millrace_command("topic", "create", name, "-p", partitions, "-b", self.address, *options)
        # It says that it leads them a moment before it does.
        self.bench.client("await-topic", self, topic=name, partitions=partitions)


class KafkaColumn(System):
    def __init__(self, server, flush):
        super().__init__(server.bench)
        self.server = server
        self.settings = ["flush.messages=1"] if flush else []
        self.key = "kafka-flush" if flush else "kafka"
        self.title = "Kafka, flush.messages=1" if flush else "Kafka"
        self.kept = []

    @property
    def port(self):
        return self.server.port

    @port.setter
    def port(self, port):
        """The server knows it."""

    @property
    def pid(self):
        return self.server.pid

    @pid.setter
    def pid(self, pid):
        """The server knows it."""

    @contextlib.contextmanager
    def running(self):
        os.kill(self.pid, signal.SIGCONT)
        try:
            yield self
        finally:
            os.kill(self.pid, signal.SIGSTOP)

    def create_topic(self, name, partitions):
        self.server.create_topic(name, partitions, *self.settings)

    def delete_topic(self, name):
        self.bench.millrace_command("topic", "delete", name, "-y", "-b", self.address)

    @contextlib.contextmanager
    def topic(self, name, partitions, reuse=False):
        # Topics of both columns are on one broker.
        name = f"{name}-{self.key}"
        if name in self.kept:
            yield name, True
            return
        self.create_topic(name, partitions)
        if reuse:
            self.kept.append(name)
        try:
            yield name, False
        finally:
            if not reuse:
                self.delete_topic(name)

    @contextlib.contextmanager
    def offsets(self):
        alter = ("topic", "alter", "__consumer_offsets", "-b", self.address)
        if self.settings:
            self.bench.millrace_command(*alter, *(word for setting in self.settings for word in ("-s", setting)))
        try:
            yield
        finally:
            if self.settings:
                names = (setting.partition("=")[0] for setting in self.settings)
                self.bench.millrace_command(*alter, *(word for name in names for word in ("-u", name)))

    def forget_topics(self):
        if not self.kept:
            return
        with self.running():
            for name in self.kept:
                self.delete_topic(name)
        self.kept = []
