"""Rules of what makes pods: Deployment, ReplicaSet, StatefulSet, DaemonSet, Job, CronJob and their elders."""

import re
from collections.abc import Mapping
from typing import Any

from ksql.base.documents import Document
from ksql.schema.checks import (
    amount_or_percent,
    is_empty,
    is_nothing,
    not_negative,
    one_of,
    selector,
    selects,
)
from ksql.schema.errors import Cause
from ksql.schema.faults import IMMUTABLE, forbidden, required, unsupported, wrong
from ksql.schema.metadata import check_annotations, check_labels
from ksql.schema.rules_pods import check_template

Structure = Mapping[str, Any]

_UNMATCHED = "`selector` does not match template `labels`"
_RUNS_ALWAYS = ("Always",)


def _check_selected_template(spec: Structure, kind: str, out: list[Cause], *, whole: bool = True) -> None:
    """Selector and template: both there, the one choosing the other, pods that always restart."""
    chosen, template = spec.get("selector"), spec.get("template") or {}
    labels = (template.get("metadata") or {}).get("labels") or {}
    if "spec" not in template:
        # What is not there has no defaults either; only the absence itself shall be complained of.
        template = {**template, "spec": {"restartPolicy": "Always", "dnsPolicy": "ClusterFirst"}}
    if chosen is None:
        # No selector chooses nothing, and that kube-apiserver says as well.
        out.append(required("spec.selector"))
        out.append(wrong("spec.template.metadata.labels", labels or None, _UNMATCHED))
    else:
        before = len(out)
        selector(chosen, "spec.selector", out)
        if is_empty(chosen):
            out.append(wrong("spec.selector", chosen, f"empty selector is invalid for {kind}"))
        elif len(out) == before and not selects(chosen, labels):
            out.append(wrong("spec.template.metadata.labels", labels, _UNMATCHED))
    if whole:
        check_template(template, "spec.template", out)
    else:
        metadata = template.get("metadata") or {}
        check_labels(labels, "spec.template.labels", out)
        check_annotations(metadata.get("annotations") or {}, "spec.template.annotations", out)
    policy = (template.get("spec") or {}).get("restartPolicy", "")
    if policy != "Always":
        out.append(unsupported("spec.template.spec.restartPolicy", policy, _RUNS_ALWAYS))


def _no_deadline(spec: Structure, words: str, out: list[Cause]) -> None:
    path = "spec.template.spec.activeDeadlineSeconds"
    if "activeDeadlineSeconds" in ((spec.get("template") or {}).get("spec") or {}):
        out.append(forbidden(path, words))


def check_deployment(document: Document, out: list[Cause]) -> None:
    spec = document.get("spec") or {}
    not_negative(spec, "spec", ("replicas", "minReadySeconds", "revisionHistoryLimit"), out)
    _check_selected_template(spec, "deployment", out)
    _no_deadline(spec, "activeDeadlineSeconds in ReplicaSet is not Supported", out)
    _check_strategy(spec.get("strategy") or {}, out)
    deadline, ready = spec.get("progressDeadlineSeconds"), spec.get("minReadySeconds", 0)
    if deadline is not None:
        not_negative(spec, "spec", ("progressDeadlineSeconds",), out)
        if deadline <= ready:
            out.append(
                wrong("spec.progressDeadlineSeconds", deadline, "must be greater than minReadySeconds")
            )


def _check_strategy(strategy: Structure, out: list[Cause]) -> None:
    kind, rolling = strategy.get("type"), strategy.get("rollingUpdate")
    if kind == "Recreate":
        if rolling is not None:
            words = "may not be specified when strategy `type` is 'Recreate'"
            out.append(forbidden("spec.strategy.rollingUpdate", words))
    elif kind == "RollingUpdate":
        if rolling is None:
            out.append(required("spec.strategy.rollingUpdate", "this should be defaulted and never be nil"))
        else:
            _check_rolling(rolling, "spec.strategy.rollingUpdate", out)
    else:
        shown = {"Type": kind, "RollingUpdate": rolling}
        out.append(unsupported("spec.strategy", shown, ("Recreate", "RollingUpdate")))


def _check_rolling(rolling: Structure, path: str, out: list[Cause]) -> None:
    unavailable, surge = rolling.get("maxUnavailable"), rolling.get("maxSurge")
    amount_or_percent(unavailable, f"{path}.maxUnavailable", out)
    amount_or_percent(surge, f"{path}.maxSurge", out)
    if is_nothing(unavailable) and is_nothing(surge):
        out.append(wrong(f"{path}.maxUnavailable", unavailable, "may not be 0 when `maxSurge` is 0"))
    _at_most_all(unavailable, f"{path}.maxUnavailable", out)


