"""The roots of encryption: what wraps the keys that wrap the objects' keys, and lies outside of the database.

A *key file* is the root of a cluster that was not told otherwise: made at first start, mode 0600, the newest key
first; older ones only unwrap. Kubernetes' EncryptionConfiguration names others (`encryption.py`). A root is asked
when a server starts and when keys are rotated, never on the way of a write, so that one across a wire (a KMS)
costs the writes nothing.
"""

import base64
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import orjson
from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from ksql.base.clock import secret_bytes

FORMAT = "ksql-encryption-keys/1"
KEY_BYTES = 32
NONCE_BYTES = 12


class RootError(RuntimeError):
    """A root is missing, wrong, or does not answer; the message says which and what to do."""


class Root(Protocol):
    """Wraps and unwraps a key. `name` is how wrapping keys remember it."""

    @property
    def name(self) -> str: ...

    def wrap(self, key: bytes) -> bytes: ...

    def unwrap(self, wrapped: bytes) -> bytes: ...

    def current(self) -> str:
        """What names the key that the root uses now: another answer than before asks for rotation."""


@dataclass(frozen=True, slots=True)
class Local:
    """A root whose key is at hand: AES-GCM with the root's name as what must be the same."""

    name: str
    secret: bytes

    def wrap(self, key: bytes) -> bytes:
        nonce = secret_bytes(NONCE_BYTES)
        return nonce + AESGCM(self.secret).encrypt(nonce, key, self.name.encode())

    def unwrap(self, wrapped: bytes) -> bytes:
        try:
            return AESGCM(self.secret).decrypt(wrapped[:NONCE_BYTES], wrapped[NONCE_BYTES:], self.name.encode())
        except (InvalidTag, ValueError):
            raise RootError(f"the encryption key {self.name!r} is not the one that it was") from None

    def current(self) -> str:
        return self.name


def establish(path: Path) -> list[Local]:
    """The roots of a key file, newest first; with one key of its own when there is no file yet."""
    if not path.exists():
        return rotate(path)
    return read(path)


def read(path: Path) -> list[Local]:
    """The roots of a key file; `RootError` when it is none."""
    try:
        document = orjson.loads(path.read_bytes())
        if document["format"] != FORMAT:
            raise RootError(f"{path}: it is of a format that this version does not know")
        found = [Local(one["name"], base64.b64decode(one["secret"], validate=True)) for one in document["keys"]]
    except (OSError, LookupError, TypeError, ValueError) as error:
        raise RootError(f"{path}: it is no file of encryption keys: {error}") from None
    if not found or any(len(one.secret) != KEY_BYTES for one in found):
        raise RootError(f"{path}: it is no file of encryption keys: a key has {KEY_BYTES} bytes")
    return found


def rotate(path: Path) -> list[Local]:
    """Put a new key before the others of a file."""
    known = read(path) if path.exists() else []
    # Never a name that was used before, whichever keys have been taken out since.
    name = f"file:{secret_bytes(6).hex()}"
    return _write(path, [Local(name, secret_bytes(KEY_BYTES)), *known])


def forget(path: Path, names: set[str]) -> list[Local]:
    """Take keys out of a file, for ever. The first, which is in use, stays."""
    first, *rest = read(path)
    return _write(path, [first, *[one for one in rest if one.name not in names]])


def _write(path: Path, keys: list[Local]) -> list[Local]:
    shown = [{"name": one.name, "secret": base64.b64encode(one.secret).decode()} for one in keys]
    path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    beside = path.with_name(path.name + ".new")
    descriptor = os.open(beside, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with os.fdopen(descriptor, "wb") as file:
        file.write(orjson.dumps({"format": FORMAT, "keys": shown}, option=orjson.OPT_INDENT_2) + b"\n")
        file.flush()
        os.fsync(file.fileno())
    beside.replace(path)
    folder = os.open(path.parent, os.O_RDONLY)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)
    return keys
