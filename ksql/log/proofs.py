"""Proofs: small files that show one event to have been in a sealed log, to anybody who has the public key.

    {"format": "ksql-proof/1", "header": {…}, "salt": "…", "payload": "…", "index": 3, "path": ["…"],
     "statement": "…", "signature": "…", "key": {"id": "…", "key": "…"}}

`header` is what the leaf hashes and `payload` what the header commits to (`leaves.py`); a redacted proof
leaves payload and salt out and proves who, what and when alone. `statement` is the seal's, as signed, and
`path` leads from the leaf to its root. The key in the file says which one to look for: a proof is worth as
much as the key it is checked with, so that comes from elsewhere.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import orjson
import sqlalchemy as sa

from ksql.base.clock import to_microseconds
from ksql.log import leaves
from ksql.log.archives import Archives, leaves_of
from ksql.log.evidence import seals
from ksql.log.queries import Rows
from ksql.log.sealcheck import Ledger
from ksql.log.sealer import seal_of
from ksql.log.sealkeys import KeyFileError, PublicKey, Ring
from ksql.log.seals import Seal, Statement, statement_of

FORMAT = "ksql-proof/1"
# An object has three megabytes at most, escaped twice that; beyond it a file is no proof.
BYTES_MAX = 16 * 1024 * 1024


class ProofError(ValueError):
    """It proves nothing; the message says why."""


class NoProofError(ProofError):
    """There is no such proof to be made."""


@dataclass(frozen=True, slots=True)
class Proved:
    """What a proof shows."""

    header: dict[str, Any]
    payload: bytes | None  # None: redacted
    statement: Statement


def make(
    rows: Rows, revision: int, ring: Ring, *, redacted: bool | None = None, archives: Archives | None = None
) -> dict[str, Any]:  # fmt: skip
    """The proof of one event. Secrets are redacted unless `redacted` is False. Blocking."""
    found = rows.connection.execute(sa.select(seals).where(seals.c.last >= revision).order_by(seals.c.last).limit(1))
    row = found.first()
    if row is None:
        head = rows.head().revision
        if revision > head:
            raise NoProofError(f"there is no event r{revision}: the log ends at r{head}")
        raise NoProofError(f"r{revision} is not sealed yet: try again in half a minute")
    seal = seal_of(row)
    said = seal.statement
    if revision not in seal.order:
        raise NoProofError(f"there is no event r{revision}: heartbeats are not kept, and not sealed")
    hashes, header, found_there = _block(rows, seal, revision, archives or Archives(()))
    if leaves.root(hashes).hex() != said.root:
        raise NoProofError(f"the events of seal {said.number} are not as they were sealed: run ksql log verify")
    index = seal.order.index(revision)
    key = ring.get(said.key)
    if key is None:
        raise NoProofError(f"seal {said.number} is signed by key {said.key}, which is not among yours")
    document = leaves.described(header)
    hides = document["resource"] == "secrets" if redacted is None else redacted
    # What was erased cannot be shown; that it was there still can.
    shown = {}
    if not hides and found_there is not None:
        shown = {"salt": found_there[0].hex(), "payload": found_there[1].decode()}
    return {
        "format": FORMAT, "header": document, **shown, "index": index,
        "path": [one.hex() for one in leaves.path(hashes, index)],
        "statement": said.encode().decode(), "signature": seal.signature.hex(),
        "key": {"id": key.id, "key": key.raw.hex()},
    }  # fmt: skip


def _block(
    rows: Rows, seal: Seal, revision: int, archives: Archives
) -> tuple[list[bytes], bytes, tuple[bytes, bytes] | None]:
    """The leaves of a block, wherever they lie, and of one of its events the header, and salt and payload."""
    said, order = seal.statement, seal.order
    hashed = Ledger(rows).leaves(said.first, said.last, seal.secret, order)
    known = dict(zip(hashed.revisions, hashed.leaves, strict=True))
    if len(known) < len(order):
        for archive in archives.archives:
            known = leaves_of(archive) | known
        if any(one not in known for one in order):
            raise NoProofError(f"r{revision} lies in a range of which events were dropped: nothing proves the others")
    hashes = [known[one] for one in order]
    if revision in hashed.revisions:
        at = hashed.revisions.index(revision)
        return hashes, hashed.headers[at], hashed.shown[at]
    event = archives.events([revision]).get(revision)
    if event is None:
        raise NoProofError(f"r{revision} was left out when its range was thinned")
    salt = leaves.salts(seal.secret, said.count)[order.index(revision)]
    shown = None if event.is_erased else (event.salt or salt, event.payload)
    return hashes, leaves.Headers().of(event, to_microseconds(event.time), salt), shown


def check(data: bytes, ring: Ring) -> Proved:
    """What a proof shows to whoever trusts these keys; `ProofError` when it shows nothing."""
    try:
        proof = orjson.loads(data)
        assert isinstance(proof, dict)
        form = proof["format"]
    except (AssertionError, LookupError, ValueError):
        raise ProofError("it is no proof: no JSON with a format") from None
    if form != FORMAT:
        raise ProofError(f"it is of format {str(form)[:40]!r}, and this version reads {FORMAT}")
    try:
        header, path = proof["header"], [bytes.fromhex(one) for one in proof["path"]]
        said, signature = statement_of(proof["statement"].encode()), bytes.fromhex(proof["signature"])
        index, committed = int(proof["index"]), bytes.fromhex(header["payload"])
        payload = None if "payload" not in proof else proof["payload"].encode()
        salt = bytes.fromhex(proof["salt"]) if payload is not None else b""
        revision = int(header["revision"])
    except (AttributeError, LookupError, TypeError, ValueError) as error:
        raise ProofError(f"it is damaged: {error}") from None
    key = ring.get(said.key)
    if key is None:
        raise ProofError(f"it is signed by key {said.key}, which is not among yours")
    if not key.signed(said.encode(), signature):
        raise ProofError("its seal's signature is not good")
    if payload is not None and leaves.commitment(salt, payload) != committed:
        raise ProofError("its payload is not what the event says it is")
    leaf = leaves.leaf(orjson.dumps(header, option=orjson.OPT_SORT_KEYS))
    root = leaves.root_by(leaf, index, said.count, path)
    if root is None or root.hex() != said.root:
        raise ProofError("its event is not in the sealed block: event, place or path were changed")
    if not said.first <= revision <= said.last:
        raise ProofError("its event lies outside of the sealed block")
    return Proved(header, payload, said)


def read(path: Path) -> bytes:
    """A proof's file; `ProofError` when it cannot be one."""
    try:
        if path.stat().st_size > BYTES_MAX:
            raise ProofError(f"{path} is too large for a proof")
        return path.read_bytes()
    except OSError as error:
        raise ProofError(f"cannot read {path}: {error.strerror}") from None


def ring_of(text: str) -> Ring:
    """The keys that 64 hexadecimal digits (one public key) mean."""
    try:
        raw = bytes.fromhex(text)
    except ValueError:
        raw = b""
    if len(raw) != 32:
        raise KeyFileError(f"{text[:80]!r} is no public key: 64 hexadecimal digits")
    return Ring((PublicKey(raw, 0),))
