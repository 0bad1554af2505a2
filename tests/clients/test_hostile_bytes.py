"""Any bytes at all: the protocol's error or a closed connection, and nobody else notices.

Throughout, a witness keeps one connection open and asks on it again and again.
"""

from __future__ import annotations

import contextlib
import random
import resource
import socket
import struct
import threading
import time

import pytest
from conftest import Topics, open_client

import records
import wire
from broker import IS_KAFKA, UNDER_TSAN, Broker
from confluent_client import ConfluentClient
from records import assert_same
from wire import Batch, Connection

MIB = 1 << 20
# Above what the broker holds at rest, whatever is sent to it.
MEMORY_BOUND = 400 * MIB
only_ours = pytest.mark.skipif(IS_KAFKA, reason="a promise of Millrace, not of Kafka")


class Witness(threading.Thread):
    """One connection that must never be dropped or answered out of order."""

    def __init__(self, port: int):
        super().__init__(daemon=True)
        self._connection = Connection(port)
        self._ended = threading.Event()
        self.asked = 0
        self.complaint = None

    def run(self):
        while not self._ended.is_set() and self.complaint is None:
            self.asked += 1
            try:
                self._connection.send(wire.api_versions(self.asked))
                reply = self._connection.read_reply()
            except OSError as error:
                self.complaint = f"request {self.asked}: {error}"
                return
            if reply is None or struct.unpack_from(">i", reply)[0] != self.asked:
                self.complaint = f"request {self.asked} got {reply!r}"
            time.sleep(0.01)

    def end(self):
        self._ended.set()
        self.join()
        assert self.complaint is None, self.complaint
        assert self.asked > 0


@pytest.fixture(scope="module")
def victim(tmp_path_factory):
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    made = Broker(tmp_path_factory.mktemp("victim"), {"auto.create.topics.enable": "false"}).start()
    yield made
    made.kill()
    resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


@pytest.fixture
def attacked(victim):
    """The broker, watched: afterwards it runs, the witness was served, memory is bounded, clients work."""
    before = victim.resident_bytes()
    witness = Witness(victim.port)
    witness.start()
    yield victim
    assert victim.is_running(), victim.log_tail()
    witness.end()
    if not IS_KAFKA:
        grown = victim.resident_bytes() - before
        assert grown < MEMORY_BOUND, f"grew by {grown // MIB} MiB"
    topic, sent = Topics(victim).create(), records.plain(10)
    client = open_client(ConfluentClient)
    client.produce(victim.address, topic, sent)
    assert_same(sent, client.consume(victim.address, topic, offset=0))


def _header(api: int, version: int) -> bytes:
    return wire.header(api, version, 7)


FRAMES_THAT_CLOSE = {
    "negative length": struct.pack(">i", -1) + b"x" * 100,
    "smallest length": struct.pack(">i", -(2**31)) + b"x" * 100,
    "length over the limit": struct.pack(">i", 2**31 - 1) + b"x" * 100,
    "nothing in the frame": struct.pack(">i", 0),
    "half a header": wire.frame(b"\0\x12\0"),
    "HTTP": b"GET /metrics HTTP/1.1\r\nHost: localhost\r\n\r\n",
    "TLS": bytes.fromhex("16030100c8010000c40303") + bytes(range(200)),
    "SSH": b"SSH-2.0-OpenSSH_9.2\r\n",
    "unknown key": wire.frame(_header(9999, 0)),
    "negative key": wire.frame(_header(-1, 0)),
    "key of a controller": wire.frame(_header(52, 0) + b"\0" * 50),
    "unknown version": wire.frame(_header(wire.METADATA, 99)),
    "negative version": wire.frame(_header(wire.METADATA, -1)),
    "fetch version no longer served": wire.frame(_header(wire.FETCH, 2) + b"\0" * 40),
    "client id beyond the frame": wire.frame(struct.pack(">hhih", 3, 1, 7, 30_000)),
    "array of 2 billion": wire.frame(_header(wire.METADATA, 1) + struct.pack(">i", 2**31 - 1)),
    "string beyond the frame": wire.frame(_header(wire.METADATA, 1) + struct.pack(">ih", 1, 30_000) + b"x"),
    "string of -2": wire.frame(_header(wire.METADATA, 1) + struct.pack(">ih", 1, -2)),
    "produce without its end": wire.frame(wire.produce(7, "t", Batch().encode())[4:-10]),
    "flexible header, 4 billion tags": wire.frame(_header(wire.METADATA, 9) + b"\xff\xff\xff\xff\x0f"),
    "flexible array, 4 billion": wire.frame(_header(wire.METADATA, 9) + b"\0" + b"\xff\xff\xff\xff\x0f"),
    "varint without end": wire.frame(_header(wire.METADATA, 9) + b"\0" + b"\xff" * 64),
}


