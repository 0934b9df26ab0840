"""Typical objects, made up here: what the first dictionary is trained from while a log has none of its own.

The fields and their order are what the Kubernetes API gives such objects; names, images and numbers are
invented from a fixed seed, so that every new log starts with the same dictionary, byte for byte.
"""

import uuid
from collections.abc import Iterator, Sequence
from random import Random
from typing import Any

from ksql.base.documents import Document, encode
from ksql.log.codec import shortened

SEED = 1042
# Enough for zstd's trainer to tell what repeats from what is chance; training takes well under a second.
ROUNDS = 160

_WORDS = (
    "web", "api", "cart", "store", "auth", "queue", "worker", "cache", "search", "mail", "front", "back",
    "orders", "users", "images", "metrics", "gateway", "ledger", "report", "proxy",
)  # fmt: skip
_SPACES = ("default", "kube-system", "production", "staging", "monitoring", "team-a", "team-b")
_IMAGES = ("nginx", "redis", "postgres", "busybox", "registry.example.com/team/app", "ghcr.io/example/server")
_SUFFIX = "bcdfghjklmnpqrstvwxz2456789"


class _Maker:
    """Invents the parts that differ from object to object."""

    def __init__(self, seed: int) -> None:
        self.random = Random(seed)

    def uid(self) -> str:
        return str(uuid.UUID(int=self.random.getrandbits(128), version=4))

    def word(self) -> str:
        return self.random.choice(_WORDS)

    def suffix(self, length: int) -> str:
        return "".join(self.random.choice(_SUFFIX) for _ in range(length))

    def time(self) -> str:
        r = self.random
        day = f"{r.randint(2025, 2031)}-{r.randint(1, 12):02}-{r.randint(1, 28):02}"
        return f"{day}T{r.randint(0, 23):02}:{r.randint(0, 59):02}:{r.randint(0, 59):02}Z"

    def image(self) -> str:
        r = self.random
        return f"{r.choice(_IMAGES)}:{r.randint(1, 20)}.{r.randint(0, 30)}.{r.randint(0, 9)}"

    def metadata(self, name: str, namespace: str = "", **more: Any) -> Document:
        base: Document = {"name": name}
        if namespace:
            base["namespace"] = namespace
        return {**base, "uid": self.uid(), "creationTimestamp": self.time(), **more}


def _container(m: _Maker, name: str) -> Document:
    r = m.random
    probe = {
        "httpGet": {"path": r.choice(("/healthz", "/", "/ready")), "port": 8080, "scheme": "HTTP"},
        "initialDelaySeconds": r.randint(0, 30), "timeoutSeconds": 1, "periodSeconds": 10,
        "successThreshold": 1, "failureThreshold": 3,
    }  # fmt: skip
    cpu, memory = f"{r.choice((50, 100, 250, 500))}m", f"{r.choice((64, 128, 256, 512))}Mi"
    container: Document = {
        "name": name,
        "image": m.image(),
        "ports": [{"name": "http", "containerPort": r.choice((80, 8080, 5432)), "protocol": "TCP"}],
        "env": [{"name": "LOG_LEVEL", "value": "info"}, {"name": "PORT", "value": "8080"}],
        "resources": {"limits": {"cpu": cpu, "memory": memory}, "requests": {"cpu": cpu, "memory": memory}},
        "volumeMounts": [{"name": "config", "mountPath": "/etc/config"}],
        "terminationMessagePath": "/dev/termination-log",
        "terminationMessagePolicy": "File",
        "imagePullPolicy": r.choice(("IfNotPresent", "Always")),
    }
    if r.random() < 0.5:
        container["livenessProbe"] = container["readinessProbe"] = probe
    return container


def _pod_spec(m: _Maker, name: str) -> Document:
    return {
        "volumes": [{"name": "config", "configMap": {"name": f"{name}-config", "defaultMode": 420}}],
        "containers": [_container(m, name)],
        "restartPolicy": "Always",
        "terminationGracePeriodSeconds": 30,
        "dnsPolicy": "ClusterFirst",
        "serviceAccountName": "default",
        "serviceAccount": "default",
        "securityContext": {},
        "schedulerName": "default-scheduler",
    }


