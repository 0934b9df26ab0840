"""The keys that sign seals: one in use, and the public halves of all there ever were. Files, never rows.

`seal.key` (mode 0600) is the Ed25519 key in use. `seal-keys.json` beside it lists public keys, each one
after the first endorsed by the one before it: whoever trusts one of them trusts those that follow. Whoever
checks seals elsewhere takes that list along; nothing secret is in it.
"""

import os
from dataclasses import dataclass
from hashlib import sha256
from itertools import pairwise
from pathlib import Path
from typing import Any

import orjson
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

RING_FILE = "seal-keys.json"
FORMAT = "ksql-seal-keys/1"
# Hexadecimal digits of a key's name: enough that no two keys of anybody share one.
ID_DIGITS = 16
_ENDORSING = b"ksql-seal-key "


class KeyFileError(ValueError):
    """The files do not hold what they should; the message names file and fault."""


@dataclass(frozen=True, slots=True)
class PublicKey:
    """One entry of the list. `endorsement` is the signature of the key before it, empty for the first."""

    raw: bytes
    since: int  # microseconds
    endorsement: bytes = b""

    @property
    def id(self) -> str:
        return sha256(self.raw).hexdigest()[:ID_DIGITS]

    def signed(self, message: bytes, signature: bytes) -> bool:
        """Whether this key signed the message."""
        try:
            Ed25519PublicKey.from_public_bytes(self.raw).verify(signature, message)
        except InvalidSignature:
            return False
        return True

    def document(self) -> dict[str, Any]:
        return {
            "id": self.id, "key": self.raw.hex(), "since": self.since, "endorsement": self.endorsement.hex()
        }  # fmt: skip


@dataclass(frozen=True, slots=True)
class Ring:
    """All public keys, oldest first."""

    keys: tuple[PublicKey, ...]

    def get(self, id: str) -> PublicKey | None:
        return next((key for key in self.keys if key.id == id), None)

    def encode(self) -> bytes:
        document = {"format": FORMAT, "keys": [key.document() for key in self.keys]}
        return orjson.dumps(document, option=orjson.OPT_INDENT_2) + b"\n"


class SigningKey:
    """The key in use, and the list that it stands in."""

    def __init__(self, key: Ed25519PrivateKey, ring: Ring) -> None:
        self._key, self.ring = key, ring
        self.id = ring.keys[-1].id

    def sign(self, message: bytes) -> bytes:
        return self._key.sign(message)


def establish(path: Path, time: int) -> SigningKey:
    """The key at `path` with the list beside it; both are made when there are none."""
    ring_path = path.with_name(RING_FILE)
    if not path.exists():
        if ring_path.exists():
            raise KeyFileError(f"{ring_path} lists keys, but {path} is gone: bring it back, or move the list away")
        path.parent.mkdir(parents=True, exist_ok=True)
        key = Ed25519PrivateKey.generate()
        ring = Ring((PublicKey(_raw(key), time),))
        _write(path, _pem(key), 0o600)
        _write(ring_path, ring.encode(), 0o644)
        return SigningKey(key, ring)
    key = _load(path)
    if not ring_path.exists():
        _write(ring_path, Ring((PublicKey(_raw(key), time),)).encode(), 0o644)
    ring = load_ring(ring_path)
    if len(ring.keys) > 1 and ring.keys[-2].raw == _raw(key):
        # A rotation that ended between its two files: the newest key was never used.
        ring = Ring(ring.keys[:-1])
        _write(ring_path, ring.encode(), 0o644)
    if ring.keys[-1].raw != _raw(key):
        raise KeyFileError(f"{path} is not the newest key of {ring_path}")
    return SigningKey(key, ring)


def rotate(path: Path, time: int) -> SigningKey:
    """A new key in the place of the one at `path`, endorsed by it; the old one is gone after that."""
    old = establish(path, time)
    key = Ed25519PrivateKey.generate()
    raw = _raw(key)
    made = PublicKey(raw, time, old.sign(_ENDORSING + raw))
    ring = Ring((*old.ring.keys, made))
    # The list first: a key that it does not name must never sign.
    _write(path.with_name(RING_FILE), ring.encode(), 0o644)
    _write(path, _pem(key), 0o600)
    return SigningKey(key, ring)


def load_ring(path: Path) -> Ring:
    """The public keys in a file; `KeyFileError` when it holds none, or one that nobody endorsed."""
    try:
        document = orjson.loads(path.read_bytes())
        assert document["format"] == FORMAT
        keys = tuple(
            PublicKey(bytes.fromhex(entry["key"]), int(entry["since"]), bytes.fromhex(entry["endorsement"]))
            for entry in document["keys"]
        )
        assert keys and all(len(key.raw) == 32 for key in keys)
    except FileNotFoundError:
        raise KeyFileError(f"no seal keys at {path}") from None
    except (AssertionError, ValueError, TypeError, LookupError):
        raise KeyFileError(f"{path} is no list of seal keys") from None
    for before, key in pairwise(keys):
        if not before.signed(_ENDORSING + key.raw, key.endorsement):
            raise KeyFileError(f"{path}: key {key.id} is not endorsed by {before.id}, the one before it")
    return Ring(keys)


def _load(path: Path) -> Ed25519PrivateKey:
    try:
        key = serialization.load_pem_private_key(path.read_bytes(), None)
    except (ValueError, TypeError) as error:
        raise KeyFileError(f"{path} holds no key: {error}") from None
    if not isinstance(key, Ed25519PrivateKey):
        raise KeyFileError(f"{path} holds a key of another kind than Ed25519")
    return key


def _raw(key: Ed25519PrivateKey) -> bytes:
    return key.public_key().public_bytes_raw()


def _pem(key: Ed25519PrivateKey) -> bytes:
    return key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )


def _write(path: Path, data: bytes, mode: int) -> None:
    """The whole file or the old one, never a part of it."""
    beside = path.with_name(path.name + ".new")
    beside.unlink(missing_ok=True)
    with os.fdopen(os.open(beside, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode), "wb") as file:
        file.write(data)
        file.flush()
        os.fsync(file.fileno())
    beside.replace(path)
