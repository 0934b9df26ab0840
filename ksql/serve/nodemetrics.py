"""metrics.k8s.io: what nodes and pods use now, asked of the nodes when somebody asks. What `kubectl top` reads.

In a cluster elsewhere an extension API server of its own answers this group; here it is built in, and gives way to one
that is installed (an APIService of the same name that names a Service).
"""

from collections.abc import Iterator, Mapping, Sequence
from functools import reduce
from operator import add

from ksql.base.clock import Clock, rfc3339
from ksql.base.documents import Document, encode
from ksql.conversations import Nodes, Usage
from ksql.schema import selectors
from ksql.schema.errors import ApiError, NotFoundError
from ksql.schema.quantities import BINARY_SI, DECIMAL_SI, Quantity
from ksql.serve import parameters
from ksql.serve.exchange import Exchange
from ksql.state.objects import Objects

GROUP, VERSION = "metrics.k8s.io", "v1beta1"
# Usage is taken at the moment of asking; clients want to be told over how long it was measured.
WINDOW = "10s"

RESOURCES: Sequence[Document] = (
    {"name": "nodes", "singularName": "", "namespaced": False, "kind": "NodeMetrics", "verbs": ["get", "list"]},
    {"name": "pods", "singularName": "", "namespaced": True, "kind": "PodMetrics", "verbs": ["get", "list"]},
)
_KINDS = {"nodes": "NodeMetrics", "pods": "PodMetrics"}
_NOTHING = Usage(0, 0)


class NodeMetrics:
    """The group's answers."""

    def __init__(self, objects: Objects, nodes: Nodes, clock: Clock) -> None:
        self._objects, self._nodes, self._clock = objects, nodes, clock

    async def serve(self, exchange: Exchange) -> None:
        """One request below /apis/metrics.k8s.io/v1beta1."""
        try:
            body = self._answer(exchange)
        except ApiError as error:
            await exchange.refuse(error)
            return
        await exchange.answer(200, encode(body))

    def _answer(self, exchange: Exchange) -> Document:
        steps = [step for step in exchange.path.split("/") if step][3:]
        if not steps:
            return {
                "kind": "APIResourceList", "apiVersion": "v1", "groupVersion": f"{GROUP}/{VERSION}",
                "resources": list(RESOURCES),
            }  # fmt: skip
        if exchange.method not in ("GET", "HEAD"):
            raise _absent()
        namespace = ""
        if steps[0] == "namespaces" and len(steps) > 2:
            namespace, steps = steps[1], steps[2:]
        resource, name, more = (*steps, "", "", "")[:3]
        is_placed = bool(namespace) if resource == "pods" else not namespace
        if resource not in _KINDS or more or not (is_placed or (resource == "pods" and not name)):
            raise _absent()
        if name:
            return self._one(resource, namespace, name)
        query = parameters.parse(exchange.scope["query_string"])
        labels = selectors.parse_labels(parameters.text(query, "labelSelector"))
        found = [
            document for source, document in self._all(resource, namespace)
            if labels.matches(source["metadata"].get("labels"))
        ]  # fmt: skip
        return {"kind": f"{_KINDS[resource]}List", **_HEAD, "metadata": {}, "items": found}

    def _one(self, resource: str, namespace: str, name: str) -> Document:
        source = self._objects.document(resource, namespace, name)
        if source is not None:
            found = self._of_node(source) if resource == "nodes" else self._of_pod(source, self._used_by(source))
            if found is not None:
                return found
        words = f'{_KINDS[resource].lower()}.{GROUP} "{name}" not found'
        raise NotFoundError(words, group=GROUP, kind=resource, name=name)

    def _all(self, resource: str, namespace: str) -> Iterator[tuple[Document, Document]]:
        # A node is asked once for all of its pods: those that share a load are counted once for all, too.
        asked: dict[str, Mapping[str, Mapping[str, Usage]]] = {}
        for entry in self._objects.list(resource, namespace):
            document = entry.document
            if resource == "nodes":
                found = self._of_node(document)
            else:
                node = document["spec"].get("nodeName") or ""
                if node not in asked:
                    kubelet = self._nodes.kubelet(node)
                    asked[node] = {} if kubelet is None else kubelet.usage()
                found = self._of_pod(document, asked[node].get(document["metadata"]["uid"], {}))
            if found is not None:
                yield document, found

    def _used_by(self, pod: Document) -> Mapping[str, Usage]:
        kubelet = self._nodes.kubelet(pod["spec"].get("nodeName") or "")
        return {} if kubelet is None else kubelet.usage_of(pod["metadata"]["uid"])

    def _of_node(self, node: Document) -> Document | None:
        kubelet = self._nodes.kubelet(node["metadata"]["name"])
        if kubelet is None:
            return None
        pods = kubelet.usage().values()
        total = reduce(add, (usage for containers in pods for usage in containers.values()), _NOTHING)
        return {**self._head("NodeMetrics", node), "usage": amounts(total)}

    def _of_pod(self, pod: Document, used: Mapping[str, Usage]) -> Document | None:
        if not used:
            return None
        containers = [{"name": name, "usage": amounts(usage)} for name, usage in used.items()]
        return {**self._head("PodMetrics", pod), "containers": containers}

    def _head(self, kind: str, source: Document) -> Document:
        metadata, now = source["metadata"], rfc3339(self._clock.now())
        told = {key: metadata[key] for key in ("name", "namespace", "labels") if key in metadata}
        return {
            "kind": kind, **_HEAD, "metadata": {**told, "creationTimestamp": now}, "timestamp": now, "window": WINDOW,
        }  # fmt: skip


_HEAD = {"apiVersion": f"{GROUP}/{VERSION}"}


def amounts(usage: Usage) -> Document:
    """As quantities, in the notation that metrics have."""
    memory = Quantity(usage.memory_bytes * 10**9, BINARY_SI)
    return {"cpu": str(Quantity(usage.cpu_nano, DECIMAL_SI)), "memory": str(memory)}


def _absent() -> NotFoundError:
    return NotFoundError("the server could not find the requested resource")
