"""Exact Kubernetes quantities: `500m`, `1.5Gi`, `2e3`.

A quantity is a whole number of billionths (nothing finer exists; finer amounts round away from zero) and
the notation it was written in, which decides how it is printed. Everything is integer arithmetic. `milli`
and `value` are what the scheduler asks for; they are cached by text, since a cluster's thousands of pods
share a few dozen amounts.
"""

import re
from dataclasses import dataclass
from functools import lru_cache, total_ordering

# How many texts are remembered. Real clusters use some dozens of different amounts.
QUANTITIES_CACHED_MAX = 8192
# Longer texts are an attack on the arithmetic, never an amount: 2^63 has 19 digits.
QUANTITY_CHARACTERS_MAX = 512

# Binary amounts count as this one when they are larger; decimal ones (1e20) are kept, as in Kubernetes.
VALUE_MAX = 2**63 - 1
# Texts of more digits are read the long way there, which never gives them back as they were.
_DIGITS_REUSED_MAX = 18
_BINARY_DIGITS_REUSED_MAX = 15

FORMAT_WORDS = (
    "quantities must match the regular expression '^([+-]?[0-9.]+)([eEinumkKMGTP]*[-+]?[0-9]*)$'"
)
SUFFIX_WORDS = "unable to parse quantity's suffix"

_NANO_DIGITS = 9
_NANO: int = 10**_NANO_DIGITS
_SYNTAX = re.compile(r"([+-]?)([0-9]*)(?:\.([0-9]*))?([eEinumkKMGTP]*[-+]?[0-9]*)", re.ASCII)
_EXPONENT = re.compile(r"[eE]([-+]?[0-9]+)", re.ASCII)
_DECIMAL = {"n": -9, "u": -6, "m": -3, "": 0, "k": 3, "M": 6, "G": 9, "T": 12, "P": 15, "E": 18}
_BINARY = {"Ki": 10, "Mi": 20, "Gi": 30, "Ti": 40, "Pi": 50, "Ei": 60}
_DECIMAL_SUFFIX = {exponent: suffix for suffix, exponent in _DECIMAL.items()}
_BINARY_SUFFIX = {0: "", **{exponent: suffix for suffix, exponent in _BINARY.items()}}

DECIMAL_SI, BINARY_SI, DECIMAL_EXPONENT = "DecimalSI", "BinarySI", "DecimalExponent"


