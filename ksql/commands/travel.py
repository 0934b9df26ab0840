"""`ksql at MOMENT -- PROGRAM …`: any program that speaks to a cluster, shown the cluster as it was.

The program gets a kubeconfig of its own, for its owner's eyes only and gone when it ends, whose server is this
cluster's at the moment. The moment is pinned first, so that "10m" does not move on while the program runs.
"""

import contextlib
import os
import re
import shutil
import signal
import subprocess
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any
from urllib.parse import quote

import typer.core
import yaml

from ksql.base.clock import SystemClock, parse_rfc3339, rfc3339_micro
from ksql.commands.asking import Where, refused, run
from ksql.commands.door import Door
from ksql.kubeconfig import Connection, document

_NOT_FOUND, _NOT_RUN, _KILLED = 127, 126, 128  # as shells say it
_META = "ksql.program"


class Travelling(typer.core.TyperCommand):
    """A command whose line may end in `-- PROGRAM ARGUMENTS…`; what is behind the dashes is the program's own."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        if "--" in args:
            dashes = args.index("--")
            args, ctx.meta[_META] = args[:dashes], args[dashes + 1 :]
        return super().parse_args(ctx, args)


def program_of(ctx: typer.Context) -> list[str] | None:
    """What stands behind the dashes; None where there are none."""
    found: list[str] | None = ctx.meta.get(_META)
    return found


def travel(where: Where, moment: str, program: Sequence[str]) -> int:
    """Run a program at a moment; its exit code."""
    found: list[tuple[Connection, Any]] = []

    async def ask() -> None:
        connection = where.connection()
        async with Door(connection, SystemClock()) as door:
            found.append((connection, (await door.ask("moment", {"at": moment}))["moment"]))

    run(ask())
    connection, resolved = found[0]
    executable = shutil.which(program[0])
    if executable is None:
        raise refused(FileNotFoundError(f"{program[0]}: there is no such program"), _NOT_FOUND)
    with _kubeconfig(connection, f"{connection.server}/at/{quote(pinned(moment, resolved), safe=':')}") as path:
        return _run(executable, program, {**os.environ, "KUBECONFIG": str(path)})


def pinned(moment: str, resolved: Any) -> str:
    """The moment as a path names it, the same for as long as the program runs."""
    # A time is kept as a time, so that ages are counted to it and not to the change before it.
    if re.fullmatch(r"\s*r?\d+\s*", moment, re.IGNORECASE) or resolved["live"] or not resolved["time"]:
        return f"r{resolved['revision']}"
    return rfc3339_micro(parse_rfc3339(resolved["time"]))


@contextlib.contextmanager
def _kubeconfig(connection: Connection, server: str) -> Iterator[Path]:
    """A kubeconfig that lasts as long as the block."""
    # Made for its owner alone (0700, 0600), since it holds a key.
    folder = Path(tempfile.mkdtemp(prefix="ksql-at-"))
    path = folder / "kubeconfig"
    try:
        with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as file:
            yaml.safe_dump(document(connection, server), file, sort_keys=False)
        yield path
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _run(executable: str, program: Sequence[str], environment: dict[str, str]) -> int:
    """Run it to its end. Ctrl-C is the program's affair, and a request to end is handed on."""
    try:
        process = subprocess.Popen(program, executable=executable, env=environment)
    except OSError as error:
        raise refused(OSError(f"{program[0]} cannot be run: {error.strerror}"), _NOT_RUN) from None
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    ended = signal.signal(signal.SIGTERM, lambda number, _: process.send_signal(number))
    try:
        code = process.wait()
    finally:
        signal.signal(signal.SIGINT, before)
        signal.signal(signal.SIGTERM, ended)
    return code if code >= 0 else _KILLED - code
