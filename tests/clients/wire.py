"""Kafka's protocol by hand, for what no client would send. Only what the tests need."""

from __future__ import annotations

import dataclasses
import gzip
import socket
import struct
import time

import crc32c

PRODUCE, FETCH, METADATA, API_VERSIONS = 0, 1, 3, 18
OFFSET_COMMIT, FIND_COORDINATOR, JOIN_GROUP, SYNC_GROUP = 8, 10, 11, 14
READ_TIMEOUT_S = 30


def frame(body: bytes) -> bytes:
    return struct.pack(">i", len(body)) + body


def string(text: str) -> bytes:
    return struct.pack(">h", len(text)) + text.encode()


def header(api: int, version: int, correlation_id: int) -> bytes:
    """Request header v1: what the versions used here have."""
    return struct.pack(">hhi", api, version, correlation_id) + string("test")


def api_versions(correlation_id: int) -> bytes:
    return frame(header(API_VERSIONS, 0, correlation_id))


def metadata(correlation_id: int, topics: list[str]) -> bytes:
    names = struct.pack(">i", len(topics)) + b"".join(map(string, topics))
    return frame(header(METADATA, 1, correlation_id) + names)


def produce(correlation_id: int, topic: str, batch: bytes, acks: int = -1) -> bytes:
    """Produce v7 to partition 0."""
    return frame(
        header(PRODUCE, 7, correlation_id)
        + struct.pack(">hhi", -1, acks, 30_000)  # no transactional id
        + struct.pack(">i", 1) + string(topic)
        + struct.pack(">ii", 1, 0)
        + struct.pack(">i", len(batch)) + batch
    )  # fmt: skip


def produce_error(reply: bytes) -> int:
    """The error code of the one partition in a reply to produce()."""
    at = 4 + 4  # correlation id, number of topics
    (size,) = struct.unpack_from(">h", reply, at)
    at += 2 + size + 4 + 4  # topic, number of partitions, partition
    return struct.unpack_from(">h", reply, at)[0]


def fetch(correlation_id: int, topic: str, *, max_wait_ms: int, min_bytes: int, max_bytes: int = 1 << 20) -> bytes:
    """Fetch v4 from the start of partition 0."""
    return frame(
        header(FETCH, 4, correlation_id)
        + struct.pack(">iiiib", -1, max_wait_ms, min_bytes, max_bytes, 0)
        + struct.pack(">i", 1) + string(topic)
        + struct.pack(">iiqi", 1, 0, 0, max_bytes)
    )  # fmt: skip


def data(content: bytes) -> bytes:
    return struct.pack(">i", len(content)) + content


def find_coordinator(correlation_id: int, group: str) -> bytes:
    """FindCoordinator v0; its reply has the error code after the correlation id."""
    return frame(header(FIND_COORDINATOR, 0, correlation_id) + string(group))


def offset_commit(correlation_id: int, group: str, topic: str, offsets: dict[int, int]) -> bytes:
    """OffsetCommit v2 of no member, without metadata."""
    positions = b"".join(struct.pack(">iq", *position) + string("") for position in offsets.items())
    return frame(
        header(OFFSET_COMMIT, 2, correlation_id)
        + string(group)
        + struct.pack(">i", -1) + string("") + struct.pack(">q", -1)
        + struct.pack(">i", 1) + string(topic)
        + struct.pack(">i", len(offsets)) + positions
    )  # fmt: skip


def commit_errors(reply: bytes) -> set[int]:
    """The error codes in a reply to offset_commit()."""
    at = 4 + 4  # correlation id, number of topics
    (size,) = struct.unpack_from(">h", reply, at)
    at += 2 + size
    (count,) = struct.unpack_from(">i", reply, at)
    return {struct.unpack_from(">ih", reply, at + 4 + 6 * i)[1] for i in range(count)}


