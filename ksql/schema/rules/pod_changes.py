"""Rules of how a pod may change: images, deadlines, more tolerations; and of what is told of its state."""

from collections.abc import Mapping, Sequence
from typing import Any

from ksql.base.documents import Document
from ksql.schema import names
from ksql.schema.addresses import lax_ip, parsed
from ksql.schema.errors import Cause
from ksql.schema.faults import IMMUTABLE, forbidden, required, wrong
from ksql.schema.golang.internal import difference, inside
from ksql.schema.rules.annotations import check_annotation_change
from ksql.schema.rules.checks import complain, within
from ksql.schema.rules.scheduling import check_tolerations
from ksql.schema.rules.security import ID_MAX

Structure = Mapping[str, Any]

_CHANGEABLE = (
    "`spec.containers[*].image`,`spec.initContainers[*].image`,`spec.activeDeadlineSeconds`,"
    "`spec.tolerations` (only additions to existing tolerations),`spec.terminationGracePeriodSeconds` "
    "(allow it to be set to 1 if it was previously negative)"
)
_REQUIRED = "requiredDuringSchedulingIgnoredDuringExecution"


def check_pod_change(pod: Document, old: Document, out: list[Cause]) -> None:
    spec, before = pod.get("spec") or {}, old.get("spec") or {}
    check_annotation_change(_annotations(pod), _annotations(old), "metadata.annotations", out)
    for field in ("containers", "initContainers"):
        if not _check_images(spec.get(field) or (), before.get(field) or (), f"spec.{field}", out):
            return
    _check_deadline(spec, before, out)
    _check_tolerations(spec, before, out)
    _check_gates(spec.get("schedulingGates") or (), before.get("schedulingGates") or (), out)
    if spec == before:
        return
    munged = _munged(spec, before)
    if before.get("schedulingGates"):
        munged = _loosened(munged, before, out)
    if munged != before:
        shown = difference("core.PodSpec", before, munged)
        words = f"pod updates may not change fields other than {_CHANGEABLE}\n{shown}"
        out.append(forbidden("spec", words))


def _annotations(pod: Document) -> Mapping[str, str]:
    return (pod.get("metadata") or {}).get("annotations") or {}


def _check_images(now: Sequence[Structure], before: Sequence[Structure], path: str, out: list[Cause]) -> bool:
    if len(now) != len(before):
        out.append(forbidden(path, "pod updates may not add or remove containers"))
        return False
    for index, container in enumerate(now):
        image = container.get("image") or ""
        if not image:
            out.append(required(f"{path}[{index}].image"))
        if image != image.strip():
            words = "must not have leading or trailing whitespace"
            out.append(wrong(f"{path}[{index}].image", image, words))
    return True


def _check_deadline(spec: Structure, before: Structure, out: list[Cause]) -> None:
    path = "spec.activeDeadlineSeconds"
    value, earlier = spec.get("activeDeadlineSeconds"), before.get("activeDeadlineSeconds")
    if value is None:
        if earlier is not None:
            out.append(wrong(path, None, "must not update from a positive integer to nil value"))
        return
    if not 0 <= value <= ID_MAX:
        out.append(wrong(path, value, within(0, ID_MAX)))
    elif earlier is not None and earlier < value:
        out.append(wrong(path, value, "must be less than or equal to previous value"))


def _check_tolerations(spec: Structure, before: Structure, out: list[Cause]) -> None:
    now, path = spec.get("tolerations") or (), "spec.tolerations"
    bare = [_without(toleration, "tolerationSeconds") for toleration in now]
    for toleration in before.get("tolerations") or ():
        if _without(toleration, "tolerationSeconds") not in bare:
            words = "existing toleration can not be modified except its tolerationSeconds"
            out.append(forbidden(path, words))
            return
    check_tolerations(now, path, out)


def _check_gates(now: Sequence[Structure], before: Sequence[Structure], out: list[Cause]) -> None:
    known = {gate.get("name") for gate in before}
    for index, gate in enumerate(now):
        if gate.get("name") not in known:
            words = f"only deletion is allowed, but found new scheduling gate '{gate.get('name', '')}'"
            out.append(forbidden(f"spec.schedulingGates[{index}].name", words))


