"""Inside simulated containers: what they say, commands in them, who answers on their ports.

Commands run in a small shell (`shell`, `commands`) over files and an environment of their own, made when
somebody first asks. A container that keeps its standard input open (`stdin: true`) and whose command the
shell knows is a real conversation: its process begins when somebody attaches, sees what they type, and
its exit code is the container's.

Ports answer HTTP where `containerPorts` names them. /healthz says ok, /hostname the pod's name, a body
sent to /echo comes back, all else tells the pod, the method and the path. Annotations, as in `lifecycle`:

| annotation  | value                 | meaning                                               |
|-------------|-----------------------|-------------------------------------------------------|
| `http-code` | 200 to 599            | with which every path but /healthz is answered (200)  |
| `http-body` | text                  | what is answered instead                              |
"""

import asyncio
import math
from collections import OrderedDict
from collections.abc import AsyncIterator, Callable, Coroutine, Sequence
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any

from ksql.base.clock import Clock
from ksql.base.documents import Document
from ksql.base.tasks import Tasks
from ksql.client import Client
from ksql.conversations import KubeletError, LogOptions, Stdio, Wire
from ksql.node import output, responder
from ksql.node.lifecycle import annotation_of
from ksql.node.output import LOG_SECONDS, Life, Line, Script, line_of
from ksql.node.processes import base, is_known, run, start
from ksql.node.responder import Question, Reply
from ksql.node.shell import Input, Place, inside
from ksql.node.surroundings import containers_of, environment_of, files_of

KILLED = 137  # 128 + SIGKILL: what a process shows whose container ended around it
# Containers whose insides are kept at once; the one that nobody looked into longest is made anew.
PLACES_MAX = 256
# What is kept of a conversation for the container's log: its first lines.
SAID_LINES_MAX = 2000
OPENING_LINES_MAX = 1000
# What one sleep of a command adds to the time it tells: beyond a year nothing is told any more.
SLEEP_SECONDS_MAX = 365 * 86400.0
# How often a follower looks whether a conversation has gone on.
LOOK_SECONDS = 0.2
# What is kept of one line of it.
LINE_BYTES_MAX = 16 * 1024
# Images whose own command is a shell.
SHELL_IMAGES = ("busybox", "alpine", "debian", "ubuntu", "bash", "fedora")

Key = tuple[str, str]  # uid of the pod, name of the container
# Told that a container's own process has ended by itself: uid, container, exit code.
Ended = Callable[[str, str, int], None]


