"""A scrub finds damage before a reader does; what is damaged isn't served, everything else is. A start that
finds files lost or damaged says what a person can do."""

from __future__ import annotations

import time
import urllib.request

import confluent_kafka as ck
import pytest
from conftest import Topics

from broker import IS_KAFKA, free_port
from command_line import CommandLine
from confluent_client import open_consumer

COUNT = 60
DAMAGED = 25
WAIT_S = 60


@pytest.mark.skipif(IS_KAFKA, reason="Kafka has no scrub")
def test_a_scrub_finds_damage(own_broker):
    http = f"127.0.0.1:{free_port()}"
    broker = own_broker({"log.scrub.interval.ms": "300", "http.listener": http})
    topics = Topics(broker)
    topic = topics.create(internal_segment_bytes="1000")
    producer = ck.Producer({"bootstrap.servers": broker.address})
    for i in range(COUNT):  # a batch each
        producer.produce(topic, f"record {i:03}".encode() * 10)
        producer.flush(30)

    file = _file_of(broker, topic, DAMAGED)
    content = bytearray(file.read_bytes())
    at = content.index(f"record {DAMAGED:03}".encode())
    content[at] ^= 1
    file.write_bytes(content)

    _wait_for(lambda: "millrace_log_damaged_ranges 1" in _metrics(http))
    time.sleep(1)  # more passes
    told = [line for line in broker.log_file.read_text().splitlines() if "A scrub found" in line]
    assert len(told) == 1
    assert str(file) in told[0] and f"Offsets {DAMAGED} to {DAMAGED}" in told[0]
    assert "millrace log verify" in told[0]

    assert _read(broker, topic, 0) == [*range(DAMAGED), ck.KafkaError.INVALID_MSG]
    assert _read(broker, topic, DAMAGED) == [ck.KafkaError.INVALID_MSG]
    assert _read(broker, topic, DAMAGED + 1) == list(range(DAMAGED + 1, COUNT))
    # The command line ends, too, and says what to do.
    consumed = CommandLine(broker.address)("consume", topic, code=1)
    assert len(consumed.stdout.splitlines()) == DAMAGED
    assert f"can't read the records from offset {DAMAGED} on" in consumed.stderr.decode()
    assert "millrace log verify" in consumed.stderr.decode()


@pytest.mark.skipif(IS_KAFKA, reason="Kafka keeps its metadata in a log")
@pytest.mark.parametrize("end", ["stop", "kill"])
def test_metadata_that_was_cut_off(own_broker, end):
    broker = own_broker()
    command_line = CommandLine(broker.address)
    kept, lost = "kept", ["lost-1", "lost-2"]
    for topic in (kept, *lost):
        command_line("topic", "create", topic)
        command_line("produce", topic, stdin=b"one\n")
    getattr(broker, end)()
    data = broker.directory / "data"
    log = max((data / "metadata").glob("*.log"))
    whole = log.read_bytes()
    log.write_bytes(whole[: whole.index(lost[0].encode())])
    for _ in range(2):
        broker.launch()
        _wait_for(lambda: not broker.is_running())
        assert f"{data}/metadata has lost transactions" in broker.log_tail(1)
    log.write_bytes(whole)
    broker.start()
    for topic in (kept, *lost):
        assert command_line("consume", topic).stdout == b"one\n"
    getattr(broker, end)()

    log.write_bytes(whole[: whole.index(lost[0].encode())])
    (data / "metadata" / "accept-loss").touch()
    broker.start()
    # The producer's id is a new one, although nobody knows any more which were given.
    command_line("produce", kept, stdin=b"two\n")
    assert command_line("consume", kept).stdout == b"one\ntwo\n"
    told = broker.log_file.read_text()
    # First that it may be the metadata that is wrong.
    assert told.index("2 of the partitions in") < told.index(f"{lost[0]}-0 belongs to no topic")
    assert "remove it" not in told.lower()


@pytest.mark.skipif(IS_KAFKA, reason="the words are Millrace's")
def test_reads_that_fail_are_told(own_broker):
    broker = own_broker({"log.scrub.interval.ms": "0"})
    topics = Topics(broker)
    gone, damaged = (topics.create(internal_segment_bytes="1000") for _ in range(2))
    producer = ck.Producer({"bootstrap.servers": broker.address})
    for i in range(COUNT):
        for topic in (gone, damaged):
            producer.produce(topic, f"record {i:03}".encode() * 10)
        producer.flush(30)
    broker.restart()  # so that no segment but the last is open
    missing, broken = _file_of(broker, gone, 0), _file_of(broker, damaged, DAMAGED)
    missing.rename(missing.with_suffix(".away"))
    content = broken.read_bytes()
    broken.write_bytes(bytes(100) + content[100:])
    first = int(broken.stem)

    consume = CommandLine(broker.address)
    for _ in range(2):
        consumed = consume("consume", gone, "--timeout", "2s", code=1)
        assert f"{gone} partition 0" in consumed.stderr.decode()
        assert "KAFKA_STORAGE_ERROR" in consumed.stderr.decode()
        consumed = consume("consume", damaged, code=1)
        assert len(consumed.stdout.splitlines()) == first
        assert f"can't read the records from offset {first} on" in consumed.stderr.decode()
    told = [line for line in broker.log_file.read_text().splitlines() if " error " in line]
    assert len(told) == 2, told
    assert f"{gone}-0 can't be read at offset 0" in told[0] and str(missing) in told[0]
    assert f"{damaged}-0 can't be read at offset {first}" in told[1] and f"{broken} at byte 0" in told[1]
    assert all("millrace log verify" in line for line in told)

    missing.with_suffix(".away").rename(missing)
    assert len(consume("consume", gone).stdout.splitlines()) == COUNT


@pytest.mark.skipif(IS_KAFKA, reason="it is about what our command line says")
def test_a_group_whose_coordinator_is_out_of_service(own_broker):
    broker = own_broker({"offsets.topic.num.partitions": "1"})
    command_line = CommandLine(broker.address)
    command_line("topic", "create", "t")
    command_line("produce", "t", stdin=b"one\n")
    # As where the disk is too full for its partition.
    (broker.directory / "data" / "topics" / "__consumer_offsets-0").touch()
    for words in (("consume", "t", "-g", "g", "--timeout", "1s"), ("group", "describe", "g", "--timeout", "1s")):
        complaint = command_line.complaint(*words)
        assert 'group "g": its coordinator is out of service' in complaint
        assert "NOT_COORDINATOR" in complaint and "The broker's log says why" in complaint
    assert "Partition __consumer_offsets-0 is out of service" in broker.log_file.read_text()


def _read(broker, topic, start) -> list[int]:
    """Offsets up to the end of the log, or to an error, which is then the last."""
    consumer = open_consumer(broker.address)
    consumer.assign([ck.TopicPartition(topic, 0, start)])
    seen = []
    try:
        while not seen or seen[-1] != COUNT - 1:
            message = consumer.poll(30)
            assert message is not None, f"nothing more after {seen}"
            if message.error():
                return [*seen, message.error().code()]
            seen.append(message.offset())
        return seen
    finally:
        consumer.close()


def _file_of(broker, topic, offset):
    files = sorted((broker.directory / "data" / "topics" / f"{topic}-0").glob("*.log"))
    return [f for f in files if int(f.stem) <= offset][-1]


def _metrics(address: str) -> str:
    return urllib.request.urlopen(f"http://{address}/metrics").read().decode()


def _wait_for(condition) -> None:
    deadline = time.monotonic() + WAIT_S
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.1)
