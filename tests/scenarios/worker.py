"""A worker of a group: reads, handles, commits after each record; started by the scenarios.

worker.py ADDRESS GROUP TOPIC WORK_MS [--kept FILE] [--idempotent] [--stop-before-commit KEY]

--kept FILE: handling a record writes its key there (a line for each time), in one SQLite transaction with a note of
what was handled. --idempotent: what the note has already is not handled again. --stop-before-commit KEY: the first
worker that has handled the record of this key says so and stops before the commit, so that it can be killed there.
"""

from __future__ import annotations

import argparse
import pathlib
import sqlite3
import time

import confluent_kafka as ck
from stage import MEMBER, say, told_to_end


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser()
    parser.add_argument("address")
    parser.add_argument("group")
    parser.add_argument("topic")
    parser.add_argument("work_ms", type=float)
    parser.add_argument("--kept")
    parser.add_argument("--idempotent", action="store_true")
    parser.add_argument("--stop-before-commit")
    return parser.parse_args()


class Kept:
    """What handling does to the world: here, a line in a table of sent e-mail."""

    def __init__(self, path: str, is_idempotent: bool):
        self._database = sqlite3.connect(path, timeout=30)
        self._is_idempotent = is_idempotent

    def handle(self, key: str) -> bool:
        """False if it had been done before and was left alone."""
        with self._database:
            self._database.execute("BEGIN IMMEDIATE")
            done = self._database.execute("SELECT 1 FROM sent WHERE key = ?", (key,)).fetchone()
            if done and self._is_idempotent:
                return False
            self._database.execute("INSERT INTO sent (key) VALUES (?)", (key,))
        return True


def is_first(marker: str) -> bool:
    """Whoever handles the record again must not stop, too."""
    try:
        pathlib.Path(marker).touch(exist_ok=False)
    except FileExistsError:
        return False
    return True


def main() -> None:
    asked = arguments()
    kept = Kept(asked.kept, asked.idempotent) if asked.kept else None
    ending = told_to_end()
    consumer = ck.Consumer({"bootstrap.servers": asked.address, "group.id": asked.group, **MEMBER})
    consumer.subscribe(
        [asked.topic], on_assign=lambda _, taken: say("assigned", partitions=[p.partition for p in taken])
    )
    while not ending.is_set():
        message = consumer.poll(0.05)
        if message is None or message.error() is not None:
            continue
        key = (message.key() or b"").decode()
        say("begun", key=key, partition=message.partition(), offset=message.offset())
        time.sleep(asked.work_ms / 1000)
        did = kept.handle(key) if kept else True
        say(
            "handled", key=key, value=message.value().decode(), partition=message.partition(),
            offset=message.offset(), did=did, age=time.time() - message.timestamp()[1] / 1000,
        )  # fmt: skip
        if key == asked.stop_before_commit and is_first(asked.kept + ".stopped"):
            say("stopped", key=key)
            time.sleep(3600)
        try:
            consumer.commit(message=message, asynchronous=False)
        except ck.KafkaException as failure:  # a rebalance took the partition: its new owner handles it again
            say("not committed", why=str(failure))
    consumer.close()


main()
