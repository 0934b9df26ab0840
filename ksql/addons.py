"""What installers put into a cluster: a default storage class, and the DNS in `kube-system`.

Clients, their test suites and people's habits expect some system pods there (`kubectl get pods -n
kube-system`, `kubectl cluster-info`). The pods run where all pods run, on simulated nodes so far, so nothing
answers queries yet. Written once through the pipeline when missing, as installers do; `ksql up --no-dns`
leaves it out, and whoever brings another DNS deletes this one and says so. A class of simulated volumes lets
claims be bound that name none; who brings another one leaves ksql's out by having one first.
"""

from collections.abc import Iterator
from ipaddress import ip_address

from ksql.base.documents import Document
from ksql.verbs import bootstrap
from ksql.verbs.pipeline import Pipeline

NAMESPACE = "kube-system"
IMAGE = "registry.k8s.io/coredns/coredns:v1.12.4"
# Installers give DNS the tenth address of the service range; the API server's own is the first.
OFFSET = 9
REPLICAS = 2

CLASSES = "storageclasses.storage.k8s.io"
# Answered by the controllers' simulated provisioner.
PROVISIONER = "volumes.ksql.dev"

_LABELS = {"k8s-app": "kube-dns"}
_COREFILE = """.:53 {
    errors
    health
    ready
    kubernetes cluster.local in-addr.arpa ip6.arpa
    forward . /etc/resolv.conf
    cache 30
    reload
}
"""
_PORTS = (("dns", 53, "UDP"), ("dns-tcp", 53, "TCP"), ("metrics", 9153, "TCP"))


async def add_storage(pipeline: Pipeline) -> None:
    """Write the class of simulated volumes, the default one, unless the cluster has classes of its own."""
    if not pipeline.objects.list(CLASSES):
        await bootstrap.ensure(pipeline, CLASSES, _storage_class())


def _storage_class() -> Document:
    return {
        "metadata": {
            "name": "standard",
            "annotations": {"storageclass.kubernetes.io/is-default-class": "true"},
        },
        "provisioner": PROVISIONER,
        "reclaimPolicy": "Delete",
        "volumeBindingMode": "WaitForFirstConsumer",
        "allowVolumeExpansion": True,
    }


async def add_dns(pipeline: Pipeline) -> None:
    """Write what is missing of the cluster's DNS."""
    address = str(ip_address(pipeline.first_service_address) + OFFSET)
    for resource, document in _documents(address):
        await bootstrap.ensure(pipeline, resource, document)


def _documents(address: str) -> Iterator[tuple[str, Document]]:
    def named(name: str, **more: object) -> Document:
        return {"metadata": {"name": name, "namespace": NAMESPACE, "labels": _LABELS}, **more}

    yield "serviceaccounts", named("coredns")
    yield "configmaps", named("coredns", data={"Corefile": _COREFILE})
    service = named("kube-dns", spec=_service(address))
    service["metadata"]["labels"] = {
        **_LABELS,
        "kubernetes.io/cluster-service": "true",
        "kubernetes.io/name": "CoreDNS",
    }
    yield "services", service
    yield "deployments.apps", named("coredns", spec=_deployment())


def _service(address: str) -> Document:
    ports = [{"name": name, "port": port, "protocol": protocol} for name, port, protocol in _PORTS]
    return {"clusterIP": address, "selector": _LABELS, "ports": ports}


def _deployment() -> Document:
    container = {
        "name": "coredns",
        "image": IMAGE,
        "args": ["-conf", "/etc/coredns/Corefile"],
        "ports": [
            {"name": name, "containerPort": port, "protocol": protocol} for name, port, protocol in _PORTS
        ],
        "resources": {"requests": {"cpu": "100m", "memory": "70Mi"}, "limits": {"memory": "170Mi"}},
        "livenessProbe": {"httpGet": {"path": "/health", "port": 8080}, "initialDelaySeconds": 60},
        "readinessProbe": {"httpGet": {"path": "/ready", "port": 8181}},
        "volumeMounts": [{"name": "config-volume", "mountPath": "/etc/coredns", "readOnly": True}],
    }
    volume = {"name": "config-volume", "configMap": {"name": "coredns"}}
    control_plane = {"key": "node-role.kubernetes.io/control-plane", "effect": "NoSchedule"}
    return {
        "replicas": REPLICAS,
        "strategy": {"type": "RollingUpdate", "rollingUpdate": {"maxUnavailable": 1}},
        "selector": {"matchLabels": _LABELS},
        "template": {
            "metadata": {"labels": _LABELS},
            "spec": {
                "priorityClassName": "system-cluster-critical",
                "serviceAccountName": "coredns",
                "dnsPolicy": "Default",
                "nodeSelector": {"kubernetes.io/os": "linux"},
                "tolerations": [{"key": "CriticalAddonsOnly", "operator": "Exists"}, control_plane],
                "containers": [container],
                "volumes": [volume],
            },
        },
    }
