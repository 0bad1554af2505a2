"""What the system doesn't let the broker have: it says so, and goes on."""

from __future__ import annotations

import resource
import time

import pytest

from broker import IS_KAFKA
from command_line import CommandLine

LIMIT = 20 << 20
RECORD = "x" * 10_000


@pytest.mark.skipif(IS_KAFKA, reason="a JVM treats the signal in its own way")
def test_a_limit_of_file_sizes_is_like_a_full_disk(own_broker):
    broker = own_broker()
    command_line = CommandLine(broker.address)
    command_line("topic", "create", "large")
    command_line("topic", "create", "small")
    resource.prlimit(broker.pid, resource.RLIMIT_FSIZE, (LIMIT, resource.RLIM_INFINITY))
    records = "".join(f"{RECORD}\n" for _ in range(LIMIT // len(RECORD) + 200))
    refused = command_line.complaint("produce", "large", "--timeout", "3s", stdin=records)
    assert "KAFKA_STORAGE_ERROR" in refused
    assert broker.is_running()
    told = [line for line in broker.log_file.read_text().splitlines() if " error " in line]
    assert len(told) == 1, told
    assert "File too large" in told[0] and "LimitFSIZE" in told[0] and "large-0" in told[0]
    assert "disk" not in told[0]
    # What fits is written and read.
    command_line("produce", "small", stdin="one\n")
    assert command_line.text("consume", "small") == "one\n"
    stored = len(command_line.lines("consume", "large"))
    assert 0 < stored < len(records.splitlines())

    resource.prlimit(broker.pid, resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
    time.sleep(3)
    command_line("produce", "large", stdin=records)
    assert len(command_line.lines("consume", "large")) == stored + len(records.splitlines())
    assert "can be written again" in broker.log_tail(1)
    broker.kill()
    broker.start()
    assert len(command_line.lines("consume", "large")) == stored + len(records.splitlines())