def _at_most_all(value: Any, path: str, out: list[Cause]) -> None:
    if isinstance(value, str) and re.fullmatch("[0-9]+%", value) and int(value[:-1]) > 100:
        out.append(wrong(path, value, "must not be greater than 100%"))


def check_replica_set(document: Document, out: list[Cause]) -> None:
    spec = document.get("spec") or {}
    not_negative(spec, "spec", ("replicas", "minReadySeconds"), out)
    # The word is Kubernetes' own: both kinds say deployment.
    _check_selected_template(spec, "deployment", out)
    _no_deadline(spec, "activeDeadlineSeconds in ReplicaSet is not Supported", out)


def check_replication_controller(document: Document, out: list[Cause]) -> None:
    spec = document.get("spec") or {}
    not_negative(spec, "spec", ("replicas", "minReadySeconds"), out)
    chosen, template = spec.get("selector") or {}, spec.get("template")
    if not chosen:
        out.append(required("spec.selector"))
    if template is None:
        out.append(required("spec.template"))
        return
    labels = (template.get("metadata") or {}).get("labels") or {}
    if chosen and not chosen.items() <= labels.items():
        out.append(wrong("spec.template.metadata.labels", labels, _UNMATCHED))
    check_template(template, "spec.template", out)
    policy = (template.get("spec") or {}).get("restartPolicy", "")
    if policy != "Always":
        out.append(unsupported("spec.template.spec.restartPolicy", policy, _RUNS_ALWAYS))


def check_stateful_set(document: Document, out: list[Cause]) -> None:
    spec = document.get("spec") or {}
    policy = spec.get("podManagementPolicy")
    if policy not in ("OrderedReady", "Parallel"):
        out.append(wrong("spec.podManagementPolicy", policy, "must be 'OrderedReady' or 'Parallel'"))
    strategy = spec.get("updateStrategy") or {}
    rolling = strategy.get("rollingUpdate")
    if strategy.get("type") == "OnDelete":
        if rolling is not None:
            words = "only allowed for updateStrategy 'RollingUpdate'"
            out.append(wrong("spec.updateStrategy.rollingUpdate", rolling, words))
    elif strategy.get("type") == "RollingUpdate":
        not_negative(rolling or {}, "spec.updateStrategy.rollingUpdate", ("partition",), out)
    else:
        out.append(wrong("spec.updateStrategy", strategy, "must be 'RollingUpdate' or 'OnDelete'"))
    retention = spec.get("persistentVolumeClaimRetentionPolicy") or {}
    for field in ("whenDeleted", "whenScaled"):
        one_of(retention, "spec.persistentVolumeClaimRetentionPolicy", field, ("Delete", "Retain"), out)
    not_negative(spec, "spec", ("replicas", "minReadySeconds", "revisionHistoryLimit"), out)
    not_negative(spec.get("ordinals") or {}, "spec.ordinals", ("start",), out)
    # Kubernetes leaves the pods of a StatefulSet to the moment they are created: their volumes include
    # claims that only its controller knows.
    _check_selected_template(spec, "statefulset", out, whole=False)
    if "activeDeadlineSeconds" in ((spec.get("template") or {}).get("spec") or {}):
        path = "spec.template.spec.activeDeadlineSeconds"
        out.append(forbidden(path, "activeDeadlineSeconds in StatefulSet is not Supported"))


def check_daemon_set(document: Document, out: list[Cause]) -> None:
    spec = document.get("spec") or {}
    _check_selected_template(spec, "daemonset", out)
    _no_deadline(spec, "activeDeadlineSeconds in DaemonSet is not Supported", out)
    not_negative(spec, "spec", ("minReadySeconds", "revisionHistoryLimit"), out)
    strategy = spec.get("updateStrategy") or {}
    rolling, path = strategy.get("rollingUpdate"), "spec.updateStrategy.rollingUpdate"
    if strategy.get("type") == "RollingUpdate":
        if rolling is None:
            out.append(required(path))
        else:
            amount_or_percent(rolling.get("maxUnavailable"), f"{path}.maxUnavailable", out)
            amount_or_percent(rolling.get("maxSurge"), f"{path}.maxSurge", out)
            has_unavailable = not is_nothing(rolling.get("maxUnavailable"))
            has_surge = not is_nothing(rolling.get("maxSurge"))
            if has_unavailable and has_surge:
                words = "may not be set when maxUnavailable is non-zero"
                out.append(wrong(f"{path}.maxSurge", rolling.get("maxSurge"), words))
            elif not has_unavailable and not has_surge:
                words = "cannot be 0 when maxSurge is 0"
                out.append(wrong(f"{path}.maxUnavailable", rolling.get("maxUnavailable"), words))
    elif strategy.get("type") != "OnDelete":
        out.append(unsupported("spec.updateStrategy", strategy, ("OnDelete", "RollingUpdate")))


