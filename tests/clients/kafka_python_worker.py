"""kafka-python, driven by lines of JSON; runs under whichever of its releases is installed."""

import base64
import collections
import json
import sys
import threading
import time

import kafka
from kafka import KafkaConsumer, KafkaProducer, TopicPartition
from kafka.coordinator.assignors.range import RangePartitionAssignor

TIMEOUT_S = 60
IS_OLD = int(kafka.__version__.split(".")[0]) < 3

OPTIONS = {"message.max.bytes": "max_request_size", "max.block.ms": "max_block_ms"}


def encode(data):
    return None if data is None else base64.b64encode(data).decode()


def decode(text):
    return None if text is None else base64.b64decode(text)


def produce(request):
    settings = {
        "bootstrap_servers": request["address"],
        "compression_type": None if request["codec"] == "none" else request["codec"],
        "acks": {"all": "all", "0": 0, "1": 1}[request["acks"]],
        "linger_ms": 20,
        # Sequences are kept by partition only while requests stay in order.
        "max_in_flight_requests_per_connection": 1,
    }
    if not IS_OLD:
        settings["enable_idempotence"] = request["idempotent"]
    for name, value in request["options"].items():
        settings[OPTIONS[name]] = int(value)
    producer = KafkaProducer(**settings)
    try:
        sent = [
            producer.send(
                request["topic"],
                value=decode(record["value"]),
                key=decode(record["key"]),
                headers=[(name, decode(value)) for name, value in record["headers"]],
                partition=request["partition"],
                timestamp_ms=record["timestamp"],
            )
            for record in request["records"]
        ]
        producer.flush(TIMEOUT_S)
        offsets = [future.get(TIMEOUT_S).offset for future in sent]
    finally:
        producer.close(5)
    return {"offsets": offsets}


def consume(request):
    consumer = KafkaConsumer(
        bootstrap_servers=request["address"],
        group_id=None,
        enable_auto_commit=False,
        auto_offset_reset="none",
    )
    partition = TopicPartition(request["topic"], request["partition"])
    try:
        consumer.assign([partition])
        end = consumer.end_offsets([partition])[partition]
        start = request["offset"]
        if start is None:
            found = consumer.offsets_for_times({partition: request["timestamp"]})[partition]
            start = end if found is None else found.offset
        consumer.seek(partition, start)
        return {"records": read_to(consumer, partition, start, end)}
    finally:
        consumer.close()


def read_to(consumer, partition, start, end):
    records = []
    deadline = time.monotonic() + TIMEOUT_S
    while start + len(records) < end:
        if time.monotonic() > deadline:
            raise TimeoutError("read %d records, want up to offset %d" % (len(records), end))
        records += map(to_fields, consumer.poll(500).get(partition, ()))
    return records


def to_fields(message):
    return {
        "key": encode(message.key),
        "value": encode(message.value),
        "headers": [[name, encode(value)] for name, value in message.headers],
        "timestamp": message.timestamp,
        "offset": message.offset,
    }


class Member:
    """Reads in a thread of its own, and commits what it has handled before it polls, so before any rebalance."""

    def __init__(self, settings, topic):
        self.values = collections.deque()
        self.assigned = []
        self.failure = None
        self.closing = False
        self.consumer = KafkaConsumer(**member_settings(settings))
        self.consumer.subscribe([topic])
        self.thread = threading.Thread(target=self.run)
        self.thread.start()

    # Nothing but deque's own methods touches `values`: look() is called from another thread.
    def run(self):
        try:
            while not self.closing:
                polled = self.poll()
                for messages in polled.values():
                    self.values.extend(message.value.decode() for message in messages)
                self.assigned = sorted("%s-%d" % pair for pair in self.consumer.assignment())
                if polled:
                    self.commit()
            self.consumer.close()
        except Exception as error:
            self.failure = "%s: %s" % (type(error).__name__, error)

    def poll(self):
        try:
            return self.consumer.poll(100)
        except kafka.errors.KafkaConnectionError:  # the broker is away
            time.sleep(0.1)
            return {}

    def commit(self):
        until = time.monotonic() + TIMEOUT_S
        while True:
            try:
                self.consumer.commit()
                return
            except kafka.errors.CommitFailedError:
                return  # the partitions are another's, who reads it again
            except kafka.errors.KafkaError:
                if time.monotonic() > until:
                    raise
            time.sleep(0.1)

    def look(self):
        values = [self.values.popleft() for _ in range(len(self.values))]
        return {"values": values, "assigned": self.assigned, "failure": self.failure}

    def close(self):
        self.closing = True
        self.thread.join()
        return self.look()


def member_settings(settings):
    made = {
        "bootstrap_servers": settings["bootstrap.servers"],
        "group_id": settings["group.id"],
        "auto_offset_reset": "earliest",
        "enable_auto_commit": False,
    }
    for name in ("heartbeat.interval.ms", "session.timeout.ms"):
        if name in settings:
            made[name.replace(".", "_")] = int(settings[name])
    if "partition.assignment.strategy" in settings:
        made["partition_assignment_strategy"] = [assignor(settings["partition.assignment.strategy"])]
    return made


def assignor(name):
    if name == "cooperative-sticky":
        from kafka.coordinator.assignors.cooperative_sticky import CooperativeStickyAssignor

        return CooperativeStickyAssignor
    return RangePartitionAssignor


MEMBERS = {}


def open_member(request):
    MEMBERS[request["member"]] = Member(request["settings"], request["topic"])
    return {}


def look_at_member(request):
    return MEMBERS[request["member"]].look()


def close_member(request):
    return MEMBERS.pop(request["member"]).close()


def main():
    operations = {"produce": produce, "consume": consume, "open_member": open_member,
                  "look_at_member": look_at_member, "close_member": close_member}
    for line in sys.stdin:
        request = json.loads(line)
        try:
            reply = operations[request["operation"]](request)
        except Exception as error:  # Whatever it is, the test wants to see it.
            reply = {"error": "%s: %s" % (type(error).__name__, error)}
        print(json.dumps(reply), flush=True)


main()