def _divided(amount: int, divisor: int) -> int:
    """The quotient, rounded away from zero."""
    return -(-amount // divisor) if amount >= 0 else amount // divisor


@total_ordering
@dataclass(frozen=True, slots=True, eq=False)
class Quantity:
    """An amount in billionths. Two are equal when the amounts are, however they are written."""

    nano: int
    format: str = DECIMAL_SI

    @property
    def value(self) -> int:
        """Whole units, rounded away from zero."""
        return _divided(self.nano, _NANO)

    @property
    def milli(self) -> int:
        """Thousandths, rounded away from zero."""
        return _divided(self.nano, 10**6)

    def __eq__(self, other: object) -> bool:
        return self.nano == other.nano if isinstance(other, Quantity) else NotImplemented

    def __lt__(self, other: "Quantity") -> bool:
        return self.nano < other.nano

    def __hash__(self) -> int:
        return hash(self.nano)

    def __bool__(self) -> bool:
        return self.nano != 0

    def __add__(self, other: "Quantity") -> "Quantity":
        # Zero has no notation of its own: a sum is written as its first real part was.
        return Quantity(self.nano + other.nano, self.format if self.nano else other.format)

    def __sub__(self, other: "Quantity") -> "Quantity":
        return Quantity(self.nano - other.nano, self.format if self.nano else other.format)

    def __neg__(self) -> "Quantity":
        return Quantity(-self.nano, self.format)

    def __str__(self) -> str:
        return format(self)


ZERO = Quantity(0)


def parse(text: str | int | float) -> Quantity:
    """The amount a JSON value spells; `ValueError` in Kubernetes' words when it spells none."""
    if isinstance(text, str):
        return _parsed(text.strip())
    if isinstance(text, bool) or not isinstance(text, int | float):
        raise ValueError(FORMAT_WORDS)
    return _parsed(repr(text))


@lru_cache(maxsize=QUANTITIES_CACHED_MAX)
def _parsed(text: str) -> Quantity:
    match = _SYNTAX.fullmatch(text) if 0 < len(text) <= QUANTITY_CHARACTERS_MAX else None
    if match is None:
        raise ValueError(FORMAT_WORDS)
    sign, whole, fraction, suffix = match[1], match[2], match[3] or "", match[4]
    digits = int(whole + fraction or "0")
    if suffix in _BINARY:
        nano = min(_scaled(digits << _BINARY[suffix], -len(fraction)), VALUE_MAX * _NANO)
        notation = BINARY_SI
    elif suffix in _DECIMAL:
        nano, notation = _scaled(digits, _DECIMAL[suffix] - len(fraction)), DECIMAL_SI
    elif exponent := _EXPONENT.fullmatch(suffix):
        nano, notation = _scaled(digits, int(exponent[1]) - len(fraction)), DECIMAL_EXPONENT
    else:
        raise ValueError(SUFFIX_WORDS)
    return Quantity(-nano if sign == "-" else nano, notation)


def _scaled(digits: int, exponent: int) -> int:
    """digits * 10^exponent in billionths, and never zero unless it is."""
    if digits == 0:
        return 0
    shift = exponent + _NANO_DIGITS
    # Beyond these bounds the answer is known, and the power itself could fill the memory.
    if shift > 2 * QUANTITY_CHARACTERS_MAX:
        return VALUE_MAX * _NANO
    if shift < -2 * QUANTITY_CHARACTERS_MAX:
        return 1
    power: int = 10 ** abs(shift)
    return digits * power if shift >= 0 else _divided(digits, power)


def format(quantity: Quantity) -> str:
    """The canonical text: the largest suffix that leaves no fraction, in its own notation where that fits."""
    nano = quantity.nano
    if nano == 0:
        return "0"
    notation = quantity.format
    # Small or broken amounts cannot be said in powers of 1024.
    if notation == BINARY_SI and (abs(nano) < 1024 * _NANO or nano % _NANO):
        notation = DECIMAL_SI
    if notation == BINARY_SI:
        number, exponent = nano // _NANO, 0
        while exponent < 60 and number % 1024 == 0:
            number, exponent = number // 1024, exponent + 10
        return f"{number}{_BINARY_SUFFIX[exponent]}"
    number, exponent = nano, -9
    while number % 1000 == 0 and (exponent < 18 or notation == DECIMAL_EXPONENT):
        number, exponent = number // 1000, exponent + 3
    if notation == DECIMAL_SI:
        return f"{number}{_DECIMAL_SUFFIX[exponent]}"
    return f"{number}e{exponent}" if exponent else str(number)


@lru_cache(maxsize=QUANTITIES_CACHED_MAX, typed=True)
def canonical(text: str | int | float) -> str:
    """The text Kubernetes would store for this amount: `1000m` is `1`, `1024Mi` is `1Gi`, `0.5` is `500m`."""
    amount = parse(text)
    return text.strip() if isinstance(text, str) and _is_reused(text.strip()) else format(amount)


def _is_reused(text: str) -> bool:
    """Whether Kubernetes takes a valid text for canonical at first sight, and gives `1.250` or `1E3` back as it is."""
    match = _SYNTAX.fullmatch(text)
    assert match is not None
    whole, fraction, suffix = match[2].lstrip("0") or "0", match[3] or "", match[4]
    digits = whole + fraction
    if suffix in _BINARY:
        # It asks for at most so many digits that the amount fits a 64-bit number, by a rule of thumb.
        fits = len(whole) + _BINARY[suffix] * 3 // 10 < _BINARY_DIGITS_REUSED_MAX
        return fits and not fraction and int(whole) % 8 != 0
    exponent = _DECIMAL[suffix] if suffix in _DECIMAL else int(suffix[1:])
    scale = exponent - len(fraction)
    fits = len(digits) <= _DIGITS_REUSED_MAX and scale >= -_NANO_DIGITS
    return fits and scale % 3 == 0 and not digits.endswith("000") and digits[0] != "0"


@lru_cache(maxsize=QUANTITIES_CACHED_MAX, typed=True)
def milli(text: str | int | float) -> int:
    """Thousandths, rounded away from zero: what CPU is counted in."""
    return parse(text).milli


@lru_cache(maxsize=QUANTITIES_CACHED_MAX, typed=True)
def value(text: str | int | float) -> int:
    """Whole units, rounded away from zero: what memory, pods and storage are counted in."""
    return parse(text).value


def compare(left: str | int | float, right: str | int | float) -> int:
    """-1, 0 or 1 as `left` is less than, equal to or more than `right`."""
    a, b = parse(left).nano, parse(right).nano
    return (a > b) - (a < b)


def rounded_to_milli(quantity: Quantity) -> Quantity:
    """The amount rounded away from zero to thousandths, as the API does with all resource lists."""
    return Quantity(quantity.milli * 10**6, quantity.format)