def join_group(correlation_id: int, group: str, metadata: bytes) -> bytes:
    """JoinGroup v3 of a new member."""
    return frame(
        header(JOIN_GROUP, 3, correlation_id)
        + string(group)
        + struct.pack(">ii", 30_000, 30_000)
        + string("") + string("consumer")
        + struct.pack(">i", 1) + string("range") + data(metadata)
    )  # fmt: skip


def joined(reply: bytes) -> tuple[int, int, str]:
    """Error code, generation and member id in a reply to join_group()."""
    error, generation = struct.unpack_from(">hi", reply, 8)
    at = 14
    for _ in range(2):  # protocol, leader
        at += 2 + struct.unpack_from(">h", reply, at)[0]
    (size,) = struct.unpack_from(">h", reply, at)
    return error, generation, reply[at + 2 : at + 2 + size].decode()


def sync_group(correlation_id: int, group: str, generation: int, member: str, assignment: bytes) -> bytes:
    """SyncGroup v2 of a leader that is alone."""
    return frame(
        header(SYNC_GROUP, 2, correlation_id)
        + string(group)
        + struct.pack(">i", generation) + string(member)
        + struct.pack(">i", 1) + string(member) + data(assignment)
    )  # fmt: skip


def synced(reply: bytes) -> int:
    """The error code in a reply to sync_group()."""
    return struct.unpack_from(">h", reply, 8)[0]


def varint(value: int) -> bytes:
    zigzag = (value << 1) ^ (value >> 63)
    out = bytearray()
    while zigzag >= 0x80:
        out.append(zigzag & 0x7F | 0x80)
        zigzag >>= 7
    out.append(zigzag)
    return bytes(out)


def record(value: bytes, offset_delta: int = 0) -> bytes:
    body = b"\0" + varint(0) + varint(offset_delta) + varint(-1) + varint(len(value)) + value + varint(0)
    return varint(len(body)) + body


@dataclasses.dataclass
class Batch:
    """A record batch whose every field can be made a lie."""

    records: bytes = record(b"value")
    count: int = 1
    attributes: int = 0
    last_offset_delta: int = 0
    magic: int = 2
    # None: what is true.
    length: int | None = None
    crc: int | None = None

    def encode(self) -> bytes:
        now = int(time.time() * 1000)
        checked = (
            struct.pack(">hiqqqhii", self.attributes, self.last_offset_delta, now, now, -1, -1, -1, self.count)
            + self.records
        )
        crc = crc32c.crc32c(checked) if self.crc is None else self.crc
        length = len(checked) + 9 if self.length is None else self.length
        return struct.pack(">qiibI", 0, length, -1, self.magic, crc) + checked


GZIP = 1


def gzip_bomb(unpacked_bytes: int) -> bytes:
    """A batch of one record that unpacks to that much: about a thousandth of it on the wire."""
    body_head = b"\0" + varint(0) + varint(0) + varint(-1) + varint(unpacked_bytes)
    size = varint(len(body_head) + unpacked_bytes + 1)
    return Batch(records=gzip.compress(size + body_head + bytes(unpacked_bytes) + b"\0"), attributes=GZIP).encode()


class Connection:
    """A bare TCP connection to the broker."""

    def __init__(self, port: int):
        self.socket = socket.create_connection(("127.0.0.1", port), timeout=READ_TIMEOUT_S)

    def __enter__(self) -> Connection:
        return self

    def __exit__(self, *_):
        self.socket.close()

    def send(self, data: bytes) -> None:
        self.socket.sendall(data)

    def read_reply(self) -> bytes | None:
        """The next reply without its length; None when the broker closed the connection."""
        size = self._read(4)
        return None if size is None else self._read(struct.unpack(">i", size)[0])

    def correlation_ids(self, count: int) -> list[int]:
        return [struct.unpack_from(">i", self.read_reply())[0] for _ in range(count)]

    def _read(self, size: int) -> bytes | None:
        data = b""
        while len(data) < size:
            try:
                more = self.socket.recv(size - len(data))
            except ConnectionResetError:
                return None
            if not more:
                return None
            data += more
        return data
