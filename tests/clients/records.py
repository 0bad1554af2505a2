"""The records that the tests send, and what it means for them to have come back unharmed."""

from __future__ import annotations

import base64
import dataclasses
import random

Headers = tuple[tuple[str, "bytes | None"], ...]


@dataclasses.dataclass(frozen=True)
class Record:
    """A record as a client is asked to send it. timestamp_ms None: the client's own clock."""

    key: bytes | None
    value: bytes | None
    headers: Headers = ()
    timestamp_ms: int | None = None

    def content(self) -> tuple[bytes | None, bytes | None, Headers]:
        return (self.key, self.value, self.headers)


@dataclasses.dataclass(frozen=True)
class Stored(Record):
    """A record as a client read it."""

    offset: int = -1


def to_json(record: Record) -> dict:
    return {
        "key": _encode(record.key),
        "value": _encode(record.value),
        "headers": [[name, _encode(value)] for name, value in record.headers],
        "timestamp": record.timestamp_ms,
    }


def from_json(fields: dict) -> Stored:
    return Stored(
        key=_decode(fields["key"]),
        value=_decode(fields["value"]),
        headers=tuple((name, _decode(value)) for name, value in fields["headers"]),
        timestamp_ms=fields["timestamp"],
        offset=fields["offset"],
    )


def assert_same(sent: list[Record], read: list[Stored], first_offset: int = 0) -> None:
    """Every record came back, once, in order, byte for byte, at consecutive offsets."""
    assert [r.offset for r in read] == list(range(first_offset, first_offset + len(sent)))
    for want, got in zip(sent, read, strict=True):
        assert got.content() == want.content(), f"offset {got.offset}"
        if want.timestamp_ms is not None:
            assert got.timestamp_ms == want.timestamp_ms, f"offset {got.offset}"


def plain(count: int, size: int = 100, seed: int = 1) -> list[Record]:
    """Compressible values of about `size` bytes, each with a key: what every client can send."""
    rng = random.Random(seed)
    words = [b"offset", b"segment", b"leader", b"epoch", b"replica", b"mill", b"race", b"log"]
    result = []
    for i in range(count):
        text = b" ".join(rng.choice(words) for _ in range(max(1, size // 6)))
        result.append(Record(key=b"key-%d" % i, value=b"%d " % i + text))
    return result


def awkward(seed: int = 2) -> list[Record]:
    """Keys and values at the edges: absent, empty, all byte values, incompressible, line ends."""
    rng = random.Random(seed)
    every_byte = bytes(range(256))
    return [
        Record(key=None, value=b"no key"),
        Record(key=b"no value", value=None),
        Record(key=None, value=b""),
        Record(key=b"", value=b"empty key"),
        Record(key=every_byte, value=every_byte),
        Record(key=b"line\nends", value=b"one\r\ntwo\n\nthree\n"),
        Record(key=b"\x00", value=b"\x00" * 1000),
        Record(key=rng.randbytes(300), value=rng.randbytes(70_000)),
        Record(key="clé".encode(), value="日本語 🎉".encode()),
    ]


def with_headers() -> list[Record]:
    return [
        Record(b"k", b"one", (("trace", b"abc"),)),
        Record(b"k", b"repeated", (("h", b"1"), ("h", b"2"), ("g", b"3"))),
        Record(b"k", b"null and empty", (("null", None), ("empty", b""))),
        Record(b"k", b"binary", (("bytes", bytes(range(256))),)),
        Record(b"k", b"many", tuple((f"header-{i}", b"v%d" % i) for i in range(100))),
        Record(b"k", None, (("tombstone", b"yes"),)),
    ]


def _encode(data: bytes | None) -> str | None:
    return None if data is None else base64.b64encode(data).decode()


def _decode(text: str | None) -> bytes | None:
    return None if text is None else base64.b64decode(text)
