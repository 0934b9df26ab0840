"""Bundles: a stretch of the log in one portable file.

A bundle holds the state at its first moment (*checkpoint*: the newest event of each object that lived), every event
after it, and what proves them. It knows nothing of databases, pages or dictionaries, so any version of ksql on either
database writes and reads the same.

The file: the eight bytes `ksqlbndl`, two bytes of version, and frames. A frame is one byte of kind, four of length,
the body, and 32 bytes of digest: SHA-256 over the digest before it, kind, length and body (the first follows
SHA-256 of the ten bytes before). So whatever is changed, left out, put in between or cut off is seen. Numbers are
big-endian.

- `H`, first: JSON: `first`, `last` (revisions), `since`, `until` (instants, microseconds), `minor` (of Kubernetes),
  `written` (instant), `by` (version of ksql), `redacted` (rules; empty: nothing is).
- `C` of the checkpoint, then `E` of the events, in their order: zstd over four bytes of length, JSON of that length,
  and the payloads one after another. The JSON has `actors`, `actions`, `places`, `streams` (place, name, uid) and
  `rows`: revision, time, stream, action, actor, cause, correlation, the payload's length, base; places, streams,
  actions and actors by their position. Where the base is 0 the payload is the object's JSON; else it is the difference
  from the whole payload of that revision: one byte that counts its pieces (128 more: numbers of four bytes instead of
  two); for each piece how many bytes to keep of the base, how many to skip, and how many to insert; what is inserted,
  together; after the last piece the base's rest is kept. A reader keeps the newest whole payload of each uid and drops
  the oldest when they have more than 64 MiB. A row without a time is no event, but a base of some after it.
  (Version 1: no bases and no `streams`, but place, name and uid in the place of the stream.)
- `S`, one of each seal over the events: JSON (`bundleseals.py`); readers that do not need it pass over it.
- `Z`, last: JSON: how many events of each kind, and `state`: the hash of the state at the end (`StateHash`).
"""

import struct
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import asdict, dataclass, fields
from functools import partial
from hashlib import sha256
from pathlib import Path
from typing import IO, Any, Self

import orjson
import zstandard

from ksql.log.bundleframes import FRAME_BYTES_MAX, Packer, Shelf, packed, unpacked, unpacked_whole
from ksql.log.event import Event

MAGIC = b"ksqlbndl"
VERSION = 2
HEADER, CHECKPOINT, EVENTS, SEALS, END = b"H", b"C", b"E", b"S", b"Z"
_KINDS = (HEADER, CHECKPOINT, EVENTS, SEALS, END)

# Frames that wait to be compressed while the next events are read.
PACKING_MAX = 4
_PREFIX, _OPENING = struct.Struct(">8sH"), struct.Struct(">cI")
_DIGEST_BYTES = 32


class BundleError(ValueError):
    """The file is no bundle that can be read; the message says what is wrong with it, and where."""


@dataclass(frozen=True, slots=True)
class Header:
    """What a bundle says of itself."""

    first: int  # the revision of the checkpoint; events come after it
    last: int
    since: int  # instants in microseconds
    until: int
    minor: str
    written: int
    by: str
    redacted: tuple[str, ...] = ()


class StateHash:
    """One hash of a state: of every object in the order of resource, namespace and name."""

    def __init__(self) -> None:
        self._hash = sha256()

    def add(self, event: Event) -> None:
        s = event.stream
        head = orjson.dumps([s.resource, s.namespace, s.name, s.uid, event.revision, len(event.payload)])
        self._hash.update(head + event.payload)

    @property
    def hex(self) -> str:
        return self._hash.hexdigest()


