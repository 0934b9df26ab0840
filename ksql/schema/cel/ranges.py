"""Ranges of costs and sizes, from at least to at most. What is more than any number can say stays that."""

import math
from dataclasses import dataclass

ENDLESS = 2**64 - 1


@dataclass(frozen=True, slots=True)
class Range:
    """From at least to at most; more than can be said stays that."""

    least: int
    most: int

    def plus(self, other: "Range") -> "Range":
        return Range(min(self.least + other.least, ENDLESS), min(self.most + other.most, ENDLESS))

    def times(self, other: "Range") -> "Range":
        return Range(min(self.least * other.least, ENDLESS), min(self.most * other.most, ENDLESS))

    def scaled(self, factor: float) -> "Range":
        return Range(_scaled(self.least, factor), _scaled(self.most, factor))

    def or_else(self, other: "Range") -> "Range":
        return Range(min(self.least, other.least), max(self.most, other.most))


def _scaled(number: int, factor: float) -> int:
    found = math.ceil(float(number) * factor)
    return min(found, ENDLESS)


NOTHING, ONE, ANY = Range(0, 0), Range(1, 1), Range(0, ENDLESS)
