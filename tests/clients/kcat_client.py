"""kcat, as Debian ships it (librdkafka 2.0.2)."""

from __future__ import annotations

import itertools
import subprocess

from client import Client, ClientError
from records import Record, Stored

# Neither occurs in what the tests send.
RECORD_END = "<<record-end>>"
KEY_END = "<<key-end>>"
TIMEOUT_S = 60


def run_kcat(*arguments: str, stdin: bytes = b"") -> bytes:
    done = subprocess.run(
        ["kcat", *arguments], input=stdin, capture_output=True, timeout=TIMEOUT_S, check=False
    )
    if done.returncode != 0 or b"ERROR" in done.stderr or b"Delivery failed" in done.stderr:
        raise ClientError(done.stderr.decode(errors="replace"))
    return done.stdout


class KcatClient(Client):
    name = "kcat"
    can_send_binary_headers = False
    can_send_empty_records = False
    can_set_timestamps = False

    def produce(self, address, topic, records, *, partition=0, codec="none", acks="all",
                idempotent=False, options=None):  # fmt: skip
        settings = {
            "acks": acks,
            "enable.idempotence": str(idempotent).lower(),
            "message.timeout.ms": "30000",
            **(options or {}),
        }
        base = ["-P", "-b", address, "-t", topic, "-p", str(partition)]
        base += itertools.chain.from_iterable(("-X", f"{k}={v}") for k, v in settings.items())
        base += ["-z", codec, "-D", RECORD_END, "-K", KEY_END]
        # Headers, and whether an empty value means null, hold for a whole run of kcat.
        for (headers, is_null), group in itertools.groupby(
            records, key=lambda r: (r.headers, r.value is None)
        ):
            flags = ["-Z"] if is_null else []
            for name, value in headers:
                flags += ["-H", name if value is None else f"{name}={value.decode()}"]
            run_kcat(*base, *flags, stdin=RECORD_END.encode().join(map(_line, group)))

    def consume(self, address, topic, *, partition=0, offset=None, timestamp_ms=None):
        start = f"s@{timestamp_ms}" if timestamp_ms is not None else str(offset)
        output = run_kcat(
            "-C", "-e", "-q", "-b", address, "-t", topic, "-p", str(partition), "-o", start,
            "-X", "check.crcs=true", "-f", "%o %T %K %S %h\n%k%s",
        )  # fmt: skip
        return _parse(output)


def _line(record: Record) -> bytes:
    value = record.value or b""
    return value if record.key is None else record.key + KEY_END.encode() + value


def _parse(output: bytes) -> list[Stored]:
    records, at = [], 0
    while at < len(output):
        line_end = output.index(b"\n", at)
        offset, timestamp, key_size, value_size, headers = output[at:line_end].split(b" ", 4)
        at = line_end + 1
        key, at = _take(output, at, int(key_size))
        value, at = _take(output, at, int(value_size))
        records.append(Stored(key, value, _headers(headers), int(timestamp), int(offset)))
    return records


def _take(output: bytes, at: int, size: int) -> tuple[bytes | None, int]:
    if size < 0:
        return None, at
    assert at + size <= len(output), "kcat's output ends within a record"
    return output[at : at + size], at + size


def _headers(text: bytes) -> tuple:
    if not text:
        return ()
    pairs = (pair.split(b"=", 1) for pair in text.split(b","))
    return tuple((name.decode(), None if value == b"NULL" else value) for name, value in pairs)