def _tolerations() -> list[Document]:
    return [
        {
            "key": f"node.kubernetes.io/{key}",
            "operator": "Exists",
            "effect": "NoExecute",
            "tolerationSeconds": 300,
        }
        for key in ("not-ready", "unreachable")
    ]


def _owner(m: _Maker, api_version: str, kind: str, name: str) -> list[Document]:
    return [
        {"apiVersion": api_version, "kind": kind, "name": name, "uid": m.uid(), "controller": True,
         "blockOwnerDeletion": True}
    ]  # fmt: skip


def _conditions(m: _Maker, *kinds: str, ready: bool = True) -> list[Document]:
    at = m.time()
    status = "True" if ready else "False"
    return [{"type": kind, "status": status, "lastProbeTime": None, "lastTransitionTime": at} for kind in kinds]


def pod_life(m: _Maker) -> Iterator[Document]:
    """A pod as each write leaves it: created, bound, starting, running, ending."""
    app, namespace = m.word(), m.random.choice(_SPACES)
    set_name = f"{app}-{m.suffix(9)}"
    labels = {"app": app, "pod-template-hash": set_name.rpartition("-")[2]}
    metadata = m.metadata(
        f"{set_name}-{m.suffix(5)}", namespace, generateName=f"{set_name}-", generation=1, labels=labels,
        ownerReferences=_owner(m, "apps/v1", "ReplicaSet", set_name),
    )  # fmt: skip
    spec = {**_pod_spec(m, app), "tolerations": _tolerations(), "priority": 0, "enableServiceLinks": True}
    spec["preemptionPolicy"] = "PreemptLowerPriority"
    pod: Document = {"apiVersion": "v1", "kind": "Pod", "metadata": metadata, "spec": spec}
    yield {**pod, "status": {"phase": "Pending", "qosClass": "Guaranteed"}}
    spec = {**spec, "nodeName": f"node-{m.random.randint(0, 99)}"}
    pod = {**pod, "spec": spec}
    scheduled = _conditions(m, "PodScheduled")
    yield {**pod, "status": {"phase": "Pending", "conditions": scheduled, "qosClass": "Guaranteed"}}
    for ready in (False, True):
        yield {**pod, "status": _pod_status(m, spec["containers"][0], ready, scheduled)}
    ending = {**metadata, "deletionTimestamp": m.time(), "deletionGracePeriodSeconds": 30}
    yield {**pod, "metadata": ending, "status": _pod_status(m, spec["containers"][0], False, scheduled)}


def _pod_status(m: _Maker, container: Document, ready: bool, scheduled: list[Document]) -> Document:
    r, at = m.random, m.time()
    waiting = {"waiting": {"reason": "ContainerCreating"}}
    address = f"10.{r.randint(0, 250)}.{r.randint(0, 250)}.{r.randint(1, 250)}"
    host = f"192.168.{r.randint(0, 250)}.{r.randint(1, 250)}"
    status: Document = {
        "phase": "Running" if ready else "Pending",
        "conditions": [
            *_conditions(m, "PodReadyToStartContainers", "Initialized"),
            *_conditions(m, "Ready", "ContainersReady", ready=ready),
            *scheduled,
        ],
        "hostIP": host,
        "hostIPs": [{"ip": host}],
        "startTime": at,
        "containerStatuses": [
            {
                "name": container["name"],
                "state": {"running": {"startedAt": at}} if ready else waiting,
                "lastState": {},
                "ready": ready,
                "restartCount": r.choice((0, 0, 0, 1, 3)),
                "image": container["image"],
                "imageID": container["image"],
                "containerID": f"containerd://{r.getrandbits(256):064x}" if ready else "",
                "started": ready,
            }
        ],
        "qosClass": "Burstable",
    }
    return {**status, "podIP": address, "podIPs": [{"ip": address}]} if ready else status


