"""What a node does for its running containers: asks how they are (probes), tells them of start and end (hooks).

A kubelet's rules for every runtime alike: thresholds count in a row, a startup probe holds the others back,
a hook has no longer than its container's grace. What is found out is reported to the pod's worker, which
decides what follows. Who is asked answers through the runtime's `Insides`.
"""

import asyncio
from collections.abc import Callable
from typing import Any

from ksql.base.clock import Clock
from ksql.base.documents import Document
from ksql.base.pipes import Pipe
from ksql.base.tasks import Tasks
from ksql.conversations import Stdio
from ksql.node.responder import Question
from ksql.node.runtime import Hooked, Insides, Listener, Probed
from ksql.schema.errors import ApiError

# Kubernetes' defaults, for what a pod leaves open.
_PERIOD, _TIMEOUT, _FAILURES, _SUCCESSES = 10.0, 1.0, 3, 1
# What is kept of what a command said to a probe.
OUTPUT_BYTES_MAX = 10 * 1024
_REDIRECTS_MAX = 10
_AGENT = "kube-probe/1.35"

Key = tuple[str, str]
# How a probe went: whether it succeeded, and what was said.
Verdict = tuple[bool, str]


class Care:
    """The probes and hooks of one node's containers."""

    def __init__(self, clock: Clock, insides: Callable[[], Insides], listener: Listener) -> None:
        self._clock, self._insides, self._listener = clock, insides, listener
        self._tasks = Tasks()
        self._watches: dict[Key, asyncio.Task[Any]] = {}
        self._pods: dict[str, Document] = {}

    def begin(self, pod: Document, container: Document, *, is_new: bool = True) -> None:
        """A container runs: tell it so when it has just been started, and ask it from now on."""
        uid, name = pod["metadata"]["uid"], container["name"]
        self._pods[uid] = pod
        self.end(uid, name)
        self._watches[uid, name] = self._tasks.start(f"care for {name}", self._watch(uid, container, is_new))

    def end(self, uid: str, name: str) -> None:
        """It runs no more."""
        watch = self._watches.pop((uid, name), None)
        if watch is not None:
            watch.cancel()

    def forget(self, uid: str) -> None:
        self._pods.pop(uid, None)
        for key in [key for key in self._watches if key[0] == uid]:
            self.end(*key)

    def before_stop(self, pod: Document, container: Document, grace: float, then: Callable[[float], None]) -> None:
        """Run the container's preStop hook, then call with what is left of its grace."""
        self._tasks.start(f"preStop of {container['name']}", self._before_stop(pod, container, grace, then))

    async def aclose(self) -> None:
        await self._tasks.aclose()

    async def _before_stop(
        self, pod: Document, container: Document, grace: float, then: Callable[[float], None]
    ) -> None:
        began, error = self._clock.monotonic(), ""
        try:
            async with asyncio.timeout(grace):
                error = await self._hook(pod, container, container["lifecycle"]["preStop"])
        except TimeoutError:
            pass
        if error:
            self._listener(pod["metadata"]["uid"], Hooked(container["name"], "preStop", error))
        then(max(0.0, grace - (self._clock.monotonic() - began)))

    async def _watch(self, uid: str, container: Document, is_new: bool) -> None:
        name, pod = container["name"], self._pods[uid]
        handler = (container.get("lifecycle") or {}).get("postStart")
        if handler and is_new:
            error = await self._hook(pod, container, handler)
            self._listener(uid, Hooked(name, "postStart", error))
            if error:
                return
        if probe := container.get("startupProbe"):
            await self._probe(uid, container, "startup", probe)
        kinds = (("readiness", "readinessProbe"), ("liveness", "livenessProbe"))
        await asyncio.gather(
            *(self._probe(uid, container, kind, container[key]) for kind, key in kinds if container.get(key))
        )

    async def _probe(self, uid: str, container: Document, kind: str, probe: Document) -> None:
        """Ask for as long as the container runs; a startup probe only until it has succeeded."""
        await self._clock.sleep(float(probe.get("initialDelaySeconds") or 0))
        stands: bool | None = None
        last, row = True, 0
        while True:
            succeeded, said = await self._verdict(self._pods[uid], container, probe)
            last, row = succeeded, row + 1 if last == succeeded else 1
            needed = int(probe.get("successThreshold") or _SUCCESSES) if succeeded else int(
                probe.get("failureThreshold") or _FAILURES
            )  # fmt: skip
            is_new = row >= needed and stands is not succeeded
            if is_new:
                stands = succeeded
            if is_new or not succeeded:
                self._listener(uid, Probed(container["name"], kind, succeeded, is_new, said))
            if kind == "startup" and stands:
                return
            if kind != "readiness" and stands is False:
                return  # it is ended for that
            await self._clock.sleep(float(probe.get("periodSeconds") or _PERIOD))

    async def _verdict(self, pod: Document, container: Document, probe: Document) -> Verdict:
        try:
            async with asyncio.timeout(float(probe.get("timeoutSeconds") or _TIMEOUT)):
                return await self._asked(pod, container, probe)
        except TimeoutError:
            if "exec" in probe:
                shown = " ".join(probe["exec"].get("command") or ())
                return False, f'command timed out: "{shown}" timed out after {int(probe.get("timeoutSeconds") or 1)}s'
            return False, "context deadline exceeded (Client.Timeout exceeded while awaiting headers)"
        except (OSError, ApiError) as error:
            return False, str(error)

    async def _asked(self, pod: Document, container: Document, probe: Document) -> Verdict:
        if action := probe.get("exec"):
            code, said = await self._executed(pod, container, list(action.get("command") or ()))
            return code == 0, said
        if action := probe.get("httpGet"):
            return await self._got(pod, container, action)
        if action := probe.get("tcpSocket"):
            await self._insides().knock(pod, action.get("host") or "", port_of(container, action["port"]))
            return True, ""
        action = probe.get("grpc") or {}
        question = Question("POST", "/grpc.health.v1.Health/Check", (), (action.get("service") or "").encode())
        reply = await self._insides().ask(pod, "", int(action.get("port") or 0), question)
        if reply.code == 200:
            return True, ""
        return False, 'service unhealthy (responded with "NOT_SERVING")'

    async def _got(self, pod: Document, container: Document, action: Document) -> Verdict:
        port, path = port_of(container, action["port"]), action.get("path") or "/"
        headers = [("user-agent", _AGENT), *((h["name"].lower(), h["value"]) for h in action.get("httpHeaders") or ())]
        host = action.get("host") or ""
        for _ in range(_REDIRECTS_MAX):
            reply = await self._insides().ask(pod, host, port, Question("GET", path, headers, b""))
            target = next((value for name, value in reply.headers if name.lower() == "location"), "")
            if not (300 <= reply.code < 400 and target.startswith("/")):
                break
            # Its own: elsewhere nobody is led by a probe.
            path = target
        if 200 <= reply.code < 400:
            return True, ""
        return False, f"HTTP probe failed with statuscode: {reply.code}"

    async def _executed(self, pod: Document, container: Document, command: list[str]) -> tuple[int, str]:
        said = Pipe()
        reading = asyncio.get_running_loop().create_task(_read(said), name="what a command says")
        try:
            code = await self._insides().execute(pod, container, command, Stdio(None, said, said))
            said.end()
            return code, (await reading).decode(errors="replace")
        finally:
            said.end()
            reading.cancel()

    async def _hook(self, pod: Document, container: Document, handler: Document) -> str:
        """Run one hook → what went wrong."""
        try:
            if action := handler.get("exec"):
                code, said = await self._executed(pod, container, list(action.get("command") or ()))
                return f"command exited with {code}: {said}" if code else ""
            if action := handler.get("httpGet"):
                held, said = await self._got(pod, container, action)
                return "" if held else said
            if action := handler.get("sleep"):
                await self._clock.sleep(float(action.get("seconds") or 0))
                return ""
            action = handler["tcpSocket"]
            await self._insides().knock(pod, action.get("host") or "", port_of(container, action["port"]))
        except (OSError, ApiError) as error:
            return str(error)
        return ""


async def _read(pipe: Pipe) -> bytes:
    parts, size = [], 0
    while data := await pipe.read():
        if size < OUTPUT_BYTES_MAX:
            parts.append(data[: OUTPUT_BYTES_MAX - size])
        size += len(data)
    return b"".join(parts)


def port_of(container: Document, port: int | str) -> int:
    """A port by its number, or by the name that the container gives it; 0, where nobody listens, else."""
    if isinstance(port, int):
        return port
    return next(
        (int(one["containerPort"]) for one in container.get("ports") or () if one.get("name") == port),
        int(port) if port.isdigit() else 0,
    )