def check_pod_template(document: Document, out: list[Cause]) -> None:
    check_template(document.get("template") or {}, "template", out)


def check_controller_revision(document: Document, out: list[Cause]) -> None:
    if document.get("data") is None:
        out.append(required("data", "data is mandatory"))
    if document.get("revision", 0) < 0:
        out.append(wrong("revision", document["revision"], "must be greater than or equal to 0"))


# --- batch -----------------------------------------------------------------------------------------

_COUNTS = (
    "parallelism", "completions", "activeDeadlineSeconds", "backoffLimit", "ttlSecondsAfterFinished",
    "backoffLimitPerIndex", "maxFailedIndexes",
)  # fmt: skip


def check_job(document: Document, out: list[Cause]) -> None:
    spec = document.get("spec") or {}
    _check_job_spec(spec, "spec", out)
    chosen = spec.get("selector")
    if chosen is not None:
        selector(chosen, "spec.selector", out)
        labels = ((spec.get("template") or {}).get("metadata") or {}).get("labels") or {}
        if spec.get("manualSelector") and not selects(chosen, labels):
            out.append(wrong("spec.template.metadata.labels", labels, _UNMATCHED))


def _check_job_spec(spec: Structure, path: str, out: list[Cause]) -> None:
    not_negative(spec, path, _COUNTS, out)
    one_of(spec, path, "completionMode", ("Indexed", "NonIndexed"), out)
    if spec.get("completionMode") == "Indexed" and "completions" not in spec:
        out.append(required(f"{path}.completions", "when completion mode is Indexed"))
    if "backoffLimitPerIndex" in spec and spec.get("completionMode") != "Indexed":
        words = "requires indexed completion mode"
        out.append(wrong(f"{path}.backoffLimitPerIndex", spec["backoffLimitPerIndex"], words))
    one_of(spec, path, "podReplacementPolicy", ("Failed", "TerminatingOrFailed"), out)
    check_template(spec.get("template") or {}, f"{path}.template", out)
    policy = ((spec.get("template") or {}).get("spec") or {}).get("restartPolicy")
    if policy in (None, "", "Always"):
        words = 'valid values: "OnFailure", "Never"'
        out.append(required(f"{path}.template.spec.restartPolicy", words))


def check_cron_job(document: Document, out: list[Cause]) -> None:
    spec = document.get("spec") or {}
    schedule = spec.get("schedule", "")
    if not schedule:
        out.append(required("spec.schedule"))
    else:
        _check_schedule(schedule, out)
    zone = spec.get("timeZone")
    if zone is not None:
        if not zone:
            out.append(wrong("spec.timeZone", zone, "timeZone must be nil or non-empty string"))
        elif zone.lower() == "local":
            out.append(
                wrong(
                    "spec.timeZone",
                    zone,
                    "timeZone must be an explicit time zone as defined in https://www.iana.org/time-zones",
                )
            )
    not_negative(
        spec,
        "spec",
        ("startingDeadlineSeconds", "successfulJobsHistoryLimit", "failedJobsHistoryLimit"),
        out,
    )
    one_of(spec, "spec", "concurrencyPolicy", ("Allow", "Forbid", "Replace"), out, needed=True)
    _check_job_spec((spec.get("jobTemplate") or {}).get("spec") or {}, "spec.jobTemplate.spec", out)


_MACROS = frozenset({"@yearly", "@annually", "@monthly", "@weekly", "@daily", "@midnight", "@hourly"})
_RANGES = ((0, 59), (0, 23), (1, 31), (1, 12), (0, 6))
_MONTHS = ("jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec")
_DAYS = ("sun", "mon", "tue", "wed", "thu", "fri", "sat")


