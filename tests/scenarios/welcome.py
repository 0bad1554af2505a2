"""Welcome e-mail: one service, three workers, one of them killed in the middle of its work.

Played twice. First with a naive handler, to show the moment at which a duplicate arises: killed after the work and
before the commit, the worker leaves a record that its successor handles again. Then with a handler that notes what it
has done in the same transaction as the work: the record comes again, and no second e-mail goes out.
"""

from __future__ import annotations

import collections
import pathlib
import sqlite3

from stage import Process, Verdict, broker_with, is_short, producer, tell, wait_until

WORKER = str(pathlib.Path(__file__).with_name("worker.py"))
PARTITIONS = 6
SIGNUPS = 120 if is_short() else 600
WORK_MS = 5


def emails(path: pathlib.Path) -> collections.Counter:
    with sqlite3.connect(path) as database:
        return collections.Counter(key for (key,) in database.execute("SELECT key FROM sent"))


def play(broker, place: pathlib.Path, topic: str, idempotent: bool) -> tuple[collections.Counter, str, int]:
    """Returns the e-mails sent, the signup at which the worker was killed, and how often that was delivered."""
    path = place / f"{topic}.sqlite"
    with sqlite3.connect(path) as database:
        database.execute("PRAGMA journal_mode = WAL")
        database.execute("CREATE TABLE sent (key TEXT)")
    fatal = f"user-{SIGNUPS // 2}"
    options = ["--kept", path, *(["--idempotent"] if idempotent else []), "--stop-before-commit", fatal]
    workers = {
        name: Process(name, WORKER, broker.address, topic, topic, WORK_MS, *options)
        for name in ("ann", "bob", "cem")
    }
    wait_until(lambda: all(w.events("assigned") for w in workers.values()), "three workers in the group")
    tell(f"three workers share the {PARTITIONS} partitions")
    sender = producer(broker)
    for number in range(SIGNUPS):
        sender.produce(topic, key=f"user-{number}", value=f"user-{number}@example.org")
    sender.flush()
    tell(f"{SIGNUPS} people signed up")
    wait_until(lambda: any(w.events("stopped") for w in workers.values()), "the fatal signup")
    victim = next(name for name, w in workers.items() if w.events("stopped"))
    workers[victim].kill()
    tell(f"{victim} had sent the e-mail to {fatal} and not committed yet: SIGKILL. Here a duplicate can arise")
    tell("the broker gives the dead worker up after its session of 6 s, and the others take over")

    def seen() -> list[str]:
        return [event["key"] for worker in workers.values() for event in worker.handled()]

    wait_until(lambda: len(set(seen())) == SIGNUPS and seen().count(fatal) == 2, "every signup handled")
    for name, worker in workers.items():
        if name != victim:
            worker.finish()
    return emails(path), fatal, seen().count(fatal)


def main() -> None:
    verdict = Verdict("welcome")
    with broker_with({"signups-naive": PARTITIONS, "signups": PARTITIONS}) as (broker, place):
        tell("--- a naive handler")
        naive, fatal, _ = play(broker, place, "signups-naive", False)
        twice = [key for key, count in naive.items() if count > 1]
        tell(f"two e-mails went to: {', '.join(twice) or 'nobody'}")
        tell("--- the e-mail and the note that it was sent are one transaction, the commit comes after it")
        careful, fatal, deliveries = play(broker, place, "signups", True)
        tell(f"{fatal} was delivered {deliveries} times, and got {careful[fatal]} e-mail")
    everybody = {f"user-{number}" for number in range(SIGNUPS)}
    verdict.count("signups", SIGNUPS)
    verdict.check("naive: people without an e-mail", len(everybody - set(naive)), set(naive) == everybody)
    verdict.check("naive: people with two (the duplicate is real)", len(twice), twice == [fatal])
    verdict.check("idempotent: people without an e-mail", len(everybody - set(careful)), set(careful) == everybody)
    more = [key for key, count in careful.items() if count > 1]
    verdict.check("idempotent: people with two", len(more), not more)
    verdict.check("idempotent: deliveries of the fatal record", deliveries, deliveries == 2)
    verdict.give()


main()