@pytest.mark.parametrize("data", FRAMES_THAT_CLOSE.values(), ids=FRAMES_THAT_CLOSE)
def test_closes_the_connection(attacked, data):
    with Connection(attacked.port) as connection:
        connection.send(data)
        assert connection.read_reply() is None


def test_array_of_minus_5(attacked):
    """Kafka takes any negative length for null; refusing is as good."""
    assert_answered_or_closed(attacked, wire.frame(_header(wire.METADATA, 1) + struct.pack(">i", -5)))


def assert_answered_or_closed(broker, data: bytes) -> None:
    """Sends that and no more; fails with a TimeoutError when the broker does neither."""
    with Connection(broker.port) as connection:
        if IS_KAFKA:
            connection.socket.settimeout(2)
        with contextlib.suppress(OSError):  # Closed already.
            connection.send(data)
            connection.socket.shutdown(socket.SHUT_WR)
        try:
            while connection.read_reply() is not None:
                pass
        except TimeoutError:
            if IS_KAFKA:  # It does neither for some sizes of records beyond the frame.
                return
            pytest.fail(f"neither answered nor closed: {data[:200].hex()}")


@only_ours
def test_says_why_it_closed(own_broker):
    broker = own_broker()  # The log limits how often it repeats itself: this one is the first.
    with Connection(broker.port) as connection:
        _, own_port = connection.socket.getsockname()
        connection.send(struct.pack(">i", -1))
        assert connection.read_reply() is None
    deadline = time.monotonic() + 10
    while f":{own_port}" not in broker.log_tail(10_000):
        assert time.monotonic() < deadline, "the log doesn't name the peer that was cut off"
        time.sleep(0.05)


def test_bytes_after_the_end_of_a_request(attacked):
    """Read over: librdkafka sends some."""
    with Connection(attacked.port) as connection:
        connection.send(wire.frame(wire.metadata(7, [])[4:] + b"more") + wire.api_versions(8))
        assert connection.correlation_ids(2) == [7, 8]


def test_unsupported_api_versions_version(attacked):
    """Error 35 in the layout of v0, with the range that is served, so that the client can come down."""
    with Connection(attacked.port) as connection:
        connection.send(wire.frame(_header(wire.API_VERSIONS, 99) + b"\0\0\0"))
        reply = connection.read_reply()
        correlation_id, error, count, key, low, high = struct.unpack_from(">ihihhh", reply)
        assert (correlation_id, error) == (7, 35)
        assert count >= 1
        served = {
            struct.unpack_from(">hhh", reply, 10 + 6 * i)[0]: struct.unpack_from(">hhh", reply, 10 + 6 * i)[1:]
            for i in range(count)
        }
        assert served[wire.API_VERSIONS][0] == 0
        assert served[wire.API_VERSIONS][1] >= 4
        connection.send(wire.api_versions(8))
        assert connection.correlation_ids(1) == [8]


def test_random_bytes(attacked):
    rng = random.Random(5)
    for _ in range(200):
        assert_answered_or_closed(attacked, rng.randbytes(rng.randrange(1, 2000)))


def test_random_bytes_in_a_frame(attacked):
    """Each served API in each of the first versions, with a body of noise: an answer or a close."""
    rng = random.Random(6)
    for api in range(80):
        for version in (0, 2, 5, 9):
            body = rng.randbytes(rng.randrange(0, 200))
            assert_answered_or_closed(attacked, wire.frame(_header(api, version) + body))


def test_mutated_produce(attacked):
    """One byte of a good request changed, each byte in turn: an answer or a close, and no bad record stored."""
    topic = Topics(attacked).create()
    good = wire.produce(7, topic, Batch().encode())
    rng = random.Random(7)
    for at in range(4, len(good)):
        mutated = bytearray(good)
        mutated[at] ^= rng.randrange(1, 256)
        assert_answered_or_closed(attacked, bytes(mutated))
    for read in open_client(ConfluentClient).consume(attacked.address, topic, offset=0):
        assert read.value == b"value"


