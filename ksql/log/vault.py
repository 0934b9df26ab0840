"""The vault: payloads of chosen kinds are encrypted, each object's under a key of its own.

Whoever reads the disk, the database or a backup of it, sees who changed what and when, and not what was in it. An
object's key is drawn when its first payload is written and lies in `object_keys`, wrapped by a key that is itself
wrapped by a root elsewhere (`roots.py`): the way of a write never leads beyond memory. Destroying an object's key
makes all of its past unreadable at once, however many events, pages, archives and replicas hold it.

What is encrypted is a fragment (`pages.py`), after compression, with AES-GCM; stream, revision and base are
authenticated along, so that no fragment can stand in another's place. The seals stand on commitments to plain
payloads (`leaves.py`); for these the salt follows from the object's key. Without the key nobody can try out what a
payload might have been, and with the key gone the commitment alone still proves that it was there.
"""

import struct
import threading
from collections.abc import Callable, Iterable, Mapping, Sequence
from hashlib import blake2b
from typing import Final, Self

import sqlalchemy as sa
from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from ksql.base.clock import secret_bytes
from ksql.log.codec import PayloadError
from ksql.log.event import Change
from ksql.log.leaves import SALT_BYTES
from ksql.log.objectkeys import Erasure, KeyRow, erasures_of, keys_of, wrapping_keys
from ksql.log.roots import KEY_BYTES, NONCE_BYTES, Root, RootError
from ksql.log.transaction import Transaction

# Objects whose keys stay unwrapped in memory: half a kilobyte each.
KEYS_KEPT_MAX: Final = 20_000

# Others may put in one of theirs at the same moment, once each.
_TRIES = 8
_PLACE = struct.Struct(">QQ")

Choice = Callable[[str], Root | None]


class ObjectKey:
    """One object's key, and what follows from it. `row` is set until the database has it."""

    __slots__ = ("_cipher", "_salting", "row", "since")

    def __init__(self, secret: bytes, since: int, row: KeyRow | None = None) -> None:
        # One key for each use: what encrypts says nothing about what salts.
        self._cipher = AESGCM(blake2b(key=secret, person=b"payloads", digest_size=KEY_BYTES).digest())
        self._salting = blake2b(key=secret, person=b"commitments", digest_size=KEY_BYTES).digest()
        self.since, self.row = since, row

    def hide(self, stream: int, revision: int, opening: bytes, text: bytes) -> bytes:
        """The text encrypted; `opening` is what stands before it on the page."""
        nonce = secret_bytes(NONCE_BYTES)
        return nonce + self._cipher.encrypt(nonce, text, _PLACE.pack(stream, revision) + opening)

    def reveal(self, stream: int, revision: int, opening: bytes, data: bytes) -> bytes:
        """The text of encrypted bytes; `PayloadError` when they are not those that were written there."""
        try:
            place = _PLACE.pack(stream, revision) + opening
            return self._cipher.decrypt(data[:NONCE_BYTES], data[NONCE_BYTES:], place)
        except (InvalidTag, ValueError):
            raise PayloadError("its bytes are not those that its object's key encrypted") from None

    def salt(self, revision: int) -> bytes:
        """What is hashed before the payload of an event."""
        return blake2b(revision.to_bytes(8), key=self._salting, digest_size=SALT_BYTES).digest()


class Keys:
    """What is known of the streams of one reading: their keys, or that they were erased."""

    def __init__(self, keys: dict[int, tuple[ObjectKey, ...]], erased: dict[int, Erasure]) -> None:
        self._keys, self.erased = keys, erased

    def of(self, stream: int, revision: int) -> ObjectKey | None:
        """The key of an event; None when its stream was erased."""
        for key in reversed(self._keys.get(stream, ())):
            if key.since <= revision:
                return key
        if stream in self.erased:
            return None
        raise PayloadError(f"it is encrypted, and the key of its stream {stream} has no row")


