"""Order placed: published once; five services each get every order at their own speed.

Analytics is down for most of the time and catches up without the others noticing: their delays, from the moment an
order is published to the moment it is handled, are measured before, during and after. Fraud is added last and replays
from the first order. The producer is never told of any of them.
"""

from __future__ import annotations

import pathlib
import statistics
import threading
import time

import confluent_kafka as ck

from stage import Process, Verdict, broker_with, is_short, producer, tell, wait_until

WORKER = str(pathlib.Path(__file__).with_name("worker.py"))
TOPIC = "orders"
PARTITIONS = 3
PER_SECOND = 50
OUTAGE_S = 8 if is_short() else 30
STEADY = ("inventory", "email", "shipping")
WORK_MS = {"inventory": 1, "email": 4, "shipping": 2, "analytics": 1, "fraud": 1}
# A second is far beyond what a wait for somebody else's backlog could hide in, and far above a busy machine's noise.
NOTICED_S = 1.0


class Shop:
    """Publishes an order every 20 ms until it is closed. Knows of no consumer."""

    def __init__(self, broker):
        self.published: list[str] = []
        self._producer = producer(broker)
        self._closing = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def close(self) -> None:
        self._closing.set()
        self._thread.join()
        self._producer.flush()

    def _run(self) -> None:
        while not self._closing.wait(1 / PER_SECOND):
            order = f"order-{len(self.published)}"
            self._producer.produce(TOPIC, key=order, value=order)
            self._producer.poll(0)
            self.published.append(order)


def lag(broker, service: str) -> int:
    consumer = ck.Consumer({"bootstrap.servers": broker.address, "group.id": service, "log_level": 0})
    try:
        places = [ck.TopicPartition(TOPIC, number) for number in range(PARTITIONS)]
        return sum(
            consumer.get_watermark_offsets(place, 10)[1] - max(place.offset, 0)
            for place in consumer.committed(places, 10)
        )
    finally:
        consumer.close()


def delays(services: dict[str, Process], since: float, until: float) -> list[float]:
    """From the shortest to the longest."""
    return sorted(
        event["age"]
        for name in STEADY
        for event in services[name].handled()
        if since <= event["at"] < until
    )


def start(broker, name: str) -> Process:
    return Process(name, WORKER, broker.address, name, TOPIC, WORK_MS[name])


def orders_of(runs: list[Process]) -> list[str]:
    return [event["key"] for run in runs for event in run.handled()]


def main() -> None:
    verdict = Verdict("orders")
    with broker_with({TOPIC: PARTITIONS}) as (broker, _):
        services = {name: start(broker, name) for name in (*STEADY, "analytics")}
        wait_until(lambda: all(s.events("assigned") for s in services.values()), "the services in their groups")
        tell(f"{', '.join(services)}: a group each")
        shop = Shop(broker)
        time.sleep(2)
        tell(f"the shop publishes {PER_SECOND} orders a second, each once")
        times = [time.time()]
        first_run = services["analytics"]
        first_run.finish()
        times.append(time.time())
        tell(f"analytics goes down, for {OUTAGE_S} s")
        time.sleep(OUTAGE_S)
        behind = lag(broker, "analytics")
        tell(f"analytics is {behind} orders behind; " + ", ".join(f"{n} {lag(broker, n)}" for n in STEADY))
        times.append(time.time())
        second_run = start(broker, "analytics")
        wait_until(lambda: second_run.events("assigned"), "analytics back in its group")
        back = time.time()
        wait_until(lambda: lag(broker, "analytics") < PER_SECOND, "analytics up to date")
        times.append(time.time())
        tell(f"analytics is back and caught up in {times[-1] - back:.1f} s")
        fraud = start(broker, "fraud")
        tell("fraud is added: a new group, so it begins with the first order; the shop was not touched")
        wait_until(lambda: len(fraud.handled()) >= len(shop.published) - PER_SECOND, "fraud up to date")
        times.append(time.time())
        tell("fraud has replayed all orders")
        shop.close()
        runs = {name: [services[name]] for name in STEADY}
        runs |= {"analytics": [first_run, second_run], "fraud": [fraud]}
        placed = set(shop.published)
        wait_until(lambda: all(set(orders_of(r)) >= placed for r in runs.values()), "every order at every service")
        for run in (services[name] for name in STEADY):
            run.finish()
        second_run.finish()
        fraud.finish()

    verdict.count("orders published, once each", len(shop.published))
    for name, of in runs.items():
        handled = orders_of(of)
        is_right = set(handled) == placed and len(handled) == len(placed)
        verdict.check(f"{name}: orders handled", len(handled), is_right)
    first = min(fraud.handled(), key=lambda event: event["at"])
    verdict.check("fraud: offset that it began with", first["offset"], first["offset"] == 0)
    verdict.check("analytics: orders behind at most", behind, behind > PER_SECOND * OUTAGE_S * 0.7)
    for what, since, until in (
        ("analytics is down", times[1], times[2]),
        ("analytics catches up", times[2], times[3]),
        ("fraud replays", times[3], times[4]),
    ):
        seen = delays(services, since, until)
        # Nine of ten: a busy machine lets a process wait now and then, and that is nobody's backlog.
        usual = seen[len(seen) * 9 // 10] if seen else float("inf")
        verdict.count(f"others' median delay while {what}", f"{statistics.median(seen) * 1000:.0f} ms" if seen else "none")
        verdict.check(f"nine of ten within, while {what}", f"{usual * 1000:.0f} ms", usual < NOTICED_S)
    verdict.give()


main()
