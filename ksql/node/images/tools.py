"""More of what a bare system brings: small tools over text and files, less often used than the shell's own."""

import fnmatch
import itertools
import posixpath
import re
from collections.abc import Mapping

from ksql.node.shell import Command, Run

_BLOCK = 512
_AWK = re.compile(r"\{\s*print\s+(\$\d+(?:\s*,\s*\$\d+)*)\s*;?\s*\}")
_NOT_PERMITTED = "Operation not permitted"


async def _text(run: Run, names: list[str]) -> bytes:
    if not names:
        return await run.stdin.all()
    return b"".join([run.place.files.read(run.place.path(name)) for name in names])


async def _sort(run: Run, arguments: list[str]) -> int:
    flags = "".join(a[1:] for a in arguments if a.startswith("-"))
    lines = (await _text(run, [a for a in arguments if not a.startswith("-")])).splitlines()
    lines = sorted(set(lines) if "u" in flags else lines, reverse="r" in flags)
    await run.write(b"".join(line + b"\n" for line in lines))
    return 0


async def _uniq(run: Run, arguments: list[str]) -> int:
    last: bytes | None = None
    for line in (await _text(run, [a for a in arguments if not a.startswith("-")])).splitlines():
        if line != last:
            await run.write(line + b"\n")
        last = line
    return 0


async def _tee(run: Run, arguments: list[str]) -> int:
    data = await run.stdin.all()
    for name in [a for a in arguments if not a.startswith("-")]:
        run.place.files.write(run.place.path(name), data, run.place.clock.now(), append="-a" in arguments)
    await run.write(data)
    return 0


async def _chmod(run: Run, arguments: list[str]) -> int:
    words = [a for a in arguments if not a.startswith("-R")]
    for name in words[1:]:
        node = run.place.files.node(run.place.path(name))
        if words[0].isdigit():
            node.mode = int(words[0], 8)
        elif words[0].startswith("+") or words[0][1:2] == "+":
            bits = sum({"r": 0o444, "w": 0o222, "x": 0o111}.get(letter, 0) for letter in words[0].partition("+")[2])
            node.mode |= bits
    return 0


async def _chown(run: Run, arguments: list[str]) -> int:
    words = [a for a in arguments if not a.startswith("-R")]
    user, _, group = words[0].partition(":")
    for name in words[1:]:
        node = run.place.files.node(run.place.path(name))
        node.owner = (
            int(user) if user.isdigit() else node.owner[0], int(group) if group.isdigit() else node.owner[1]
        )  # fmt: skip
    return 0


async def _stat(run: Run, arguments: list[str]) -> int:
    """`stat -c FORMAT FILE…` for the fields that scripts ask for."""
    form, names, rest = "%n", [], list(arguments)
    while rest:
        word = rest.pop(0)
        if word in ("-c", "--format") and rest:
            form = rest.pop(0)
        elif word.startswith("-c"):
            form = word[2:]
        elif not word.startswith("-"):
            names.append(word)
    for name in names:
        node = run.place.files.node(run.place.path(name))
        fields = {
            "%n": name, "%a": f"{node.mode & 0o7777:o}", "%u": str(node.owner[0]), "%g": str(node.owner[1]),
            "%s": str(len(node.data or b"")), "%U": "root" if node.owner[0] == 0 else str(node.owner[0]),
        }  # fmt: skip
        text = form
        for field, value in fields.items():
            text = text.replace(field, value)
        await run.say(text + "\n")
    return 0


async def _find(run: Run, arguments: list[str]) -> int:
    """`find FOLDER [-type f|d] [-name PATTERN]`."""
    top = arguments[0] if arguments and not arguments[0].startswith("-") else "."
    given = dict(itertools.pairwise(arguments))
    path = run.place.path(top)
    run.place.files.node(path)
    for found in (path, *run.place.files.below(path)):
        is_directory = run.place.files.node(found).is_directory
        if given.get("-type") in ("f", "d") and is_directory != (given["-type"] == "d"):
            continue
        if "-name" in given and not fnmatch.fnmatch(posixpath.basename(found), given["-name"]):
            continue
        await run.say(top.rstrip("/") + found[len(path.rstrip("/")) :] + "\n")
    return 0


async def _hexdump(run: Run, arguments: list[str]) -> int:
    """`hexdump -C FILE`."""
    data = await _text(run, [a for a in arguments if not a.startswith("-")])
    for start in range(0, len(data), 16):
        row = data[start : start + 16]
        left, right = row[:8].hex(" "), row[8:].hex(" ")
        shown = "".join(chr(byte) if 32 <= byte < 127 else "." for byte in row)
        await run.say(f"{start:08x}  {left:<23}  {right:<23}  |{shown}|\n")
    await run.say(f"{len(data):08x}\n" if data else "")
    return 0


async def _dd(run: Run, arguments: list[str]) -> int:
    given = dict(word.partition("=")[::2] for word in arguments)
    source, size = given.get("if", ""), given.get("bs", str(_BLOCK))
    count = int(given["count"]) if given.get("count", "").isdigit() else None
    scale = {"k": 1024, "K": 1024, "M": 1024 * 1024}.get(size[-1:], 1)
    block = int(size.rstrip("kKM") or 1) * scale
    if source in ("/dev/random", "/dev/urandom", "/dev/zero"):
        data = bytes(block * (count or 1))
    else:
        data = await _text(run, [source] if source else [])
        data = data if count is None else data[: block * count]
    if target := given.get("of", ""):
        run.place.files.write(run.place.path(target), data, run.place.clock.now())
    else:
        await run.write(data)
    return 0


async def _sysctl(run: Run, arguments: list[str]) -> int:
    """What the pod asked for; a kernel's own values are not simulated."""
    asked = (run.place.pod["spec"].get("securityContext") or {}).get("sysctls") or ()
    known = {one["name"]: one["value"] for one in asked}
    for name in [a for a in arguments if not a.startswith("-")]:
        if name not in known:
            await run.error(f"sysctl: error: '{name}' is an unknown key")
            return 1
        await run.say(f"{known[name]}\n" if "-n" in arguments else f"{name} = {known[name]}\n")
    return 0


async def _ip(run: Run, arguments: list[str]) -> int:
    """The addresses of the pod; changing its network takes a privilege, and a kernel that is not simulated."""
    if "add" in arguments or "set" in arguments or "del" in arguments:
        is_privileged = (run.place.container.get("securityContext") or {}).get("privileged")
        await run.error(f"ip: RTNETLINK answers: {'Operation not supported' if is_privileged else _NOT_PERMITTED}")
        return 2
    address = (run.place.pod.get("status") or {}).get("podIP", "")
    await run.say("1: lo: <LOOPBACK,UP>\n    inet 127.0.0.1/8 scope host lo\n")
    await run.say(f"2: eth0: <UP>\n    inet {address}/24 eth0\n")
    return 0


async def _basename(run: Run, arguments: list[str]) -> int:
    name = posixpath.basename((arguments or [""])[0].rstrip("/"))
    suffix = arguments[1] if len(arguments) > 1 else ""
    await run.say((name.removesuffix(suffix) if suffix else name) + "\n")
    return 0


async def _dirname(run: Run, arguments: list[str]) -> int:
    await run.say((posixpath.dirname((arguments or ["."])[0]) or ".") + "\n")
    return 0


async def _cut(run: Run, arguments: list[str]) -> int:
    """`cut -dX -fN`."""
    joined = {a[:2]: a[2:] for a in arguments if a[:2] in ("-d", "-f") and len(a) > 2}
    given = {**dict(itertools.pairwise(arguments)), **joined}
    mark, field = given.get("-d", "\t"), int(given.get("-f", "1"))
    for line in (await run.stdin.all()).decode(errors="replace").splitlines():
        pieces = line.split(mark)
        await run.say((pieces[field - 1] if 0 < field <= len(pieces) else line if len(pieces) == 1 else "") + "\n")
    return 0


async def _awk(run: Run, arguments: list[str]) -> int:
    """`awk '{print $1, $2}'` and no more of it: the fields of each line."""
    program, *names = [a for a in arguments if not a.startswith("-")] or [""]
    match = _AWK.fullmatch(program.strip())
    if match is None:
        await run.error(f"awk: simulated containers know no more than print: {program}")
        return 2
    fields = [int(word.strip().lstrip("$")) for word in match[1].split(",")]
    for line in (await _text(run, names)).decode(errors="replace").splitlines():
        words = [line, *line.split()]
        await run.say(" ".join(words[field] if field < len(words) else "" for field in fields) + "\n")
    return 0


async def _mount(run: Run, arguments: list[str]) -> int:
    """What is mounted; mounting itself takes a kernel that is not simulated."""
    if [a for a in arguments if not a.startswith("-")][:1] not in ([], ["cgroup2"], ["tmpfs"], ["ext4"]):
        await run.error("mount: permission denied (are you root?)")
        return 1
    kind = arguments[arguments.index("-t") + 1] if "-t" in arguments[:-1] else ""
    lines = [("cgroup", "/sys/fs/cgroup", "cgroup2"), ("proc", "/proc", "proc")]
    lines += [("volume", path, run.place.mount_kind(path)) for path in run.place.mounted()]
    await run.say("".join(f"{name} on {path} type {t} (rw)\n" for name, path, t in lines if kind in ("", t)))
    return 0


async def _uptime(run: Run, arguments: list[str]) -> int:
    """The cluster's time and nothing to do: a simulated machine bears no load that could be told."""
    await run.say(f" {run.place.now():%H:%M:%S} up 0 min,  0 users,  load average: 0.00, 0.00, 0.00\n")
    return 0


async def _nothing(run: Run, arguments: list[str]) -> int:
    """What changes nothing that a simulation keeps: `sync`, `umask`, `set`, a `trap` whose signal never comes."""
    return 0


TOOLS: Mapping[str, Command] = {
    "awk": _awk, "basename": _basename, "chmod": _chmod, "chown": _chown, "cut": _cut, "dd": _dd, "dirname": _dirname,
    "find": _find, "hexdump": _hexdump, "ip": _ip, "mount": _mount, "set": _nothing, "sort": _sort, "stat": _stat,
    "sync": _nothing, "sysctl": _sysctl, "tee": _tee, "trap": _nothing, "umask": _nothing, "uniq": _uniq,
    "uptime": _uptime,
}  # fmt: skip
