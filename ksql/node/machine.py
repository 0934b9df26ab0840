"""What a node is, as its object says it: capacity, addresses, labels, versions, conditions. Pure."""

from dataclasses import dataclass
from ipaddress import IPv4Address, IPv4Network

from ksql.base.documents import Document
from ksql.schema import quantities

# One /24 for each node's pods (110 pods leave room to let addresses rest) out of a range that holds 1,024
# nodes, and the nodes' own addresses beside it.
PODS_NETWORK = IPv4Network("10.244.0.0/14")
NODES_NETWORK = IPv4Network("172.18.0.0/16")
NODES_MAX = 1024

KUBELET_PORT = 10250


@dataclass(frozen=True, slots=True)
class Machine:
    """One simulated machine. `index` counts from 0 and gives it its addresses."""

    name: str
    index: int
    zone: str
    version: str  # what nodeInfo.kubeletVersion says, such as v1.35.0
    cpu: str = "16"
    memory: str = "64Gi"
    ephemeral: str = "256Gi"
    pods: int = 110
    # Kept for the system itself, so that allocatable is less than capacity, as on every real node.
    reserved_cpu_milli: int = 200
    reserved_memory_bytes: int = 512 * 1024 * 1024
    instance_type: str = "simulated"
    region: str = "sim"

    @property
    def address(self) -> str:
        return str(IPv4Address(int(NODES_NETWORK.network_address) + 2 + self.index))

    @property
    def pod_cidr(self) -> str:
        return f"{IPv4Address(int(PODS_NETWORK.network_address) + self.index * 256)}/24"

    def labels(self) -> Document:
        return {
            "beta.kubernetes.io/arch": "amd64",
            "beta.kubernetes.io/os": "linux",
            "kubernetes.io/arch": "amd64",
            "kubernetes.io/hostname": self.name,
            "kubernetes.io/os": "linux",
            "node.kubernetes.io/instance-type": self.instance_type,
            "topology.kubernetes.io/region": self.region,
            "topology.kubernetes.io/zone": self.zone,
        }

    def capacity(self) -> Document:
        return {
            "cpu": self.cpu,
            "ephemeral-storage": self.ephemeral,
            "hugepages-1Gi": "0",
            "hugepages-2Mi": "0",
            "memory": self.memory,
            "pods": str(self.pods),
        }

    def allocatable(self) -> Document:
        cpu = quantities.milli(self.cpu) - self.reserved_cpu_milli
        memory = quantities.value(self.memory) - self.reserved_memory_bytes
        return {**self.capacity(), "cpu": f"{cpu}m", "memory": f"{memory // 1024}Ki"}


def machines(
    count: int, version: str, *, zones: int = 3, cpu: str = "16", memory: str = "64Gi"
) -> list[Machine]:
    """`count` machines node-1, node-2…, taking turns in the zones."""
    if not 0 <= count <= NODES_MAX:
        raise ValueError(f"{count} nodes: there is room for 0 to {NODES_MAX}")
    return [
        Machine(f"node-{index + 1}", index, f"zone-{index % zones + 1}", version, cpu, memory)
        for index in range(count)
    ]


def node_document(machine: Machine, boot_id: str, now: str) -> Document:
    """The Node as its agent registers it."""
    return {
        "apiVersion": "v1",
        "kind": "Node",
        "metadata": {
            "name": machine.name,
            "labels": machine.labels(),
            "annotations": {"simulation.ksql.dev/node": "true"},
        },
        "spec": {
            "podCIDR": machine.pod_cidr,
            "podCIDRs": [machine.pod_cidr],
            "providerID": f"simulated://{machine.zone}/{machine.name}",
        },
        "status": node_status(machine, boot_id, now, {}),
    }


def node_status(machine: Machine, boot_id: str, now: str, old: Document) -> Document:
    """The status as the agent sees it; `old` tells since when conditions stand and what others added."""
    conditions = {condition["type"]: condition for condition in old.get("conditions") or ()}
    made = {
        type: _condition(type, status, reason, message, conditions.get(type), now)
        for type, status, reason, message in _CONDITIONS
    }
    others = [condition for type, condition in conditions.items() if type not in made]
    return {
        **old,
        "capacity": machine.capacity(),
        "allocatable": machine.allocatable(),
        "conditions": [*others, *made.values()],
        "addresses": [
            {"type": "InternalIP", "address": machine.address},
            {"type": "Hostname", "address": machine.name},
        ],
        "daemonEndpoints": {"kubeletEndpoint": {"Port": KUBELET_PORT}},
        "nodeInfo": {
            "machineID": boot_id.replace("-", ""),
            "systemUUID": boot_id,
            "bootID": boot_id,
            "kernelVersion": "6.18.0-simulated",
            "osImage": "ksql simulated node",
            "containerRuntimeVersion": "simulated://1.0",
            "kubeletVersion": machine.version,
            # Required by the schema and out of date in Kubernetes itself, which leaves it empty too.
            "kubeProxyVersion": "",
            "operatingSystem": "linux",
            "architecture": "amd64",
        },
    }


_CONDITIONS = (
    ("MemoryPressure", "False", "KubeletHasSufficientMemory", "kubelet has sufficient memory available"),
    ("DiskPressure", "False", "KubeletHasNoDiskPressure", "kubelet has no disk pressure"),
    ("PIDPressure", "False", "KubeletHasSufficientPID", "kubelet has sufficient PID available"),
    ("Ready", "True", "KubeletReady", "kubelet is posting ready status"),
)


def is_reported(document: Document) -> bool:
    """Whether every condition of the agent still stands as it wrote it: a controller may have doubted one."""
    conditions = (document.get("status") or {}).get("conditions") or ()
    found = {condition["type"]: condition.get("status") for condition in conditions}
    return all(found.get(type) == status for type, status, _, _ in _CONDITIONS)


def _condition(type: str, status: str, reason: str, message: str, old: Document | None, now: str) -> Document:
    return {
        "type": type,
        "status": status,
        "lastHeartbeatTime": now,
        "lastTransitionTime": old["lastTransitionTime"] if old and old.get("status") == status else now,
        "reason": reason,
        "message": message,
    }


def lease_document(node: Document, now: str, seconds: int) -> Document:
    """The Lease by which a node says that it lives; it goes when the node goes."""
    metadata = node["metadata"]
    return {
        "apiVersion": "coordination.k8s.io/v1",
        "kind": "Lease",
        "metadata": {
            "name": metadata["name"],
            "namespace": "kube-node-lease",
            "ownerReferences": [
                {"apiVersion": "v1", "kind": "Node", "name": metadata["name"], "uid": metadata["uid"]}
            ],
        },
        "spec": {"holderIdentity": metadata["name"], "leaseDurationSeconds": seconds, "renewTime": now},
    }
