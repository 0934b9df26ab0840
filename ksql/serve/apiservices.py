"""APIServices: one for each version that is served here, kept as they come and go; what each remote one is. Pure.

The priorities order groups for clients that look for a name in all of them; they are kube-apiserver's own
figures. A remote one names a Service; whether that can be reached is found out by `aggregation`, said here
as its condition.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

from ksql.base.documents import Document
from ksql.schema.catalogue import Catalogue
from ksql.schema.errors import BadRequestError
from ksql.serve.upkeep import Wish
from ksql.state.objects import Objects

KEY = "apiservices.apiregistration.k8s.io"
SLICES = "endpointslices.discovery.k8s.io"
MANAGED = "kube-aggregator.kubernetes.io/automanaged"
ON_START, ALWAYS = "onstart", "true"

# Groups of custom kinds come after all others.
CUSTOM_GROUP, CUSTOM_VERSION = 1000, 100
_GROUPS: Mapping[str, int] = {
    "": 18000, "apps": 17800, "events.k8s.io": 17750, "authentication.k8s.io": 17700, "authorization.k8s.io": 17600,
    "autoscaling": 17500, "batch": 17400, "certificates.k8s.io": 17300, "networking.k8s.io": 17200,
    "policy": 17100, "rbac.authorization.k8s.io": 17000, "storage.k8s.io": 16800,
    "admissionregistration.k8s.io": 16700, "apiextensions.k8s.io": 16700, "scheduling.k8s.io": 16600,
    "coordination.k8s.io": 16500, "node.k8s.io": 16300, "discovery.k8s.io": 16200, "resource.k8s.io": 16200,
    "flowcontrol.apiserver.k8s.io": 16100,
}  # fmt: skip
_VERSIONS: Mapping[tuple[str, str], int] = {
    ("", "v1"): 1, ("autoscaling", "v2"): 30, ("flowcontrol.apiserver.k8s.io", "v1"): 21,
    ("resource.k8s.io", "v1"): 21,
}  # fmt: skip
_GROUP, _VERSION = 16000, 15


@dataclass(frozen=True, slots=True)
class Finding:
    """Whether a remote API can be had: the reason and the message of its condition."""

    is_available: bool
    reason: str
    message: str


LOCAL = Finding(True, "Local", "Local APIServices are always available")
PASSED = Finding(True, "Passed", "all checks passed")


def name_of(group: str, version: str) -> str:
    return f"{version}.{group}"


def unrecorded(group: str, documents: Iterable[Document]) -> BadRequestError | None:
    """Why the past has no answer for a group, if one of these says that another server, or a meter, answered for it."""
    if not any(document["spec"].get("group") == group for document in documents):
        return None
    return BadRequestError(
        f"what {group} answers is measured or kept elsewhere, and not recorded: ask the present, without /at/…"
    )


def is_remote(document: Document) -> bool:
    return bool(document["spec"].get("service"))


def extension(group: str, version: str) -> Document:
    """The APIService of a group that is answered here although the catalogue has no types of it."""
    spec = {"version": version, "group": group, "groupPriorityMinimum": 100, "versionPriority": 100}
    return {"metadata": {"name": name_of(group, version), "labels": {MANAGED: ON_START}}, "spec": spec}


def plan(
    catalogue: Catalogue,
    objects: Objects,
    findings: Mapping[str, Finding],
    now: str,
    extensions: Sequence[Document] = (),
) -> Sequence[Wish]:
    """What is missing, what is served no more, which conditions do not stand. `extensions` give way to remote ones."""
    served = dict(_served(catalogue))
    for wanted in extensions:
        name = wanted["metadata"]["name"]
        current = objects.document(KEY, "", name)
        served[name] = wanted if current is None or not is_remote(current) else current
    wishes = []
    for name, wanted in served.items():
        current = objects.document(KEY, "", name)
        if current is None:
            wishes.append(Wish("create", KEY, wanted))
        elif _managed(current) and current["spec"] != wanted["spec"]:
            wishes.append(Wish("update", KEY, {**current, "spec": wanted["spec"]}))
    for entry in objects.list(KEY):
        document = entry.document
        if entry.stream.name not in served and _managed(document):
            wishes.append(Wish("delete", KEY, document))
            continue
        finding = findings.get(entry.stream.name) if is_remote(document) else LOCAL
        if finding is not None and (wish := _judged(document, finding, now)):
            wishes.append(wish)
    return wishes


def _served(catalogue: Catalogue) -> Iterator[tuple[str, Document]]:
    """The APIService of each version that is served here."""
    custom = {(type.group, type.version) for type in catalogue.types if type.custom is not None}
    for group, versions in catalogue.groups().items():
        for version in versions:
            is_custom = (group, version) in custom
            spec: Document = {"version": version}
            if group:
                spec["group"] = group
            spec["groupPriorityMinimum"] = CUSTOM_GROUP if is_custom else _GROUPS.get(group, _GROUP)
            spec["versionPriority"] = CUSTOM_VERSION if is_custom else _VERSIONS.get((group, version), _VERSION)
            labels = {MANAGED: ALWAYS if is_custom else ON_START}
            name = name_of(group, version)
            yield name, {"metadata": {"name": name, "labels": labels}, "spec": spec}


def _managed(document: Document) -> bool:
    return (document["metadata"].get("labels") or {}).get(MANAGED) in (ON_START, ALWAYS)


def _judged(document: Document, finding: Finding, now: str) -> Wish | None:
    """The condition Available as it should be, unless it is."""
    status = "True" if finding.is_available else "False"
    wanted = {"type": "Available", "status": status, "reason": finding.reason, "message": finding.message}
    conditions = (document.get("status") or {}).get("conditions") or []
    old: Document = next((one for one in conditions if one["type"] == "Available"), {})
    if all(old.get(key) == value for key, value in wanted.items()):
        return None
    since = old["lastTransitionTime"] if old.get("status") == status else now
    others = [one for one in conditions if one["type"] != "Available"]
    changed = {**(document.get("status") or {}), "conditions": [*others, {**wanted, "lastTransitionTime": since}]}
    return Wish("update", KEY, {**document, "status": changed}, "status")


@dataclass(frozen=True, slots=True)
class Address:
    """Where a remote API answers, and the name that its certificate must be for."""

    host: str
    port: int
    name: str


def addresses_of(document: Document, objects: Objects) -> Sequence[Address] | Finding:
    """Where the Service of a remote API leads; a finding where it leads nowhere."""
    spec = document["spec"]["service"]
    namespace, name, port = spec["namespace"], spec["name"], spec.get("port") or 443
    where, certified = f'service/{name} in "{namespace}"', f"{name}.{namespace}.svc"
    service = objects.document("services", namespace, name)
    if service is None:
        return Finding(False, "ServiceNotFound", f"{where} is not present")
    if service["spec"].get("type") == "ExternalName":
        return [Address(service["spec"]["externalName"], port, certified)]
    own = next((one for one in service["spec"].get("ports") or () if one["port"] == port), None)
    if own is None:
        return Finding(False, "ServicePortError", f"{where} is not listening on port {port}")
    slices = [
        entry.document for entry in objects.list(SLICES, namespace)
        if (entry.document["metadata"].get("labels") or {}).get("kubernetes.io/service-name") == name
    ]  # fmt: skip
    if not slices:
        return Finding(False, "EndpointsNotFound", f"cannot find endpointslices for {where}")
    found = [
        Address(address, one["port"], certified)
        for document in slices
        for one in document.get("ports") or ()
        if one.get("name", "") == own.get("name", "")
        for endpoint in document.get("endpoints") or ()
        if (endpoint.get("conditions") or {}).get("ready", True)
        for address in endpoint["addresses"]
    ]
    if not found:
        port_name = own.get("name", "")
        message = f'endpointslices for {where} have no addresses with port name "{port_name}"'
        return Finding(False, "MissingEndpoints", message)
    return found