def workload(m: _Maker) -> Iterator[Document]:
    """A Deployment with its ReplicaSet, wanted and then observed."""
    app, namespace = m.word(), m.random.choice(_SPACES)
    replicas, pod_hash = m.random.randint(1, 9), m.suffix(9)
    template = {"metadata": {"labels": {"app": app}}, "spec": _pod_spec(m, app)}
    deployment: Document = {
        "apiVersion": "apps/v1", "kind": "Deployment",
        "metadata": m.metadata(app, namespace, generation=1, labels={"app": app},
                               annotations={"deployment.kubernetes.io/revision": "1"}),
        "spec": {
            "replicas": replicas, "selector": {"matchLabels": {"app": app}}, "template": template,
            "strategy": {"type": "RollingUpdate",
                         "rollingUpdate": {"maxUnavailable": "25%", "maxSurge": "25%"}},
            "revisionHistoryLimit": 10, "progressDeadlineSeconds": 600,
        },
    }  # fmt: skip
    at = m.time()
    progress = {
        "type": "Progressing", "status": "True", "lastUpdateTime": at, "lastTransitionTime": at,
        "reason": "NewReplicaSetAvailable",
        "message": f'ReplicaSet "{app}-{pod_hash}" has successfully progressed.',
    }  # fmt: skip
    available = {**progress, "type": "Available", "reason": "MinimumReplicasAvailable",
                 "message": "Deployment has minimum availability."}  # fmt: skip
    yield {**deployment, "status": {}}
    yield {**deployment, "status": {
        "observedGeneration": 1, "replicas": replicas, "updatedReplicas": replicas, "readyReplicas": replicas,
        "availableReplicas": replicas, "conditions": [available, progress],
    }}  # fmt: skip
    labels = {"app": app, "pod-template-hash": pod_hash}
    hashed = {"metadata": {"labels": labels}, "spec": template["spec"]}
    replica_set: Document = {
        "apiVersion": "apps/v1", "kind": "ReplicaSet",
        "metadata": m.metadata(
            f"{app}-{pod_hash}", namespace, generation=1, labels=labels,
            annotations={"deployment.kubernetes.io/desired-replicas": str(replicas),
                         "deployment.kubernetes.io/max-replicas": str(replicas + 1),
                         "deployment.kubernetes.io/revision": "1"},
            ownerReferences=_owner(m, "apps/v1", "Deployment", app)),
        "spec": {"replicas": replicas, "selector": {"matchLabels": labels}, "template": hashed},
    }  # fmt: skip
    yield {**replica_set, "status": {"replicas": 0}}
    yield {**replica_set, "status": {
        "replicas": replicas, "fullyLabeledReplicas": replicas, "readyReplicas": replicas,
        "availableReplicas": replicas, "observedGeneration": 1,
    }}  # fmt: skip


def node(m: _Maker) -> Document:
    """A Node as its agent reports it."""
    r, name = m.random, f"node-{m.random.randint(0, 99)}"
    at = m.time()
    sizes = {"cpu": str(r.choice((4, 8, 16))), "ephemeral-storage": "100Gi", "memory": "32Gi", "pods": "110"}
    reasons = {
        "MemoryPressure": ("False", "KubeletHasSufficientMemory", "kubelet has sufficient memory available"),
        "DiskPressure": ("False", "KubeletHasNoDiskPressure", "kubelet has no disk pressure"),
        "PIDPressure": ("False", "KubeletHasSufficientPID", "kubelet has sufficient PID available"),
        "Ready": ("True", "KubeletReady", "kubelet is posting ready status"),
    }
    labels = {"kubernetes.io/arch": "amd64", "kubernetes.io/hostname": name, "kubernetes.io/os": "linux"}
    return {
        "apiVersion": "v1", "kind": "Node", "metadata": m.metadata(name, labels=labels),
        "spec": {"podCIDR": f"10.{r.randint(0, 250)}.0.0/24", "podCIDRs": [f"10.{r.randint(0, 250)}.0.0/24"]},
        "status": {
            "capacity": sizes, "allocatable": sizes,
            "conditions": [
                {"type": kind, "status": status, "lastHeartbeatTime": at, "lastTransitionTime": at,
                 "reason": reason, "message": message}
                for kind, (status, reason, message) in reasons.items()
            ],
            "addresses": [{"type": "InternalIP", "address": f"192.168.0.{r.randint(1, 250)}"},
                          {"type": "Hostname", "address": name}],
            "daemonEndpoints": {"kubeletEndpoint": {"Port": 10250}},
            "nodeInfo": {"machineID": f"{r.getrandbits(128):032x}", "systemUUID": m.uid(), "bootID": m.uid(),
                         "kernelVersion": "6.1.0", "osImage": "Linux", "operatingSystem": "linux",
                         "containerRuntimeVersion": "containerd://2.0.0", "kubeletVersion": "v1.35.0",
                         "kubeProxyVersion": "", "architecture": "amd64"},
        },
    }  # fmt: skip


