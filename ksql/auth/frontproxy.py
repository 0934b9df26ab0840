"""The front proxy: a server before this one that has proved who asks, and says so in headers.

Its word counts for a certificate of the front proxy's own authority with a name that the operator allows, and for
nothing else: headers of anybody else's are not looked at. Kubernetes' names of the headers are kept.
"""

from collections.abc import Iterable
from urllib.parse import unquote

from ksql.auth.identity import AUTHENTICATED, User

_USER, _UID, _GROUP, _EXTRA = b"x-remote-user", b"x-remote-uid", b"x-remote-group", b"x-remote-extra-"


def spoken_for(headers: Iterable[tuple[bytes, bytes]]) -> User | None:
    """Whom the headers name; None when they name nobody."""
    name, uid, groups = "", "", list[str]()
    extra: dict[str, tuple[str, ...]] = {}
    for header, raw in headers:
        if not header.startswith(b"x-remote-"):
            continue
        value = raw.decode("utf-8", "replace")
        if header == _USER:
            name = name or value.strip()
        elif header == _UID:
            uid = uid or value
        elif header == _GROUP:
            groups.append(value)
        elif header.startswith(_EXTRA):
            key = unquote(header[len(_EXTRA) :].decode("latin-1")).lower()
            extra[key] = (*extra.get(key, ()), value)
    return User(name, tuple(dict.fromkeys((*groups, AUTHENTICATED))), uid, extra) if name else None
