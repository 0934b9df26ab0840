"""What an object uses of its namespace's quotas: amounts by the names that a ResourceQuota's `hard` has.

Pure functions of documents. Every object counts as one under `count/<plural>.<group>`, some kinds under older
names too; pods count by what they ask for and are limited to, volume claims by their storage and class,
services by what they open. Scopes say which pods a quota means at all.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence

from ksql.base.documents import Document
from ksql.schema.quantities import ZERO, Quantity, parse

Amounts = dict[str, Quantity]

ONE = parse(1)
TERMINAL = ("Succeeded", "Failed")
COMPUTE = ("cpu", "memory", "ephemeral-storage")
STORAGE_CLASS = ".storageclass.storage.k8s.io/"
# Kinds that have counted under their plain plural since before `count/` was.
_PLAIN = frozenset(
    {"pods", "services", "replicationcontrollers", "resourcequotas", "secrets", "configmaps", "persistentvolumeclaims"}
)


def usage_of(key: str, document: Document) -> Amounts:
    """The amounts of one object of the resource `key` (`pods`, `deployments.apps`)."""
    found: Amounts = {f"count/{key}": ONE}
    if key == "pods":
        # One that has run its course holds nothing but its name.
        if (document.get("status") or {}).get("phase") not in TERMINAL:
            found |= _pod(document)
        return found
    if key in _PLAIN:
        found[key] = ONE
    if key == "services":
        found |= _service(document)
    elif key == "persistentvolumeclaims":
        found |= _claim(document)
    return found


def _pod(pod: Document) -> Amounts:
    found: Amounts = {"pods": ONE}
    requests = totals(pod.get("spec") or {}, "requests")
    for name, amount in requests.items():
        found[f"requests.{name}"] = amount
        if name in COMPUTE or name.startswith("hugepages-"):
            found[name] = amount
    for name, amount in totals(pod.get("spec") or {}, "limits").items():
        if name in COMPUTE:
            found[f"limits.{name}"] = amount
    return found


def totals(spec: Document, field: str) -> Amounts:
    """What a pod needs at its widest moment (KEP-753) of `requests` or `limits`."""
    running = _sum(_resources(one, field) for one in spec.get("containers") or ())
    sidecars: Amounts = {}
    starting: Amounts = {}
    for one in spec.get("initContainers") or ():
        own = _resources(one, field)
        if one.get("restartPolicy") == "Always":
            sidecars = _sum((sidecars, own))
            own = sidecars
        else:
            own = _sum((own, sidecars))
        starting = {name: max(own.get(name, ZERO), starting.get(name, ZERO)) for name in {**own, **starting}}
    running = _sum((running, sidecars))
    whole = {name: max(running.get(name, ZERO), starting.get(name, ZERO)) for name in {**running, **starting}}
    # Amounts of the pod as a whole (KEP-2837) stand in for the sum, resource by resource.
    whole |= _parsed((spec.get("resources") or {}).get(field))
    overhead = _parsed(spec.get("overhead"))
    if field == "limits":
        overhead = {name: amount for name, amount in overhead.items() if name in whole}
    return _sum((whole, overhead))


def _resources(container: Document, field: str) -> Amounts:
    return _parsed((container.get("resources") or {}).get(field))


def _parsed(amounts: Mapping[str, str] | None) -> Amounts:
    return {name: parse(text) for name, text in (amounts or {}).items()}


def _sum(parts: Iterable[Amounts]) -> Amounts:
    found: Amounts = {}
    for part in parts:
        for name, amount in part.items():
            found[name] = found[name] + amount if name in found else amount
    return found


def _service(service: Document) -> Amounts:
    spec = service.get("spec") or {}
    ports = sum(1 for port in spec.get("ports") or () if port.get("nodePort"))
    match spec.get("type"):
        case "NodePort":
            return {"services.nodeports": parse(len(spec.get("ports") or ()))}
        case "LoadBalancer":
            found = {"services.loadbalancers": ONE}
            if spec.get("allocateLoadBalancerNodePorts", True) or ports:
                found["services.nodeports"] = parse(ports or len(spec.get("ports") or ()))
            return found
    return {}


def _claim(claim: Document) -> Amounts:
    spec = claim.get("spec") or {}
    asked = ((spec.get("resources") or {}).get("requests") or {}).get("storage")
    found: Amounts = {} if asked is None else {"requests.storage": parse(asked)}
    if name := spec.get("storageClassName"):
        found[f"{name}{STORAGE_CLASS}persistentvolumeclaims"] = ONE
        if asked is not None:
            found[f"{name}{STORAGE_CLASS}requests.storage"] = parse(asked)
    return found


def resources_named(hard: Iterable[str]) -> set[str]:
    """The resources whose objects can use any of these names."""
    found: set[str] = set()
    for name in hard:
        if name.startswith("count/"):
            found.add(name.removeprefix("count/"))
        elif STORAGE_CLASS in name or name == "requests.storage":
            found.add("persistentvolumeclaims")
        elif name.startswith("services"):
            found.add("services")
        else:
            found.add(name if name in _PLAIN else "pods")
    return found


# --- scopes


def covers(quota: Document, key: str, document: Document) -> bool:
    """Whether a quota means this object: by its scopes, which only pods have."""
    spec = quota.get("spec") or {}
    scopes: list[Document] = [{"scopeName": name, "operator": "Exists"} for name in spec.get("scopes") or ()]
    scopes += (spec.get("scopeSelector") or {}).get("matchExpressions") or ()
    if not scopes:
        return True
    return key == "pods" and all(_in_scope(scope, document) for scope in scopes)


def _in_scope(scope: Document, pod: Document) -> bool:
    spec = pod.get("spec") or {}
    match scope["scopeName"]:
        case "Terminating":
            return spec.get("activeDeadlineSeconds") is not None
        case "NotTerminating":
            return spec.get("activeDeadlineSeconds") is None
        case "BestEffort":
            return is_best_effort(spec)
        case "NotBestEffort":
            return not is_best_effort(spec)
        case "PriorityClass":
            return _selected(scope, spec.get("priorityClassName") or "")
        case "CrossNamespacePodAffinity":
            return _looks_beyond(spec)
    return False


def _selected(scope: Document, value: str) -> bool:
    values: Sequence[str] = scope.get("values") or ()
    match scope.get("operator"):
        case "In":
            return value in values
        case "NotIn":
            return value not in values
        case "DoesNotExist":
            return not value
    return bool(value)


def is_best_effort(spec: Document) -> bool:
    """Whether no container asks for, or is limited to, any cpu or memory."""
    containers = (*(spec.get("initContainers") or ()), *(spec.get("containers") or ()))
    for container in containers:
        for field in ("requests", "limits"):
            amounts = _resources(container, field)
            if any(amounts.get(name) for name in ("cpu", "memory")):
                return False
    return True


def _looks_beyond(spec: Document) -> bool:
    """Whether an affinity term names other namespaces."""
    affinity = spec.get("affinity") or {}
    for side in ("podAffinity", "podAntiAffinity"):
        terms = affinity.get(side) or {}
        required = terms.get("requiredDuringSchedulingIgnoredDuringExecution") or ()
        preferred = terms.get("preferredDuringSchedulingIgnoredDuringExecution") or ()
        for term in (*required, *(one["podAffinityTerm"] for one in preferred)):
            if term.get("namespaces") or term.get("namespaceSelector") is not None:
                return True
    return False


# --- what must be said


# Names that a quota can bound, each with where a container says it.
_REQUIRED: Mapping[str, tuple[str, str]] = {
    "cpu": ("requests", "cpu"),
    "memory": ("requests", "memory"),
    "requests.cpu": ("requests", "cpu"),
    "requests.memory": ("requests", "memory"),
    "limits.cpu": ("limits", "cpu"),
    "limits.memory": ("limits", "memory"),
}


def unsaid(hard: Iterable[str], pod: Document) -> dict[str, list[str]]:
    """The bounded names that some containers do not speak of, with those containers' names: what cannot be
    counted cannot be bounded."""
    spec = pod.get("spec") or {}
    containers = [*(spec.get("initContainers") or ()), *(spec.get("containers") or ())]
    whole = spec.get("resources") or {}
    found: dict[str, list[str]] = {}
    for name in sorted(set(hard) & set(_REQUIRED)):
        field, resource = _REQUIRED[name]
        if resource in (whole.get(field) or {}):
            continue
        missing = [one["name"] for one in containers if resource not in _resources(one, field)]
        if missing:
            found[name] = missing
    return found


def added(left: Amounts, right: Amounts, only: Callable[[str], bool]) -> Amounts:
    """The sum, for the names that `only` takes."""
    return {name: amount for name, amount in _sum((left, right)).items() if only(name)}