def _check_schedule(schedule: str, out: list[Cause]) -> None:
    text = schedule
    if text.startswith(("TZ=", "CRON_TZ=")):
        words = "cannot use TZ or CRON_TZ in schedule, use timeZone field instead"
        out.append(wrong("spec.schedule", schedule, words))
        text = text.partition(" ")[2]
    if text.startswith("@"):
        if text not in _MACROS and not re.fullmatch(r"@every ([0-9]+(\.[0-9]+)?(h|m|s|ms|us|ns))+", text):
            out.append(wrong("spec.schedule", schedule, f"unrecognized descriptor: {text}"))
        return
    fields = text.split()
    if len(fields) != 5:
        words = f"expected exactly 5 fields, found {len(fields)}: [{' '.join(fields)}]"
        out.append(wrong("spec.schedule", schedule, words))
        return
    for field, (low, high), words_of in zip(fields, _RANGES, ((), (), (), _MONTHS, _DAYS), strict=True):
        fault = _field_fault(field, low, high, words_of)
        if fault:
            out.append(wrong("spec.schedule", schedule, fault))
            return


def _field_fault(field: str, low: int, high: int, words: tuple[str, ...]) -> str:
    """What is wrong with one field of a schedule, as the cron library says it."""
    for part in field.split(","):
        span, _, step = part.partition("/")
        if step and not step.isdecimal():
            return f'failed to parse int from {step}: strconv.Atoi: parsing "{step}": invalid syntax'
        if step and int(step) == 0:
            return f"step of range should be a positive number: {part}"
        if span in ("*", "?"):
            continue
        ends = []
        for end in span.split("-", 1):
            if end.lower() in words:
                ends.append(words.index(end.lower()) + low)
            elif end.isdecimal():
                ends.append(int(end))
            else:
                return f'failed to parse int from {end}: strconv.Atoi: parsing "{end}": invalid syntax'
        if ends[0] < low:
            return f"beginning of range ({ends[0]}) below minimum ({low}): {part}"
        if ends[-1] > high:
            return f"end of range ({ends[-1]}) above maximum ({high}): {part}"
        if ends[0] > ends[-1]:
            return f"beginning of range ({ends[0]}) beyond end of range ({ends[-1]}): {part}"
    return ""


# --- changes ---------------------------------------------------------------------------------------


def selector_is_fixed(document: Document, old: Document, out: list[Cause]) -> None:
    _fixed(document, old, ("selector",), out)


def _fixed(document: Document, old: Document, fields: tuple[str, ...], out: list[Cause]) -> None:
    spec, before = document.get("spec") or {}, old.get("spec") or {}
    for field in fields:
        if spec.get(field) != before.get(field):
            out.append(wrong(f"spec.{field}", spec.get(field), IMMUTABLE))


_STATEFUL_CHANGEABLE = frozenset(
    {
        "replicas",
        "ordinals",
        "template",
        "updateStrategy",
        "revisionHistoryLimit",
        "persistentVolumeClaimRetentionPolicy",
        "minReadySeconds",
    }
)


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


_SUSPENDED_TEMPLATE = (
    "nodeSelector",
    "affinity",
    "tolerations",
    "schedulingGates",
    "containers",
    "initContainers",
)


def check_job_change(document: Document, old: Document, out: list[Cause]) -> None:
    spec, before = document.get("spec") or {}, old.get("spec") or {}
    elastic = (
        spec.get("completionMode") == "Indexed"
        and spec.get("completions") == spec.get("parallelism")
        and before.get("completions") == before.get("parallelism")
    )
    fields = (
        "selector",
        "podFailurePolicy",
        "completionMode",
        "backoffLimitPerIndex",
        "managedBy",
        "successPolicy",
    )
    _fixed(document, old, fields if elastic else ("completions", *fields), out)
    template, earlier = spec.get("template"), before.get("template")
    if template != earlier and not (before.get("suspend") and _only_scheduling(template, earlier)):
        out.append(wrong("spec.template", template, IMMUTABLE))


def _only_scheduling(template: Any, earlier: Any) -> bool:
    """A Job that has not begun may still be told where to run."""

    def rest(value: Any) -> Any:
        spec = (value or {}).get("spec") or {}
        return {key: part for key, part in spec.items() if key not in _SUSPENDED_TEMPLATE}

    return bool(rest(template) == rest(earlier))


def check_controller_revision_change(document: Document, old: Document, out: list[Cause]) -> None:
    if document.get("data") != old.get("data"):
        out.append(wrong("data", document.get("data"), IMMUTABLE))
