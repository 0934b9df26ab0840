"""The program that looks at mounted files: types, modes, owners and contents, and makes new ones.

Its checks come in a fixed order whatever the order of its flags, so that one command can look at a folder,
write into it and read what it wrote; it ends with 1 when one of them failed.
"""

from collections.abc import Awaitable, Callable

from ksql.node.files import Node
from ksql.node.images.web import options_of
from ksql.node.shell import Run

_CONTENT = b"mount-tester new file\n"
_RETRY_SECONDS = 180
_PAUSE_SECONDS = 2.0

Check = Callable[[Run, str], Awaitable[bool]]


async def mounttest(run: Run, arguments: list[str]) -> int:
    given = options_of(arguments)
    held = True
    for name, check in _CHECKS.items():
        if path := given.get(name):
            held = await check(run, path) and held
    if path := given.get("file_content_in_loop"):
        retry = int(given.get("retry_time") or _RETRY_SECONDS)
        held = await _loop(run, path, retry, given.get("break_on_expected_content", "true") != "false") and held
    return 0 if held else 1


def permissions(node: Node) -> str:
    """The nine letters of a file's mode."""
    return "".join(letter if node.mode >> (8 - i) & 1 else "-" for i, letter in enumerate("rwxrwxrwx"))


async def _type(run: Run, path: str) -> bool:
    place = run.place
    if place.files.find(place.path(path)) is None:
        await run.say(f"error with statfs({path!r}): no such file or directory\n")
        return False
    await run.say(f'mount type of "{path}": {place.mount_kind(place.path(path))}\n')
    return True


def _writes(mode: int) -> Check:
    async def check(run: Run, path: str) -> bool:
        try:
            run.place.files.write(run.place.path(path), _CONTENT, run.place.clock.now(), mode=mode)
        except OSError as error:
            await run.say(f'error writing new file "{path}": open {path}: {str(error).lower()}\n')
            return False
        return await _content(run, path)

    return check


async def _mode(run: Run, path: str) -> bool:
    node = await _node(run, path)
    if node is None:
        return False
    kind = "d" if node.is_directory else "-"
    sticky = "t" if node.mode & 0o1000 else ""
    await run.say(f'mode of file "{path}": {kind if not sticky or kind != "-" else ""}{sticky}{permissions(node)}\n')
    return True


async def _permissions(run: Run, path: str) -> bool:
    node = await _node(run, path)
    if node is None:
        return False
    await run.say(f'perms of file "{path}": -{permissions(node)}\n')
    return True


async def _owner(run: Run, path: str) -> bool:
    node = await _node(run, path)
    if node is None:
        return False
    await run.say(f'owner UID of "{path}": {node.owner[0]}\nowner GID of "{path}": {node.owner[1]}\n')
    return True


async def _node(run: Run, path: str) -> Node | None:
    node = run.place.files.find(run.place.path(path))
    if node is None:
        await run.say(f'error: lstat {path}: no such file or directory\n')
    return node


async def _content(run: Run, path: str) -> bool:
    try:
        data = run.place.files.read(run.place.path(path))
    except OSError as error:
        await run.say(f'error reading file content for "{path}": open {path}: {str(error).lower()}\n')
        return False
    await run.say(f'content of file "{path}": {data.decode(errors="replace")}\n')
    return True


async def _loop(run: Run, path: str, retry_seconds: int, is_broken_off: bool) -> bool:
    """Read again and again: until the expected content is there, or as long as was asked for."""
    began, held = run.place.clock.monotonic(), True
    while run.place.clock.monotonic() - began < retry_seconds:
        try:
            data = run.place.files.read(run.place.path(path))
            held = True
            await run.say(f'content of file "{path}": {data.decode(errors="replace")}\n')
            if is_broken_off and data == _CONTENT:
                return True
        except OSError as error:
            held = False
            await run.say(f"Error reading file {path}: open {path}: {str(error).lower()}, retrying\n")
        await run.place.clock.sleep(_PAUSE_SECONDS)
    return held


_CHECKS: dict[str, Check] = {
    "fs_type": _type,
    "new_file_0644": _writes(0o644),
    "new_file_0666": _writes(0o666),
    "new_file_0660": _writes(0o660),
    "new_file_0777": _writes(0o777),
    "file_mode": _mode,
    "file_perm": _permissions,
    "file_owner": _owner,
    "file_content": _content,
}
