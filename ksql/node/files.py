"""The file system of one simulated container: names and bytes in memory, bounded.

Made when somebody first looks inside a container and gone with it. A path is absolute and clean; a
directory is an entry like a file. Errors are `OSError`s in the words that people know from a shell.
"""

import posixpath
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime

# What one container may keep: enough for `kubectl cp` of a build, small enough that a hundred pods of
# one process can be looked into at once.
FILES_BYTES_MAX = 64 * 1024 * 1024
FILES_MAX = 4096


@dataclass(slots=True)
class Node:
    """A file, or a directory when `data` is None."""

    data: bytes | None
    mode: int
    time: datetime
    owner: tuple[int, int] = (0, 0)  # user and group

    @property
    def is_directory(self) -> bool:
        return self.data is None


class Files:
    """A tree of files below /."""

    def __init__(self, now: datetime, mode: int = 0o755, owner: tuple[int, int] = (0, 0)) -> None:
        self._nodes: dict[str, Node] = {"/": Node(None, mode, now, owner)}
        self._bytes = 0

    def find(self, path: str) -> Node | None:
        return self._nodes.get(path)

    def node(self, path: str) -> Node:
        found = self._nodes.get(path)
        if found is None:
            raise FileNotFoundError("No such file or directory")
        return found

    def read(self, path: str) -> bytes:
        data = self.node(path).data
        if data is None:
            raise IsADirectoryError("Is a directory")
        return data

    def write(
        self, path: str, data: bytes, now: datetime, *, append: bool = False, mode: int = 0o644,
        owner: tuple[int, int] = (0, 0),
    ) -> None:  # fmt: skip
        """Make or replace a file; the directory that holds it must be there."""
        old = self._nodes.get(path)
        if old is not None and old.data is None:
            raise IsADirectoryError("Is a directory")
        self._parent(path)
        before = old.data if old is not None and old.data is not None else b""
        new = before + data if append else data
        if self._bytes - len(before) + len(new) > FILES_BYTES_MAX or len(self._nodes) >= FILES_MAX:
            raise OSError("No space left on device")
        self._bytes += len(new) - len(before)
        self._nodes[path] = Node(
            new, old.mode if old is not None else mode, now, old.owner if old is not None else owner
        )

    def make_directory(self, path: str, now: datetime, *, parents: bool = False) -> None:
        if path in self._nodes:
            if parents and self._nodes[path].is_directory:
                return
            raise FileExistsError("File exists")
        above = posixpath.dirname(path)
        if parents and above not in self._nodes:
            self.make_directory(above, now, parents=True)
        self._parent(path)
        if len(self._nodes) >= FILES_MAX:
            raise OSError("No space left on device")
        self._nodes[path] = Node(None, 0o755, now)

    def remove(self, path: str) -> None:
        """A file, or a directory with all that is in it."""
        self.node(path)
        for name in [path, *self.below(path)]:
            if name != "/":
                gone = self._nodes.pop(name)
                self._bytes -= len(gone.data or b"")

    def children(self, path: str) -> list[str]:
        """Names in a directory, sorted."""
        if not self.node(path).is_directory:
            raise NotADirectoryError("Not a directory")
        return sorted(posixpath.basename(name) for name in self._nodes if posixpath.dirname(name) == path != name)

    def below(self, path: str) -> Iterator[str]:
        """Every path below a directory, parents first."""
        prefix = path.rstrip("/") + "/"
        return iter(sorted(name for name in self._nodes if name.startswith(prefix) and name != "/"))

    def _parent(self, path: str) -> None:
        above = self._nodes.get(posixpath.dirname(path))
        if above is None:
            raise FileNotFoundError("No such file or directory")
        if not above.is_directory:
            raise NotADirectoryError("Not a directory")


def resolved(directory: str, path: str) -> str:
    """`path` as seen from `directory`, absolute and without dots."""
    found = posixpath.normpath(posixpath.join(directory, path))
    return "/" + found.lstrip("/")
