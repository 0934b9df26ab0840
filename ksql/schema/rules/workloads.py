"""Rules of what makes pods for good: Deployment, ReplicaSet, StatefulSet, DaemonSet and their elders."""

import re
from collections.abc import Mapping, Sequence
from typing import Any

from ksql.base.documents import Document
from ksql.schema import names
from ksql.schema.errors import Cause
from ksql.schema.faults import IMMUTABLE, forbidden, required, unsupported, wrong
from ksql.schema.golang.internal import inside
from ksql.schema.metadata import check_annotations, check_labels
from ksql.schema.rules.annotations import check_pod_annotations
from ksql.schema.rules.checks import (
    amount_or_percent,
    complain,
    is_empty,
    not_negative,
    selector,
    selects,
    shown_selector,
)
from ksql.schema.rules.claims import check_claim_spec
from ksql.schema.rules.pods import check_template

Structure = Mapping[str, Any]

_UNMATCHED = "`selector` does not match template `labels`"
_RUNS_ALWAYS = ("Always",)
_TEMPLATE_SPEC = "spec.template.spec"


# --- selectors and templates -----------------------------------------------------------------------


def _check_selector(spec: Structure, kind: str, out: list[Cause], *, fault: str = "") -> bool:
    """A selector that chooses something. Says whether it can be asked whom it chooses."""
    chosen, path = spec.get("selector"), "spec.selector"
    if chosen is None:
        out.append(required(path))
        return True
    before = len(out)
    selector(chosen, path, out)
    valid = len(out) == before
    if is_empty(chosen):
        out.append(wrong(path, shown_selector(chosen), f"empty selector is invalid for {kind}"))
    if not valid:
        out.append(wrong(path, shown_selector(chosen), fault))
    return valid


def _check_selected(chosen: Any, template: Structure, out: list[Cause]) -> None:
    """No selector chooses nothing; an empty one everything."""
    if chosen is None or not selects(chosen, _labels(template)):
        out.append(wrong("spec.template.metadata.labels", _shown(template), _UNMATCHED))


def _labels(template: Structure) -> Mapping[str, str]:
    return _shown(template) or {}


def _shown(template: Structure) -> Mapping[str, str] | None:
    """A template's labels as messages show them: none are null, empty ones are {}."""
    labels: Mapping[str, str] | None = (template.get("metadata") or {}).get("labels")
    return labels


def _check_restarts(template: Structure, kind: str, out: list[Cause]) -> None:
    """Pods that are always started again, and have no end."""
    spec = template.get("spec") or {}
    policy = spec.get("restartPolicy") or ""
    if policy != "Always":
        out.append(unsupported(f"{_TEMPLATE_SPEC}.restartPolicy", policy, _RUNS_ALWAYS))
    if "activeDeadlineSeconds" in spec:
        words = f"activeDeadlineSeconds in {kind} is not Supported"
        out.append(forbidden(f"{_TEMPLATE_SPEC}.activeDeadlineSeconds", words))


def _check_replica_template(spec: Structure, out: list[Cause]) -> None:
    template = spec.get("template") or {}
    _check_selected(spec.get("selector"), template, out)
    check_template(template, "spec.template", out)
    _check_restarts(template, "ReplicaSet", out)


# --- deployments and replica sets ------------------------------------------------------------------


def check_deployment(document: Document, out: list[Cause]) -> None:
    spec = document.get("spec") or {}
    not_negative(spec, "spec", ("replicas",), out)
    if _check_selector(spec, "deployment", out, fault="invalid label selector"):
        _check_replica_template(spec, out)
    _check_strategy(spec.get("strategy") or {}, out)
    not_negative(spec, "spec", ("minReadySeconds", "revisionHistoryLimit"), out)
    deadline, ready = spec.get("progressDeadlineSeconds"), spec.get("minReadySeconds", 0)
    if deadline is not None:
        not_negative(spec, "spec", ("progressDeadlineSeconds",), out)
        if deadline <= ready:
            words = "must be greater than minReadySeconds"
            out.append(wrong("spec.progressDeadlineSeconds", deadline, words))


