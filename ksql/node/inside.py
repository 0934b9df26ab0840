"""Inside simulated containers: what they say, commands in them, who answers on their ports.

Commands run in a small shell (`shell`, `commands`) over files and an environment of their own, made when
somebody first asks. A container that keeps its standard input open (`stdin: true`) and whose command the
shell knows is a real conversation: its process begins when somebody attaches, sees what they type, and
its exit code is the container's.

Ports answer HTTP where `containerPorts` names them, or where an image that declares none is known to listen.
/healthz says ok, /hostname the pod's name, a body sent to /echo comes back, all else tells the pod, the
method and the path. Annotations, as in `lifecycle`:

| annotation  | value                 | meaning                                               |
|-------------|-----------------------|-------------------------------------------------------|
| `http-code` | 200 to 599            | with which every path but /healthz is answered (200)  |
| `http-body` | text                  | what is answered instead                              |
"""

import asyncio
import math
from collections import OrderedDict
from collections.abc import AsyncIterator, Callable, Coroutine, Mapping, Sequence
from dataclasses import replace
from typing import Any

from ksql.base.clock import Clock
from ksql.base.documents import Document
from ksql.base.tasks import Tasks
from ksql.client import Client
from ksql.conversations import KubeletError, LogOptions, Stdio, Wire
from ksql.node import output, responder
from ksql.node.lifecycle import annotation_of
from ksql.node.output import LOG_SECONDS, Life, Line, Script, line_of
from ksql.node.performance import Performance, Sink, StageClock
from ksql.node.processes import base, is_known, run, start
from ksql.node.responder import Question, Reply
from ksql.node.shell import Input, Place, inside
from ksql.node.surroundings import containers_of, environment_of, files_of

KILLED = 137  # 128 + SIGKILL: what a process shows whose container ended around it
# Containers whose insides are kept at once; the one that nobody looked into longest is made anew.
PLACES_MAX = 256
# What is kept of a conversation for the container's log: its first lines.
SAID_LINES_MAX = 2000
# How often a follower looks whether a conversation has gone on.
LOOK_SECONDS = 0.2
# What is kept of one line of it.
LINE_BYTES_MAX = 16 * 1024
# Images whose own command is a shell.
SHELL_IMAGES = ("busybox", "alpine", "debian", "ubuntu", "bash", "fedora")

# Where well-known images listen whose containers often declare nothing.
IMAGE_PORTS: Mapping[str, tuple[int, ...]] = {
    "nginx": (80,), "httpd": (80,), "caddy": (80,), "traefik": (80,), "echoserver": (8080,), "http-echo": (5678,),
}  # fmt: skip

Key = tuple[str, str]  # uid of the pod, name of the container
# Told that a container's own process has ended by itself: uid, container, exit code.
Ended = Callable[[str, str, int], None]


class Inside:
    """The insides of one node's containers."""

    def __init__(self, client: Client, clock: Clock, node: str, ended: Ended) -> None:
        self._client, self._clock, self._node, self._ended = client, clock, node, ended
        self._places: OrderedDict[Key, Place] = OrderedDict()
        self._said: OrderedDict[Key, Said] = OrderedDict()
        self._performances: OrderedDict[tuple[str, str, int], Performance] = OrderedDict()
        self._over: dict[Key, asyncio.Event] = {}
        # The newest run and the one before, to the microsecond.
        self._lives: dict[Key, list[Life]] = {}
        self._mains: set[Key] = set()
        self._tasks = Tasks()

    async def aclose(self) -> None:
        for performance in self._performances.values():
            performance.close()
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
        for known_run in [known_run for known_run in self._performances if known_run[0] == uid]:
            self._performances.pop(known_run).close()
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
            await self._next_line(self._pause(pod, container, script, life), over)
            life = self.exact(*key, life)
            script, now = await self._script(pod, container, life), self._clock.now()
            count = script.count(life, now)
            for piece in output.pieces(script, life, said, count, options.timestamps):
                yield piece
            said = max(said, count)

    def _pause(self, pod: Document, container: Document, script: Script, life: Life) -> float:
        """How long nothing new can be said."""
        now = self._clock.now()
        if is_conversation(container):
            return LOOK_SECONDS
        performance = self._performances.get((pod["metadata"]["uid"], container["name"], life.attempt))
        if performance is not None:
            return performance.seconds_to_next(now)
        return script.seconds_to_next(life, now)

    async def _next_line(self, seconds: float, over: asyncio.Event) -> None:
        """Wait for the next line, or for the end."""
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
        if not given and (performance := await self._performance(pod, container, life)) is not None:
            return Script(performance.lines, (), math.inf, performance.dropped)
        known = {
            "pod": metadata["name"], "container": name, "namespace": metadata["namespace"],
            "node": self._node, "attempt": str(life.attempt),
        }  # fmt: skip
        lines = given.splitlines() if given else ["{container} of {pod} is alive ({n})"]
        for word, meant in known.items():
            lines = [line.replace(f"{{{word}}}", meant) for line in lines]
        opening = [] if given else [f"{name} of {metadata['name']} starts from {container.get('image', '')}"]
        seconds = _seconds(annotation_of(pod, name, "log-seconds"))
        return Script([line_of(life.began, text) for text in opening], lines, seconds)

    async def _performance(self, pod: Document, container: Document, life: Life) -> Performance | None:
        """The container's own command, where the shell knows it, as far as it has come by now."""
        command = command_of(container)
        if not is_known(command):
            return None
        key = (pod["metadata"]["uid"], container["name"], life.attempt)
        found = self._performances.get(key)
        if found is None:

            async def perform(clock: StageClock, out: Sink, err: Sink) -> int:
                place = await self._fresh(pod, container, clock)
                return await run(place, command, Input(None), out, err)

            found = self._performances[key] = Performance(self._clock, life.began, perform)
            while len(self._performances) > PLACES_MAX:
                self._performances.popitem(last=False)[1].close()
        self._performances.move_to_end(key)
        now = self._clock.now()
        await found.until(min(now, life.ended) if life.ended is not None else now)
        return found

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
                and port in ports_of(container)
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


def command_of(container: Document) -> list[str]:
    """The words of a container's own process; those of an image that is known for its shell."""
    words = [*(container.get("command") or ()), *(container.get("args") or ())]
    if not words:
        words = ["sh"] if _image(container) in SHELL_IMAGES else []
    return [base(words[0]), *words[1:]] if words else []


def is_conversation(container: Document) -> bool:
    """Whether the container's own process is run for whoever attaches."""
    return bool(container.get("stdin")) and is_known(command_of(container))


def ports_of(container: Document) -> set[int]:
    """Where a container listens: the ports it declares, else those that its image is known for."""
    declared = {int(one["containerPort"]) for one in container.get("ports") or ()}
    return declared or set(IMAGE_PORTS.get(_image(container), ()))


def _image(container: Document) -> str:
    """The last part of an image's name, without its tag."""
    name: str = container.get("image", "").rpartition("/")[2]
    return name.partition("@")[0].partition(":")[0]


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
