"""The small shell of simulated containers: words, quotes, variables, redirections, pipes, && || ;.

Enough for what people and suites run in a container to see that it is there (`sh -c 'echo $HOME && exit 3'`,
`kubectl cp`'s `tar`), over the files and the environment of one container. What it does not know (loops,
functions, substitutions) it refuses by name with exit code 2, as a shell refuses its syntax. The commands
themselves are data: `commands.COMMANDS`.
"""

import re
from collections.abc import Awaitable, Callable, Iterator, Mapping
from dataclasses import dataclass, field, replace

from ksql.base.clock import Clock
from ksql.base.documents import Document
from ksql.base.pipes import Pipe
from ksql.node.files import FILES_BYTES_MAX, Files, resolved

NOT_FOUND, SYNTAX = 127, 2
# Simple commands of one script: a bound for text that a client sends.
SCRIPT_COMMANDS_MAX = 1000
# Aliases of the one shell there is.
SHELLS = ("sh", "bash", "ash", "dash")

_TOKEN = re.compile(
    r"[ \t]*(?:(#[^\n]*)|(\n)|(&&|\|\||;|\||>>|2>&1|2>>|2>|>&2|>|<|&|\(|\))"
    r"|((?:[^\s'\"\\;|&<>()]|\\.|'[^']*'|\"(?:[^\"\\]|\\.)*\")+))",
    re.S,
)
_PART = re.compile(r"'([^']*)'|\"((?:[^\"\\]|\\.)*)\"|\\(.)|([^'\"\\]+)", re.S)
_VARIABLE = re.compile(r"\$(?:\{(\w+)\}|(\w+|\?|\$|#))")
_ASSIGNMENT = re.compile(r"[A-Za-z_]\w*=")
_KEYWORDS = frozenset(
    ("if", "then", "else", "elif", "fi", "for", "while", "until", "do", "done", "case", "esac", "function", "{", "}")
)

Sink = Callable[[bytes], Awaitable[None]]


class ScriptError(ValueError):
    """The text is no script that this shell runs."""


class ExitError(Exception):
    """`exit N`."""

    def __init__(self, code: int) -> None:
        super().__init__(code)
        self.code = code


@dataclass(slots=True)
class Place:
    """Where commands run: one container's files, environment and identity."""

    pod: Document
    container: Document
    files: Files
    environment: dict[str, str]
    clock: Clock
    directory: str = "/"

    def path(self, name: str) -> str:
        return resolved(self.directory, name)


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

    async def say(self, text: str) -> None:
        await self.write(text.encode())

    async def error(self, text: str) -> None:
        await self.complain(f"{text}\n".encode())


Command = Callable[[Run, list[str]], Awaitable[int]]
Execute = Callable[[Run, list[str]], Awaitable[int]]


@dataclass(slots=True)
class Simple:
    """One command: raw words, not yet expanded, and where its ends go."""

    words: list[str] = field(default_factory=list)
    redirections: list[tuple[str, str]] = field(default_factory=list)


@dataclass(slots=True)
class Pipeline:
    """Commands joined by |; `when` is what the one before it must have been: &&, ||, or ; for either."""

    when: str
    commands: list[Simple]