def _check_strategy(strategy: Structure, out: list[Cause]) -> None:
    kind, rolling, path = strategy.get("type"), strategy.get("rollingUpdate"), "spec.strategy.rollingUpdate"
    if kind == "Recreate":
        if rolling is not None:
            words = "may not be specified when strategy `type` is 'Recreate'"
            out.append(forbidden(path, words))
    elif kind != "RollingUpdate":
        shown = inside("apps.DeploymentStrategy", strategy)
        out.append(unsupported("spec.strategy", shown, ("Recreate", "RollingUpdate")))
    elif rolling is None:
        out.append(required(path, "this should be defaulted and never be nil"))
    else:
        unavailable, surge = rolling.get("maxUnavailable", 0), rolling.get("maxSurge", 0)
        amount_or_percent(unavailable, f"{path}.maxUnavailable", out)
        amount_or_percent(surge, f"{path}.maxSurge", out)
        if not _number(unavailable) and not _number(surge):
            words = "may not be 0 when `maxSurge` is 0"
            out.append(wrong(f"{path}.maxUnavailable", unavailable, words))
        _at_most_all(unavailable, f"{path}.maxUnavailable", out)


def _number(value: Any) -> int:
    """The number of an amount or a percentage; 0 of a text that is neither."""
    if isinstance(value, str):
        bare = value.removesuffix("%") if re.fullmatch("[0-9]+%", value) else value
        return int(bare) if re.fullmatch("[+-]?[0-9]+", bare) else 0
    return int(value or 0)


def _at_most_all(value: Any, path: str, out: list[Cause]) -> None:
    if isinstance(value, str) and re.fullmatch("[0-9]+%", value) and int(value[:-1]) > 100:
        out.append(wrong(path, value, "must not be greater than 100%"))


def check_replica_set(document: Document, out: list[Cause]) -> None:
    spec = document.get("spec") or {}
    not_negative(spec, "spec", ("replicas", "minReadySeconds"), out)
    # The word is Kubernetes' own: both kinds say deployment.
    if _check_selector(spec, "deployment", out, fault="invalid label selector"):
        _check_replica_template(spec, out)


def check_replication_controller(document: Document, out: list[Cause]) -> None:
    spec = document.get("spec") or {}
    not_negative(spec, "spec", ("minReadySeconds",), out)
    chosen, template = spec.get("selector") or {}, spec.get("template")
    if not chosen:
        out.append(required("spec.selector"))
    not_negative(spec, "spec", ("replicas",), out)
    if template is None:
        out.append(required("spec.template"))
        return
    labels = _labels(template)
    if chosen and not chosen.items() <= labels.items():
        out.append(wrong("spec.template.metadata.labels", _shown(template), _UNMATCHED))
    check_template(template, "spec.template", out)
    _check_restarts(template, "ReplicationController", out)


# --- stateful sets ---------------------------------------------------------------------------------


def check_stateful_set(document: Document, out: list[Cause]) -> None:
    _check_stateful_spec(document.get("spec") or {}, out, new=True)


def check_stateful_set_kept(document: Document, out: list[Cause]) -> None:
    """As `check_stateful_set`, without what is fixed and was judged when it came."""
    _check_stateful_spec(document.get("spec") or {}, out, new=False)