def small_things(m: _Maker) -> Iterator[Document]:
    """An Event, a Lease, a ConfigMap, a Service and its EndpointSlice."""
    r, app, namespace = m.random, m.word(), m.random.choice(_SPACES)
    pod, at = f"{app}-{m.suffix(9)}-{m.suffix(5)}", m.time()
    reason, message = r.choice((
        ("Scheduled", f"Successfully assigned {namespace}/{pod} to node-{r.randint(0, 99)}"),
        ("Pulled", f'Container image "{m.image()}" already present on machine'),
        ("Started", f"Started container {app}"), ("Killing", f"Stopping container {app}"),
        ("SuccessfulCreate", f"Created pod: {pod}"),
        ("BackOff", f"Back-off restarting failed container {app}"),
    ))  # fmt: skip
    yield {
        "apiVersion": "v1", "kind": "Event",
        "metadata": m.metadata(f"{pod}.{r.getrandbits(64):016x}", namespace),
        "involvedObject": {"kind": "Pod", "namespace": namespace, "name": pod, "uid": m.uid(),
                           "apiVersion": "v1"},
        "reason": reason, "message": message, "source": {"component": "kubelet"},
        "firstTimestamp": at, "lastTimestamp": at, "count": 1, "type": r.choice(("Normal", "Warning")),
        "eventTime": None, "reportingComponent": "kubelet", "reportingInstance": "",
    }  # fmt: skip
    holder = f"node-{r.randint(0, 99)}"
    yield {
        "apiVersion": "coordination.k8s.io/v1", "kind": "Lease",
        "metadata": m.metadata(holder, "kube-node-lease", ownerReferences=[
            {"apiVersion": "v1", "kind": "Node", "name": holder, "uid": m.uid()}]),
        "spec": {"holderIdentity": holder, "leaseDurationSeconds": 40,
                 "renewTime": at.replace("Z", ".000000Z")},
    }  # fmt: skip
    yield {"apiVersion": "v1", "kind": "ConfigMap", "metadata": m.metadata(f"{app}-config", namespace),
           "data": {"LOG_LEVEL": "info", "app.yaml": f"name: {app}\nport: 8080\n"}}  # fmt: skip
    address = f"10.96.{r.randint(0, 250)}.{r.randint(1, 250)}"
    yield {
        "apiVersion": "v1", "kind": "Service", "metadata": m.metadata(app, namespace, labels={"app": app}),
        "spec": {"ports": [{"name": "http", "protocol": "TCP", "port": 80, "targetPort": 8080}],
                 "selector": {"app": app}, "clusterIP": address, "clusterIPs": [address], "type": "ClusterIP",
                 "sessionAffinity": "None", "ipFamilies": ["IPv4"], "ipFamilyPolicy": "SingleStack",
                 "internalTrafficPolicy": "Cluster"},
        "status": {"loadBalancer": {}},
    }  # fmt: skip
    yield {
        "apiVersion": "discovery.k8s.io/v1", "kind": "EndpointSlice",
        "metadata": m.metadata(
            f"{app}-{m.suffix(5)}", namespace, generateName=f"{app}-", generation=1,
            labels={"endpointslice.kubernetes.io/managed-by": "endpointslice-controller.k8s.io",
                    "kubernetes.io/service-name": app},
            ownerReferences=_owner(m, "v1", "Service", app)),
        "addressType": "IPv4",
        "endpoints": [{"addresses": [f"10.0.{r.randint(0, 250)}.{r.randint(1, 250)}"],
                       "conditions": {"ready": True, "serving": True, "terminating": False},
                       "nodeName": holder, "targetRef": {"kind": "Pod", "namespace": namespace, "name": pod,
                                                         "uid": m.uid()}}],
        "ports": [{"name": "http", "port": 8080, "protocol": "TCP"}],
    }  # fmt: skip