def _without(value: Structure, *fields: str) -> dict[str, Any]:
    return {key: part for key, part in value.items() if key not in fields}


def _with(spec: dict[str, Any], field: str, before: Structure) -> None:
    """This field as it was."""
    if field in before:
        spec[field] = before[field]
    else:
        spec.pop(field, None)


def _munged(spec: Structure, before: Structure) -> dict[str, Any]:
    """The new specification with all as it was that may change."""
    out = dict(spec)
    for field in ("containers", "initContainers"):
        if field in out:
            pairs = zip(out[field], before.get(field) or (), strict=True)
            out[field] = [{**new, "image": old.get("image", "")} for new, old in pairs]
    for field in ("activeDeadlineSeconds", "schedulingGates", "tolerations"):
        _with(out, field, before)
    if (before.get("terminationGracePeriodSeconds") or 0) < 0 and out.get("terminationGracePeriodSeconds") == 1:
        _with(out, "terminationGracePeriodSeconds", before)
    return out


# --- pods that wait --------------------------------------------------------------------------------


def _loosened(spec: dict[str, Any], before: Structure, out: list[Cause]) -> dict[str, Any]:
    """A pod that is not scheduled yet may be told more narrowly where to run."""
    chosen, earlier = spec.get("nodeSelector") or {}, before.get("nodeSelector") or {}
    if chosen != earlier:
        for key, text in earlier.items():
            if chosen.get(key) != text:
                words = "only additions to spec.nodeSelector are allowed (no mutations or deletions)"
                out.append(wrong("spec.nodeSelector", chosen or None, words))
        _with(spec, "nodeSelector", before)
    affinity, old_affinity = spec.get("affinity"), before.get("affinity")
    wanted, given = (affinity or {}).get("nodeAffinity"), (old_affinity or {}).get("nodeAffinity")
    if wanted == given:
        return spec
    _check_narrowed(wanted, given, out)
    rest = _without(affinity or {}, "nodeAffinity")
    if given is not None:
        spec["affinity"] = {**rest, "nodeAffinity": given}
    elif affinity is not None and old_affinity is None and not rest:
        spec.pop("affinity")
    elif affinity is not None:
        spec["affinity"] = rest
    return spec


def _check_narrowed(wanted: Structure | None, given: Structure | None, out: list[Cause]) -> None:
    path = f"spec.affinity.nodeAffinity.{_REQUIRED}.nodeSelectorTerms"
    if given is None or given.get(_REQUIRED) is None:
        return
    earlier = given[_REQUIRED].get("nodeSelectorTerms") or []
    terms = ((wanted or {}).get(_REQUIRED) or {}).get("nodeSelectorTerms") or []
    if earlier and len(earlier) != len(terms):
        words = "no additions/deletions to non-empty NodeSelectorTerms list are allowed"
        out.append(wrong(path, [inside("core.NodeSelectorTerm", one) for one in terms] or None, words))
        return
    for index, (new, old) in enumerate(zip(terms, earlier, strict=False)):
        if not _only_adds(new, old):
            words = "only additions are allowed (no mutations or deletions)"
            out.append(wrong(f"{path}[{index}]", inside("core.NodeSelectorTerm", new), words))


def _only_adds(new: Structure, old: Structure) -> bool:
    parts = ("matchExpressions", "matchFields")
    if not any(old.get(part) for part in parts):
        return not any(new.get(part) for part in parts)
    return all((new.get(part) or [])[: len(old.get(part) or [])] == (old.get(part) or []) for part in parts)


# --- status ----------------------------------------------------------------------------------------

_SYSTEM_CONDITIONS = frozenset({"PodScheduled", "Ready", "Initialized"})
_STATUSES = ("containerStatuses", "initContainerStatuses", "ephemeralContainerStatuses")


