"""What a cluster contains before anybody has asked for anything: its first namespaces and the rest.

Written through the pipeline as `system:apiserver`, like everything else, so that the log's first events
say where these objects come from. Idempotent: what is there already is left as it is, and a restart of a
settled cluster appends nothing.
"""

from ksql.auth.identity import ADMIN_GROUP, User
from ksql.base.clock import rfc3339
from ksql.base.documents import Document
from ksql.verbs.pipeline import Pipeline
from ksql.verbs.request import Request

APISERVER = User("system:apiserver", (ADMIN_GROUP,))
APISERVER_AGENT = "ksql-apiserver"

NAMESPACES = ("default", "kube-system", "kube-public", "kube-node-lease")

# name, value, description: the two classes that Kubernetes reserves for its own.
_PRIORITY_CLASSES = (
    (
        "system-cluster-critical",
        2_000_000_000,
        "Used for system critical pods that must run in the cluster, but can be moved to another node if "
        "necessary.",
    ),
    (
        "system-node-critical",
        2_000_001_000,
        "Used for system critical pods that must not be moved from their current node.",
    ),
)

# Minors that have no such kind have the range all the same.
_RANGES = ("networking.k8s.io", "v1", "servicecidrs")

# Where clients inside the cluster expect the API server; the door behind it is the server's own port.
SERVICE_PORT = 443


async def bootstrap(pipeline: Pipeline, *, target_port: int = 6443, address: str = "") -> None:
    """Write what is missing. `target_port` is where the API server listens, `address` where pods would find it."""
    for name in NAMESPACES:
        await ensure(pipeline, "namespaces", {"metadata": {"name": name}})
    for name, value, description in _PRIORITY_CLASSES:
        document = {"metadata": {"name": name}, "value": value, "description": description}
        await ensure(pipeline, "priorityclasses.scheduling.k8s.io", document)
    await ensure(pipeline, "services", _kubernetes_service(pipeline, target_port))
    if address:
        for resource, document in _kubernetes_endpoints(target_port, address):
            await _keep(pipeline, resource, document)
    if pipeline.catalogue.find(*_RANGES) is not None:
        await _ensure_service_range(pipeline)


async def _ensure_service_range(pipeline: Pipeline) -> None:
    """The range of Services as an object, of the name that clients look for, and that it is in use."""
    key, name = "servicecidrs.networking.k8s.io", "kubernetes"
    await ensure(pipeline, key, {"metadata": {"name": name}, "spec": {"cidrs": [pipeline.service_range]}})
    current = pipeline.objects.document(key, "", name)
    if current is None or (current.get("status") or {}).get("conditions"):
        return
    ready = {
        "type": "Ready",
        "status": "True",
        "lastTransitionTime": rfc3339(pipeline.clock.now()),
        "reason": "",
        "message": "Kubernetes default Service CIDR is ready",
    }
    body = {**current, "status": {"conditions": [ready]}}
    type = pipeline.catalogue.by_key(key)
    request = Request(
        APISERVER, "update", type, "", name, "status", body=body, user_agent=APISERVER_AGENT
    )
    await pipeline.perform(request)


def _kubernetes_service(pipeline: Pipeline, target_port: int) -> Document:
    """The service `kubernetes`, at the first address of the range."""
    return {
        "metadata": {
            "name": "kubernetes",
            "namespace": "default",
            "labels": {"component": "apiserver", "provider": "kubernetes"},
        },
        "spec": {
            "clusterIP": pipeline.first_service_address,
            "type": "ClusterIP",
            "ports": [{"name": "https", "port": SERVICE_PORT, "protocol": "TCP", "targetPort": target_port}],
        },
    }


def _kubernetes_endpoints(port: int, address: str) -> list[tuple[str, Document]]:
    """Where the service leads, in both of its forms: it has no selector, and the mirror leaves these alone."""
    metadata = {"name": "kubernetes", "namespace": "default"}
    ports = [{"name": "https", "port": port, "protocol": "TCP"}]
    return [
        ("endpoints", {
            "metadata": {**metadata, "labels": {"endpointslice.kubernetes.io/skip-mirror": "true"}},
            "subsets": [{"addresses": [{"ip": address}], "ports": ports}],
        }),
        ("endpointslices.discovery.k8s.io", {
            "metadata": {**metadata, "labels": {"kubernetes.io/service-name": "kubernetes"}},
            "addressType": "IPv6" if ":" in address else "IPv4",
            "endpoints": [{"addresses": [address], "conditions": {"ready": True}}],
            "ports": ports,
        }),
    ]  # fmt: skip


async def _keep(pipeline: Pipeline, resource: str, document: Document) -> None:
    """Create an object, or bring it back to what it must say; nothing is written when it says so."""
    await ensure(pipeline, resource, document)
    type, metadata = pipeline.catalogue.by_key(resource), document["metadata"]
    current = pipeline.objects.document(type.key, metadata["namespace"], metadata["name"])
    if current is None or all(current.get(key) == value for key, value in document.items() if key != "metadata"):
        return
    body = {**current, **document, "metadata": {**current["metadata"], "labels": metadata["labels"]}}
    request = Request(
        APISERVER, "update", type, metadata["namespace"], metadata["name"], body=body, user_agent=APISERVER_AGENT
    )
    await pipeline.perform(request)


async def ensure(pipeline: Pipeline, resource: str, document: Document) -> None:
    """Create the object, as the API server itself, unless one of its name is there."""
    type = pipeline.catalogue.by_key(resource)
    metadata = document["metadata"]
    namespace, name = metadata.get("namespace", ""), metadata["name"]
    if pipeline.objects.get(type.key, namespace, name) is not None:
        return
    body = {"apiVersion": type.api_version, "kind": type.kind, **document}
    request = Request(APISERVER, "create", type, namespace, "", body=body, user_agent=APISERVER_AGENT)
    await pipeline.perform(request)