CORRUPT, INVALID_RECORD, TOO_LARGE, BAD_FORMAT = 2, 87, 10, 43
BATCHES = {
    "bad CRC": (Batch(crc=12345), {CORRUPT}),
    "unknown magic": (Batch(magic=9), {CORRUPT, BAD_FORMAT, INVALID_RECORD}),
    "more records than there are": (Batch(count=5, last_offset_delta=4), {CORRUPT, INVALID_RECORD}),
    "2 billion records": (Batch(count=2**31 - 1, last_offset_delta=2**31 - 2), {CORRUPT, INVALID_RECORD}),
    "negative number of records": (Batch(count=-1), {CORRUPT, INVALID_RECORD}),
    "length too small": (Batch(length=10), {CORRUPT, INVALID_RECORD}),
    "length beyond the request": (Batch(length=100_000), {CORRUPT, INVALID_RECORD}),
    "negative length": (Batch(length=-100), {CORRUPT, INVALID_RECORD}),
    "not compressed as it says": (Batch(attributes=wire.GZIP), {CORRUPT, INVALID_RECORD, -1}),
    "control batch": (Batch(attributes=0x20), {INVALID_RECORD, CORRUPT}),
}


@pytest.mark.parametrize("batch, errors", BATCHES.values(), ids=BATCHES)
def test_bad_batches(attacked, batch, errors):
    """Refused with an error or a close; nothing of it is stored."""
    topic = Topics(attacked).create()
    with Connection(attacked.port) as connection:
        connection.send(wire.produce(7, topic, batch.encode()))
        reply = connection.read_reply()
        assert reply is None or wire.produce_error(reply) in errors
    assert open_client(ConfluentClient).consume(attacked.address, topic, offset=0) == []


@only_ours
def test_decompression_bombs(attacked):
    """800 MB in 800 kB, five at once: refused, within the memory bound."""
    topic = Topics(attacked).create()
    request = wire.produce(7, topic, wire.gzip_bomb(800_000_000))
    with contextlib.ExitStack() as stack:
        connections = [stack.enter_context(Connection(attacked.port)) for _ in range(5)]
        peak = attacked.resident_bytes()
        for connection in connections:
            connection.send(request)
        for connection in connections:
            reply = connection.read_reply()
            assert reply is None or wire.produce_error(reply) != 0
            peak = max(peak, attacked.resident_bytes())
    assert peak < attacked_limit(attacked)


def attacked_limit(broker) -> int:
    return broker.resident_bytes() + MEMORY_BOUND


@only_ours
def test_claimed_sizes_allocate_nothing(attacked):
    """300 connections announce 90 MB each and send little of it."""
    before = attacked.resident_bytes()
    with contextlib.ExitStack() as stack:
        for _ in range(300):
            connection = stack.enter_context(Connection(attacked.port))
            connection.send(struct.pack(">i", 90_000_000) + b"\0\0\0\7" + b"x" * 1000)
        time.sleep(1)
        assert attacked.resident_bytes() - before < MEMORY_BOUND


NONE, UNKNOWN_SERVER_ERROR, COORDINATOR_NOT_AVAILABLE, GROUP_MAX_SIZE_REACHED = 0, -1, 15, 81


def _await_coordinator(port: int, group: str) -> None:
    """Until the group's coordinator has read its log."""
    with Connection(port) as connection:
        for _ in range(300):
            connection.send(wire.find_coordinator(1, group))
            found = struct.unpack_from(">h", connection.read_reply(), 4)[0]
            if found == NONE:
                connection.send(wire.sync_group(2, group, 1, "nobody", b""))
                if wire.synced(connection.read_reply()) not in (14, 15, 16):
                    return
            time.sleep(0.1)
    raise AssertionError("no coordinator")


@pytest.mark.parametrize(
    ("metadata", "assignment", "error"),
    [
        pytest.param(b"m", b"a", NONE, id="small"),
        pytest.param(b"m", b"a" * 2 * MIB, UNKNOWN_SERVER_ERROR, id="assignment"),
        # Apache Kafka never answers the join.
        pytest.param(b"m" * 2 * MIB, b"a", UNKNOWN_SERVER_ERROR, id="metadata", marks=only_ours),
    ],
)
def test_members_send_more_than_a_record_holds(attacked, metadata, assignment, error):
    group = f"large-{len(metadata)}-{len(assignment)}"
    _await_coordinator(attacked.port, group)
    with Connection(attacked.port) as connection:
        connection.send(wire.join_group(1, group, metadata))
        answer, generation, member = wire.joined(connection.read_reply())
        assert answer == NONE
        connection.send(wire.sync_group(2, group, generation, member, assignment))
        assert wire.synced(connection.read_reply()) == error


