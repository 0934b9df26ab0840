"""The small shell of simulated containers: words, variables, redirections, pipes, && || ;, for, while and if.

Enough for what people and suites run in a container to see that it is there (`sh -c 'echo $HOME && exit 3'`,
`while true; do date; sleep 5; done`, `kubectl cp`'s `tar`), over the files and the environment of one
container. `scripts` reads the text; what it does not know (functions, case, arithmetic) is refused by name
with exit code 2, as a shell refuses its syntax. The commands themselves are data: `commands.COMMANDS`.
"""

import asyncio
import re
import ssl
from collections.abc import Awaitable, Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import TYPE_CHECKING

from ksql.base.clock import Clock
from ksql.base.documents import Document
from ksql.base.pipes import Pipe
from ksql.node.files import FILES_BYTES_MAX, Files, resolved
from ksql.node.mounts import Tree
from ksql.node.scripts import For, If, Part, Pipeline, ScriptError, Simple, While, parsed, substitutions

if TYPE_CHECKING:
    from ksql.node.images.web import Handler
    from ksql.node.network import Network

NOT_FOUND, SYNTAX = 127, 2
# Commands that one process runs, loops counted: a day of a loop that looks every few seconds.
STEPS_MAX = 50_000
# And how many before others get their turn.
STEPS_AT_ONCE = 50
# Aliases of the one shell there is.
SHELLS = ("sh", "bash", "ash", "dash")

_PART = re.compile(r"'([^']*)'|\"((?:[^\"\\]|\\.)*)\"|\\(.)|([^'\"\\]+)", re.S)
_VARIABLE = re.compile(r"\$(?:\{(\w+)\}|(\w+|\?|\$|#))")
_ASSIGNMENT = re.compile(r"[A-Za-z_]\w*=")

Sink = Callable[[bytes], Awaitable[None]]


class ExitError(Exception):
    """`exit N`."""

    def __init__(self, code: int) -> None:
        super().__init__(code)
        self.code = code


# What answers a datagram: told its text and who sent it.
Talk = Callable[[str, str], Awaitable[str]]


@dataclass(slots=True)
class Place:
    """Where commands run: one container's files, environment and identity.

    `clock` is the process's own time, `wall` the cluster's: a process that is played back is behind it.
    Its pod's containers share `listeners` and `datagrams`, who answers on which port, and `secrets`, on which
    of them over TLS.
    """

    pod: Document
    container: Document
    files: Files | Tree
    environment: dict[str, str]
    clock: Clock
    directory: str = "/"
    identity: tuple[int, int] = (0, 0)
    listeners: "dict[int, Handler]" = field(default_factory=dict)
    datagrams: dict[int, Talk] = field(default_factory=dict)
    secrets: dict[int, ssl.SSLContext] = field(default_factory=dict)
    network: "Network | None" = None
    wall: Clock | None = None

    def path(self, name: str) -> str:
        return resolved(self.directory, name)

    def now(self) -> datetime:
        """The cluster's time."""
        return (self.wall or self.clock).now()

    async def wait(self, seconds: float) -> None:
        """Let so much of the cluster's time pass."""
        await (self.wall or self.clock).sleep(seconds)

    def mount_kind(self, path: str) -> str:
        return self.files.mount_at(path).kind if isinstance(self.files, Tree) else "ext4"

    def mounted(self) -> list[str]:
        return self.files.mounted() if isinstance(self.files, Tree) else []

    def reach(self) -> "Network":
        """The network; `OSError` where there is none."""
        if self.network is None:
            raise OSError("Network is unreachable")
        return self.network


