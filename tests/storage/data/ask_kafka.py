#!/usr/bin/env python3
"""Asks a real Kafka what it makes of good and bad batches; its output is kafka_answers.txt.

    kafka.sh start 19592 /tmp/k && ./ask_kafka.py 19592 > kafka_answers.txt; kafka.sh stop /tmp/k

Prints the time in milliseconds, then a line per batch: name|version of the Produce request|batch in hex|error code.
"""
import gzip
import socket
import struct
import sys
import time

PORT = int(sys.argv[1])
NOW = int(time.time() * 1000)
TOPIC = f"answers-{NOW}"


def crc_table():
    for byte in range(256):
        for _ in range(8):
            byte = byte >> 1 ^ (0x82F63B78 if byte & 1 else 0)
        yield byte


CRC_TABLE = list(crc_table())


def crc32c(data):
    crc = 0xFFFFFFFF
    for byte in data:
        crc = CRC_TABLE[(crc ^ byte) & 255] ^ crc >> 8
    return crc ^ 0xFFFFFFFF


def varint(number):
    number = (number << 1 ^ number >> 63) & (1 << 64) - 1
    out = b""
    while number > 127:
        out += bytes([number & 127 | 128])
        number >>= 7
    return out + bytes([number])


def sized(data):
    return varint(-1) if data is None else varint(len(data)) + data


def record(delta=0, time_delta=0, key=b"k", value=b"v", headers=(), attributes=0, extra=b""):
    body = bytes([attributes]) + varint(time_delta) + varint(delta) + sized(key) + sized(value)
    body += varint(len(headers)) + b"".join(sized(k) + sized(v) for k, v in headers) + extra
    return varint(len(body)) + body


def raw_record(*parts):
    body = b"\0" + b"".join(parts)
    return varint(len(body)) + body


def batch(records, count=1, base=0, attributes=0, last=None, time_ms=NOW, max_ms=None, producer=(-1, -1, -1), magic=2,
          crc=None, epoch=-1):  # fmt: skip
    last = count - 1 if last is None else last
    max_ms = time_ms if max_ms is None else max_ms
    covered = struct.pack(">hiqqqhii", attributes, last, time_ms, max_ms, *producer, count) + records
    crc = crc32c(covered) if crc is None else crc
    return struct.pack(">qiibI", base, 9 + len(covered), epoch, magic, crc) + covered


def produce(version, records):
    """Returns the partition's error code."""
    name = struct.pack(">h", len(TOPIC)) + TOPIC.encode()
    body = struct.pack(">hhii", -1, -1, 10000, 1) + name + struct.pack(">iii", 1, 0, len(records)) + records
    answer = call(0, version, body)
    return struct.unpack_from(">h", answer, 4 + len(name) + 8)[0]


def call(key, version, body):
    request = struct.pack(">hhih", key, version, 1, 1) + b"a" + body
    with socket.create_connection(("127.0.0.1", PORT), timeout=20) as connection:
        connection.sendall(struct.pack(">i", len(request)) + request)
        stream = connection.makefile("rb")
        return stream.read(struct.unpack(">i", stream.read(4))[0])[4:]


def create_topic():
    name = struct.pack(">h", len(TOPIC)) + TOPIC.encode()
    for _ in range(100):
        call(3, 4, struct.pack(">i", 1) + name + b"\1")
        if produce(8, batch(record())) == 0:
            return
        time.sleep(0.1)
    raise SystemExit("no topic")


