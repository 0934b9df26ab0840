"""Archives in simulated containers: both ends of `kubectl cp`."""

import io
import posixpath
import tarfile

from ksql.node.files import FILES_BYTES_MAX
from ksql.node.shell import Run

# Output is written in pieces of what a pipe takes at once.
PIECE_BYTES = 32 * 1024
_ROOT = ("root", "root")


async def pieces(run: Run, data: bytes) -> None:
    for start in range(0, len(data), PIECE_BYTES):
        await run.write(data[start : start + PIECE_BYTES])


async def tar(run: Run, arguments: list[str]) -> int:
    """`tar cf - PATH…` and `tar xf - [-C DIR]`: both ends of `kubectl cp`, through pipes alone."""
    flags, names, directory, rest = "", [], run.place.directory, list(arguments)
    while rest:
        argument = rest.pop(0)
        if argument == "-C" and rest:
            directory = run.place.path(rest.pop(0))
        elif argument.startswith("--"):
            continue
        elif not flags or (argument.startswith("-") and argument != "-"):
            flags += argument.lstrip("-")
        else:
            names.append(argument)
    if "f" not in flags or not names or names.pop(0) != "-":
        await run.error("tar: simulated containers write and read archives through pipes alone: use 'f -'")
        return 1
    if "c" in flags:
        return await _archive(run, directory, names)
    if "x" in flags:
        return await _unpack(run, directory)
    if "t" in flags:
        with tarfile.open(fileobj=io.BytesIO(await run.stdin.all())) as archive:
            await run.say("".join(f"{name}\n" for name in archive.getnames()))
        return 0
    await run.error("tar: one of c, x and t must be given")
    return 1


async def _archive(run: Run, directory: str, names: list[str]) -> int:
    files, buffer, code = run.place.files, io.BytesIO(), 0
    with tarfile.open(fileobj=buffer, mode="w", format=tarfile.GNU_FORMAT) as archive:
        for name in names:
            path = posixpath.normpath(posixpath.join(directory, name))
            if files.find(path) is None:
                await run.error(f"tar: {name}: Cannot stat: No such file or directory")
                code = 2
                continue
            if name.startswith("/"):
                await run.error("tar: Removing leading `/' from member names")
            for found in (path, *files.below(path)):
                shown = (name.rstrip("/") + found[len(path.rstrip("/")) :]).lstrip("/") or "."
                node = files.node(found)
                entry = tarfile.TarInfo(shown)
                entry.mode, entry.mtime = node.mode, int(node.time.timestamp())
                entry.uname, entry.gname = _ROOT
                if node.data is None:
                    entry.type = tarfile.DIRTYPE
                    archive.addfile(entry)
                else:
                    entry.size = len(node.data)
                    archive.addfile(entry, io.BytesIO(node.data))
    await pieces(run, buffer.getvalue())
    return code


async def _unpack(run: Run, directory: str) -> int:
    files, now = run.place.files, run.place.clock.now()
    if not files.node(directory).is_directory:
        raise NotADirectoryError(f"{directory}: Not a directory")
    try:
        with tarfile.open(fileobj=io.BytesIO(await run.stdin.all())) as archive:
            for entry in archive:
                # Whatever an archive says, nothing lands outside of where it was asked for.
                inner = posixpath.normpath("/" + entry.name).lstrip("/")
                path = posixpath.normpath(posixpath.join(directory, inner))
                if entry.isdir():
                    files.make_directory(path, now, parents=True)
                elif entry.isfile():
                    if entry.size > FILES_BYTES_MAX:
                        raise OSError("No space left on device")
                    above = posixpath.dirname(path)
                    files.make_directory(above, now, parents=True)
                    source = archive.extractfile(entry)
                    files.write(path, source.read() if source else b"", now, mode=entry.mode & 0o777)
    except tarfile.TarError:
        await run.error("tar: This does not look like a tar archive")
        return 2
    return 0
