"""What a cluster's keys are for, which authority signs now, and which are still believed: pure values.

An authority has generations. The newest one that has begun to sign signs; those before it are believed until
their time is over, so that what they signed goes on for a while. When a successor comes, what is due, and why a
certificate has to be made anew is decided here; `keeping.py` acts.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from typing import Any

import orjson

from ksql.auth.identity import ADMIN_GROUP
from ksql.auth.pki.certificates import (
    CERTIFICATE_DAYS,
    Pair,
    alternative_names,
    fits,
    issued_by,
)
from ksql.base.clock import parse_rfc3339, rfc3339

ADMIN_USER = "kubernetes-admin"
# The name in the certificate by which other API servers believe what this one says of its callers.
PROXY_USER = "front-proxy-client"

# A leaf is renewed with this much of its life left, so that a month of somebody's absence harms nobody.
RENEWAL_DAYS = 60
# A successor comes while its authority can still sign for a leaf's whole life, and be believed for another.
SUCCESSION_DAYS = 2 * CERTIFICATE_DAYS
# An authority is believed for so long after its successor signs: no leaf that it signed lives longer.
OVERLAP = timedelta(days=CERTIFICATE_DAYS)
# An authority that cannot vouch for its successor is followed by one that signs only once it was told of for so long.
ANNOUNCED = timedelta(days=7)

FORMAT = "ksql-pki/1"


class PkiError(ValueError):
    """The keys are not as they have to be; the message names file and fault."""


@dataclass(frozen=True, slots=True)
class Part:
    """One authority and what it is for."""

    name: str
    purpose: str
    # Others hold what they trust of it in files that nobody here can reach.
    trusted_afar: bool = False


@dataclass(frozen=True, slots=True)
class Leaf:
    """One certificate that the cluster makes for itself. A server's is for names, a client's for a user."""

    name: str
    authority: str
    purpose: str
    user: str = ""
    groups: tuple[str, ...] = ()


CLIENTS, SERVING, NODES, PROXY, DATABASE = "clients", "serving", "nodes", "front-proxy", "database"

AUTHORITIES: Mapping[str, Part] = {
    part.name: part
    for part in (
        Part(CLIENTS, "signs users of the cluster"),
        Part(SERVING, "signs the API server; clients trust it", trusted_afar=True),
        Part(NODES, "signs nodes, as clients and as servers"),
        Part(PROXY, "signs who tells extension API servers who asks", trusted_afar=True),
        Part(DATABASE, "signs both ends of the connection to the database", trusted_afar=True),
    )
}
SERVER, ADMIN, PROXY_CLIENT = "server", "admin", "front-proxy-client"
DATABASE_CLIENT, DATABASE_SERVER = "database-client", "database-server"


def leaves(database: "Database | None") -> Sequence[Leaf]:
    """The certificates that a cluster has, with a connection to a database or without."""
    found = [
        Leaf(SERVER, SERVING, "the API server's"),
        Leaf(ADMIN, CLIENTS, "the administrator's, in the kubeconfig", ADMIN_USER, (ADMIN_GROUP,)),
        Leaf(PROXY_CLIENT, PROXY, "the API server's, before extension API servers", PROXY_USER),
    ]
    if database is not None:
        found += [
            Leaf(DATABASE_CLIENT, DATABASE, "the API server's, before the database", database.user),
            Leaf(DATABASE_SERVER, DATABASE, "the database's: to be installed there"),
        ]
    return found


@dataclass(frozen=True, slots=True)
class Database:
    """The connection that is secured: where the database is reached, and as whom."""

    host: str
    user: str


# In the place of a certificate that the record does not hold.
_UNREAD = Pair(b"")


@dataclass(frozen=True, slots=True)
class Generation:
    """One authority's certificate in its time. `pair` has no key where it only is believed."""

    number: int
    signs: datetime
    until: datetime | None = None
    pair: Pair = _UNREAD
    vouchers: bytes = b""

    def is_believed(self, now: datetime) -> bool:
        return (self.until is None or now < self.until) and now < self.pair.ends

    def can_sign(self, now: datetime) -> bool:
        return bool(self.pair.key) and self.signs <= now < self.pair.ends

    @property
    def ends(self) -> datetime:
        """When it is believed no more."""
        return self.pair.ends if self.until is None else min(self.until, self.pair.ends)


