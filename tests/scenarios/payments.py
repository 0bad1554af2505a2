"""Payments: strictly in order per account, each handled by one worker, through a worker's crash and two rebalances.

The account is the key, so all its payments are in one partition, and a partition has one worker at a time. A worker is
killed at its work, another joins later. What is checked, from what the workers said while they worked: for
each account the payments follow each other without a gap or a step back, but for the few that a successor handles
again from the last commit on; and no two workers were ever at the same account at the same time.
"""

from __future__ import annotations

import collections
import pathlib
import time

from stage import TIMEOUT_S, Process, Verdict, broker_with, is_short, producer, tell, wait_until

WORKER = str(pathlib.Path(__file__).with_name("worker.py"))
TOPIC = "payments"
PARTITIONS = 6
ACCOUNTS = 20
ROUNDS = 30 if is_short() else 150
WORK_MS = 5


def start(broker, name: str) -> Process:
    return Process(name, WORKER, broker.address, "ledger", TOPIC, WORK_MS)


def pay(sender, first: int, last: int) -> None:
    for number in range(first, last):
        for account in range(ACCOUNTS):
            sender.produce(TOPIC, key=f"account-{account}", value=str(number))
    sender.flush()


def histories(workers: list[Process]) -> dict[str, list[tuple[float, float, str, int]]]:
    """For each account what was handled, as (begun, done, worker, payment), in the order of beginning."""
    result = collections.defaultdict(list)
    for worker in workers:
        begun = {}
        for event in list(worker.said):
            if event["event"] == "begun":
                begun[event["partition"], event["offset"]] = event["at"]
            elif event["event"] == "handled":
                at = begun[event["partition"], event["offset"]]
                result[event["key"]].append((at, event["at"], worker.name, int(event["value"])))
    return {account: sorted(entries) for account, entries in result.items()}


def handled(workers: list[Process]) -> int:
    return sum(len({payment for _, _, _, payment in history}) for history in histories(workers).values())


def examine(history: list[tuple[float, float, str, int]]) -> tuple[int, int, int]:
    """Steps out of order, overlaps of two workers, payments handled again by a successor."""
    wrong = overlaps = again = 0
    expected = 0
    for index, (begun, _, worker, payment) in enumerate(history):
        if index and history[index - 1][2] != worker:
            overlaps += begun < history[index - 1][1]
            if payment < expected:  # the successor begins at the last commit
                again += expected - payment
                expected = payment
        wrong += payment != expected
        expected = payment + 1
    return wrong, overlaps, again


def tell_of_repeats(workers: list[Process]) -> None:
    """What the workers said of the partitions that were read again."""
    seen = set()
    for worker in workers:
        for event in list(worker.said):
            place = (event.get("partition"), event.get("offset"))
            if event["event"] in ("assigned", "not committed"):
                tell(f"{worker.name}: {event}")
            elif event["event"] == "handled" and place in seen:
                tell(f"{worker.name} handled again: {event}")
            elif event["event"] == "handled":
                seen.add(place)


def main() -> None:
    verdict = Verdict("payments")
    with broker_with({TOPIC: PARTITIONS}) as (broker, _):
        workers = [start(broker, name) for name in ("ann", "bob", "cem")]
        wait_until(lambda: all(w.events("assigned") for w in workers), "three workers in the group")
        sender = producer(broker)
        pay(sender, 0, ROUNDS)
        tell(f"{ACCOUNTS} accounts, {ROUNDS} payments each; three workers")
        victim = workers[0]
        wait_until(lambda: len(victim.handled()) >= ROUNDS, "the victim at work")
        victim.kill()
        tell(f"{victim.name} is killed in the middle, with {len(victim.handled())} payments handled")
        assigned = [len(w.events("assigned")) for w in workers[1:]]
        wait_until(
            lambda: [len(w.events("assigned")) for w in workers[1:]] > assigned, "the others take its partitions"
        )
        tell("its partitions have moved to the others, who go on from its last commit")
        workers.append(start(broker, "dia"))
        paid = 2 * ROUNDS
        pay(sender, ROUNDS, paid)
        began = time.monotonic()
        while not workers[-1].handled():  # who may take long to begin: the others mustn't have done all by then
            if time.monotonic() - began > TIMEOUT_S:
                raise SystemExit("FAILED: dia was given no work")
            wait_until(lambda: handled(workers) > ACCOUNTS * (paid - 10) or workers[-1].handled(), "dia at work")
            pay(sender, paid, paid + 10)
            paid += 10
        tell("dia joins while they work: another rebalance")
        total = ACCOUNTS * paid
        wait_until(lambda: handled(workers) == total, "all handled")
        for worker in workers[1:]:
            worker.finish()
        tell("all payments are handled")

    examined = {account: examine(history) for account, history in histories(workers).items()}
    wrong, overlaps, again = (sum(column) for column in zip(*examined.values(), strict=True))
    moved = sum(len({p[2] for p in h}) > 1 for h in histories(workers).values())
    verdict.check("payments handled", handled(workers), handled(workers) == total)
    verdict.check("accounts that moved to another worker", moved, moved > 0)
    verdict.check("payments out of order", wrong, wrong == 0)
    verdict.check("two workers at one account at once", overlaps, overlaps == 0)
    # Committed after each payment: of a killed worker at most one per partition, and it worked on one at a time.
    # In 2 of some 900 runs librdkafka 2.16.1 handed a worker that got a partition back one record of its earlier
    # assignment, within 1 ms of the new one: from its own queue, as asking the broker for the beginning takes it 100 ms.
    verdict.check("payments handled again after the kill", again, again <= 1)
    if again > 1:
        tell_of_repeats(workers)
    verdict.give()


main()
