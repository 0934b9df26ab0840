"""What is hashed of an event, and the tree over it: the same whoever stores it, and however.

A leaf is SHA-256 over a zero byte and the event's header: its fields as canonical JSON (sorted keys, no
spaces), among them `payload`, a commitment to the object after the change. The commitment is SHA-256 over
sixteen bytes of salt and the payload as clients see it, without resourceVersion. Pages, codecs,
dictionaries and encryption at rest lie below that and may change. Whoever lacks the payload (it was
redacted, or its key was erased) still checks the leaf by the commitment; the salt keeps it from being
guessed. A block's salts are drawn from its one secret, so that each costs nothing to make or to keep; that of
an encrypted payload follows from its object's key, and is gone with it.

Above the leaves stands the tree of RFC 6962 (Certificate Transparency), so that any implementation of that
checks a path: a node is SHA-256 over a one byte and its two children, an odd one moves up as it is.
"""

from binascii import hexlify
from collections.abc import Mapping, Sequence
from hashlib import sha256, shake_256
from typing import Any

import orjson

from ksql.log.event import Actor, Event, Stream

SALT_BYTES = 16
HASH_BYTES = 32

_LEAF, _NODE = b"\x00", b"\x01"
# Actors whose JSON is kept: those of one cluster; beyond it they are made anew.
_ACTORS_KEPT_MAX = 4096


# The pieces of a header that tell of its object.
Pieces = tuple[bytes, bytes, bytes]


def commitment(salt: bytes, payload: bytes) -> bytes:
    """What stands for a payload in its header."""
    return sha256(salt + payload).digest()


def salts(secret: bytes, count: int) -> list[bytes]:
    """The salts of a block's events in their order, from its secret."""
    drawn = shake_256(secret).digest(SALT_BYTES * count)
    return [drawn[at : at + SALT_BYTES] for at in range(0, len(drawn), SALT_BYTES)]


def _of_actor(actor: Actor) -> dict[str, Any]:
    return {
        "groups": actor.groups, "impersonator": actor.impersonator, "source": actor.source, "user": actor.user,
        "user_agent": actor.user_agent,
    }  # fmt: skip


class Headers:
    """Makes headers; remembers the JSON of actors, since thousands of events share one."""

    def __init__(self) -> None:
        # By identity: telling two actors apart by value costs more than writing one down.
        self._actors: dict[int, tuple[Actor, orjson.Fragment]] = {}

    def _actor(self, actor: Actor) -> orjson.Fragment:
        found = self._actors.get(id(actor))
        if found is not None:
            return found[1]
        if len(self._actors) >= _ACTORS_KEPT_MAX:
            self._actors.clear()
        written = orjson.Fragment(orjson.dumps(_of_actor(actor)))
        self._actors[id(actor)] = (actor, written)
        return written

    def header(
        self, revision: int, micros: int, stream: Stream, change: str, verb: str, subresource: str,
        field_manager: str, actor: Actor, cause: int | None, correlation: str, committed: bytes,
    ) -> bytes:  # fmt: skip
        """The canonical JSON of one event; the keys stand in their sorted order."""
        return orjson.dumps(
            {
                "actor": self._actor(actor), "cause": cause, "change": change, "correlation": correlation,
                "field_manager": field_manager, "name": stream.name, "namespace": stream.namespace,
                "payload": committed.hex(), "resource": stream.resource, "revision": revision,
                "subresource": subresource, "time": micros, "uid": stream.uid, "verb": verb,
            }
        )  # fmt: skip

    def of(self, event: Event, micros: int, salt: bytes) -> bytes:
        """The header of an event whose payload is at hand."""
        return self.header(
            event.revision, micros, event.stream, event.change, event.verb, event.subresource,
            event.field_manager, event.actor, event.cause, event.correlation, committed(event, salt),
        )  # fmt: skip


class Spelling:
    """Makes the same headers from pieces, for whoever makes millions: what repeats is written down once.

    Who did it and what are given by numbers, as the log stores them; the object by its own pieces.
    """

    def __init__(self, actors: Mapping[int, Actor], actions: Mapping[int, tuple[str, str, str, str]]) -> None:
        opening = b'{"actor":%b,"cause":'
        self._actors = {number: opening % orjson.dumps(_of_actor(actor)) for number, actor in actors.items()}
        self._actions = {
            number: (
                b',"change":%b,"correlation":' % orjson.dumps(change), b',"field_manager":%b' % orjson.dumps(manager),
                b',"subresource":%b,"time":' % orjson.dumps(subresource), b',"verb":%b}' % orjson.dumps(verb),
            )
            for number, (change, verb, subresource, manager) in actions.items()
        }  # fmt: skip

    @staticmethod
    def stream(resource: str, namespace: str, name: str, uid: str) -> Pieces:
        """An object's pieces, the same for all of its events."""
        return (
            b',"name":%b,"namespace":%b,"payload":"' % (orjson.dumps(name), orjson.dumps(namespace)),
            b'","resource":%b,"revision":' % orjson.dumps(resource), b',"uid":%b' % orjson.dumps(uid),
        )  # fmt: skip

    def header(
        self, revision: int, micros: int, stream: Pieces, action: int, actor: int, cause: int | None,
        correlation: bytes, committed: bytes,
    ) -> bytes:  # fmt: skip
        """As `Headers.header`; the correlation as JSON already. `LookupError` for numbers that nobody has."""
        change, manager, subresource, verb = self._actions[action]
        named, resource, uid = stream
        return b"%b%b%b%b%b%b%b%b%d%b%d%b%b" % (
            self._actors[actor], b"null" if cause is None else b"%d" % cause, change, correlation, manager, named,
            hexlify(committed), resource, revision, subresource, micros, uid, verb,
        )  # fmt: skip


def committed(event: Event, salt: bytes) -> bytes:
    """The commitment of an event; `salt` is what its block has for it, should it have none of its own."""
    return event.committed or sha256((event.salt or salt) + event.payload).digest()


def leaf(header: bytes) -> bytes:
    return sha256(_LEAF + header).digest()


def root(leaves: Sequence[bytes]) -> bytes:
    """The hash that stands for all of them in their order; of none, that of nothing."""
    if not leaves:
        return sha256(b"").digest()
    level = list(leaves)
    while len(level) > 1:
        level = _above(level)
    return level[0]


def _above(level: list[bytes]) -> list[bytes]:
    above = [sha256(_NODE + left + right).digest() for left, right in zip(level[::2], level[1::2], strict=False)]
    if len(level) % 2:
        above.append(level[-1])
    return above


def path(leaves: Sequence[bytes], index: int) -> list[bytes]:
    """The siblings from a leaf up to the root."""
    level, found = list(leaves), []
    while len(level) > 1:
        sibling = index ^ 1
        if sibling < len(level):
            found.append(level[sibling])
        level, index = _above(level), index // 2
    return found


def root_by(found: bytes, index: int, count: int, siblings: Sequence[bytes]) -> bytes | None:
    """The root that a leaf and its path lead to; None when the path has another length than it must."""
    left = list(siblings)
    if not 0 <= index < count:
        return None
    while count > 1:
        if index ^ 1 < count:
            if not left:
                return None
            sibling = left.pop(0)
            pair = (sibling + found) if index % 2 else (found + sibling)
            found = sha256(_NODE + pair).digest()
        index, count = index // 2, (count + 1) // 2
    return None if left else found


def described(header: bytes) -> dict[str, Any]:
    """A header as a document."""
    found: dict[str, Any] = orjson.loads(header)
    return found
