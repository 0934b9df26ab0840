"""What Go finds wrong with a URL before it looks at its parts."""

import re

from ksql.schema.golang.gotext import quoted

_ESCAPE = re.compile(r"%(?![0-9A-Fa-f]{2})")
_SCHEME = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*\Z")
_PORT = re.compile(r":[0-9]*\Z")


def fault(text: str) -> str:
    """Why Go cannot read a URL, in its words; empty when it can."""
    found = _fault(text)
    return f"parse {quoted(text)}: {found}" if found else ""


def _fault(text: str) -> str:
    if any(ord(letter) < 0x20 or ord(letter) == 0x7F for letter in text):
        return "net/url: invalid control character in URL"
    rest, _, fragment = text.partition("#")
    scheme, colon, after = rest.partition(":")
    if colon and not scheme:
        return "missing protocol scheme"
    has_scheme = bool(colon) and _SCHEME.match(scheme) is not None
    rest = after if has_scheme else rest
    path = rest.partition("?")[0]
    if not has_scheme and not path.startswith("/") and ":" in path.partition("/")[0]:
        return "first path segment in URL cannot contain colon"
    if path.startswith("//"):
        host, slash, below = path[2:].partition("/")
        if bad := _host_fault(host.rpartition("@")[2]):
            return bad
        path = slash + below
    for part in (path, fragment):
        if bad := _escape_fault(part):
            return bad
    return ""


def _escape_fault(text: str) -> str:
    if found := _ESCAPE.search(text):
        return f"invalid URL escape {quoted(text[found.start() : found.start() + 3])}"
    return ""


def _host_fault(host: str) -> str:
    if host.startswith("["):
        end = host.rfind("]")
        if end < 0:
            return "missing ']' in host"
        port = host[end + 1 :]
    else:
        port = host[host.rfind(":") :] if ":" in host else ""
    if port and not _PORT.match(port):
        return f"invalid port {quoted(port)} after host"
    if bad := _escape_fault(host):
        return bad
    for letter in host:
        if letter in ' "<>\\^`{|}':
            return f"invalid character {quoted(letter)} in host name"
    return ""
