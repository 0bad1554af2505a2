"""kafka-python, driven by lines of JSON; runs under whichever of its releases is installed."""

import base64
import json
import sys
import time

import kafka
from kafka import KafkaConsumer, KafkaProducer, TopicPartition

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


def subscribe(request):
    consumer = KafkaConsumer(
        request["topic"],
        bootstrap_servers=request["address"],
        group_id=request["group"],
        enable_auto_commit=False,
        auto_offset_reset="earliest",
    )
    records = []
    deadline = time.monotonic() + TIMEOUT_S
    try:
        while len(records) < request["count"]:
            if time.monotonic() > deadline:
                raise TimeoutError("read %d of %d records" % (len(records), request["count"]))
            for messages in consumer.poll(500).values():
                records += map(to_fields, messages)
        consumer.commit()
        return {"records": records}
    finally:
        consumer.close()


def main():
    operations = {"produce": produce, "consume": consume, "subscribe": subscribe}
    for line in sys.stdin:
        request = json.loads(line)
        try:
            reply = operations[request["operation"]](request)
        except Exception as error:  # Whatever it is, the test wants to see it.
            reply = {"error": "%s: %s" % (type(error).__name__, error)}
        print(json.dumps(reply), flush=True)


main()
