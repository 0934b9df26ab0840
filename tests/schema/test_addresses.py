"""Addresses and ranges: what each field takes, and the words for what it does not."""

import pytest

from ksql.schema import addresses
from ksql.schema.errors import Cause


def said(check, text: str) -> list[str]:
    out: list[Cause] = []
    check(text, "at", out)
    assert all(cause.field == "at" for cause in out)
    return [cause.message.partition(": ")[2].partition(": ")[2] for cause in out]


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("10.9.8.7", ""),
        ("2001:db8::ffff", ""),
        ("10.9.8.256", addresses.NO_ADDRESS),
        ("fe80::1%eth0", addresses.NO_ADDRESS),
        ("", addresses.NO_ADDRESS),
        ("010.9.8.7", "must not have leading 0s"),
        ("::ffff:10.9.8.7", "must not be an IPv4-mapped IPv6 address"),
        ("2001:DB8::FFFF", 'must be in canonical form ("2001:db8::ffff")'),
        ("2001:db8:0::1", 'must be in canonical form ("2001:db8::1")'),
    ],
)
def test_addresses_have_one_spelling(text: str, words: str) -> None:
    assert said(addresses.ip, text) == ([words] if words else [])
    # Older fields take whatever Go could read.
    assert said(addresses.lax_ip, text) == ([words] if words == addresses.NO_ADDRESS else [])


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("10.9.8.0/24", ""),
        ("2001:db8::/64", ""),
        ("10.9.8.0", addresses.NO_RANGE),
        ("10.9.8.0/33", addresses.NO_RANGE),
        ("10.9.8.0/-1", addresses.NO_RANGE),
        ("10.9.8.0/024", "must not have leading 0s in IP or prefix length"),
        ("::ffff:10.9.8.0/120", "must not have an IPv4-mapped IPv6 address"),
        ("10.9.8.7/24", "must not have bits set beyond the prefix length"),
        ("2001:DB8::/64", 'must be in canonical form ("2001:db8::/64")'),
    ],
)
def test_ranges_have_one_spelling(text: str, words: str) -> None:
    assert said(addresses.cidr, text) == ([words] if words else [])
    assert said(addresses.lax_cidr, text) == ([words] if words == addresses.NO_RANGE else [])


@pytest.mark.parametrize("text", ["10.0.0.1", "2001:db8::1"])
def test_an_endpoint_is_reached_from_elsewhere(text: str) -> None:
    assert said(addresses.endpoint, text) == []


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("0.0.0.0", "may not be unspecified (0.0.0.0)"),
        ("127.0.0.1", "may not be in the loopback range (127.0.0.0/8, ::1/128)"),
        ("fe80::1", "may not be in the link-local range (169.254.0.0/16, fe80::/10)"),
        ("224.0.0.9", "may not be in the link-local multicast range (224.0.0.0/24, ff02::/10)"),
    ],
)
def test_an_endpoint_that_only_its_own_machine_reaches_is_none(text: str, words: str) -> None:
    assert said(addresses.endpoint, text) == [words]
