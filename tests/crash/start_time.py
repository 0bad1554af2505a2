"""How long a broker takes from the start of its process to the first Metadata request that it answers."""

from __future__ import annotations

import socket
import time

import wire
from broker import Broker

POLL_S = 0.001
TIMEOUT_S = 300


def launch_and_time(broker: Broker) -> float:
    """Starts the broker; returns the seconds until it answered. Fails if it ends before."""
    began = time.monotonic()
    broker.launch()
    wait_for_metadata(broker, began + TIMEOUT_S)
    return time.monotonic() - began


def wait_for_metadata(broker: Broker, deadline: float) -> None:
    while time.monotonic() < deadline:
        if not broker.is_running():
            raise AssertionError(f"the broker ended at its start:\n{broker.log_tail()}")
        if _answers_metadata(broker.port, deadline):
            return
        time.sleep(POLL_S)
    raise AssertionError(f"no answer to Metadata in {TIMEOUT_S} s:\n{broker.log_tail()}")


def _answers_metadata(port: int, deadline: float) -> bool:
    """The port may be open before the broker serves it: then this waits for the answer."""
    try:
        with socket.create_connection(("127.0.0.1", port), timeout=max(0.1, deadline - time.monotonic())) as s:
            s.sendall(wire.metadata(1, []))
            return len(s.recv(4)) == 4
    except OSError:
        return False
