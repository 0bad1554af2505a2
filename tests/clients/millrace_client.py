"""The command line that comes with Millrace; it speaks to Kafka as well."""

from __future__ import annotations

import base64
import json
import subprocess

from broker import BINARY
from client import Client, ClientError
from records import Record, Stored

TIMEOUT_S = 90
OPTIONS = {"message.max.bytes": "--batch-size", "timeout": "--timeout"}


def run_millrace(*arguments: str, stdin: bytes = b"") -> bytes:
    """Returns standard output; raises ClientError with what it complained about when it failed."""
    done = subprocess.run(
        [BINARY, *arguments], input=stdin, capture_output=True, timeout=TIMEOUT_S, check=False
    )
    if done.returncode != 0:
        raise ClientError(done.stderr.decode(errors="replace"))
    return done.stdout


class MillraceClient(Client):
    name = "millrace"

    def produce(self, address, topic, records, *, partition=0, codec="none", acks="all",
                idempotent=False, options=None):  # fmt: skip
        command = ["produce", topic, "-b", address, "-p", str(partition), "-z", codec, "-a", acks, "--json"]
        if idempotent:
            command.append("--idempotent")
        for name, value in (options or {}).items():
            command += [OPTIONS[name], value]
        run_millrace(*command, stdin=b"".join(_line(r) for r in records))

    def consume(self, address, topic, *, partition=0, offset=None, timestamp_ms=None):
        start = f"@{timestamp_ms}" if timestamp_ms is not None else str(offset)
        output = run_millrace("consume", topic, "-b", address, "-p", str(partition), "-o", start, "--json")
        return [_record(json.loads(line)) for line in output.splitlines()]


def _line(record: Record) -> bytes:
    fields = {
        **_bytes("key", record.key),
        **_bytes("value", record.value),
        "headers": [{"name": name, **_bytes("value", value)} for name, value in record.headers],
    }
    if record.timestamp_ms is not None:
        fields["timestamp"] = record.timestamp_ms
    return json.dumps(fields).encode() + b"\n"


def _bytes(name: str, data: bytes | None) -> dict:
    """Text stands as itself, other bytes in base64."""
    if data is None:
        return {name: None}
    try:
        return {name: data.decode()}
    except UnicodeDecodeError:
        return {f"{name}_base64": base64.b64encode(data).decode()}


def _record(fields: dict) -> Stored:
    return Stored(
        key=_data(fields, "key"),
        value=_data(fields, "value"),
        headers=tuple((header["name"], _data(header, "value")) for header in fields.get("headers", [])),
        timestamp_ms=fields["timestamp"],
        offset=fields["offset"],
    )


def _data(fields: dict, name: str) -> bytes | None:
    if f"{name}_base64" in fields:
        return base64.b64decode(fields[f"{name}_base64"])
    text = fields.get(name)
    return None if text is None else text.encode()