class Inside:
    """The insides of one node's containers."""

    def __init__(self, client: Client, clock: Clock, node: str, ended: Ended) -> None:
        self._client, self._clock, self._node, self._ended = client, clock, node, ended
        self._places: OrderedDict[Key, Place] = OrderedDict()
        self._said: OrderedDict[Key, Said] = OrderedDict()
        self._over: dict[Key, asyncio.Event] = {}
        # The newest run and the one before, to the microsecond.
        self._lives: dict[Key, list[Life]] = {}
        self._mains: set[Key] = set()
        self._tasks = Tasks()

    async def aclose(self) -> None:
        await self._tasks.aclose()

    # What the runtime tells.

    def adopted(self, uid: str, container: str) -> None:
        """The container runs already."""
        self._over[uid, container] = asyncio.Event()

    def began(self, uid: str, container: str, attempt: int) -> None:
        """A run of the container has begun: nothing of the one before is left in it."""
        key = (uid, container)
        self._places.pop(key, None)
        self._over[key] = asyncio.Event()
        self._lives[key] = [*self._lives.get(key, ())[-1:], Life(self._clock.now(), attempt=attempt)]

    def ended(self, uid: str, container: str, code: int = KILLED) -> None:
        """It has ended: so does all that was done inside."""
        if lives := self._lives.get((uid, container)):
            lives[-1] = replace(lives[-1], ended=self._clock.now(), exit_code=code)
        if over := self._over.pop((uid, container), None):
            over.set()

    def stopped(self, uid: str) -> None:
        """Nothing of the pod runs any more; what it said can still be asked."""
        for uid_and_name in [key for key in self._over if key[0] == uid]:
            self.ended(*uid_and_name)

    def forget(self, uid: str) -> None:
        """The pod is no more."""
        self.stopped(uid)
        for known in (self._places, self._said, self._lives):
            for key in [key for key in known if key[0] == uid]:
                del known[key]

    def exact(self, uid: str, container: str, life: Life) -> Life:
        """A life with the moments that its status rounds to seconds, where they are still known."""
        return next((one for one in self._lives.get((uid, container), ()) if one.attempt == life.attempt), life)

    # Output.

    async def output(
        self, pod: Document, container: Document, life: Life, options: LogOptions
    ) -> AsyncIterator[bytes]:
        """What was said, and with `follow` what is said until the life ends, within the options."""
        life = self.exact(pod["metadata"]["uid"], container["name"], life)
        room = options.limit_bytes if options.limit_bytes is not None else math.inf
        pieces = self._follow(pod, container, life, options) if options.follow else None
        async for piece in pieces or self._so_far(pod, container, life, options):
            if len(piece) >= room:
                yield piece[: int(room)]
                return
            room -= len(piece)
            yield piece

    async def _so_far(
        self, pod: Document, container: Document, life: Life, options: LogOptions
    ) -> AsyncIterator[bytes]:
        script, now = await self._script(pod, container, life), self._clock.now()
        count = script.count(life, now)
        first = output.first_line(script, life, count, options, now)
        for piece in output.pieces(script, life, first, count, options.timestamps):
            yield piece

    async def _follow(
        self, pod: Document, container: Document, life: Life, options: LogOptions
    ) -> AsyncIterator[bytes]:
        key = (pod["metadata"]["uid"], container["name"])
        over = self._over.get(key) if life.ended is None else None
        script, now = await self._script(pod, container, life), self._clock.now()
        said = script.count(life, now)
        for piece in output.pieces(
            script, life, output.first_line(script, life, said, options, now), said, options.timestamps
        ):
            yield piece
        while over is not None and not over.is_set():
            await self._next_line(script, life, over, is_conversation(container))
            life = self.exact(*key, life)
            script, now = await self._script(pod, container, life), self._clock.now()
            count = script.count(life, now)
            for piece in output.pieces(script, life, said, count, options.timestamps):
                yield piece
            said = max(said, count)

    async def _next_line(self, script: Script, life: Life, over: asyncio.Event, is_watched: bool) -> None:
        """Wait for the next line, or for the end."""
        seconds = LOOK_SECONDS if is_watched else script.seconds_to_next(life, self._clock.now())
        try:
            async with asyncio.timeout(None if math.isinf(seconds) else seconds):
                await over.wait()
        except TimeoutError:
            pass

    async def _script(self, pod: Document, container: Document, life: Life) -> Script:
        """What a run of the container says."""
        name, metadata = container["name"], pod["metadata"]
        if is_conversation(container):
            said = self._said.get((metadata["uid"], name))
            return Script(said.lines if said else (), (), math.inf)
        given = annotation_of(pod, name, "log")
        seconds = _seconds(annotation_of(pod, name, "log-seconds"))
        known = {
            "pod": metadata["name"], "container": name, "namespace": metadata["namespace"],
            "node": self._node, "attempt": str(life.attempt),
        }  # fmt: skip
        opening = await self._opening(pod, container, life)
        lines = given.splitlines() if given else [] if opening else ["{container} of {pod} is alive ({n})"]
        for word, meant in known.items():
            lines = [line.replace(f"{{{word}}}", meant) for line in lines]
        if not opening and not given:
            opening = [f"{name} of {metadata['name']} starts from {container.get('image', '')}"]
        return Script([line_of(life.began, text) for text in opening], lines, seconds)

    async def _opening(self, pod: Document, container: Document, life: Life) -> list[str]:
        """What the container's own command prints, where the shell knows it."""
        command = command_of(container)
        if not is_known(command):
            return []
        place = await self._fresh(pod, container, _Standing(self._clock, life.began))
        said: list[tuple[str, bytes]] = []

        async def out(data: bytes) -> None:
            said.append(("", data))

        async def err(data: bytes) -> None:
            said.append(("stderr:", data))

        await run(place, command, Input(None), out, err)
        return [
            mark + line
            for mark, data in said[:OPENING_LINES_MAX]
            for line in data.decode(errors="replace").splitlines()
        ][:OPENING_LINES_MAX]

    # Commands.

    async def execute(self, pod: Document, container: Document, command: Sequence[str], stdio: Stdio) -> int:
        """Run a command beside the container's own process → its exit code."""
        if not is_known(command):
            shown = command[0] if command else ""
            raise KubeletError(
                "error executing command in container: failed to exec in container: failed to start exec: "
                f'OCI runtime exec failed: exec failed: unable to start container process: exec: "{shown}": '
                "executable file not found in $PATH"
            )
        key = (pod["metadata"]["uid"], container["name"])
        place = inside(await self._place(pod, container))
        return await self._within(key, start(place, list(command), stdio))

    async def _within(self, key: Key, work: Coroutine[Any, Any, int]) -> int:
        """The outcome of something done in a container; when that ends first, it is killed with it."""
        over = self._over.get(key)
        loop = asyncio.get_running_loop()
        process = loop.create_task(work, name=f"process in {key[1]}")
        end = loop.create_task((over or asyncio.Event()).wait(), name=f"end of {key[1]}")
        try:
            await asyncio.wait((process, end), return_when=asyncio.FIRST_COMPLETED)
            return process.result() if process.done() else KILLED
        finally:
            process.cancel()
            end.cancel()
            await asyncio.gather(process, end, return_exceptions=True)

    async def attach(self, pod: Document, container: Document, life: Life, stdio: Stdio) -> None:
        """Hold the ends of the container's own process until it ends."""
        key = (pod["metadata"]["uid"], container["name"])
        if is_conversation(container) and stdio.stdin is not None and key not in self._mains:
            await self._main(key, pod, container, stdio)
            return
        async for piece in self.output(pod, container, life, LogOptions(follow=True, tail_lines=0)):
            if stdio.stdout is not None:
                await stdio.stdout.write(piece)

    async def _main(self, key: Key, pod: Document, container: Document, stdio: Stdio) -> None:
        """The container's own process, held by whoever attached first; when they leave it, it ends."""
        self._mains.add(key)
        said = self._said[key] = Said(self._clock)
        while len(self._said) > PLACES_MAX:
            self._said.popitem(last=False)
        code = KILLED
        try:
            place = inside(await self._place(pod, container))
            code = await self._within(key, start(place, command_of(container), stdio, said.write))
        finally:
            self._mains.discard(key)
            if key in self._over:
                self._ended(*key, code)

    # Ports.

    async def dial(self, pod: Document, port: int) -> Wire:
        """Connect to a port of the pod; `KubeletError` where nothing listens."""
        owner = next(
            (
                container
                for container in containers_of(pod)
                if (pod["metadata"]["uid"], container["name"]) in self._over
                and any(one["containerPort"] == port for one in container.get("ports") or ())
            ),
            None,
        )
        if owner is None:
            raise KubeletError(f"dial tcp4 127.0.0.1:{port}: connect: connection refused")
        return self.answering(lambda question: _reply(pod, owner["name"], question))

    def answering(self, respond: responder.Respond) -> Wire:
        """A wire with somebody at its end."""
        wire = Wire()
        self._tasks.start("responder", responder.serve(wire, respond))
        return wire

    # Places.

    async def _place(self, pod: Document, container: Document) -> Place:
        key = (pod["metadata"]["uid"], container["name"])
        found = self._places.get(key)
        if found is None:
            found = self._places[key] = await self._fresh(pod, container, self._clock)
            while len(self._places) > PLACES_MAX:
                self._places.popitem(last=False)
        self._places.move_to_end(key)
        return found

    async def _fresh(self, pod: Document, container: Document, clock: Clock) -> Place:
        environment = await environment_of(self._client, pod, container)
        files = await files_of(self._client, pod, container, clock)
        directory = container.get("workingDir") or "/"
        files.make_directory(directory, clock.now(), parents=True)
        return Place(pod, container, files, environment, clock, directory)


