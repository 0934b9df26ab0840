"""A container's resources as its kernel would show them: the files of a control group. Pure.

Version 2 of control groups, with the figures that a kubelet and its runtime set from requests and limits.
"""

from ksql.base.documents import Document
from ksql.schema import quantities

# A processor's shares and the period over which its use is counted, in microseconds: Kubernetes' constants.
_SHARES_PER_CPU, _SHARES_MIN, _SHARES_MAX = 1024, 2, 262_144
_PERIOD_US, _QUOTA_US_MIN = 100_000, 1000
_GUARANTEED, _BEST_EFFORT = -997, 1000


def group_files(pod: Document, container: Document, memory_bytes: int) -> dict[str, bytes]:
    """Paths and contents; `memory_bytes` is what the node has."""
    resources = container.get("resources") or {}
    requests, limits = resources.get("requests") or {}, resources.get("limits") or {}
    cpu, quota = _milli(requests.get("cpu") or limits.get("cpu")), _milli(limits.get("cpu"))
    shares = min(_SHARES_MAX, max(_SHARES_MIN, cpu * _SHARES_PER_CPU // 1000))
    memory = quantities.parse(limits["memory"]).value if "memory" in limits else 0
    used = f"{max(_QUOTA_US_MIN, quota * _PERIOD_US // 1000)}" if quota else "max"
    return {
        "/sys/fs/cgroup/cpu.weight": f"{1 + (shares - _SHARES_MIN) * 9999 // (_SHARES_MAX - _SHARES_MIN)}\n".encode(),
        "/sys/fs/cgroup/cpu.max": f"{used} {_PERIOD_US}\n".encode(),
        "/sys/fs/cgroup/memory.max": f"{memory or 'max'}\n".encode(),
        "/proc/1/oom_score_adj": f"{_sacrifice(pod, requests, memory_bytes)}\n".encode(),
    }


def _sacrifice(pod: Document, requests: Document, memory_bytes: int) -> int:
    """How readily the kernel would end the container when memory is short."""
    quality = (pod.get("status") or {}).get("qosClass", "BestEffort")
    if quality == "Guaranteed" or pod["spec"].get("priorityClassName") == "system-node-critical":
        return _GUARANTEED
    if quality == "BestEffort":
        return _BEST_EFFORT
    memory = quantities.parse(requests["memory"]).value if "memory" in requests else 0
    score = 1000 - 1000 * memory // max(1, memory_bytes)
    return max(1000 + _GUARANTEED, min(score, _BEST_EFFORT - 1))


def _milli(text: str | None) -> int:
    return quantities.parse(text).milli if text else 0


def is_resized(old: Document, new: Document) -> bool:
    """Whether a container is to have other resources than it has."""
    return (old.get("resources") or {}) != (new.get("resources") or {})


def restarts_to_resize(old: Document, new: Document) -> bool:
    """Whether one of the resources that change can only change in a new run of the container."""
    policies = {one["resourceName"]: one["restartPolicy"] for one in new.get("resizePolicy") or ()}
    return any(
        policies.get(name) == "RestartContainer" and _amounts(old, name) != _amounts(new, name)
        for name in ("cpu", "memory")
    )


def _amounts(container: Document, name: str) -> tuple[str | None, str | None]:
    resources = container.get("resources") or {}
    return (resources.get("requests") or {}).get(name), (resources.get("limits") or {}).get(name)