def cases():
    one, two = record(), record() + record(1)
    yield "good", batch(two, 2)
    yield "empty", b""
    yield "cut", batch(one)[:-1]
    yield "11 bytes", b"x" * 11
    yield "length 13", struct.pack(">qi", 0, 13) + b"\0" * 30
    yield "length 20", struct.pack(">qiibI", 0, 20, -1, 2, 0) + b"\0" * 30
    yield "length -5", struct.pack(">qi", 0, -5) + b"\0" * 60
    for magic in 0, 1, 3, -1:
        yield f"magic {magic}", batch(one, magic=magic)
    yield "two batches", batch(one) * 2
    yield "second batch cut", (batch(one) * 2)[:-1]
    yield "zeros behind", batch(one) + b"\0" * 20
    yield "bad crc", batch(one, crc=1)
    yield "base offset 5", batch(one, base=5)
    yield "last offset delta -1", batch(one, last=-1)
    yield "last offset delta 5", batch(one, last=5)
    yield "no records", batch(b"", 0)
    yield "no records, delta 0", batch(b"", 0, last=0)
    yield "count -1", batch(b"", -1, last=0)
    yield "count too high", batch(one, 2)
    yield "count too low", batch(two, 1)
    yield "leader epoch 7", batch(one, epoch=7)
    yield "control", batch(one, attributes=0x20)
    yield "codec 5", batch(one, attributes=5)
    yield "producer without sequence", batch(one, producer=(4, 0, -1))
    yield "delete horizon", batch(one, attributes=0x40)
    yield "unused attributes", batch(one, attributes=0x1F80)
    yield "offsets inside wrong", batch(record(3) + record(9), 2)
    yield "wrong max timestamp", batch(one, max_ms=5)
    yield "append time", batch(one, attributes=8)
    yield "append time -1", batch(one, attributes=8, max_ms=-1)
    yield "append time 77", batch(one, attributes=8, max_ms=77)
    for name, time_ms in ("-1", -1), ("-5", -5), ("least", -(2**63)), ("greatest", 2**63 - 1):
        yield f"timestamp {name}", batch(one, time_ms=time_ms)
    yield "timestamp ahead", batch(one + record(1, 3_700_000), 2)
    yield "timestamp wraps", batch(record(0, 2**62), time_ms=2**63 - 1)
    yield from compressed_cases(one, two)
    yield from record_cases()


def compressed_cases(one, two):
    for name, codec in ("gzip", 1), ("snappy", 2), ("lz4", 3), ("zstd", 4):
        yield f"not {name}", batch(one, attributes=codec)
    pack = gzip.compress
    yield "gzip", batch(pack(two), 2, attributes=1)
    yield "gzip cut", batch(pack(two)[:-9], 2, attributes=1)
    yield "gzip and garbage", batch(pack(one) + b"xx", attributes=1)
    yield "gzip bad crc", batch(pack(one)[:-8] + b"\0" * 8, attributes=1)
    yield "gzip two members", batch(pack(one) + pack(record(1)), 2, attributes=1)
    yield "gzip of nothing", batch(pack(b""), attributes=1)
    yield "gzip without bytes", batch(b"", attributes=1)
    yield "gzip count too low", batch(pack(two), 1, attributes=1)
    yield "gzip count too high", batch(pack(one), 2, attributes=1)
    yield "gzip offsets inside wrong", batch(pack(record(3) + record(9)), 2, attributes=1)


def record_cases():
    yield "record attributes", batch(record(attributes=0x7F))
    yield "record too long", batch(record(extra=b"z"))
    yield "record size -1", batch(b"\x01" + b"\0" * 10)
    yield "header without value", batch(record(headers=[(b"a", None)]))
    yield "header without key", batch(record(headers=[(None, b"x")]))
    yield "header twice", batch(record(headers=[(b"a", b"1"), (b"a", b"2")]))
    yield "header of no text", batch(record(headers=[(b"\xff", b"1")]))
    nothing = varint(0) + varint(0) + varint(-1) + varint(-1)
    yield "header count -1", batch(raw_record(nothing, varint(-1)))
    yield "header count 10000000", batch(raw_record(nothing, varint(10**7)))
    yield "key size -5", batch(raw_record(varint(0), varint(0), varint(-5), varint(-1), varint(0)))
    yield "value size 100", batch(raw_record(varint(0), varint(0), varint(-1), varint(100), varint(0)))


create_topic()
print(NOW)
for case, records in cases():
    print(f"{case}|8|{records.hex()}|{produce(8, records)}")
for version in 6, 7:
    zstd = bytes.fromhex("28b52ffd2009490000") + record()  # a frame of one raw block of 9 bytes
    print(f"zstd|{version}|{batch(zstd, attributes=4).hex()}|{produce(version, batch(zstd, attributes=4))}")