class _Standing:
    """A clock on which sleeping takes no time: for what a command would say if it had already run."""

    def __init__(self, clock: Clock, began: datetime) -> None:
        self._clock, self._now, self.random = clock, began, clock.random

    def now(self) -> datetime:
        return self._now

    def monotonic(self) -> float:
        return self._clock.monotonic()

    async def sleep(self, seconds: float) -> None:
        self._now += timedelta(seconds=min(seconds, SLEEP_SECONDS_MAX))


def command_of(container: Document) -> list[str]:
    """The words of a container's own process; those of an image that is known for its shell."""
    words = [*(container.get("command") or ()), *(container.get("args") or ())]
    if not words:
        image = container.get("image", "").rpartition("/")[2].partition(":")[0]
        words = ["sh"] if image in SHELL_IMAGES else []
    return [base(words[0]), *words[1:]] if words else []


def is_conversation(container: Document) -> bool:
    """Whether the container's own process is run for whoever attaches."""
    return bool(container.get("stdin")) and is_known(command_of(container))


class Said:
    """What a conversation printed, line by line, for the container's log."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self.lines: list[Line] = []
        self._rest = b""

    async def write(self, data: bytes) -> None:
        *lines, self._rest = (self._rest + data).split(b"\n")
        now = self._clock.now()
        for line in lines[: SAID_LINES_MAX - len(self.lines)]:
            self.lines.append(Line(now, "stdout", line.decode(errors="replace").rstrip("\r")))
        self._rest = self._rest[-LINE_BYTES_MAX:]


def _seconds(text: str) -> float:
    """The value of `log-seconds`; what cannot be read is the default."""
    if text == "never":
        return math.inf
    try:
        seconds = float(text)
    except ValueError:
        return LOG_SECONDS
    return seconds if 0 < seconds < math.inf else LOG_SECONDS


def _reply(pod: Document, container: str, question: Question) -> Reply:
    """What a pod answers on its ports."""
    name, path = pod["metadata"]["name"], question.path.partition("?")[0]
    if path == "/healthz":
        return Reply(200, b"ok")
    code = annotation_of(pod, container, "http-code")
    status = int(code) if code.isdigit() and 200 <= int(code) <= 599 else 200
    if body := annotation_of(pod, container, "http-body"):
        return Reply(status, body.encode())
    if path == "/hostname":
        return Reply(status, name.encode())
    if path == "/echo":
        return Reply(status, question.body)
    return Reply(status, f"{name}: {question.method} {question.path}\n".encode())