class Writer:
    """Writes a bundle. Use as a context manager; the file appears under its name once it is whole."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._partial = path.with_name(f".{path.name}.partial")
        self._digest = b""
        self._counts = {CHECKPOINT: 0, EVENTS: 0}
        self._shelf = Shelf()
        self._packer, self._kind = Packer(self._shelf), CHECKPOINT
        self._packing: deque[tuple[bytes, Future[bytes]]] = deque()

    def __enter__(self) -> Self:
        # Whoever may read a cluster's objects may do so from the log; a copy is its owner's alone, too.
        self._partial.touch(mode=0o600)
        self._file: IO[bytes] = self._partial.open("wb")
        self._pool = ThreadPoolExecutor(1, "bundle")
        prefix = _PREFIX.pack(MAGIC, VERSION)
        self._file.write(prefix)
        self._digest = sha256(prefix).digest()
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        self._pool.shutdown(cancel_futures=True)
        self._file.close()
        if kind is None:
            self._partial.rename(self._path)
        else:
            self._partial.unlink(missing_ok=True)

    def header(self, header: Header) -> None:
        self._write(HEADER, orjson.dumps(asdict(header)))

    def add(self, kind: bytes, events: Iterable[Event]) -> None:
        """Events of the checkpoint, then those after it."""
        for event in events:
            self.packer(kind).add(event)

    def packer(self, kind: bytes) -> Packer:
        """What takes the next event."""
        if kind != self._kind:
            self._pack()
            self._kind = kind
        elif self._packer.is_full:
            self._pack()
        return self._packer

    def _pack(self) -> None:
        if not self._packer.events:
            return
        self._counts[self._kind] += self._packer.events
        text, self._packer = self._packer.text(), Packer(self._shelf)
        self._packing.append((self._kind, self._pool.submit(packed, text)))
        while len(self._packing) > PACKING_MAX:
            self._land()

    def _land(self) -> None:
        kind, future = self._packing.popleft()
        self._write(kind, future.result())

    def seals(self, document: Any) -> None:
        """What proves the events."""
        self._settle()
        self._write(SEALS, orjson.dumps(document))

    def end(self, state: str) -> dict[str, Any]:
        """The last frame; answers what it says."""
        self._settle()
        said = {"checkpoint": self._counts[CHECKPOINT], "events": self._counts[EVENTS], "state": state}
        self._write(END, orjson.dumps(said))
        self._file.flush()
        return said

    def _settle(self) -> None:
        self._pack()
        while self._packing:
            self._land()

    def _write(self, kind: bytes, body: bytes) -> None:
        opening = _OPENING.pack(kind, len(body))
        self._digest = sha256(self._digest + opening + body).digest()
        self._file.write(opening)
        self._file.write(body)
        self._file.write(self._digest)


class Reader:
    """Reads a bundle from its beginning to its end, one frame in memory at a time."""

    def __init__(self, path: Path) -> None:
        self._path, self._at, self._number = path, 0, 0
        self._file = path.open("rb")
        prefix = self._file.read(_PREFIX.size)
        if len(prefix) < _PREFIX.size and MAGIC.startswith(prefix[:8]) and prefix:
            raise self._cut()
        if prefix[:8] != MAGIC:
            raise BundleError(f"{path} is no ksql bundle")
        (_, version) = _PREFIX.unpack(prefix)
        if version > VERSION:
            raise BundleError(
                f"{path} is a bundle of version {version}: this ksql reads versions up to {VERSION}, use a newer one"
            )
        self._version, self._shelf = version, Shelf()
        if version < 1:
            raise self._damaged("there has never been a bundle of version 0")
        self._digest, self._at = sha256(prefix).digest(), _PREFIX.size
        self.end: dict[str, Any] = {}
        kind, body = self._frame()
        self.header: Header = self._understood(lambda: _header(body)) if kind == HEADER else self._out_of_place()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._file.close()

    def frames(self) -> Iterator[tuple[bytes, bytes]]:
        """Kind and body of each frame after the header; ends with the last, whose words are then in `end`."""
        order = CHECKPOINT + EVENTS + SEALS + END
        reached = 0
        while True:
            kind, body = self._frame()
            place = order.find(kind)
            if place < reached:
                self._out_of_place()
            reached = place
            if kind == END:
                self.end = self._understood(partial(_end, body))
                if self._file.read(1):
                    raise BundleError(f"{self._path} goes on after its end, at byte {self._at}")
                return
            yield kind, body

    def events(self, body: bytes) -> list[Event]:
        """The events of a `C` or `E` frame; to be asked for in the frames' order."""
        unpack = unpacked_whole if self._version == 1 else partial(unpacked, shelf=self._shelf)
        found: list[Event] = self._understood(lambda: list(unpack(body)))
        return found

    def seal(self, body: bytes) -> Any:
        """What an `S` frame says."""
        return self._understood(lambda: orjson.loads(body))

    def _frame(self) -> tuple[bytes, bytes]:
        opening = self._file.read(_OPENING.size)
        if len(opening) < _OPENING.size:
            raise self._cut()
        kind, length = _OPENING.unpack(opening)
        if kind not in _KINDS or length > FRAME_BYTES_MAX:
            raise self._damaged()
        body, digest = self._file.read(length), self._file.read(_DIGEST_BYTES)
        if len(digest) < _DIGEST_BYTES:
            # A length that was changed looks like a file that was cut.
            raise self._cut()
        self._digest = sha256(self._digest + opening + body).digest()
        if digest != self._digest:
            raise self._damaged()
        self._number += 1
        self._at += _OPENING.size + length + _DIGEST_BYTES
        return kind, body

    def _understood(self, read: Callable[[], Any]) -> Any:
        """What a whole frame says; one that says nonsense was written so, by whomever."""
        try:
            return read()
        except (zstandard.ZstdError, ValueError, KeyError, TypeError, IndexError, struct.error, OverflowError) as error:
            raise self._damaged(f"its frame {self._number} cannot be understood: {error}") from error

    def _out_of_place(self) -> Any:
        raise self._damaged(f"its frame {self._number} is out of place")

    def _cut(self) -> BundleError:
        return BundleError(f"{self._path} is cut off, or damaged: the frame at byte {self._at} has no end")

    def _damaged(self, why: str = "") -> BundleError:
        told = why or f"the frame at byte {self._at} is not what was written"
        return BundleError(f"{self._path} is damaged: {told}")


def _header(body: bytes) -> Header:
    said = orjson.loads(body)
    known = {field.name for field in fields(Header)}
    found = Header(**{key: value for key, value in said.items() if key in known})
    numbers = (found.first, found.last, found.since, found.until)
    if not all(isinstance(number, int) and number >= 0 for number in numbers) or found.first > found.last:
        raise ValueError("its range is none")
    return found


def _end(body: bytes) -> dict[str, Any]:
    said = orjson.loads(body)
    if not isinstance(said["state"], str) or not all(isinstance(said[key], int) for key in ("checkpoint", "events")):
        raise ValueError("it does not say how many events there are")
    return dict(said)

