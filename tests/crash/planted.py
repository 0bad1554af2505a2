"""Planted faults: the accounting must see each of them, or what it says of a broker is worth nothing."""

from __future__ import annotations

from ledger import Ledger, Stored, TopicPlan, Verdict, compare

COUNT = 100
PLAN = TopicPlan("planted", 1, {})
FORGETFUL = TopicPlan("planted", 1, {}, forgets=True)
COMPACTED = TopicPlan("planted", 1, {}, compacts=True)


def _verdict(plan: TopicPlan, stored_sequences: list[int], start: int = 0) -> Verdict:
    """Of COUNT acknowledged records, sequence = offset, and a partition that has these from offset `start` on."""
    ledger = Ledger(1)
    for sequence in range(COUNT):
        ledger.acknowledge(plan.name, 0, sequence, sequence)
    stored = Stored(start)
    for i, sequence in enumerate(stored_sequences):
        stored.add(1, sequence, sequence if plan.compacts else start + i)
    verdict = Verdict()
    compare(plan, 0, stored, [ledger], verdict)
    return verdict


def missed() -> list[str]:
    """What the accounting got wrong; empty if it is fit for use."""
    sound = list(range(COUNT))
    expected = {
        "sound": (_verdict(PLAN, sound), (0, 0, 0, 0)),
        "the last one lost": (_verdict(PLAN, sound[:-1]), (1, 0, 0, 0)),
        "the first one lost": (_verdict(PLAN, sound[1:], 1), (1, 0, 0, 0)),
        "one lost in the middle": (_verdict(PLAN, sound[:50] + sound[51:]), (1, 0, 0, COUNT - 51)),
        "one twice at the end": (_verdict(PLAN, [*sound, 99]), (0, 1, 0, 1)),
        "two exchanged": (_verdict(PLAN, [*sound[:98], 99, 98]), (0, 0, 1, 2)),
        "let go at the start": (_verdict(FORGETFUL, sound[30:], 30), (0, 0, 0, 0)),
        "more than let go": (_verdict(FORGETFUL, sound[31:], 30), (1, 0, 0, COUNT - 31)),
        "let go, and the last one lost": (_verdict(FORGETFUL, sound[30:-1], 30), (1, 0, 0, 0)),
        "compacted": (_verdict(COMPACTED, sound[50:]), (0, 0, 0, 0)),
        "compacted too much": (_verdict(COMPACTED, sound[51:]), (1, 0, 0, 0)),
    }
    return [
        f"planted: {name}: found {found}, lost, duplicated, out of order, moved should be {counts}"
        for name, (found, counts) in expected.items()
        if (found.lost, found.duplicated, found.out_of_order, found.moved) != counts
    ]