@dataclass(frozen=True, slots=True)
class Authority:
    """Its generations, oldest first."""

    part: Part
    generations: tuple[Generation, ...] = ()

    @property
    def name(self) -> str:
        return self.part.name

    def signing(self, now: datetime) -> Generation | None:
        """Who signs now."""
        return next((one for one in reversed(self.generations) if one.can_sign(now)), None)

    def believed(self, now: datetime) -> Sequence[Generation]:
        """Whose signatures count now; the newest first, since most of what comes is theirs."""
        return [one for one in reversed(self.generations) if one.is_believed(now)]

    def bundle(self, now: datetime) -> bytes:
        """All that is to be trusted, as PEM."""
        return b"".join(one.pair.certificate.rstrip() + b"\n" for one in self.believed(now))

    def next_number(self) -> int:
        return max((one.number for one in self.generations), default=0) + 1

    def succeeded(self, successor: Generation, overlap: timedelta) -> "Authority":
        """With a successor; who signed before is believed for `overlap` after it begins."""
        ends = successor.signs + overlap
        older = [
            replace(one, until=ends if one.until is None else min(one.until, ends)) for one in self.generations
        ]
        return replace(self, generations=(*older, successor))

    def wants_successor(self, now: datetime) -> bool:
        """Whether nobody signs, or whoever does has not long to live and no successor."""
        newest = self.generations[-1] if self.generations else None
        if newest is None or not newest.pair.key:
            return True
        return newest.pair.ends - now <= timedelta(days=SUCCESSION_DAYS)

    def due(self) -> Iterator[datetime]:
        """The instants at which something is to be done for it."""
        for one in self.generations:
            yield one.signs
            yield one.ends
        if self.generations:
            yield self.generations[-1].pair.ends - timedelta(days=SUCCESSION_DAYS)


@dataclass(frozen=True, slots=True)
class Source:
    """Where an operator keeps a pair of his own: paths, or `env:NAME` for a variable that holds the PEM."""

    certificate: str
    key: str = ""


@dataclass(frozen=True, slots=True)
class Record:
    """What stands in `pki.json`: nothing of it is secret."""

    host: str = ""
    names: tuple[str, ...] = ()  # the server's, beside those that every server has
    database: Database | None = None
    given: Mapping[str, Source] = field(default_factory=dict)
    # Number, when it signs from, until when it is believed; by authority.
    generations: Mapping[str, Sequence[Generation]] = field(default_factory=dict)

    def encode(self) -> bytes:
        def times(one: Generation) -> dict[str, Any]:
            until = None if one.until is None else rfc3339(one.until)
            return {"number": one.number, "signs": rfc3339(one.signs), "until": until}

        database = self.database and {"host": self.database.host, "user": self.database.user}
        document = {
            "format": FORMAT, "host": self.host, "names": list(self.names), "database": database,
            "given": {name: {"certificate": one.certificate, "key": one.key} for name, one in self.given.items()},
            "authorities": {name: [times(one) for one in found] for name, found in self.generations.items()},
        }  # fmt: skip
        return orjson.dumps(document, option=orjson.OPT_INDENT_2 | orjson.OPT_SORT_KEYS) + b"\n"


def decode(data: bytes) -> Record:
    """The record in a file's bytes; `PkiError` when it is none."""
    try:
        document = orjson.loads(data)
        if document["format"] != FORMAT:
            raise ValueError(f"its format is {document['format']!r}, not {FORMAT!r}")
        database = document["database"]
        return Record(
            str(document["host"]),
            tuple(map(str, document["names"])),
            None if database is None else Database(str(database["host"]), str(database["user"])),
            {name: Source(str(one["certificate"]), str(one["key"])) for name, one in document["given"].items()},
            {name: [_generation(one) for one in found] for name, found in document["authorities"].items()},
        )
    except (ValueError, TypeError, LookupError, AttributeError) as error:
        raise PkiError(f"no record of keys: {error}") from None


def _generation(given: Mapping[str, Any]) -> Generation:
    until = given["until"]
    return Generation(
        int(given["number"]), parse_rfc3339(given["signs"]), None if until is None else parse_rfc3339(until)
    )


def tail(generation: Generation) -> bytes:
    """What a leaf of this generation is followed by: its issuer where that is no root, and who vouches for it."""
    from cryptography.hazmat.primitives.serialization import Encoding

    between = [one for one in generation.pair.chain if one.issuer != one.subject]
    return b"".join(one.public_bytes(Encoding.PEM) for one in between) + generation.vouchers


def fault(pair: Pair | None, signing: Generation, names: Sequence[str], now: datetime) -> str:
    """Why a leaf has to be made anew; empty when it is good. `names` are a server's, none a client's."""
    if pair is None:
        return "there is none"
    if not fits(pair):
        return "certificate and key do not belong together"
    if not issued_by(pair.leaf, signing.pair.leaf):
        return "the authority that signed it signs no more"
    if names and alternative_names(pair.leaf) != tuple(names):
        return "it is for other names"
    if now < pair.leaf.not_valid_before_utc:
        return "it is not good yet"
    if pair.ends - now <= renewal_before(pair):
        return "it runs out"
    return ""


def renewal_before(pair: Pair) -> timedelta:
    """With how much of its life left a leaf is renewed: a short one with a third of it."""
    life = pair.ends - pair.leaf.not_valid_before_utc
    return min(timedelta(days=RENEWAL_DAYS), life / 3)