class Vault:
    """Encrypts what `choose` names a root for; decrypts whatever its roots can unwrap. Shared by all threads."""

    def __init__(self, roots: Sequence[Root], choose: Choice, writing: Sequence[Root] | None = None) -> None:
        """`writing` are the roots that `choose` may name: the first of all without other words."""
        self._roots, self._choose = tuple(roots), choose
        self._writing = self._roots[:1] if writing is None else tuple(writing)
        self._chosen: dict[str, Root | None] = {}
        self._wrapping: dict[int, bytes] = {}
        self._wrappers: dict[int, AESGCM] = {}
        self._current: dict[str, int] = {}  # the wrapping key in use, by its root
        self._keys: dict[int, tuple[ObjectKey, ...]] = {}
        self._erased: dict[int, Erasure] = {}
        # What one thread reads while another forgets must not be kept.
        self._lock, self._forgotten = threading.Lock(), 0

    # --- wrapping keys

    @classmethod
    def of(cls, wrapping: Mapping[int, bytes]) -> Self:
        """A vault that only reads, of wrapping keys that another has unwrapped."""
        made = cls((), lambda _: None)
        made._wrapping = dict(wrapping)
        return made

    def wrapping(self, connection: sa.Connection) -> Mapping[int, bytes]:
        """All wrapping keys."""
        for number in connection.execute(sa.select(wrapping_keys.c.id)).scalars().all():
            self._wrapper(connection, number)
        return self._wrapping

    def open(self, connection: sa.Connection, time: int) -> None:
        """Find the wrapping keys in use, and make those that are missing. The caller commits."""
        for label in connection.execute(sa.select(wrapping_keys.c.root)).scalars():
            # A log that cannot be read should say so at its start, not at somebody's question.
            self._root_of(label)
        self.use(connection, self.labels(), time)

    def labels(self) -> Mapping[str, str]:
        """What each root that encrypts names its key now, by the root's name. May ask across a wire."""
        return {root.name: root.current() for root in self._writing}

    def use(self, connection: sa.Connection, labels: Mapping[str, str], time: int) -> None:
        """From now on wrap under these; the caller commits."""
        known = {row.root: row.id for row in connection.execute(sa.select(wrapping_keys).order_by(wrapping_keys.c.id))}
        current: dict[str, int] = {}
        for root in self._writing:
            label = labels.get(root.name)
            if label is None:
                continue
            if label not in known:
                known[label] = self._make(connection, root, label, time)
            current[root.name] = known[label]
        self._current = current

    @property
    def in_use(self) -> list[int]:
        """The wrapping keys under which keys are wrapped now."""
        return list(self._current.values())

    def wrapping_for(self, resource: str) -> int | None:
        """The wrapping key for an object of this resource."""
        # Of kinds that are encrypted no more the past still is.
        root = self.root_for(resource) or next(iter(self._writing), None)
        return self._current.get(root.name) if root is not None else None

    def replace(self, other: "Vault") -> None:
        """Another configuration counts from now on."""
        with self._lock:
            self._roots, self._choose, self._writing = other._roots, other._choose, other._writing
            self._chosen = {}

    def _make(self, connection: sa.Connection, root: Root, label: str, time: int) -> int:
        """A wrapping key of a root's present key, which has none yet; its number."""
        wrapped = root.wrap(secret_bytes(KEY_BYTES))
        ours = sa.select(wrapping_keys.c.id).where(wrapping_keys.c.root == label).order_by(wrapping_keys.c.id)
        for _ in range(_TRIES):
            newest = connection.execute(sa.select(sa.func.max(wrapping_keys.c.id))).scalar_one() or 0
            # Two servers may start on one log: the second takes what the first has put there.
            connection.execute(
                sa.text(
                    "INSERT INTO wrapping_keys (id, time, root, wrapped) VALUES (:id, :time, :root, :wrapped)"
                    " ON CONFLICT (id) DO NOTHING"
                ),
                {"id": newest + 1, "time": time, "root": label, "wrapped": wrapped},
            )
            found = connection.execute(ours).scalars().first()
            if found is not None:
                return int(found)
        raise RootError(f"no wrapping key under {label!r} could be put into the log: others take its place")

    def _root_of(self, label: str) -> Root:
        for root in self._roots:
            if label == root.name or label.startswith(f"{root.name}:"):
                return root
        raise RootError(f"the log has payloads encrypted under {label!r}, and no key of that name was given")

    def _wrapper(self, connection: sa.Connection, number: int) -> AESGCM:
        """A wrapping key; its root is asked once."""
        known = self._wrapping.get(number)
        if known is None:
            row = connection.execute(sa.select(wrapping_keys).where(wrapping_keys.c.id == number)).first()
            if row is None:
                raise PayloadError(f"wrapping key {number} has no row")
            known = self._wrapping[number] = self._root_of(row.root).unwrap(bytes(row.wrapped))
        cipher = self._wrappers.get(number)
        if cipher is None:
            cipher = self._wrappers[number] = AESGCM(known)
        return cipher

    def wrapped(self, connection: sa.Connection, number: int, stream: int, since: int, secret: bytes) -> KeyRow:
        """A row for an object's key, wrapped by a wrapping key."""
        nonce = secret_bytes(NONCE_BYTES)
        data = self._wrapper(connection, number).encrypt(nonce, secret, _PLACE.pack(stream, since))
        return KeyRow(stream, since, number, nonce + data)

    def unwrapped(self, connection: sa.Connection, row: KeyRow) -> bytes:
        """The key in a row."""
        try:
            place = _PLACE.pack(row.stream, row.since)
            cipher = self._wrapper(connection, row.wrapping)
            return cipher.decrypt(row.wrapped[:NONCE_BYTES], row.wrapped[NONCE_BYTES:], place)
        except (InvalidTag, ValueError):
            raise PayloadError(f"the key of stream {row.stream} is not the one that was wrapped") from None

    # --- writing

    def root_for(self, resource: str) -> Root | None:
        """Under which root new payloads of a resource are encrypted; None: they are not."""
        try:
            return self._chosen[resource]
        except KeyError:
            found = self._chosen[resource] = self._choose(resource)
            return found

    def hides(self, transaction: Transaction) -> bool:
        """Whether any of its payloads are to be encrypted."""
        return any(self.root_for(draft.stream.resource) for draft in transaction.drafts if not draft.transient)

    def prepare(self, connection: Callable[[], sa.Connection], transaction: Transaction) -> None:
        """Find or draw the keys of a transaction's events, before it begins."""
        chosen, hidden = self._chosen, transaction.hidden
        for index, draft in enumerate(transaction.drafts):
            resource = draft.stream.resource
            root = chosen[resource] if resource in chosen else self.root_for(resource)
            if root is None or draft.transient:
                continue
            revision, stream = transaction.rows[index][:2]
            key = hidden.get(stream)
            if key is None and draft.change is not Change.ADDED:
                key = self._newest(connection, stream)
            if key is None:
                secret = secret_bytes(KEY_BYTES)
                row = self.wrapped(connection(), self._current[root.name], stream, revision, secret)
                key = ObjectKey(secret, revision, row)
                transaction.keyed.append(row)
            hidden[stream] = key
            transaction.salts[index] = key.salt(revision)

    def _newest(self, connection: Callable[[], sa.Connection], stream: int) -> ObjectKey | None:
        """The key under which a stream's next payload goes; None for one whose past is in plain text."""
        known = self._keys.get(stream)
        if known is None:
            known = self.keys(connection(), [stream])._keys.get(stream, ())
        return known[-1] if known else None

    def keep(self, transaction: Transaction) -> None:
        """It is committed: its keys are those that the database has."""
        for stream, key in transaction.hidden.items():
            if key.row is not None:
                key.row = None
                self._put(stream, (*self._keys.get(stream, ()), key), self._forgotten)

    # --- reading

    def keys(self, connection: sa.Connection, streams: Iterable[int]) -> Keys:
        """The keys of these streams, from memory or the database."""
        found: dict[int, tuple[ObjectKey, ...]] = {}
        erased: dict[int, Erasure] = {}
        missing, forgotten = [], self._forgotten
        for stream in set(streams):
            if (known := self._keys.get(stream)) is not None:
                found[stream] = known
            elif (gone := self._erased.get(stream)) is not None:
                erased[stream] = gone
            else:
                missing.append(stream)
        if missing:
            read: dict[int, list[ObjectKey]] = {}
            for row in sorted(keys_of(connection, missing), key=lambda row: row.since):
                read.setdefault(row.stream, []).append(ObjectKey(self.unwrapped(connection, row), row.since))
            for stream, keys in read.items():
                found[stream] = tuple(keys)
                self._put(stream, found[stream], forgotten)
            if left := [stream for stream in missing if stream not in read]:
                erased |= erasures_of(connection, left)
                self._erased |= {stream: erased[stream] for stream in left if stream in erased}
        return Keys(found, erased)

    def _put(self, stream: int, keys: tuple[ObjectKey, ...], forgotten: int) -> None:
        with self._lock:
            if forgotten != self._forgotten:
                return
            if len(self._keys) >= KEYS_KEPT_MAX:
                del self._keys[next(iter(self._keys))]
            self._keys[stream] = keys

    def forget(self, stream: int | None = None) -> None:
        """A stream's key was destroyed, here or by another server; None: any may have been."""
        with self._lock:
            self._forgotten += 1
            if stream is None:
                self._keys.clear()
            else:
                self._keys.pop(stream, None)
