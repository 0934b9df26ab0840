"""Dealing hands: which queues a flow may use, from a hash. Pure.

Each flow is dealt `hand` different cards of a deck of queues. Two flows share a queue often and all of
them hardly ever, which is what keeps a flood from reaching everybody.
"""

import hashlib
from functools import lru_cache

# Hands kept: one for each flow that was heard lately.
HANDS_KEPT = 8192
# Bits of a hash that a hand may use up; beyond it the cards would not be dealt evenly.
HASH_BITS_MAX = 60


def hand_of(hash: int, deck: int, hand: int) -> tuple[int, ...]:
    """`hand` different cards of a deck, in the order dealt."""
    digits = []
    for number in range(hand):
        hash, digit = divmod(hash, deck - number)
        digits.append(digit)
    cards: list[int] = []
    for place, card in enumerate(digits):
        # The digit counts the cards that are left; those dealt before close ranks.
        for before in reversed(digits[:place]):
            card += card >= before
        cards.append(card)
    return tuple(cards)


def is_dealable(deck: int, hand: int) -> bool:
    """Whether so large a hand of so large a deck can be dealt evenly."""
    if not 0 < hand <= deck:
        return False
    possible = 1
    for number in range(hand):
        possible *= deck - number
    return possible <= 1 << HASH_BITS_MAX


@lru_cache(HANDS_KEPT)
def hash_of(schema: str, distinguisher: str) -> int:
    """The hash that tells a flow: 64 bits of its schema's name and what it is distinguished by."""
    return int.from_bytes(hashlib.sha256(f"{schema}\0{distinguisher}".encode()).digest()[:8], "little")
