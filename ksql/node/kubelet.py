"""What a node answers when the server asks about its pods: a kubelet's rules and words, for every runtime alike.

The state that counts is the worker's, which is ahead of what the API shows; a pod that the node has let go
of is judged by its status.
"""

from collections.abc import AsyncIterator, Mapping, Sequence

from ksql.base.clock import parse_rfc3339
from ksql.base.documents import Document, encode
from ksql.conversations import KubeletError, LogOptions, Stdio, Usage, Wire
from ksql.node.agent import Agent
from ksql.node.output import Life, life_of
from ksql.node.responder import Question, Reply
from ksql.node.surroundings import containers_of
from ksql.node.usage import is_shared, usage_of
from ksql.node.worker import Worker
from ksql.schema.errors import BadRequestError, NotFoundError

_STATUSES = ("initContainerStatuses", "containerStatuses", "ephemeralContainerStatuses")


class AgentKubelet:
    """The kubelet's side of one agent."""

    def __init__(self, agent: Agent) -> None:
        self._agent = agent

    async def logs(self, pod: Document, container: str, options: LogOptions) -> AsyncIterator[bytes]:
        """Pieces of a container's output."""
        life = life_of_log(self._entry(pod, container), pod, container, options.previous)
        yield b""
        pieces = self._agent.runtime.inside.output(pod, _container(pod, container), life, options)
        async for piece in pieces:
            yield piece

    async def execute(self, pod: Document, container: str, command: Sequence[str], stdio: Stdio) -> int:
        """Run a command → its exit code."""
        self._running(pod, container)
        try:
            return await self._agent.runtime.inside.execute(pod, _container(pod, container), command, stdio)
        finally:
            stdio.finish()

    async def attach(self, pod: Document, container: str, stdio: Stdio) -> None:
        """Hold the ends of a container's own process until it ends."""
        life = self._running(pod, container)
        try:
            await self._agent.runtime.inside.attach(pod, _container(pod, container), life, stdio)
        finally:
            stdio.finish()

    async def dial(self, pod: Document, port: int) -> Wire:
        """Connect to a port of a pod."""
        if pod["metadata"]["uid"] not in self._agent.workers:
            raise NotFoundError("pod does not exist")
        return await self._agent.runtime.inside.dial(pod, port)

    async def dial_itself(self) -> Wire:
        """Connect to the node's own port."""
        return self._agent.runtime.inside.answering(self._answer)

    def usage(self) -> Mapping[str, Mapping[str, Usage]]:
        """What each running container uses now, by the pod's uid and its name."""
        sharing: dict[str, int] = {}
        return {
            worker.uid: self._usage(worker, sharing)
            for worker in self._agent.workers.values() if not worker.is_terminal
        }  # fmt: skip

    def usage_of(self, uid: str) -> Mapping[str, Usage]:
        """The same of one pod."""
        worker = self._agent.workers.get(uid)
        return {} if worker is None or worker.is_terminal else self._usage(worker, {})

    def _usage(self, worker: Worker, sharing: dict[str, int]) -> Mapping[str, Usage]:
        pod, now = worker.pod, self._agent.clock.now()
        specs = {one["name"]: one for one in containers_of(pod)}
        found = {}
        for record in worker.records:
            running = (record.document().get("state") or {}).get("running")
            if running is None or record.name not in specs:
                continue
            age = (now - parse_rfc3339(running["startedAt"])).total_seconds()
            sharers = self._sharers(pod, sharing) if is_shared(pod, record.name) else 1
            found[record.name] = usage_of(pod, specs[record.name], age, sharers)
        return found

    def _sharers(self, pod: Document, sharing: dict[str, int]) -> int:
        """How many pods bear the load of a controller's pods together; counted once for all of one answer."""
        owner = next((o["uid"] for o in pod["metadata"].get("ownerReferences") or () if o.get("controller")), "")
        if not owner:
            return 1
        if owner not in sharing:
            network = self._agent.runtime.inside.network
            sharing[owner] = network.siblings(pod["metadata"]["namespace"], owner) if network is not None else 1
        return sharing[owner]

    async def _answer(self, question: Question) -> Reply:
        """What the node tells of itself."""
        path = question.path.partition("?")[0].rstrip("/")
        if question.method not in ("GET", "HEAD"):
            return Reply(404, b"404 page not found\n")
        if path in ("/healthz", "/healthz/ping", "/healthz/syncloop"):
            return Reply(200, b"ok")
        if path in ("/pods", "/runningpods"):
            is_wanted = path == "/runningpods"
            pods = [w.pod for w in self._agent.workers.values() if not is_wanted or not w.is_terminal]
            listing = {"kind": "PodList", "apiVersion": "v1", "metadata": {}, "items": pods}
            return Reply(200, encode(listing), "application/json")
        if path == "/logs":
            # Nothing on a simulated machine writes files of its own.
            return Reply(200, b"<pre>\n</pre>\n", "text/html; charset=utf-8")
        return Reply(404, b"404 page not found\n")

    def _running(self, pod: Document, container: str) -> Life:
        entry = self._entry(pod, container)
        life = life_of(entry, False)
        if life is None or "running" not in (entry.get("state") or {}):
            raise KubeletError(f'container not found ("{container}")')
        return life

    def _entry(self, pod: Document, container: str) -> Document:
        """The container's entry as in a pod's status, as new as it is to be had."""
        worker = self._agent.workers.get(pod["metadata"]["uid"])
        if worker is not None:
            record = next((one for one in worker.records if one.name == container), None)
            if record is not None:
                return record.document()
        status = pod.get("status") or {}
        entries = [entry for key in _STATUSES for entry in status.get(key) or ()]
        return next((entry for entry in entries if entry["name"] == container), {})


def life_of_log(entry: Document, pod: Document, container: str, previous: bool) -> Life:
    """The run whose output is asked for; `BadRequestError` in a kubelet's words when there is none."""
    name = pod["metadata"]["name"]
    life = life_of(entry, previous)
    if life is not None:
        return life
    if previous:
        raise BadRequestError(f'previous terminated container "{container}" in pod "{name}" not found')
    waiting = (entry.get("state") or {}).get("waiting")
    if waiting is None:
        raise BadRequestError(f'container "{container}" in pod "{name}" is waiting to start - no logs yet')
    why = _PULLS.get(waiting.get("reason", ""), waiting.get("reason", ""))
    raise BadRequestError(f'container "{container}" in pod "{name}" is waiting to start: {why}')


_PULLS = {"ErrImagePull": "image can't be pulled", "ImagePullBackOff": "trying and failing to pull image"}


def _container(pod: Document, name: str) -> Document:
    return next(one for one in containers_of(pod) if one["name"] == name)
