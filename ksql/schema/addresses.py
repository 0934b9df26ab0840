"""What is an IP address or a range of them, and what is wrong with a text that is none.

Go once read `010.1.2.3` and `::ffff:1.2.3.4` without complaint, and objects hold such texts; newer fields take
only the one canonical spelling. `ip` and `cidr` judge those, `lax_ip` and `lax_cidr` the older ones.
"""

import ipaddress
import re
from collections.abc import Sequence

from ksql.schema.errors import Cause
from ksql.schema.faults import wrong

Address = ipaddress.IPv4Address | ipaddress.IPv6Address
Network = ipaddress.IPv4Network | ipaddress.IPv6Network

NO_ADDRESS = "must be a valid IP address, (e.g. 10.9.8.7 or 2001:db8::ffff)"
NO_RANGE = "must be a valid CIDR value, (e.g. 10.9.8.0/24 or 2001:db8::/64)"

_DOTTED = re.compile(r"\d+\.\d+\.\d+\.\d+")


def parsed(text: str) -> Address | None:
    """The address, as laxly as Go read one: leading zeros do not make a number octal."""
    if _DOTTED.fullmatch(text):
        text = ".".join(str(int(part)) for part in text.split("."))
    try:
        address = ipaddress.ip_address(text)
    except ValueError:
        return None
    if isinstance(address, ipaddress.IPv6Address):
        return None if address.scope_id else address.ipv4_mapped or address
    return address


def parsed_range(text: str) -> Network | None:
    """The range; bits beyond its prefix are passed over."""
    head, slash, length = text.partition("/")
    address = parsed(head)
    if not slash or address is None or not length.isascii() or not length.isdigit():
        return None
    size = int(length)
    if _is_mapped(head):
        size -= 96
    try:
        return ipaddress.ip_network((address, size), strict=False) if size >= 0 else None
    except ValueError:
        return None


def _is_mapped(text: str) -> bool:
    return ":" in text and isinstance(parsed(text), ipaddress.IPv4Address)


def _has_zeros(text: str) -> bool:
    return bool(_DOTTED.fullmatch(text)) and any(len(part) > 1 and part[0] == "0" for part in text.split("."))


def lax_ip(text: str, path: str, out: list[Cause]) -> Address | None:
    """An address in a field that was always lax."""
    address = parsed(text)
    if address is None:
        out.append(wrong(path, text, NO_ADDRESS))
    return address


def ip(text: str, path: str, out: list[Cause]) -> Address | None:
    """An address in its canonical form; None when anything is wrong with it."""
    words = ip_complaint(text)
    if words:
        out.append(wrong(path, text, words))
        return None
    return parsed(text)


def ip_complaint(text: str) -> str:
    """What keeps a text from being a canonical address; empty when nothing does."""
    address = parsed(text)
    if address is None:
        return NO_ADDRESS
    if _has_zeros(text):
        return "must not have leading 0s"
    if _is_mapped(text):
        return "must not be an IPv4-mapped IPv6 address"
    return "" if text == str(address) else f'must be in canonical form ("{address}")'


def lax_cidr(text: str, path: str, out: list[Cause]) -> Network | None:
    """A range in a field that was always lax."""
    network = parsed_range(text)
    if network is None:
        out.append(wrong(path, text, NO_RANGE))
    return network


def cidr(text: str, path: str, out: list[Cause]) -> Network | None:
    """A range in its canonical form."""
    network = parsed_range(text)
    words = ""
    if network is None:
        words = NO_RANGE
    else:
        head, _, length = text.partition("/")
        if _has_zeros(head) or (len(length) > 1 and length[0] == "0"):
            words = "must not have leading 0s in IP or prefix length"
        elif _is_mapped(head):
            words = "must not have an IPv4-mapped IPv6 address"
        elif parsed(head) != network.network_address:
            words = "must not have bits set beyond the prefix length"
        elif text != str(network):
            words = f'must be in canonical form ("{network}")'
    if words:
        out.append(wrong(path, text, words))
        return None
    return network


def endpoint(text: str, path: str, out: list[Cause]) -> None:
    """An address at which something can be reached from other machines."""
    address = parsed(text)
    if address is None:
        out.append(wrong(path, text, "must be a valid IP address"))
        return
    if address.is_unspecified:
        out.append(wrong(path, text, f"may not be unspecified ({text})"))
    if address.is_loopback:
        out.append(wrong(path, text, "may not be in the loopback range (127.0.0.0/8, ::1/128)"))
    if address.is_link_local:
        out.append(wrong(path, text, "may not be in the link-local range (169.254.0.0/16, fe80::/10)"))
    if any(address.version == one.version and address in one for one in _LOCAL_MULTICAST):
        words = "may not be in the link-local multicast range (224.0.0.0/24, ff02::/10)"
        out.append(wrong(path, text, words))


_LOCAL_MULTICAST = (ipaddress.ip_network("224.0.0.0/24"), ipaddress.ip_network("ff02::/16"))


# --- what is taken and yet to be told ---------------------------------------------------------------


def cautions(text: str, path: str) -> Sequence[str]:
    """What to tell of an address in a lax field: another spelling is the better one."""
    address = parsed(text)
    if address is None:
        return ()
    if _has_zeros(text) or _is_mapped(text):
        return (f'{path}: non-standard IP address "{text}" is invalid: use "{address}"',)
    if address.version == 6 and text != str(address):
        return (f'{path}: IPv6 address "{text}" should be in RFC 5952 canonical format ("{address}")',)
    return ()


def range_cautions(text: str, path: str) -> Sequence[str]:
    """What to tell of a range in a lax field."""
    network = parsed_range(text)
    if network is None:
        return ()
    head, _, length = text.partition("/")
    address, told = parsed(head), []
    if address != network.network_address:
        told.append(
            f'{path}: CIDR value "{text}" is ambiguous in this context (should be "{network}" or '
            f'"{address}/{network.max_prefixlen}"?)'
        )
    if _has_zeros(head) or _is_mapped(head) or (len(length) > 1 and length[0] == "0"):
        told.append(f'{path}: non-standard CIDR value "{text}" is invalid: use "{network}"')
    if not told and network.version == 6 and text != str(network):
        told.append(f'{path}: IPv6 CIDR value "{text}" should be in RFC 5952 canonical format ("{network}")')
    return told