def check_pod_status(pod: Document, old: Document, out: list[Cause]) -> None:
    status, before, spec = pod.get("status") or {}, old.get("status") or {}, old.get("spec") or {}
    check_annotation_change(_annotations(pod), _annotations(old), "metadata.annotations", out)
    for index, condition in enumerate(status.get("conditions") or ()):
        path, kind = f"status.conditions[{index}]", condition.get("type", "")
        if (condition.get("observedGeneration") or 0) < 0:
            words = "must be a non-negative integer"
            out.append(wrong(f"{path}.observedGeneration", condition["observedGeneration"], words))
        if kind not in _SYSTEM_CONDITIONS:
            complain(f"{path}.Type", kind, names.qualified(kind), out)
    _check_nomination(status, before, spec, out)
    if (status.get("observedGeneration") or 0) < 0:
        words = "must be a non-negative integer"
        out.append(wrong("status.observedGeneration", status["observedGeneration"], words))
    if status.get("qosClass") != before.get("qosClass"):
        out.append(wrong("status.qosClass", status.get("qosClass", ""), IMMUTABLE))
    for field in _STATUSES:
        _check_states(status.get(field) or (), before.get(field) or (), spec, field, out)
    claims = {one.get("name") for one in spec.get("resourceClaims") or ()}
    for index, one in enumerate(status.get("resourceClaimStatuses") or ()):
        _check_claim_status(one, claims, f"status.resourceClaimStatuses[{index}]", out)
    _check_ips(status, "podIPs", out)
    if status.get("hostIPs"):
        first = status["hostIPs"][0].get("ip", "")
        if status.get("hostIP", "") != first:
            out.append(wrong("status.hostIPs[0].ip", first, "must be equal to `hostIP`"))
        _check_ips(status, "hostIPs", out)


def _check_claim_status(status: Structure, claims: set[Any], path: str, out: list[Cause]) -> None:
    name, made = status.get("name", ""), status.get("resourceClaimName")
    if name not in claims:
        words = "must match the name of an entry in `spec.resourceClaims`"
        out.append(wrong(f"{path}.name", name, words))
    if made is not None:
        complain(f"{path}.name", made, names.subdomain(made), out)


def _check_nomination(status: Structure, before: Structure, spec: Structure, out: list[Cause]) -> None:
    name, path = status.get("nominatedNodeName") or "", "status.nominatedNodeName"
    if not name or name == (before.get("nominatedNodeName") or ""):
        return
    complain(path, name, names.subdomain(name), out)
    if spec.get("nodeName"):
        out.append(forbidden(path, "may not be set on pods that are already bound to a node"))


def _check_states(
    now: Sequence[Structure], before: Sequence[Structure], spec: Structure, field: str, out: list[Cause]
) -> None:
    """What has ended for good does not run again."""
    for index, status in enumerate(before):
        ended = (status.get("state") or {}).get("terminated")
        if ended is None:
            continue
        name = status.get("name")
        for one in now:
            if one.get("name") != name or (one.get("state") or {}).get("terminated") is not None:
                continue
            if not _may_restart(spec, field, name, ended.get("exitCode", 0)):
                words = "may not be transitioned to non-terminated state"
                out.append(forbidden(f"status.{field}[{index}].state", words))
            break


def _may_restart(spec: Structure, field: str, name: Any, code: int) -> bool:
    if field == "ephemeralContainerStatuses":
        return False
    kind = "containers" if field == "containerStatuses" else "initContainers"
    for container in spec.get(kind) or ():
        if container.get("name") == name:
            return restarts(container, spec, code)
    return False


def restarts(container: Structure, spec: Structure, code: int) -> bool:
    """Is a container that ended with this code started again?"""
    for rule in container.get("restartPolicyRules") or ():
        codes = rule.get("exitCodes") or {}
        listed = code in (codes.get("values") or ())
        if rule.get("action") == "Restart" and listed == (codes.get("operator") == "In"):
            return True
    policy = container.get("restartPolicy") or spec.get("restartPolicy", "Always")
    return policy == "Always" or (policy == "OnFailure" and code != 0)


def _check_ips(status: Structure, field: str, out: list[Cause]) -> None:
    addresses = [one.get("ip", "") for one in status.get(field) or ()]
    for index, text in enumerate(addresses):
        lax_ip(text, f"status.{field}[{index}]", out)
    if len(addresses) > 1:
        versions = {found.version for text in addresses if (found := parsed(text)) is not None}
        if len(versions) != 2 or len(addresses) > 2:
            words = "may specify no more than one IP for each IP family"
            kind = "core.PodIP" if field == "podIPs" else "core.HostIP"
            out.append(wrong(f"status.{field}", [inside(kind, one) for one in status[field]], words))