class Input:
    """What a command reads: somebody's pipe, bytes, or nothing."""

    def __init__(self, source: Pipe | bytes | None) -> None:
        self._pipe = source if isinstance(source, Pipe) else None
        self._rest = source if isinstance(source, bytes) else b""

    async def some(self) -> bytes:
        """What there is; empty at the end."""
        if self._rest:
            data, self._rest = self._rest, b""
            return data
        return await self._pipe.read() if self._pipe is not None else b""

    async def line(self) -> bytes:
        """The next line with its newline; less at the end."""
        data = b""
        while b"\n" not in data and len(data) < FILES_BYTES_MAX and (more := await self.some()):
            data += more
        found, newline, self._rest = data.partition(b"\n")
        return found + newline

    async def all(self) -> bytes:
        parts, size = [], 0
        while data := await self.some():
            size += len(data)
            if size > FILES_BYTES_MAX:
                raise OSError("No space left on device")
            parts.append(data)
        return b"".join(parts)


@dataclass(slots=True)
class Run:
    """One command under way: its place and the ends of it."""

    place: Place
    stdin: Input
    write: Sink
    complain: Sink
    execute: "Execute"
    called: str = ""  # the command's first word

    async def say(self, text: str) -> None:
        await self.write(text.encode())

    async def error(self, text: str) -> None:
        await self.complain(f"{text}\n".encode())


Command = Callable[[Run, list[str]], Awaitable[int]]
Execute = Callable[[Run, list[str]], Awaitable[int]]


def expanded(word: str, variables: Mapping[str, str]) -> list[str]:
    """A raw word as the words it stands for: quotes taken off, variables filled in, unquoted ones split."""
    words, current, is_quoted = [""], 0, False
    for single, double, escaped, plain in _PART.findall(word):
        if plain:
            pieces = _filled(plain, variables).split() if "$" in plain else [plain]
            for number, piece in enumerate(pieces):
                if number:
                    words.append("")
                    current += 1
                words[current] += piece
        else:
            is_quoted = True
            inside = re.sub(r'\\(["\\$`])', r"\1", double) if "\\" in double else double
            words[current] += single or escaped or _filled(inside, variables)
    return words if is_quoted or words != [""] else []


def _filled(text: str, variables: Mapping[str, str]) -> str:
    return _VARIABLE.sub(lambda match: variables.get(match[1] or match[2], ""), text)


