"""Inside simulated containers: what they say, commands in them, who answers on their ports.

Commands run in a small shell (`shell`, `commands`) over files and an environment of their own, and
their pod's volumes. A container that keeps its standard input open (`stdin: true`) and whose command the
shell knows is a real conversation: its process begins when somebody attaches, sees what they type, and
its exit code is the container's.

A container whose own command is performed (`acting`) has its place from its start, and its program answers on
its ports; any other is made when somebody first asks, and answers as `replies` says.
"""

import asyncio
import contextlib
import math
import ssl
from collections import OrderedDict
from collections.abc import AsyncIterator, Callable, Coroutine, Sequence
from dataclasses import replace
from datetime import datetime
from typing import Any

from ksql.base.clock import Clock
from ksql.base.documents import Document
from ksql.base.tasks import Tasks
from ksql.client import Client
from ksql.conversations import KubeletError, LogOptions, Stdio, Wire
from ksql.node import output, responder
from ksql.node.acting import Acting, Ended, Key, last_words
from ksql.node.images.catalogue import image_of, words_of
from ksql.node.images.web import Handler
from ksql.node.lifecycle import annotation_of
from ksql.node.limits import is_resized
from ksql.node.mounts import Tree
from ksql.node.network import Network
from ksql.node.output import LOG_SECONDS, Life, Line, Script, line_of
from ksql.node.performance import Performance, Sink, StageClock
from ksql.node.processes import base, is_known, listens, run, start
from ksql.node.replies import replies
from ksql.node.responder import Question, Reply
from ksql.node.shell import Input, Place, Talk, inside
from ksql.node.surroundings import containers_of, identity_of, show_limits, tree_of
from ksql.node.variables import ConfigurationError, check, environment_of, filled
from ksql.node.volumes import Disks, Volumes, check_mounts
from ksql.secured import secured

KILLED = 137  # 128 + SIGKILL: what a process shows whose container ended around it
# Containers whose insides are kept at once; the one that nobody looked into longest is made anew.
PLACES_MAX = 256
# What is kept of a conversation for the container's log: its first lines.
SAID_LINES_MAX = 2000
# How often a follower looks whether a conversation has gone on.
LOOK_SECONDS = 0.2
# What is kept of one line of it.
LINE_BYTES_MAX = 16 * 1024
# A pod as last seen, by its uid.
Seen = Callable[[str], Document | None]
# Told where a container's process will run, or why it cannot: a reason (empty: its volumes) and a message.
Prepared = Callable[[Place | None], None]
Failed = Callable[[str, str], None]


