"""GraphQL's reads beside plain strawberry over the same objects, in one process: `python -m tests.bench graphql`.

Both are asked as ASGI apps, body in and body out, in turns; the peer is what the library's own documentation shows: a
class a type, a resolver a field, over the same documents in the same memory.
"""

import asyncio
import statistics
import time
from types import SimpleNamespace
from typing import Any

import orjson
import strawberry
from strawberry.asgi import GraphQL

from ksql.auth.authorize import AdminAuthorizer
from ksql.auth.identity import User
from ksql.base.documents import Document
from ksql.schema import catalogue
from ksql.serve.gql.app import graphql_app
from ksql.state.objects import Objects
from tests.history import story

PODS, ROUNDS = 10_000, 15
NAMESPACE = "shop"

FIELDS = (
    "name namespace createdAt spec { nodeName serviceAccountName priority hostNetwork } status { phase podIP qosClass }"
)
OURS = f"query($n: Int) {{ pods(first: $n, namespace: \"{NAMESPACE}\") {{ nodes {{ {FIELDS} }} }} }}"
PEERS = f"query($n: Int!) {{ pods(first: $n) {{ nodes {{ {FIELDS} }} }} }}"
MANIFESTS = f"query($n: Int) {{ pods(first: $n, namespace: \"{NAMESPACE}\") {{ nodes {{ manifest }} }} }}"
RELATED = f"""query($n: Int) {{ pods(first: $n, namespace: "{NAMESPACE}") {{ nodes {{
  name node {{ name }} services(first: 3) {{ nodes {{ name }} }} }} }} }}"""


# --- the peer


@strawberry.type
class PeerSpec:
    document: strawberry.Private[Document]

    @strawberry.field
    def node_name(self) -> str | None:
        return self.document.get("nodeName")

    @strawberry.field
    def service_account_name(self) -> str | None:
        return self.document.get("serviceAccountName")

    @strawberry.field
    def priority(self) -> int | None:
        return self.document.get("priority")

    @strawberry.field
    def host_network(self) -> bool | None:
        return self.document.get("hostNetwork")


@strawberry.type
class PeerStatus:
    document: strawberry.Private[Document]

    @strawberry.field
    def phase(self) -> str | None:
        return self.document.get("phase")

    @strawberry.field(name="podIP")
    def pod_ip(self) -> str | None:
        return self.document.get("podIP")

    @strawberry.field
    def qos_class(self) -> str | None:
        return self.document.get("qosClass")


@strawberry.type
class PeerPod:
    document: strawberry.Private[Document]

    @strawberry.field
    def name(self) -> str:
        return str(self.document["metadata"]["name"])

    @strawberry.field
    def namespace(self) -> str:
        return str(self.document["metadata"]["namespace"])

    @strawberry.field
    def created_at(self) -> str:
        return str(self.document["metadata"]["creationTimestamp"])

    @strawberry.field
    def spec(self) -> PeerSpec:
        return PeerSpec(document=self.document["spec"])

    @strawberry.field
    def status(self) -> PeerStatus:
        return PeerStatus(document=self.document["status"])


@strawberry.type
class PeerPage:
    nodes: list[PeerPod]


@strawberry.type
class PeerQuery:
    @strawberry.field
    def pods(self, info: strawberry.Info, first: int) -> PeerPage:
        objects: Objects = info.context["objects"]
        return PeerPage(nodes=[PeerPod(document=e.document) for e in objects.list("pods", NAMESPACE)[:first]])


class Peer(GraphQL[Any, None]):
    objects: Objects

    async def get_context(self, request: Any, response: Any) -> Any:
        return {"objects": self.objects}


# --- both

# Seconds by the clock, and of the processor: what other programs do to a busy machine is in the first alone.
Took = tuple[float, float]