# Who writes what first, and who reports its state.
_MANAGERS = ("kubectl-client-side-apply", "kubectl-create", "kube-controller-manager", "deployment-controller",
             "replicaset-controller", "kubectl")  # fmt: skip
_REPORTERS = ("kubelet", "deployment-controller", "replicaset-controller", "kube-controller-manager")
# Lists that count as one field, and maps whose keys are fields of their own.
_ATOMIC = frozenset({"args", "command", "tolerations", "podCIDRs", "addresses", "clusterIPs", "selector", "ipFamilies"})
_ITEM_KEYS = (("name",), ("type",), ("uid",), ("ip",), ("mountPath",))


def managed(m: _Maker, document: Document) -> Document:
    """The document with the `managedFields` that its writes would have left, about."""
    wanted = {key: value for key, value in document.items() if key not in ("apiVersion", "kind", "metadata", "status")}
    labelled = {key: document["metadata"][key] for key in ("annotations", "labels", "ownerReferences")
                if key in document["metadata"]}  # fmt: skip
    entries = [_entry(m, _MANAGERS, document["apiVersion"], {**({"metadata": labelled} if labelled else {}), **wanted})]
    if document.get("status"):
        entry = _entry(m, _REPORTERS, document["apiVersion"], {"status": document["status"]})
        entries.append({**entry, "subresource": "status"})
    return {**document, "metadata": {**document["metadata"], "managedFields": entries}}


def _entry(m: _Maker, managers: Sequence[str], api_version: str, said: Document) -> Document:
    return {
        "manager": m.random.choice(managers), "operation": "Update", "apiVersion": api_version, "time": m.time(),
        "fieldsType": "FieldsV1", "fieldsV1": _fields(said),
    }  # fmt: skip


def _fields(value: Any) -> Document:
    """The fields of a value in the form of FieldsV1, without the schema's finer points."""
    if isinstance(value, dict):
        return {f"f:{key}": {} if key in _ATOMIC else _fields(value[key]) for key in sorted(value)}
    if isinstance(value, list) and value and isinstance(value[0], dict):
        return {".": {}, **dict(_item(item) for item in value)}
    return {}


def _item(item: Document) -> tuple[str, Document]:
    keys: Sequence[str] = next((keys for keys in _ITEM_KEYS if keys[0] in item and "containerPort" not in item), ())
    if not keys:
        keys = ("containerPort", "protocol") if "containerPort" in item else ("port", "protocol")
    step = encode({key: item[key] for key in keys if key in item}).decode()
    return f"k:{step}", {".": {}, **_fields(item)}


def _shortened(document: Document) -> bytes:
    """As the codec compresses it."""
    metadata = document["metadata"]
    return shortened(encode(document), metadata["uid"], metadata["name"])


def payloads(seed: int = SEED, rounds: int = ROUNDS) -> Sequence[bytes]:
    """The JSON of typical objects, weighted as a busy cluster writes them: mostly pods."""
    m = _Maker(seed)
    made: list[bytes] = []
    for _ in range(rounds):
        for documents in (pod_life(m), pod_life(m), workload(m), [node(m)], small_things(m)):
            made.extend(_shortened(managed(m, document)) for document in documents)
    return made
