"""The directory of keys: what is read from it and how it is written. Keys are for their owner alone (0600).

A file is replaced in one step, and one process at a time changes the directory; a crash between two files leaves
a pair that does not fit, which whoever looks next makes anew.
"""

import contextlib
import fcntl
import os
import stat
from collections.abc import Iterator
from pathlib import Path

from cryptography import x509

from ksql.auth.pki.certificates import Pair, fits, is_authority
from ksql.auth.pki.record import PkiError, Record, Source, decode

RECORD, LOCK, TOKEN, ACCOUNTS = "pki.json", ".lock", "admin.token", "sa.key"
# Whom clients trust as the API server, and whom both ends of the database's connection trust.
BUNDLE, DATABASE_BUNDLE = "ca.crt", "database-trust.crt"
# What an operator gives from the environment is named so.
VARIABLE = "env:"


def stem(authority: str, number: int) -> str:
    """The files of an authority's generation are called so."""
    return f"{authority}-ca" if number == 1 else f"{authority}-ca-{number}"


@contextlib.contextmanager
def locked(directory: Path) -> Iterator[None]:
    """Alone with the directory. One that cannot be written needs no lock: nobody can change it."""
    directory.mkdir(mode=0o700, parents=True, exist_ok=True)
    close(directory, 0o700)
    try:
        file = (directory / LOCK).open("ab")
    except OSError:
        yield
        return
    with file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


def read_record(directory: Path) -> Record | None:
    try:
        return decode((directory / RECORD).read_bytes())
    except FileNotFoundError:
        return None
    except PkiError as error:
        raise PkiError(f"{directory / RECORD}: {error}") from None


def read(directory: Path, name: str, *, keyless: bool = False) -> Pair | None:
    """The pair of that name when it is there and can be read; without its key where that may be missing."""
    certificate, key = directory / f"{name}.crt", directory / f"{name}.key"
    try:
        data = certificate.read_bytes()
        secret = b""
        with contextlib.suppress(FileNotFoundError):
            secret = _secret(key)
        pair = Pair(data, secret)
        _ = pair.leaf
        if not secret:
            return pair if keyless else None
        if fits(pair):
            return pair
        # An authority whose key does not fit is believed all the same, for what it signed.
        return Pair(data) if keyless else pair
    except (FileNotFoundError, ValueError, TypeError):
        return None


def _secret(path: Path) -> bytes:
    data = path.read_bytes()
    close(path)
    return data


def close(path: Path, mode: int = 0o600) -> None:
    """Let its owner alone read it. What is somebody else's, or on a disk that is only read, stays as it is."""
    if stat.S_IMODE(path.stat().st_mode) & 0o077:
        with contextlib.suppress(OSError):
            path.chmod(mode)


def read_authority(directory: Path, name: str) -> Pair | None:
    """The same of an authority, with its key or without."""
    pair = read(directory, name, keyless=True)
    try:
        return pair if pair is not None and is_authority(pair.leaf) else None
    except (ValueError, x509.ExtensionNotFound):
        return None


def given(name: str, source: Source) -> Pair:
    """What an operator gives; `PkiError` says what is wrong with it."""
    try:
        pair = Pair(_of(source.certificate), _of(source.key) if source.key else b"")
        _ = pair.leaf
    except (OSError, ValueError, TypeError) as error:
        raise PkiError(f"{name}: {source.certificate}: {error}") from None
    try:
        if pair.key and not fits(pair):
            raise PkiError(f"{name}: {source.key} is not the key of {source.certificate}")
    except (ValueError, TypeError) as error:
        raise PkiError(f"{name}: {source.key}: {error}") from None
    return pair


def _of(source: str) -> bytes:
    if not source.startswith(VARIABLE):
        return Path(source).read_bytes()
    variable = source.removeprefix(VARIABLE)
    if variable not in os.environ:
        raise ValueError(f"the environment has no {variable}")
    return os.environ[variable].encode()


def write(directory: Path, name: str, pair: Pair) -> Pair:
    """Keep a pair, the key first: a certificate without its key would stand in the way."""
    if pair.key:
        write_private(directory / f"{name}.key", pair.key)
    write_private(directory / f"{name}.crt", pair.certificate, mode=0o644)
    return pair


def write_if_other(path: Path, data: bytes, mode: int = 0o644) -> bool:
    """Whether it had to be written."""
    with contextlib.suppress(FileNotFoundError):
        if path.read_bytes() == data:
            return False
    write_private(path, data, mode)
    return True


def write_private(path: Path, data: bytes, mode: int = 0o600) -> None:
    """Replace a file in one step: readers find the old content or the new, never a part."""
    temporary = path.with_name(f".{path.name}.{os.getpid()}")
    temporary.unlink(missing_ok=True)
    descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode)
    try:
        with os.fdopen(descriptor, "wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(path)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise
