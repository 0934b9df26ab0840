"""What can be run in a simulated container: a table of small commands over its files and its environment.

Each takes the run and its arguments and answers with an exit code. They do what people expect of their
namesakes for the options named here; an option that is not known is refused, as the namesakes do.
"""

import posixpath
import re
from collections.abc import Awaitable, Callable, Coroutine, Mapping
from datetime import UTC, datetime
from typing import Any

from ksql.node import archives
from ksql.node.archives import pieces
from ksql.node.arithmetic import SumError, computed
from ksql.node.files import Node
from ksql.node.images.programs import PROGRAMS
from ksql.node.scripts import SUM, ScriptError
from ksql.node.shell import SHELLS, Command, ExitError, Run, Shell, inside
from ksql.node.variables import domain_name_of

Foreground = Callable[[Coroutine[Any, Any, int]], Awaitable[int]]

# How often a file that is followed is looked at.
FOLLOW_SECONDS = 1.0


async def _echo(run: Run, arguments: list[str]) -> int:
    newline, interpret = "\n", False
    while arguments and arguments[0] in ("-n", "-e", "-ne", "-en"):
        newline = "" if "n" in arguments[0] else newline
        interpret = interpret or "e" in arguments[0]
        arguments = arguments[1:]
    text = " ".join(arguments)
    await run.say((_escapes(text) if interpret else text) + newline)
    return 0


def _escapes(text: str) -> str:
    for given, meant in (("\\n", "\n"), ("\\t", "\t"), ("\\\\", "\\")):
        text = text.replace(given, meant)
    return text


async def _printf(run: Run, arguments: list[str]) -> int:
    form, *values = arguments or [""]
    left = iter(values)
    text = re.sub(r"%([sd%])", lambda match: "%" if match[1] == "%" else next(left, ""), _escapes(form))
    await run.say(text)
    return 0


async def _cat(run: Run, arguments: list[str]) -> int:
    code = 0
    for name in arguments or ["-"]:
        if name == "-":
            while data := await run.stdin.some():
                await run.write(data)
            continue
        try:
            await pieces(run, run.place.files.read(run.place.path(name)))
        except OSError as error:
            await run.error(f"cat: {name}: {error}")
            code = 1
    return code


async def _env(run: Run, arguments: list[str]) -> int:
    variables = run.place.environment
    if arguments:
        missing = [name for name in arguments if name not in variables]
        await run.say("".join(f"{variables[name]}\n" for name in arguments if name in variables))
        return 1 if missing else 0
    await run.say("".join(f"{name}={value}\n" for name, value in variables.items()))
    return 0


async def _export(run: Run, arguments: list[str]) -> int:
    for argument in arguments:
        name, equals, value = argument.partition("=")
        if equals:
            run.place.environment[name] = value
    return 0


async def _ls(run: Run, arguments: list[str]) -> int:
    flags = "".join(a[1:] for a in arguments if a.startswith("-") and a != "-")
    names = [a for a in arguments if not a.startswith("-") or a == "-"] or ["."]
    files, code = run.place.files, 0
    for number, name in enumerate(names):
        path = run.place.path(name)
        try:
            node = files.node(path)
            is_listed = node.is_directory and "d" not in flags
            rows = [(name, node)]
            if is_listed:
                rows = [(child, files.node(posixpath.join(path, child))) for child in files.children(path)]
        except OSError as error:
            await run.error(f"ls: {name}: {error}")
            code = 1
            continue
        if len(names) > 1 and is_listed:
            await run.say(f"{'' if not number else chr(10)}{name}:\n")
        rows = [row for row in rows if "a" in flags or not is_listed or not row[0].startswith(".")]
        await run.say("".join((_long(*row) if "l" in flags else row[0]) + "\n" for row in rows))
    return code


def _long(name: str, node: Node) -> str:
    kind, mode = ("d" if node.is_directory else "-"), node.mode
    bits = "".join(letter if mode >> (8 - i) & 1 else "-" for i, letter in enumerate("rwxrwxrwx"))
    size = 4096 if node.data is None else len(node.data)
    return f"{kind}{bits}    1 root     root     {size:>9} {node.time:%b %d %H:%M} {name}"


async def _pwd(run: Run, arguments: list[str]) -> int:
    await run.say(f"{run.place.directory}\n")
    return 0


async def _cd(run: Run, arguments: list[str]) -> int:
    path = run.place.path(arguments[0] if arguments else run.place.environment.get("HOME", "/"))
    if not run.place.files.node(path).is_directory:
        raise NotADirectoryError("Not a directory")
    run.place.directory = path
    return 0


async def _date(run: Run, arguments: list[str]) -> int:
    if arguments and not arguments[0].startswith(("+", "-")):
        await run.error(f"date: invalid date '{arguments[0]}'")
        return 1
    now = run.place.clock.now().astimezone(UTC)
    form = next((a[1:] for a in arguments if a.startswith("+")), "%a %b %e %H:%M:%S UTC %Y")
    seconds = str(int((now - datetime(1970, 1, 1, tzinfo=UTC)).total_seconds()))
    await run.say(now.strftime(form.replace("%s", seconds)) + "\n")
    return 0


async def _hostname(run: Run, arguments: list[str]) -> int:
    status = run.place.pod.get("status") or {}
    if "-f" in arguments:
        await run.say(f"{domain_name_of(run.place.pod)}\n")
        return 0
    await run.say(f"{status.get('podIP', '') if '-i' in arguments else run.place.environment['HOSTNAME']}\n")
    return 0


async def _sleep(run: Run, arguments: list[str]) -> int:
    units = {"s": 1, "m": 60, "h": 3600, "d": 86400}
    seconds = 0.0
    for text in arguments:
        unit = units.get(text[-1:], 0)
        try:
            seconds += float(text[:-1] if unit else text) * (unit or 1)
        except ValueError:
            await run.error(f"sleep: invalid number '{text}'")
            return 1
    await run.place.clock.sleep(seconds)
    return 0


async def _test(run: Run, arguments: list[str]) -> int:
    if arguments and arguments[0] == "!":
        return 0 if await _test(run, arguments[1:]) else 1
    files = run.place.files
    match arguments:
        case []:
            return 1
        case ["-d" | "-e" | "-f" | "-r" | "-s" | "-w" | "-x" as flag, name]:
            node = files.find(run.place.path(name))
            held = node is not None and (
                (flag == "-d" and node.is_directory) or (flag == "-f" and not node.is_directory)
                or flag in ("-e", "-r", "-w") or (flag == "-s" and bool(node.data))
                or (flag == "-x" and (node.is_directory or bool(node.mode & 0o111)))
            )
        case ["-z", text]:
            held = not text
        case ["-n", text] | [text]:
            held = bool(text)
        case [left, "=" | "==", right]:
            held = left == right
        case [left, "!=", right]:
            held = left != right
        case [left, "-eq" | "-ne" | "-lt" | "-le" | "-gt" | "-ge" as relation, right]:
            held = _compared(left, relation, right)
        case _:
            await run.error(f"test: unknown operand in: {' '.join(arguments)}")
            return 2
    return 0 if held else 1


def _compared(left: str, relation: str, right: str) -> bool:
    try:
        difference = int(left) - int(right)
    except ValueError:
        raise OSError("out of range") from None
    return {
        "-eq": difference == 0, "-ne": difference != 0, "-lt": difference < 0,
        "-le": difference <= 0, "-gt": difference > 0, "-ge": difference >= 0,
    }[relation]  # fmt: skip


async def _bracket(run: Run, arguments: list[str]) -> int:
    end = "]" * len(run.called)
    if not arguments or arguments[-1] != end:
        await run.error(f"{run.called}: missing {end}")
        return 2
    return await _test(run, arguments[:-1])


async def _sum(run: Run, arguments: list[str]) -> int:
    """$((…)): what cannot be computed ends the script, as in a shell."""
    if await _computed(run, " ".join(arguments), "sh"):
        raise ScriptError("arithmetic syntax error")
    return 0


async def _expr(run: Run, arguments: list[str]) -> int:
    """`expr A + B`: 1 when the outcome is nothing or zero."""
    text = " ".join(arguments)
    if "=" in arguments:
        left, _, right = text.partition(" = ")
        await run.say(f"{int(left == right)}\n")
        return int(left != right)
    code = await _computed(run, text, "expr")
    return code or int(computed(text, {}) == 0)


async def _computed(run: Run, text: str, name: str) -> int:
    given = run.place.environment
    if "RANDOM" in text:
        given = {**given, "RANDOM": str(run.place.clock.random.randrange(32_768))}
    try:
        await run.say(f"{computed(text, given)}\n")
    except SumError as error:
        await run.error(f"{name}: {error}")
        return 2
    return 0


async def _mkdir(run: Run, arguments: list[str]) -> int:
    for name in [a for a in arguments if a != "-p"]:
        run.place.files.make_directory(run.place.path(name), run.place.clock.now(), parents="-p" in arguments)
    return 0


async def _rm(run: Run, arguments: list[str]) -> int:
    flags = "".join(a[1:] for a in arguments if a.startswith("-"))
    for name in [a for a in arguments if not a.startswith("-")]:
        node = run.place.files.find(run.place.path(name))
        if node is None and "f" in flags:
            continue
        if node is not None and node.is_directory and "r" not in flags.lower():
            raise IsADirectoryError(f"'{name}' is a directory")
        run.place.files.remove(run.place.path(name))
    return 0


async def _touch(run: Run, arguments: list[str]) -> int:
    for name in arguments:
        run.place.files.write(run.place.path(name), b"", run.place.clock.now(), append=True)
    return 0


async def _input(run: Run, names: list[str]) -> bytes:
    if not names:
        return await run.stdin.all()
    return b"".join([run.place.files.read(run.place.path(name)) for name in names])


async def _head(run: Run, arguments: list[str]) -> int:
    count, unit, names = _amount(arguments)
    data = await _input(run, names)
    await pieces(run, data[: int(count)] if unit == "c" else b"".join(data.splitlines(True)[: int(count)]))
    return 0


async def _tail(run: Run, arguments: list[str]) -> int:
    if followed := [a for a in arguments if a in ("-f", "-F")]:
        return await _follow(run, [a for a in arguments if a not in followed])
    count, unit, names = _amount(arguments)
    data = await _input(run, names)
    lines = data.splitlines(True)
    size = len(data) if unit == "c" else len(lines)
    first = max(0, int(count) - 1 if count.startswith("+") else size - int(count))
    await pieces(run, data[first:] if unit == "c" else b"".join(lines[first:]))
    return 0


async def _follow(run: Run, arguments: list[str]) -> int:
    """The end of a file, and what is added to it, for ever."""
    await _tail(run, arguments)
    path = run.place.path(_amount(arguments)[2][0])
    seen = len(run.place.files.read(path))
    while True:
        await run.place.clock.sleep(FOLLOW_SECONDS)
        data = run.place.files.read(path)
        await pieces(run, data[min(seen, len(data)) :])
        seen = len(data)


def _amount(arguments: list[str]) -> tuple[str, str, list[str]]:
    """-n 5, -n5, -5, -c10, -c+10 → the number, its unit and the other arguments."""
    count, unit, names, rest = "10", "n", [], list(arguments)
    while rest:
        argument = rest.pop(0)
        if argument in ("-n", "-c") and rest:
            unit, count = argument[1], rest.pop(0)
        elif argument[:2] in ("-n", "-c"):
            unit, count = argument[1], argument[2:]
        elif argument.startswith("-") and argument[1:].isdigit():
            count = argument[1:]
        else:
            names.append(argument)
    if not count.lstrip("+").isdigit():
        raise OSError(f"invalid number '{count}'")
    return count, unit, names


async def _wc(run: Run, arguments: list[str]) -> int:
    flags = [a for a in arguments if a.startswith("-")]
    data = await _input(run, [a for a in arguments if not a.startswith("-")])
    counts = {"-l": data.count(b"\n"), "-w": len(data.split()), "-c": len(data)}
    await run.say(" ".join(str(counts[flag]) for flag in (flags or counts) if flag in counts) + "\n")
    return 0


async def _grep(run: Run, arguments: list[str]) -> int:
    flags = "".join(a[1:] for a in arguments if a.startswith("-"))
    text, *names = [a for a in arguments if not a.startswith("-")] or [""]
    found = [
        line for line in (await _input(run, names)).splitlines(True)
        if (text.encode() in line) != ("v" in flags)
    ]  # fmt: skip
    if "q" not in flags:
        await pieces(run, b"%d\n" % len(found) if "c" in flags else b"".join(found))
    return 0 if found else 1


async def _cp(run: Run, arguments: list[str]) -> int:
    *sources, target = [a for a in arguments if not a.startswith("-")]
    for source in sources:
        path = run.place.path(target)
        node = run.place.files.find(path)
        if node is not None and node.is_directory:
            path = posixpath.join(path, posixpath.basename(source))
        run.place.files.write(path, run.place.files.read(run.place.path(source)), run.place.clock.now())
    return 0


async def _mv(run: Run, arguments: list[str]) -> int:
    code = await _cp(run, arguments)
    for source in [a for a in arguments if not a.startswith("-")][:-1]:
        run.place.files.remove(run.place.path(source))
    return code


async def _seq(run: Run, arguments: list[str]) -> int:
    numbers = [int(a) for a in arguments if a.lstrip("-").isdigit()]
    first, last = (1, numbers[0]) if len(numbers) == 1 else (numbers[0], numbers[-1])
    for number in range(first, last + 1):
        await run.say(f"{number}\n")
    return 0


async def _uname(run: Run, arguments: list[str]) -> int:
    whole = f"Linux {run.place.environment['HOSTNAME']} 6.18.0-simulated x86_64 GNU/Linux"
    flags = {"-a": whole, "-r": "6.18.0-simulated", "-m": "x86_64", "-n": run.place.environment["HOSTNAME"]}
    await run.say(flags.get(arguments[0] if arguments else "", "Linux") + "\n")
    return 0


async def _ps(run: Run, arguments: list[str]) -> int:
    container = run.place.container
    command = " ".join([*(container.get("command") or ()), *(container.get("args") or ())])
    await run.say(f"PID   USER     TIME  COMMAND\n    1 root      0:00 {command or container.get('image', '')}\n")
    return 0


async def _whoami(run: Run, arguments: list[str]) -> int:
    user = run.place.identity[0]
    known = {0: "root", 65534: "nobody"}
    if user not in known:
        await run.error(f"whoami: unknown uid {user}")
        return 1
    await run.say(f"{known[user]}\n")
    return 0


async def _id(run: Run, arguments: list[str]) -> int:
    user, group = run.place.identity
    shared = run.place.pod["spec"].get("securityContext") or {}
    groups = [group, *(shared.get("supplementalGroups") or ()), *([shared["fsGroup"]] if "fsGroup" in shared else ())]
    if "-u" in arguments:
        await run.say(f"{user}\n")
    elif "-g" in arguments:
        await run.say(f"{group}\n")
    elif "-G" in arguments:
        await run.say(" ".join(str(one) for one in dict.fromkeys(groups)) + "\n")
    else:
        names = ["(root)" if one == 0 else "" for one in (user, group)]
        listed = ",".join(f"{one}(root)" if one == 0 else str(one) for one in dict.fromkeys(groups))
        await run.say(f"uid={user}{names[0]} gid={group}{names[1]} groups={listed}\n")
    return 0


async def _true(run: Run, arguments: list[str]) -> int:
    return 0


async def _false(run: Run, arguments: list[str]) -> int:
    return 1


async def _exit(run: Run, arguments: list[str]) -> int:
    text = arguments[0] if arguments else "0"
    if not text.isdigit():
        raise ExitError(2)
    raise ExitError(int(text) % 256)


async def _read(run: Run, arguments: list[str]) -> int:
    line = await run.stdin.line()
    names = [a for a in arguments if not a.startswith("-")] or ["REPLY"]
    words = line.decode(errors="replace").rstrip("\n").split(None, len(names) - 1)
    for number, name in enumerate(names):
        run.place.environment[name] = words[number] if number < len(words) else ""
    return 0 if line.endswith(b"\n") else 1


async def _which(run: Run, arguments: list[str]) -> int:
    known = [name for name in arguments if name in COMMANDS]
    await run.say("".join(f"/bin/{name}\n" for name in known))
    return 0 if len(known) == len(arguments) else 1


async def _sh(run: Run, arguments: list[str]) -> int:
    """`sh -c TEXT`, `sh FILE`, or a script on standard input, line by line."""
    flags = "".join(a[1:] for a in arguments if a.startswith("-") and not a.startswith("--"))
    rest = [a for a in arguments if not a.startswith("-")]
    shell = Shell(inside(run.place), COMMANDS, run.called or "sh")
    try:
        if "c" in flags:
            if not rest:
                await run.error("sh: -c requires an argument")
                return 2
            return await shell.script(rest[0], run.stdin, run.write, run.complain)
        if rest:
            text = run.place.files.read(run.place.path(rest[0])).decode(errors="replace")
            return await shell.script(text, run.stdin, run.write, run.complain)
        return await conversation(shell, run)
    except ExitError as error:
        return error.code


async def conversation(shell: Shell, run: Run, prompt: str = "", foreground: Foreground | None = None) -> int:
    """Lines from standard input until its end; `ExitError` at an `exit`. `foreground` runs each line."""
    if prompt:
        await run.say(prompt)
    while line := await run.stdin.line():
        work = shell.script(line.decode(errors="replace"), run.stdin, run.write, run.complain)
        shell.code = await (foreground(work) if foreground is not None else work)
        if prompt:
            await run.say(prompt)
    return shell.code


COMMANDS: Mapping[str, Command] = {
    "[": _bracket, "[[": _bracket, SUM: _sum, "expr": _expr,
    "cat": _cat, "cd": _cd, "cp": _cp, "date": _date, "echo": _echo, "env": _env, "exit": _exit,
    "export": _export, "false": _false, "grep": _grep, "head": _head, "hostname": _hostname, "id": _id, "ls": _ls,
    "mkdir": _mkdir, "mv": _mv, "printenv": _env, "printf": _printf, "ps": _ps, "pwd": _pwd, "read": _read,
    "rm": _rm, "seq": _seq, "sleep": _sleep, "tail": _tail, "tar": archives.tar, "test": _test, "touch": _touch,
    "true": _true, "uname": _uname, "wc": _wc, "which": _which, "whoami": _whoami, ":": _true,
    **dict.fromkeys(SHELLS, _sh), **PROGRAMS,
}  # fmt: skip
