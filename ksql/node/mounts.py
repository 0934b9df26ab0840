"""What a container sees as one tree: a root of its own with volumes mounted in it.

A volume is a tree that the containers of a pod share; where it is mounted, all below belongs to it, from a
path of its own on (`subPath`). What is mounted for reading alone refuses every change, and so does a
root that the pod asked to be read-only.
"""

import posixpath
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime

from ksql.node.files import Files, Node


@dataclass(frozen=True, slots=True)
class Mount:
    """`inner` is the path in the volume that is seen at `path`; `kind` is what `df` would call it."""

    path: str
    files: Files
    inner: str = "/"
    is_read_only: bool = False
    kind: str = "ext4"


class Tree:
    """The files of one container; the methods are those of `Files`."""

    def __init__(self, root: Files, owner: tuple[int, int] = (0, 0)) -> None:
        self._root = Mount("/", root, kind="overlay")
        self._mounts: list[Mount] = []
        self._owner = owner

    def protect(self) -> None:
        """From now on the root refuses changes."""
        self._root = Mount("/", self._root.files, is_read_only=True, kind="overlay")

    def show(self, path: str, data: bytes, now: datetime) -> None:
        """Write a file of the system's own, whoever may change the root; not where a volume hides it."""
        if self.mount_at(path) is self._root:
            self._root.files.make_directory(posixpath.dirname(path), now, parents=True)
            self._root.files.write(path, data, now)

    def mount(self, mount: Mount, now: datetime) -> None:
        """Show a volume at a path; what leads there is made."""
        files, inner, _ = self._at(mount.path)
        above = posixpath.dirname(inner)
        files.make_directory(above, now, parents=True)
        if files.find(inner) is None:
            if (shown := mount.files.find(mount.inner)) is not None and not shown.is_directory:
                files.write(inner, b"", now)
            else:
                files.make_directory(inner, now)
        self._mounts.append(mount)
        # The innermost decides.
        self._mounts.sort(key=lambda one: -len(one.path))

    def mounted(self) -> list[str]:
        """Where volumes are."""
        return sorted(one.path for one in self._mounts)

    def mount_at(self, path: str) -> Mount:
        """What a path belongs to."""
        for one in self._mounts:
            if path == one.path or path.startswith(one.path.rstrip("/") + "/"):
                return one
        return self._root

    def find(self, path: str) -> Node | None:
        files, inner, _ = self._at(path)
        return files.find(inner)

    def node(self, path: str) -> Node:
        files, inner, _ = self._at(path)
        return files.node(inner)

    def read(self, path: str) -> bytes:
        files, inner, _ = self._at(path)
        return files.read(inner)

    def write(self, path: str, data: bytes, now: datetime, *, append: bool = False, mode: int = 0o644) -> None:
        files, inner = self._to_change(path)
        files.write(inner, data, now, append=append, mode=mode, owner=self._owner)

    def make_directory(self, path: str, now: datetime, *, parents: bool = False) -> None:
        files, inner = self._to_change(path)
        files.make_directory(inner, now, parents=parents)

    def remove(self, path: str) -> None:
        files, inner = self._to_change(path)
        if any(one.path == path or one.path.startswith(path.rstrip("/") + "/") for one in self._mounts):
            raise OSError("Device or resource busy")
        files.remove(inner)

    def children(self, path: str) -> list[str]:
        files, inner, _ = self._at(path)
        return files.children(inner)

    def below(self, path: str) -> Iterator[str]:
        """Every path below a directory, parents first."""
        for name in self.children(path):
            found = posixpath.join(path, name)
            yield found
            if self.node(found).is_directory:
                yield from self.below(found)

    def _to_change(self, path: str) -> tuple[Files, str]:
        files, inner, is_read_only = self._at(path)
        if is_read_only:
            raise OSError("Read-only file system")
        return files, inner

    def _at(self, path: str) -> tuple[Files, str, bool]:
        mount = self.mount_at(path)
        rest = path[len(mount.path.rstrip("/")) :]
        inner = "/" + posixpath.join(mount.inner, rest.lstrip("/")).strip("/") if rest else mount.inner
        return mount.files, inner, mount.is_read_only