async def asked(app: Any, query: str, n: int) -> tuple[Took, bytes]:
    """How long it took, and the answer's body."""
    body = orjson.dumps({"query": query, "variables": {"n": n}})
    headers = [(b"content-type", b"application/json"), (b"content-length", str(len(body)).encode())]
    scope = {
        "type": "http", "method": "POST", "path": "/graphql", "raw_path": b"/graphql", "query_string": b"",
        "headers": headers, "http_version": "1.1", "scheme": "http", "server": ("ksql", 80), "client": ("c", 1),
        "root_path": "", "ksql.user": User("kubernetes-admin", ("system:masters",)),
    }  # fmt: skip
    parts: list[bytes] = []

    async def receive() -> Any:
        return {"type": "http.request", "body": body, "more_body": False}

    async def send(message: Any) -> None:
        parts.append(message.get("body", b""))

    started, busy = time.perf_counter(), time.process_time()
    await app(scope, receive, send)
    took = time.perf_counter() - started, time.process_time() - busy
    answer = b"".join(parts)
    assert b'"errors"' not in answer[:300], answer[:300]
    return took, answer


async def fill(told: story.Story) -> None:
    await told.create(
        "services", "v1", "Service", "shop", story.ALICE, namespace=NAMESPACE, spec={"selector": {"app": "shop"}}
    )
    for at in range(PODS):
        environment = [{"name": f"SETTING_{k}", "value": "x" * 24} for k in range(16)]
        container = {"name": "main", "image": "shop/main:1.2", "env": environment}
        await told.create(
            "pods", "v1", "Pod", f"pod-{at:05}", story.ALICE, namespace=NAMESPACE,
            labels={"app": "shop", "number": str(at)},
            spec={"nodeName": f"node-{at % 2 + 1}", "serviceAccountName": "default", "priority": 0,
                  "hostNetwork": False, "containers": [container]},
            status={"phase": "Running", "podIP": f"10.0.{at // 250}.{at % 250}", "qosClass": "BestEffort"},
        )  # fmt: skip


async def figures(app: Any, query: str, n: int, rounds: int = ROUNDS) -> tuple[list[Took], bytes]:
    found = [await asked(app, query, n) for _ in range(rounds)]
    return [took for took, _ in found], found[-1][1]


def told(name: str, times: list[Took], note: str = "") -> None:
    p50, least, busy = median(times, 0) * 1e3, min(took for took, _ in times) * 1e3, median(times, 1) * 1e3
    print(f"{name:34} p50 {p50:8.2f} ms   best {least:8.2f} ms   processor {busy:8.2f} ms   {note}", flush=True)


def median(times: list[Took], which: int) -> float:
    return statistics.median(took[which] for took in times)


async def main() -> None:
    async with story.told() as tale:
        await fill(tale)
        pipeline = SimpleNamespace(authorizer=AdminAuthorizer())
        app = graphql_app(pipeline, tale.objects, tale.log, catalogue.load(), tale.clock)
        peer = Peer(strawberry.Schema(PeerQuery), graphql_ide=None)
        peer.objects = tale.objects
        same = [orjson.loads((await asked(one, query, 100))[1]) for one, query in ((app, OURS), (peer, PEERS))]
        assert len(same[0]["data"]["pods"]["nodes"]) == len(same[1]["data"]["pods"]["nodes"]) == 100
        for n in (1_000, 100):
            # In turns, so that what else the machine does falls on both.
            ours: list[Took] = []
            theirs: list[Took] = []
            for _ in range(ROUNDS):
                ours.append((await asked(app, OURS, n))[0])
                theirs.append((await asked(peer, PEERS, n))[0])
            ratios = [median(theirs, which) / median(ours, which) for which in (0, 1)]
            told(f"{n:,} pods x 10 fields", ours, f"{ratios[0]:.1f} x the peer, {ratios[1]:.1f} by processor")
            told("  plain strawberry", theirs)
        times, body = await figures(app, MANIFESTS, PODS)
        rate = len(body) / median(times, 0) / 1e6
        told(f"{PODS:,} raw manifests", times, f"{len(body) / 1e6:.1f} MB, {rate:.0f} MB/s")
        times, _ = await figures(app, RELATED, 1_000)
        told("1,000 pods with node and services", times)


if __name__ == "__main__":
    asyncio.run(main())
