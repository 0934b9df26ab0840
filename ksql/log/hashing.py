"""Are the events of a sweep those that were sealed? Yes, or `Irregular`: `sealcheck.py` then says which is not.

Only hashing is left to do here: who signed the seals, and that each follows the one before, is looked at by whoever
hands them over.
"""

from collections.abc import Iterable, Mapping
from hashlib import sha256
from typing import NamedTuple

import orjson

from ksql.log import leaves
from ksql.log.queries import Rows
from ksql.log.registry import unpack
from ksql.log.sweep import Born, Chunk, Irregular, Name


class Sealed(NamedTuple):
    """What a seal says of its block."""

    last: int
    events: int
    root: str
    secret: bytes


class Hashing:
    """A sweep's watcher. The blocks are those of the stretch, in their order and without a gap between them; events
    after the last one are nobody's word yet."""

    def __init__(self, rows: Rows, blocks: Iterable[Sealed], names: Mapping[int, Name]) -> None:
        registry = rows.registry
        self._names, self._places = names, registry.place_by_id
        self._spelling = leaves.Spelling(registry.actor_by_id, registry.action_by_id)
        self._pieces: dict[int, leaves.Pieces] = {}
        self._blocks = iter(blocks)
        self._block = next(self._blocks, None)
        self._salts = self._drawn()
        self._leaves: list[bytes] = []
        self._correlation: bytes | None = None
        self._spelled = b'""'

    def _drawn(self) -> list[bytes]:
        return leaves.salts(self._block.secret, self._block.events) if self._block is not None else []

    def born(self, streams: Iterable[Born]) -> None:
        """Nothing: most streams' pieces are made when they are needed."""

    def take(self, chunk: Chunk) -> None:
        header, pieces, made, salts = self._spelling.header, self._pieces, self._leaves, self._salts
        for row, time, image in zip(chunk.rows, chunk.times, chunk.images, strict=True):
            revision, stream, _, action, _, cause, actor, correlation = row
            while self._block is not None and revision > self._block.last:
                self._close()
                made, salts = self._leaves, self._salts
            if self._block is None:
                return
            about = pieces.get(stream) or self._about(stream)
            if correlation != self._correlation:
                self._correlation = correlation
                # A UUID's text needs no escaping, nor has a correlation that is none a text here.
                self._spelled = b'"%b"' % unpack(correlation).encode() if correlation else b'""'
            told = orjson.dumps(chunk.spelled[revision]) if revision in chunk.spelled else self._spelled
            own = chunk.hidden.get(revision)
            if own is None:
                committed = sha256(salts[len(made)] + image).digest()
            else:
                committed = own.committed or sha256((own.salt or b"") + image).digest()
            made.append(leaves.leaf(header(revision, time, about, action, actor, cause, told, committed)))
            if action < 0:
                del pieces[stream]

    def _about(self, stream: int) -> leaves.Pieces:
        name = self._names[stream]
        place = self._places[name.place]
        found = self._pieces[stream] = self._spelling.stream(place.resource, place.namespace, name.name, name.uid)
        return found

    def _close(self) -> None:
        """A block is complete: it must be what was sealed."""
        block = self._block
        assert block is not None
        if len(self._leaves) != block.events or leaves.root(self._leaves).hex() != block.root:
            raise Irregular
        self._block, self._leaves = next(self._blocks, None), []
        self._salts = self._drawn()

    def end(self) -> None:
        """The last block may end where the stretch does."""
        while self._block is not None:
            self._close()
