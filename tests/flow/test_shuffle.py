"""Hands are dealt as Kubernetes deals them, and evenly."""

from collections import Counter

from ksql.flow.shuffle import hand_of, hash_of, is_dealable
from tests.schema.recorded import vectors


def test_hands_are_those_that_kubernetes_deals() -> None:
    found = list(vectors("shuffle"))
    assert len(found) > 100
    for one in found:
        if "error" in one:
            assert not is_dealable(one["queues"], one["hand"]), one
        else:
            assert is_dealable(one["queues"], one["hand"])
            assert list(hand_of(one["hash"], one["queues"], one["hand"])) == one["cards"]


def test_no_queue_is_dealt_more_than_its_part() -> None:
    cards = Counter(card for n in range(4000) for card in hand_of(hash_of("s", f"user-{n}"), 64, 6))
    assert len(cards) == 64 and max(cards.values()) < 2 * min(cards.values())
