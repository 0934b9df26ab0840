"""The `format`s of strings that kube-apiserver judges in custom resources; all others mean nothing to it."""

import base64
import binascii
import ipaddress
import re
from collections.abc import Callable, Mapping
from datetime import datetime
from email.utils import parseaddr
from urllib.parse import urlsplit

from ksql.schema import addresses, names

Format = Callable[[str], bool]


def _pattern(text: str) -> Format:
    compiled = re.compile(text, re.ASCII)
    return lambda value: compiled.fullmatch(value) is not None


_INSTANT = re.compile(
    r"(\d{4}-\d{2}-\d{2})[Tt](\d{2}:\d{2}:\d{2})([.]\d+)?([Zz]|[+-]\d{2}:\d{2})", re.ASCII
)


def _date_time(value: str) -> bool:
    found = _INSTANT.fullmatch(value)
    return found is not None and _is_time(f"{found[1]}T{found[2]}")


def _is_time(text: str) -> bool:
    try:
        datetime.fromisoformat(text)
    except ValueError:
        return False
    return True


def _date(value: str) -> bool:
    return re.fullmatch(r"\d{4}-\d{2}-\d{2}", value, re.ASCII) is not None and _is_time(value)


_GO_DURATION = re.compile(r"[+-]?(?:0|(?:(?:\d+[.]?\d*|[.]\d+)(?:ns|us|µs|μs|ms|s|m|h))+)")
_WORDY = re.compile(
    r"(?:[+-]?\d+\s*(?:ns|nano|us|µs|micro|ms|milli|s|sec|second|m|min|minute|h|hr|hour|d|day|w|wk|week)s?\s*)+"
)


def is_duration(value: str) -> bool:
    """Go's own durations, and the wordier ones with days and weeks."""
    return bool(_GO_DURATION.fullmatch(value) or _WORDY.fullmatch(value))


def _uri(value: str) -> bool:
    if not value or any(ord(letter) <= 0x20 or ord(letter) == 0x7F for letter in value):
        return False
    if value.startswith("/"):
        return True
    try:
        parts = urlsplit(value)
    except ValueError:
        return False
    return bool(re.match(r"[A-Za-z][A-Za-z0-9+.-]*:", value)) and bool(parts.scheme)


def _email(value: str) -> bool:
    _, address = parseaddr(value)
    local, _, domain = address.rpartition("@")
    return bool(local and domain) and " " not in local and (address == value or value.endswith(f"<{address}>"))


_LABEL = r"[a-zA-Z0-9](?:-?[a-zA-Z0-9]){0,62}"
_DOMAIN = r"(?:[a-zA-Z0-9](?:[a-zA-Z0-9-]{0,61}[a-zA-Z0-9])?\.)+[a-zA-Z]{2,63}"


def _address(version: int) -> Format:
    def judge(value: str) -> bool:
        if version == 4 and addresses.parsed(value) is not None and ":" not in value:
            # Leading zeros pass, as Go once read them.
            return True
        try:
            return ipaddress.ip_address(value).version == version and "%" not in value
        except ValueError:
            return False

    return judge


def _cidr(value: str) -> bool:
    if "/" not in value:
        return False
    try:
        ipaddress.ip_network(value, strict=False)
    except ValueError:
        return False
    return True


def _mac(value: str) -> bool:
    pair = r"[0-9A-Fa-f]{2}"
    counts = ("5", "7", "19")
    parted = any(re.fullmatch(f"{pair}(?:{sign}{pair}){{{n}}}", value) for sign in (":", "-") for n in counts)
    return parted or bool(re.fullmatch(r"[0-9A-Fa-f]{4}(?:\.[0-9A-Fa-f]{4}){2}(?:\.[0-9A-Fa-f]{4}){0,7}", value))


def _byte(value: str) -> bool:
    try:
        base64.b64decode(value, validate=True)
    except (binascii.Error, ValueError):
        return False
    return True


def _isbn10(value: str) -> bool:
    digits = re.sub(r"[\s-]", "", value)
    if not re.fullmatch(r"\d{9}[0-9X]", digits):
        return False
    total = sum((10 if d == "X" else int(d)) * (10 - i) for i, d in enumerate(digits))
    return total % 11 == 0


def _isbn13(value: str) -> bool:
    digits = re.sub(r"[\s-]", "", value)
    if not re.fullmatch(r"\d{13}", digits):
        return False
    return sum(int(d) * (3 if i % 2 else 1) for i, d in enumerate(digits)) % 10 == 0


def _credit_card(value: str) -> bool:
    digits = re.sub(r"[^0-9]", "", value)
    if not 13 <= len(digits) <= 19:
        return False
    doubled = (int(d) * (2 if i % 2 else 1) for i, d in enumerate(reversed(digits)))
    return sum(n - 9 if n > 9 else n for n in doubled) % 10 == 0


def _rgb(value: str) -> bool:
    found = re.fullmatch(r"rgb\(\s*(\d{1,3})\s*,\s*(\d{1,3})\s*,\s*(\d{1,3})\s*\)", value, re.ASCII)
    return found is not None and all(int(part) <= 255 for part in found.groups())


def _uuid(version: str = "") -> Format:
    third, fourth = (version + "[0-9a-f]{3}", "[89ab][0-9a-f]{3}") if version else ("[0-9a-f]{4}", "[0-9a-f]{4}")
    if version == "3":
        fourth = "[0-9a-f]{4}"
    compiled = re.compile(f"[0-9a-f]{{8}}-?[0-9a-f]{{4}}-?{third}-?{fourth}-?[0-9a-f]{{12}}", re.IGNORECASE)
    return lambda value: compiled.fullmatch(value) is not None


FORMATS: Mapping[str, Format] = {
    "bsonobjectid": _pattern("[0-9a-fA-F]{24}"),
    "byte": _byte,
    "cidr": _cidr,
    "creditcard": _credit_card,
    "date": _date,
    "date-time": _date_time,
    "datetime": _date_time,
    "duration": is_duration,
    "email": _email,
    "hexcolor": _pattern("#?(?:[0-9a-fA-F]{3}|[0-9a-fA-F]{6})"),
    "hostname": lambda value: bool(re.fullmatch(f"{_LABEL}|{_DOMAIN}", value, re.ASCII)),
    "ipv4": _address(4),
    "ipv6": _address(6),
    "isbn": lambda value: _isbn10(value) or _isbn13(value),
    "isbn10": _isbn10,
    "isbn13": _isbn13,
    "k8s-long-name": lambda value: not names.subdomain(value),
    "k8s-short-name": lambda value: not names.label_name(value),
    "mac": _mac,
    "rgbcolor": _rgb,
    "ssn": _pattern(r"\d{3}[- ]\d{2}[- ]\d{4}"),
    "uri": _uri,
    "uuid": _uuid(),
    "uuid3": _uuid("3"),
    "uuid4": _uuid("4"),
    "uuid5": _uuid("5"),
}

# Those, and what numbers and texts that nobody checks may call themselves.
KNOWN_FORMATS = frozenset({*FORMATS, "int32", "int64", "float", "double", "password"})