def _check_stateful_spec(spec: Structure, out: list[Cause], *, new: bool) -> None:
    policy = spec.get("podManagementPolicy") or ""
    if not policy:
        out.append(required("spec.podManagementPolicy"))
    elif policy not in ("OrderedReady", "Parallel"):
        words = "must be 'OrderedReady' or 'Parallel'"
        out.append(wrong("spec.podManagementPolicy", policy, words))
    _check_stateful_strategy(spec.get("updateStrategy") or {}, out)
    retention, path = spec.get("persistentVolumeClaimRetentionPolicy"), "spec.persistentVolumeClaimRetentionPolicy"
    for field in ("whenDeleted", "whenScaled") if retention is not None else ():
        if (value := (retention or {}).get(field, "")) not in ("Retain", "Delete"):
            out.append(unsupported(f"{path}.{field}", value, ("Retain", "Delete")))
    claims: Sequence[Structure] = spec.get("volumeClaimTemplates") or ()
    if new:
        for index, claim in enumerate(claims):
            check_claim_spec(claim.get("spec") or {}, f"spec.volumeClaimTemplates[{index}].spec", out)
    not_negative(spec, "spec", ("replicas", "minReadySeconds"), out)
    not_negative(spec.get("ordinals") or {}, "spec.ordinals", ("start",), out)
    if new and (service := spec.get("serviceName")):
        complain("spec.serviceName", service, names.label_name(service), out)
    template = spec.get("template") or {}
    if _check_selector(spec, "statefulset", out):
        _check_stateful_template(spec, template, claims, out)
    _check_restarts(template, "StatefulSet", out)


def _check_stateful_template(
    spec: Structure, template: Structure, claims: Sequence[Structure], out: list[Cause]
) -> None:
    """The template as its pods will be: with the claims as volumes, and names of their own."""
    labels, metadata = _labels(template), template.get("metadata") or {}
    if not is_empty(spec.get("selector") or {"matchLabels": {"": ""}}):
        _check_selected(spec.get("selector"), template, out)
    pod = {key: part for key, part in (template.get("spec") or {}).items() if key not in ("subdomain", "hostname")}
    if claims:
        made = {name: None for claim in claims if (name := (claim.get("metadata") or {}).get("name") or "") is not None}
        own = [volume for volume in pod.get("volumes") or () if (volume.get("name") or "") not in made]
        pod["volumes"] = [
            *({"name": name, "persistentVolumeClaim": {"claimName": name}} for name in made), *own,
        ]  # fmt: skip
    check_template({**template, "spec": pod}, "spec.template", out)
    # Said twice, as Kubernetes does.
    annotations, path = metadata.get("annotations") or {}, "spec.template.annotations"
    check_labels(labels, "spec.template.labels", out)
    check_annotations(annotations, path, out)
    if annotations:
        check_pod_annotations(annotations, pod, path, out)


def _check_stateful_strategy(strategy: Structure, out: list[Cause]) -> None:
    kind, rolling, path = strategy.get("type") or "", strategy.get("rollingUpdate"), "spec.updateStrategy"
    if not kind:
        out.append(required(path))
    elif kind == "OnDelete":
        if rolling is not None:
            shown = inside("apps.RollingUpdateStatefulSetStrategy", rolling)
            words = "only allowed for updateStrategy 'RollingUpdate'"
            out.append(wrong(f"{path}.rollingUpdate", shown, words))
    elif kind != "RollingUpdate":
        shown = inside("apps.StatefulSetUpdateStrategy", strategy)
        out.append(wrong(path, shown, "must be 'RollingUpdate' or 'OnDelete'"))
    elif rolling is not None:
        not_negative(rolling, f"{path}.rollingUpdate", ("partition",), out)
        unavailable, where = rolling.get("maxUnavailable"), f"{path}.rollingUpdate.maxUnavailable"
        if unavailable is not None:
            amount_or_percent(unavailable, where, out)
            if not _number(unavailable):
                out.append(wrong(where, unavailable, "cannot be 0"))
            _at_most_all(unavailable, where, out)


# --- daemon sets -----------------------------------------------------------------------------------


def check_daemon_set(document: Document, out: list[Cause]) -> None:
    spec = document.get("spec") or {}
    chosen, template = spec.get("selector"), spec.get("template") or {}
    before = len(out)
    selector(chosen or {}, "spec.selector", out)
    if len(out) == before and (chosen is None or (not is_empty(chosen) and not selects(chosen, _labels(template)))):
        out.append(wrong("spec.template.metadata.labels", _shown(template), _UNMATCHED))
    if chosen is not None and is_empty(chosen):
        out.append(wrong("spec.selector", shown_selector(chosen), "empty selector is invalid for daemonset"))
    check_template(template, "spec.template", out)
    _check_restarts(template, "DaemonSet", out)
    not_negative(spec, "spec", ("minReadySeconds",), out)
    _check_daemon_strategy(spec.get("updateStrategy") or {}, out)
    not_negative(spec, "spec", ("revisionHistoryLimit",), out)