class Shell:
    """Runs scripts in a place, one command after another."""

    def __init__(self, place: Place, commands: Mapping[str, Command], name: str = "sh") -> None:
        self._place, self._commands, self._name = place, commands, name
        self.code = self._steps = 0

    async def script(self, text: str, stdin: Input, out: Sink, err: Sink) -> int:
        """Run a script to its end or its `exit` → the last exit code."""
        try:
            await self._list(parsed(text), stdin, out, err)
        except ScriptError as error:
            await err(f"sh: {error}\n".encode())
            self.code = SYNTAX
        except ExitError as error:
            self.code = error.code
            raise
        return self.code

    async def _list(self, pipelines: Sequence[Pipeline], stdin: Input, out: Sink, err: Sink) -> int:
        for pipeline in pipelines:
            if (pipeline.when == "&&" and self.code) or (pipeline.when == "||" and not self.code):
                continue
            self.code = await self._pipeline(pipeline, stdin, out, err)
        return self.code

    async def _pipeline(self, pipeline: Pipeline, stdin: Input, out: Sink, err: Sink) -> int:
        for part in pipeline.commands[:-1]:
            gathered = Gathered()
            await self._part(part, stdin, gathered, err)
            stdin = Input(gathered.data())
        return await self._part(pipeline.commands[-1], stdin, out, err)

    async def _part(self, part: Part, stdin: Input, out: Sink, err: Sink) -> int:
        self._steps += 1
        if self._steps > STEPS_MAX:
            raise ScriptError(f"more than {STEPS_MAX} commands in one process")
        if not self._steps % STEPS_AT_ONCE:
            # A loop that never waits must let others run.
            await asyncio.sleep(0)
        match part:
            case Simple():
                return await self._simple(part, stdin, out, err)
            case For():
                return await self._for(part, stdin, out, err)
            case While():
                while bool(await self._list(part.condition, stdin, out, err)) == part.is_until:
                    await self._list(part.body, stdin, out, err)
                return 0
            case If():
                for condition, body in part.branches:
                    if not await self._list(condition, stdin, out, err):
                        return await self._list(body, stdin, out, err)
                self.code = 0
                return await self._list(part.otherwise, stdin, out, err)

    async def _for(self, part: For, stdin: Input, out: Sink, err: Sink) -> int:
        words = [piece for word in part.words for piece in await self._expanded(word, err)]
        self.code = 0
        for word in words:
            self._place.environment[part.name] = word
            await self._list(part.body, stdin, out, err)
        return self.code

    async def _expanded(self, word: str, err: Sink) -> list[str]:
        """A raw word as the words it stands for, what it names in $(…) having been run."""
        variables = {**self._place.environment, "?": str(self.code), "$": "1", "#": "0"}
        if "RANDOM" in word:
            variables["RANDOM"] = str(self._place.clock.random.randrange(32_768))
        pieces = []
        for number, (text, is_command) in enumerate(substitutions(word)):
            if not is_command:
                pieces.append(text)
                continue
            gathered = Gathered()
            await self._list(parsed(text), Input(None), gathered, err)
            # By way of a variable: what a command prints is not read as a script.
            name = f"_{number}_"
            variables[name] = gathered.data().decode(errors="replace").rstrip("\n")
            pieces.append(f"${{{name}}}")
        return expanded("".join(pieces), variables)

    async def _simple(self, simple: Simple, stdin: Input, out: Sink, err: Sink) -> int:
        place = self._place
        words = [piece for word in simple.words for piece in await self._expanded(word, err)]
        try:
            for operator, raw in simple.redirections:
                target = " ".join(await self._expanded(raw, err))
                if operator == "<":
                    with _naming("open", target):
                        stdin = Input(place.files.read(place.path(target)))
                elif operator == "2>&1":
                    err = out
                elif operator == ">&2":
                    out = err
                else:
                    with _naming("create", target):
                        sink = self._file(place.path(target), operator.endswith(">>"))
                    out, err = (out, sink) if operator.startswith("2") else (sink, err)
            while words and _ASSIGNMENT.match(words[0]):
                name, _, value = words.pop(0).partition("=")
                place.environment[name] = value
            return await self.execute(Run(place, stdin, out, err, self.execute), words) if words else 0
        except BrokenPipeError:
            raise
        except OSError as error:
            await err(f"{self._name}: {error}\n".encode())
            return 1

    def _file(self, path: str, append: bool) -> Sink:
        files, clock = self._place.files, self._place.clock
        if path == "/dev/null":
            return _nothing
        files.write(path, b"", clock.now(), append=append)

        async def write(data: bytes) -> None:
            files.write(path, data, clock.now(), append=True)

        return write

    async def execute(self, run: Run, words: list[str]) -> int:
        """One command with its arguments, its words complete."""
        name = words[0].rpartition("/")[2] if words[0].startswith(("/", "./")) else words[0]
        command = self._commands.get(name)
        run.called = words[0]
        if command is None:
            await run.error(f"sh: {words[0]}: not found")
            return NOT_FOUND
        try:
            return await command(run, words[1:])
        except OSError as error:
            if isinstance(error, BrokenPipeError):
                raise
            await run.error(f"{name}: {error}")
            return 1


@contextmanager
def _naming(verb: str, target: str) -> Iterator[None]:
    """An error of a redirection tells what could not be done to which file."""
    try:
        yield
    except OSError as error:
        raise OSError(f"can't {verb} {target}: {error}") from None


class Gathered:
    """A sink that keeps what it is given, within the bound of a file system."""

    def __init__(self) -> None:
        self._parts: list[bytes] = []
        self._size = 0

    async def __call__(self, data: bytes) -> None:
        self._size += len(data)
        if self._size > FILES_BYTES_MAX:
            raise OSError("No space left on device")
        self._parts.append(data)

    def data(self) -> bytes:
        return b"".join(self._parts)


async def _nothing(data: bytes) -> None:
    pass


def inside(place: Place) -> Place:
    """The same container for a process of its own: its changes of directory and environment stay its own."""
    return replace(place, environment=dict(place.environment))
