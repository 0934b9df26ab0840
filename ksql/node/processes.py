"""Commands as processes: with ends that somebody holds, on a terminal or without one, to be interrupted.

`start` is what exec and a container's own process have in common. A process whose reader has left ends as
one does that writes into a broken pipe.
"""

import asyncio
from collections.abc import Coroutine, Sequence
from typing import Any

from ksql.base.pipes import Pipe
from ksql.conversations import Stdio
from ksql.node.commands import COMMANDS, conversation
from ksql.node.scripts import ScriptError, named, parsed
from ksql.node.shell import SHELLS, ExitError, Input, Place, Run, Shell, Sink
from ksql.node.terminal import PROMPT, Terminal

INTERRUPTED = 130  # 128 + SIGINT
BROKEN_PIPE = 141  # 128 + SIGPIPE


def is_understood(words: Sequence[str]) -> bool:
    """Whether a known command can be run to its end as it is meant: of a script, each command is known."""
    if base(words[0]) not in SHELLS:
        return True
    flags = [word for word in words[1:] if word.startswith("-")]
    rest = [word for word in words[1:] if not word.startswith("-")]
    if not any("c" in flag for flag in flags):
        return not rest
    try:
        return bool(rest) and all(name in COMMANDS for name in map(base, named(parsed(rest[0]))))
    except ScriptError:
        return False


# What takes its input from whoever holds the other end, when it is named nothing else.
_READERS = frozenset((*SHELLS, "cat", "cut", "grep", "head", "nc", "read", "sort", "tail", "tar", "tee", "uniq", "wc"))


def listens(words: Sequence[str]) -> bool:
    """Whether a command waits for what somebody types."""
    if not words or base(words[0]) not in SHELLS or len(words) == 1:
        return bool(words) and base(words[0]) in _READERS
    try:
        return any(base(name) in _READERS for word in words[1:] if word[:1] != "-" for name in named(parsed(word)))
    except ScriptError:
        return True


def is_known(words: Sequence[str]) -> bool:
    """Whether simulated containers can run this command."""
    return bool(words) and base(words[0]) in COMMANDS


def base(word: str) -> str:
    """A command without the directory that it is called by."""
    return word.rpartition("/")[2] if word.startswith("/") else word


async def start(place: Place, words: list[str], stdio: Stdio, keep: Sink | None = None) -> int:
    """Run a command to its end → its exit code. `keep` is given a copy of all that it writes."""
    if stdio.tty and stdio.stdin is not None and stdio.stdout is not None:
        return await _on_terminal(place, words, stdio.stdin, stdio.stdout, keep)
    out = _copied(stdio.stdout, keep)
    err = _copied(stdio.stdout if stdio.tty else stdio.stderr, keep)
    return await run(place, words, Input(stdio.stdin), out, err)


async def run(place: Place, words: list[str], stdin: Input, out: Sink, err: Sink) -> int:
    """A command without a terminal."""
    shell = Shell(place, COMMANDS)
    try:
        return await shell.execute(Run(place, stdin, out, err, shell.execute), words)
    except ExitError as error:
        return error.code
    except BrokenPipeError:
        return BROKEN_PIPE


class Foreground:
    """What runs in a terminal's foreground, to be interrupted without ending the shell behind it."""

    def __init__(self) -> None:
        self._task: asyncio.Task[int] | None = None

    def interrupt(self) -> None:
        if self._task is not None:
            self._task.cancel()

    async def run(self, work: Coroutine[Any, Any, int]) -> int:
        task = self._task = asyncio.get_running_loop().create_task(work, name="foreground")
        try:
            return await task
        except asyncio.CancelledError:
            current = asyncio.current_task()
            if current is not None and current.cancelling():
                raise
            return INTERRUPTED
        finally:
            self._task = None


async def _on_terminal(place: Place, words: list[str], typed: Pipe, screen: Pipe, keep: Sink | None) -> int:
    """A command on a terminal: an interactive shell when it is no more than a shell's name."""
    foreground = Foreground()
    terminal = Terminal(typed, screen, foreground.interrupt)
    stdin, out = Input(terminal.lines), _also(terminal.write, keep)
    reading = asyncio.get_running_loop().create_task(terminal.run(), name="terminal")
    shell = Shell(place, COMMANDS)
    try:
        if base(words[0]) in SHELLS and len(words) == 1:
            seat = Run(place, stdin, out, out, shell.execute)
            return await conversation(shell, seat, PROMPT, foreground.run)
        return await foreground.run(run(place, words, stdin, out, out))
    except ExitError as error:
        return error.code
    except BrokenPipeError:
        return BROKEN_PIPE
    finally:
        reading.cancel()
        await asyncio.gather(reading, return_exceptions=True)


def _copied(pipe: Pipe | None, keep: Sink | None) -> Sink:
    return _also(pipe.write if pipe is not None else _nothing, keep)


def _also(write: Sink, keep: Sink | None) -> Sink:
    if keep is None:
        return write
    kept = keep

    async def both(data: bytes) -> None:
        await kept(data)
        await write(data)

    return both


async def _nothing(data: bytes) -> None:
    pass