def _check_daemon_strategy(strategy: Structure, out: list[Cause]) -> None:
    kind, rolling, path = strategy.get("type") or "", strategy.get("rollingUpdate"), "spec.updateStrategy"
    if kind == "OnDelete":
        return
    if kind != "RollingUpdate":
        shown = inside("apps.DaemonSetUpdateStrategy", strategy)
        out.append(unsupported(path, shown, ("RollingUpdate", "OnDelete")))
        return
    where = f"{path}.rollingUpdate"
    if rolling is None:
        out.append(required(where))
        return
    unavailable, surge = rolling.get("maxUnavailable", 0), rolling.get("maxSurge", 0)
    amount_or_percent(unavailable, f"{where}.maxUnavailable", out)
    amount_or_percent(surge, f"{where}.maxSurge", out)
    _at_most_all(unavailable, f"{where}.maxUnavailable", out)
    _at_most_all(surge, f"{where}.maxSurge", out)
    if _number(unavailable) and _number(surge):
        out.append(wrong(f"{where}.maxSurge", surge, "may not be set when maxUnavailable is non-zero"))
    elif not _number(unavailable) and not _number(surge):
        out.append(required(f"{where}.maxUnavailable", "cannot be 0 when maxSurge is 0"))


# --- templates and revisions -----------------------------------------------------------------------


def check_pod_template(document: Document, out: list[Cause]) -> None:
    check_template(document.get("template") or {}, "template", out)


def check_controller_revision(document: Document, out: list[Cause]) -> None:
    not_negative(document, "", ("revision",), out)


def check_controller_revision_birth(document: Document, out: list[Cause]) -> None:
    data = document.get("data")
    if data is None:
        out.append(required("data", "data is mandatory"))
    elif not isinstance(data, dict):
        out.append(required("data", "data must be a valid JSON object"))


# --- changes ---------------------------------------------------------------------------------------


def selector_is_fixed(document: Document, old: Document, out: list[Cause]) -> None:
    now, before = (document.get("spec") or {}).get("selector"), (old.get("spec") or {}).get("selector")
    if now != before:
        out.append(wrong("spec.selector", shown_selector(now), IMMUTABLE))


_STATEFUL_CHANGEABLE = frozenset(
    {
        "replicas", "ordinals", "template", "updateStrategy", "revisionHistoryLimit",
        "persistentVolumeClaimRetentionPolicy", "minReadySeconds",
    }
)  # fmt: skip


def check_stateful_set_change(document: Document, old: Document, out: list[Cause]) -> None:
    spec, before = document.get("spec") or {}, old.get("spec") or {}
    if _kept(spec) != _kept(before):
        words = (
            "updates to statefulset spec for fields other than 'replicas', 'ordinals', 'template', "
            "'updateStrategy', 'revisionHistoryLimit', 'persistentVolumeClaimRetentionPolicy' and "
            "'minReadySeconds' are forbidden"
        )
        out.append(forbidden("spec", words))


def _kept(spec: Structure) -> dict[str, Any]:
    kept = {key: value for key, value in spec.items() if key not in _STATEFUL_CHANGEABLE}
    # The status of a claim template is nobody's wish.
    claims = kept.get("volumeClaimTemplates")
    if claims:
        kept["volumeClaimTemplates"] = [{k: v for k, v in claim.items() if k != "status"} for claim in claims]
    return kept


def check_controller_revision_change(document: Document, old: Document, out: list[Cause]) -> None:
    if document.get("data") != old.get("data"):
        out.append(wrong("data", document.get("data"), IMMUTABLE))