@only_ours
@pytest.mark.skipif(UNDER_TSAN, reason="it is about memory")
def test_members_that_join_with_much_and_vanish(attacked):
    """500 joins with 5 MB each, to one group and to many: nobody waits for the answers."""
    for group in ("greedy", *(f"greedy-{i}" for i in range(10))):
        _await_coordinator(attacked.port, group)
    refused = {"one": set(), "many": set()}
    with contextlib.ExitStack() as stack:
        for i in range(500):
            kind = ("one", "many")[i % 2]
            connection = stack.enter_context(Connection(attacked.port))
            connection.send(wire.join_group(1, "greedy" if kind == "one" else f"greedy-{i}", b"m" * 5 * MIB))
            connection.socket.settimeout(0.01)
            with contextlib.suppress(TimeoutError):
                if reply := connection.read_reply():
                    refused[kind].add(wire.joined(reply)[0])
    assert refused["one"] <= {NONE, GROUP_MAX_SIZE_REACHED, COORDINATOR_NOT_AVAILABLE}
    assert COORDINATOR_NOT_AVAILABLE in refused["many"]
    # Who sends little is served.
    _await_coordinator(attacked.port, "modest")
    with Connection(attacked.port) as connection:
        connection.send(wire.join_group(1, "modest", b"m"))
        assert wire.joined(connection.read_reply())[0] == NONE


def test_half_open_connections(attacked):
    """500 that send nothing or half a frame, and stay."""
    with contextlib.ExitStack() as stack:
        for i in range(500):
            connection = stack.enter_context(Connection(attacked.port))
            connection.send(wire.api_versions(1)[: i % 10])
        with Connection(attacked.port) as connection:
            connection.send(wire.api_versions(3))
            assert connection.correlation_ids(1) == [3]


def test_a_request_byte_by_byte(attacked):
    with Connection(attacked.port) as connection:
        connection.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        for byte in wire.metadata(4, []):
            connection.send(bytes([byte]))
            time.sleep(0.01)
        assert connection.correlation_ids(1) == [4]


def test_thousands_of_connections(attacked):
    """3000 at once, each served, each still served after the last has come."""
    with contextlib.ExitStack() as stack:
        connections = [stack.enter_context(Connection(attacked.port)) for _ in range(3000)]
        for round_number in range(2):
            for connection in connections:
                connection.send(wire.api_versions(round_number))
            for connection in connections:
                assert connection.correlation_ids(1) == [round_number]


def test_connections_that_come_and_go(attacked):
    for _ in range(2000):
        with Connection(attacked.port) as connection:
            connection.send(b"\0\0")


def test_readers_that_do_not_read(attacked):
    """30 connections ask for 3 GB in all and read nothing: the broker doesn't hold it for them."""
    topic = Topics(attacked).create()
    big = [records.Record(b"k", bytes([i]) * 900_000) for i in range(8)]
    open_client(ConfluentClient).produce(attacked.address, topic, big)
    request = wire.fetch(1, topic, max_wait_ms=0, min_bytes=1, max_bytes=8_000_000)
    with contextlib.ExitStack() as stack:
        for _ in range(30):
            connection = stack.enter_context(Connection(attacked.port))
            connection.socket.settimeout(0.2)
            with contextlib.suppress(TimeoutError):
                for _ in range(100):
                    connection.send(request)
        time.sleep(1)
        if not IS_KAFKA:
            assert attacked.resident_bytes() < attacked_limit(attacked)


def test_pipelined_requests_are_answered_in_order(attacked):
    topic = Topics(attacked).create()
    with Connection(attacked.port) as connection:
        batch = []
        for i in range(0, 300, 3):
            batch += [wire.produce(i, topic, Batch().encode()), wire.metadata(i + 1, [topic]), wire.api_versions(i + 2)]
        connection.send(b"".join(batch))
        assert connection.correlation_ids(300) == list(range(300))


def test_a_waiting_fetch_holds_up_only_its_connection(attacked):
    """What stands behind it on the same connection is answered after it, and in order."""
    topic = Topics(attacked).create()
    with Connection(attacked.port) as connection:
        waiting = wire.fetch(1, topic, max_wait_ms=1000, min_bytes=1)
        connection.send(waiting + wire.api_versions(2))
        assert connection.correlation_ids(2) == [1, 2]


def test_acks_0_is_not_answered(attacked):
    topic = Topics(attacked).create()
    with Connection(attacked.port) as connection:
        connection.send(wire.produce(1, topic, Batch().encode(), acks=0) + wire.api_versions(2))
        assert connection.correlation_ids(1) == [2]
        connection.send(wire.produce(3, topic, Batch().encode()))
        assert connection.correlation_ids(1) == [3]
    assert len(open_client(ConfluentClient).consume(attacked.address, topic, offset=0)) == 2