def parsed(text: str) -> list[Pipeline]:
    """The script's pipelines; `ScriptError` says what cannot be read."""
    found: list[Pipeline] = []
    when, current, count = ";", Pipeline(";", [Simple()]), 0
    tokens = _tokens(text)
    for kind, token in tokens:
        simple = current.commands[-1]
        if kind == "word":
            if not simple.words and token in _KEYWORDS:
                raise ScriptError(f'syntax error: "{token}" is not known to simulated containers')
            count += not simple.words
            simple.words.append(token)
        elif token in ("2>&1", ">&2"):
            simple.redirections.append((token, ""))
        elif token in (">", ">>", "<", "2>", "2>>"):
            kind, target = next(tokens, ("", ""))
            if kind != "word":
                raise ScriptError("syntax error: unexpected redirection")
            simple.redirections.append((token, target))
        elif token == "(" and simple.words and simple.words[-1].endswith("$"):
            raise ScriptError("syntax error: command substitution is not known to simulated containers")
        elif token in ("&", "(", ")"):
            raise ScriptError(f'syntax error: unexpected "{token}"')
        elif token == "|":
            if not simple.words:
                raise ScriptError('syntax error: unexpected "|"')
            current.commands.append(Simple())
        else:
            if simple.words or simple.redirections:
                found.append(current)
            elif token == "\n":
                continue
            else:
                raise ScriptError(f'syntax error: unexpected "{token}"')
            when = ";" if token == "\n" else token
            current = Pipeline(when, [Simple()])
    if current.commands[-1].words or current.commands[-1].redirections:
        found.append(current)
    elif when in ("&&", "||") or len(current.commands) > 1:
        raise ScriptError("syntax error: unexpected end of file")
    if count > SCRIPT_COMMANDS_MAX:
        raise ScriptError("syntax error: too many commands")
    return found


def _tokens(text: str) -> Iterator[tuple[str, str]]:
    position = 0
    while position < len(text):
        match = _TOKEN.match(text, position)
        if match is None:
            if text[position:].strip():
                raise ScriptError("syntax error: unterminated quoted string")
            return
        position = match.end()
        comment, newline, operator, word = match.groups()
        if newline:
            yield "operator", "\n"
        elif operator:
            yield "operator", operator
        elif word is not None:
            yield "word", word
        elif comment is None:
            return


def expanded(word: str, variables: Mapping[str, str]) -> list[str]:
    """A raw word as the words it stands for: quotes taken off, variables filled in, unquoted ones split."""
    if "$(" in word or "`" in word:
        raise ScriptError("syntax error: command substitution is not known to simulated containers")
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

    def __init__(self, place: Place, commands: Mapping[str, Command]) -> None:
        self._place, self._commands = place, commands
        self.code = 0

    async def script(self, text: str, stdin: Input, out: Sink, err: Sink) -> int:
        """Run a script to its end or its `exit` → the last exit code."""
        try:
            for pipeline in parsed(text):
                if (pipeline.when == "&&" and self.code) or (pipeline.when == "||" and not self.code):
                    continue
                self.code = await self._pipeline(pipeline, stdin, out, err)
        except ScriptError as error:
            await err(f"sh: {error}\n".encode())
            self.code = SYNTAX
        except ExitError as error:
            self.code = error.code
            raise
        return self.code

    async def _pipeline(self, pipeline: Pipeline, stdin: Input, out: Sink, err: Sink) -> int:
        code = 0
        for number, simple in enumerate(pipeline.commands):
            if number == len(pipeline.commands) - 1:
                return await self._simple(simple, stdin, out, err)
            gathered = Gathered()
            code = await self._simple(simple, stdin, gathered, err)
            stdin = Input(gathered.data())
        return code

    async def _simple(self, simple: Simple, stdin: Input, out: Sink, err: Sink) -> int:
        place = self._place
        variables = {**place.environment, "?": str(self.code), "$": "1", "#": "0"}
        words = [piece for word in simple.words for piece in expanded(word, variables)]
        try:
            for operator, raw in simple.redirections:
                target = " ".join(expanded(raw, variables))
                if operator == "<":
                    stdin = Input(place.files.read(place.path(target)))
                elif operator == "2>&1":
                    err = out
                elif operator == ">&2":
                    out = err
                else:
                    sink = self._file(place.path(target), operator.endswith(">>"))
                    out, err = (out, sink) if operator.startswith("2") else (sink, err)
            while words and _ASSIGNMENT.match(words[0]):
                name, _, value = words.pop(0).partition("=")
                place.environment[name] = value
            return await self.execute(Run(place, stdin, out, err, self.execute), words) if words else 0
        except OSError as error:
            await err(f"sh: {error}\n".encode())
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
        name = words[0].rpartition("/")[2] if words[0].startswith(("/bin/", "/usr/bin/")) else words[0]
        command = self._commands.get(name)
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