class Inside:
    """The insides of one node's containers."""

    # Set once the process's nodes are known.
    network: Network | None = None
    # What the node has.
    memory_bytes = 0

    def __init__(self, client: Client, clock: Clock, node: str, ended: Ended, seen: Seen) -> None:
        self._client, self._clock, self._node, self._ended, self._seen = client, clock, node, ended, seen
        self._places: OrderedDict[Key, Place] = OrderedDict()
        self._said: OrderedDict[Key, Said] = OrderedDict()
        self._performances: OrderedDict[tuple[str, str, int], Performance] = OrderedDict()
        self._over: dict[Key, asyncio.Event] = {}
        # The newest run and the one before, to the microsecond.
        self._lives: dict[Key, list[Life]] = {}
        self._mains: set[Key] = set()
        self._tasks = Tasks()
        self._disks = Disks()
        self._volumes: dict[str, Volumes] = {}
        self.acting = Acting(clock, self._tasks, ended, self._refresh)

    async def aclose(self) -> None:
        self.acting.close()
        for performance in self._performances.values():
            performance.close()
        await self._tasks.aclose()

    # What the runtime tells.

    def adopted(self, uid: str, container: str) -> None:
        """The container runs already."""
        self._over[uid, container] = asyncio.Event()

    def prepare(self, pod: Document, container: Document, performs: bool, then: Prepared, fail: Failed) -> None:
        """Have ready what a container's process finds around it, or see that it could be; one of the two is called."""
        work = self._prepare(pod, container, performs, then, fail)
        self._tasks.start(f"surroundings of {container['name']}", work)

    async def _prepare(
        self, pod: Document, container: Document, performs: bool, then: Prepared, fail: Failed
    ) -> None:
        volumes, place = self._volumes_of(pod), None
        try:
            await (volumes.prepare(self._clock.now()) if performs else volumes.check())
        except ConfigurationError as error:
            fail("", str(error))
            return
        try:
            if performs:
                place = await self._fresh(pod, container)
            else:
                await check(self._client, pod, container)
                if any(mount.get("subPathExpr") for mount in container.get("volumeMounts") or ()):
                    # Its paths are filled in from its variables.
                    check_mounts(container, await environment_of(self._client, pod, container))
        except ConfigurationError as error:
            fail("CreateContainerConfigError", str(error))
            return
        then(place)

    def began(
        self, uid: str, container: str, attempt: int, place: Place | None = None, since: datetime | None = None
    ) -> None:
        """A run of the container has begun: nothing of the one before is left in it.

        With a place its own command is performed there, from `since` on when it began before.
        """
        key = (uid, container)
        self._places.pop(key, None)
        self._over[key] = asyncio.Event()
        began = since or self._clock.now()
        self._lives[key] = [*self._lives.get(key, ())[-1:], Life(began, attempt=attempt)]
        if place is not None:
            self.acting.begin(key, place, attempt, began)

    def ended(self, uid: str, container: str, code: int = KILLED) -> str:
        """It has ended: so does all that was done inside → its last words."""
        act, message = self.acting.end((uid, container)), ""
        if act is not None:
            message = last_words(act.place, act.performance, code)
            self._shelve((uid, container, act.attempt), act.performance)
        if lives := self._lives.get((uid, container)):
            lives[-1] = replace(lives[-1], ended=self._clock.now(), exit_code=code)
        if over := self._over.pop((uid, container), None):
            over.set()
        return message

    def stopped(self, uid: str) -> None:
        """Nothing of the pod runs any more; what it said can still be asked."""
        for uid_and_name in [key for key in self._over if key[0] == uid]:
            self.ended(*uid_and_name)
        self._volumes.pop(uid, None)
        self.acting.forget(uid)

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
        key = (pod["metadata"]["uid"], container["name"])
        act = self.acting.find(key)
        if act is not None and act.attempt == life.attempt:
            # A server may be asked at any time.
            return min(LOOK_SECONDS, max(0.01, act.performance.seconds_to_next(now)))
        performance = self._performances.get((*key, life.attempt))
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
        act = self.acting.find(key[:2])
        if act is not None and act.attempt == life.attempt:
            await act.performance.until(self._clock.now())
            return act.performance
        found = self._performances.get(key)
        if found is None:

            async def perform(clock: StageClock, out: Sink, err: Sink) -> int:
                place = replace(await self._lenient(pod, container), clock=clock)
                words = [filled(word, place.environment) for word in command]
                return await run(place, words, Input(None), out, err)

            found = self._shelve(key, Performance(self._clock, life.began, perform))
        self._performances.move_to_end(key)
        now = self._clock.now()
        await found.until(min(now, life.ended) if life.ended is not None else now)
        return found

    def _shelve(self, key: tuple[str, str, int], performance: Performance) -> Performance:
        """Keep what a run says for who asks later."""
        self._performances[key] = performance
        while len(self._performances) > PLACES_MAX:
            self._performances.popitem(last=False)[1].close()
        return performance

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
        await self._refresh(key[0])
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
        handler = self.handler(pod, port)
        if handler is None:
            raise KubeletError(f"dial tcp4 127.0.0.1:{port}: connect: connection refused")
        sockets = self.acting.find_sockets(pod["metadata"]["uid"])
        context = sockets.secrets.get(port) if sockets is not None else None
        if context is None:
            return self.answering(handler)
        wire = Wire()
        self._tasks.start("responder over TLS", _answer_secretly(wire, context, handler))
        return wire

    def handler(self, pod: Document, port: int) -> Handler | None:
        """Who answers on a port of the pod: a performed program, or the simulation for a container that runs."""
        uid = pod["metadata"]["uid"]
        sockets = self.acting.find_sockets(uid)
        if sockets is not None and port in sockets.listeners:
            return sockets.listeners[port]
        serves = sockets is not None and bool(sockets.listeners)
        for container in containers_of(pod):
            key = (uid, container["name"])
            # A program that serves nothing is answered for all the same, where its container declares a port.
            is_answered_for = not serves or self.acting.find(key) is None
            if key in self._over and is_answered_for and port in ports_of(container):
                return replies(pod, container["name"])
        return None

    def talk(self, pod: Document, port: int) -> Talk | None:
        """Who answers datagrams there."""
        sockets = self.acting.find_sockets(pod["metadata"]["uid"])
        return None if sockets is None else sockets.datagrams.get(port)

    async def ask(self, pod: Document, host: str, port: int, question: Question) -> Reply:
        """One question over HTTP, to the pod itself when `host` is empty; `OSError` when nobody answers."""
        handler = self.handler(pod, port) if not host else None
        if handler is not None:
            return await handler(question)
        address = host or (self._seen(pod["metadata"]["uid"]) or pod)["status"].get("podIP", "")
        if not host or self.network is None:
            shown = f'Get "http://{address}:{port}{question.path}": ' if question.method == "GET" else ""
            raise ConnectionRefusedError(f"{shown}dial tcp {address}:{port}: connect: connection refused")
        return await self.network.ask(host, port, question, await self._somewhere(pod))

    async def knock(self, pod: Document, host: str, port: int) -> None:
        """Whether a port answers; `OSError` when it does not."""
        if not host and self.handler(pod, port) is not None:
            return
        if not host or self.network is None:
            raise ConnectionRefusedError(f"dial tcp :{port}: connect: connection refused")
        await self.network.knock(host, port, await self._somewhere(pod))

    async def _somewhere(self, pod: Document) -> Place:
        """A place in the pod, for what the node asks in its name."""
        return await self._place(pod, next(containers_of(pod)))

    def answering(self, respond: responder.Respond) -> Wire:
        """A wire with somebody at its end."""
        wire = Wire()
        self._tasks.start("responder", responder.serve(wire, respond))
        return wire

    # Places.

    async def _place(self, pod: Document, container: Document) -> Place:
        key = (pod["metadata"]["uid"], container["name"])
        if (act := self.acting.find(key)) is not None:
            return act.place
        found = self._places.get(key)
        if found is None:
            found = self._places[key] = await self._lenient(pod, container)
            while len(self._places) > PLACES_MAX:
                self._places.popitem(last=False)
        self._places.move_to_end(key)
        return found

    async def _lenient(self, pod: Document, container: Document) -> Place:
        """A place as good as it is to be had, for a container that runs already."""
        pod = self._seen(pod["metadata"]["uid"]) or pod
        with contextlib.suppress(ConfigurationError):
            await self._volumes_of(pod).prepare(self._clock.now())
        try:
            return await self._fresh(pod, container)
        except ConfigurationError:
            bare = {key: value for key, value in container.items() if key not in ("env", "envFrom", "volumeMounts")}
            return await self._fresh(pod, bare)

    async def _fresh(self, pod: Document, container: Document) -> Place:
        uid, clock = pod["metadata"]["uid"], self._clock
        environment = await environment_of(self._client, pod, container)
        files = await tree_of(self._client, pod, container, self._volumes_of(pod), environment, clock)
        show_limits(files, pod, container, self.memory_bytes, clock.now())
        sockets = self.acting.sockets(uid)
        return Place(
            pod, container, files, environment, clock, container.get("workingDir") or "/", identity_of(pod, container),
            sockets.listeners, sockets.datagrams, sockets.secrets, self.network, clock,
        )  # fmt: skip

    def _volumes_of(self, pod: Document) -> Volumes:
        uid = pod["metadata"]["uid"]
        found = self._volumes.get(uid)
        if found is None:
            found = self._volumes[uid] = Volumes(self._client, self._disks, pod)
        return found

    def redefined(self, pod: Document) -> None:
        """Performed containers may have other resources now."""
        uid = pod["metadata"]["uid"]
        for container in containers_of(pod):
            act = self.acting.find((uid, container["name"]))
            files = act.place.files if act is not None else None
            if act is not None and isinstance(files, Tree) and is_resized(act.place.container, container):
                act.place.container = container
                show_limits(files, pod, container, self.memory_bytes, self._clock.now())

    async def _refresh(self, uid: str) -> None:
        """Show in the pod's volumes what has become of the objects in them."""
        volumes, pod = self._volumes.get(uid), self._seen(uid)
        if volumes is not None and pod is not None:
            await volumes.refresh(pod, self._clock.now())


async def _answer_secretly(wire: Wire, context: ssl.SSLContext, respond: responder.Respond) -> None:
    """Answer who shakes hands; who does not is cut off."""
    with contextlib.suppress(OSError):
        await responder.serve(await secured(wire, context, serves=True), respond)


def command_of(container: Document) -> list[str]:
    """The words of a container's own process; none for an image of which only its ports are known."""
    is_told = bool(container.get("command") or container.get("args"))
    words = words_of(container) if is_told or not image_of(container).is_quiet else []
    return [base(words[0]), *words[1:]] if words else []


def is_conversation(container: Document) -> bool:
    """Whether the container's own process is run for whoever attaches."""
    words = command_of(container)
    return bool(container.get("stdin")) and is_known(words) and listens(words)


def ports_of(container: Document) -> set[int]:
    """Where a container listens: the ports it declares, else those that its image is known for."""
    declared = {int(one["containerPort"]) for one in container.get("ports") or ()}
    return declared or set(image_of(container).ports)


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
