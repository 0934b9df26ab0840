"""Rules of Jobs and CronJobs: how much is to be done, when it has failed or succeeded, and when it is due."""

import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from ksql.base.documents import Document
from ksql.schema import names
from ksql.schema import schedule as schedules
from ksql.schema.errors import Cause
from ksql.schema.faults import IMMUTABLE, duplicate, required, too_long, too_many, unsupported, wrong
from ksql.schema.golang.internal import inside
from ksql.schema.rules.checks import complain, not_negative, one_of, selector, selects, shown_selector
from ksql.schema.rules.pods import check_template

Structure = Mapping[str, Any]

PARALLELISM_MAX = 100_000
FAILED_INDEXES_MAX = 100_000
# Above so many completions the bookkeeping per index must be bounded.
COMPLETIONS_SOFT_MAX = 100_000
PARALLELISM_MANY_MAX = 10_000
FAILED_INDEXES_MANY_MAX = 10_000
RULES_MAX = 20
EXIT_CODES_MAX = 255
PATTERNS_MAX = 20
MANAGED_BY_MAX = 63
INDEXES_LENGTH_MAX = 64 * 1024
CRON_NAME_MAX = 52

ACTIONS = ("Count", "FailIndex", "FailJob", "Ignore")
_UNMATCHED = "`selector` does not match template `labels`"
_COUNTS = (
    "parallelism", "completions", "activeDeadlineSeconds", "backoffLimit", "ttlSecondsAfterFinished",
    "backoffLimitPerIndex", "maxFailedIndexes",
)  # fmt: skip
_HTTP_PATH = "[A-Za-z0-9/\\-._~%!$&'()*+,;=:]+"


def check_job(document: Document, out: list[Cause]) -> None:
    spec, metadata = document.get("spec") or {}, document.get("metadata") or {}
    labels = ((spec.get("template") or {}).get("metadata") or {}).get("labels") or {}
    chosen = spec.get("selector")
    if not spec.get("manualSelector") and chosen is not None:
        _check_generated(metadata, chosen, labels, out)
    check_job_again(document, out)
    completions = spec.get("completions") or 0
    if spec.get("completionMode") == "Indexed" and completions > 0:
        host = f"{metadata.get('name', '')}-{completions - 1}"
        if names.label_name(host):
            words = f"will not able to create pod with invalid DNS label: {host}"
            out.append(wrong("metadata.name", metadata.get("name", ""), words))


def check_job_again(document: Document, out: list[Cause]) -> None:
    """What a change of a Job is told of by both layers of kube-apiserver that look at it."""
    spec, path = document.get("spec") or {}, "spec.selector"
    chosen = spec.get("selector")
    shown = ((spec.get("template") or {}).get("metadata") or {}).get("labels")
    labels = shown or {}
    check_job_spec(spec, "spec", out)
    if chosen is None:
        # No selector chooses nothing, and that is said as well.
        out.append(required(path))
        out.append(wrong("spec.template.metadata.labels", shown, _UNMATCHED))
    else:
        before = len(out)
        selector(chosen, path, out)
        if len(out) == before and not selects(chosen, labels):
            out.append(wrong("spec.template.metadata.labels", shown, _UNMATCHED))


def _check_generated(
    metadata: Structure, chosen: Structure, labels: Mapping[str, str], out: list[Cause]
) -> None:
    """The labels by which a Job knows its pods are the server's to give."""
    uid, name = metadata.get("uid", ""), metadata.get("name", "")
    expected = {
        "controller-uid": uid, "job-name": name,
        "batch.kubernetes.io/controller-uid": uid, "batch.kubernetes.io/job-name": name,
    }  # fmt: skip
    for key, text in expected.items():
        path = f"spec.template.metadata.labels[{key}]"
        if key not in labels:
            out.append(required(path, f"must be '{text}'"))
        elif labels[key] != text:
            out.append(wrong(path, labels or None, f"must be '{text}'"))
    faults: list[Cause] = []
    selector(chosen, "", faults)
    if not faults and not selects(chosen, expected):
        out.append(wrong("spec.selector", shown_selector(chosen), "`selector` not auto-generated"))


def check_job_spec(spec: Structure, path: str, out: list[Cause]) -> None:
    """What Jobs have in common with the template of a CronJob."""
    not_negative(spec, path, _COUNTS, out)
    if "maxFailedIndexes" in spec and "backoffLimitPerIndex" not in spec:
        out.append(required(f"{path}.backoffLimitPerIndex", "when maxFailedIndexes is specified"))
    if (manager := spec.get("managedBy")) is not None:
        _check_manager(manager, f"{path}.managedBy", out)
    mode, indexed = spec.get("completionMode"), spec.get("completionMode") == "Indexed"
    if mode not in (None, "NonIndexed", "Indexed"):
        out.append(unsupported(f"{path}.completionMode", mode, ("NonIndexed", "Indexed")))
    if indexed:
        _check_indexed(spec, path, out)
    elif mode in (None, "NonIndexed"):
        for field in ("backoffLimitPerIndex", "maxFailedIndexes"):
            if field in spec:
                out.append(wrong(f"{path}.{field}", spec[field], "requires indexed completion mode"))
    failure, success = spec.get("podFailurePolicy"), spec.get("successPolicy")
    if failure is not None:
        _check_failure_policy(spec, failure, f"{path}.podFailurePolicy", out)
    if success is not None:
        if not indexed:
            shown = inside("batch.SuccessPolicy", success)
            out.append(wrong(f"{path}.successPolicy", shown, "requires indexed completion mode"))
        else:
            _check_success_policy(spec, success, f"{path}.successPolicy", out)
    replaced = spec.get("podReplacementPolicy")
    if replaced is not None:
        choices = ("Failed",) if failure is not None else ("Failed", "TerminatingOrFailed")
        if replaced not in choices:
            out.append(unsupported(f"{path}.podReplacementPolicy", replaced, choices))
    check_template(spec.get("template") or {}, f"{path}.template", out)
    _check_restarts(spec, failure is not None, f"{path}.template.spec.restartPolicy", out)


def _check_restarts(spec: Structure, has_policy: bool, path: str, out: list[Cause]) -> None:
    policy = ((spec.get("template") or {}).get("spec") or {}).get("restartPolicy") or ""
    if policy in ("", "Always"):
        out.append(required(path, 'valid values: "OnFailure", "Never"'))
    elif policy not in ("OnFailure", "Never"):
        out.append(unsupported(path, policy, ("OnFailure", "Never")))
    elif has_policy and policy != "Never":
        out.append(wrong(path, policy, 'only "Never" is supported when podFailurePolicy is specified'))


def _check_manager(name: str, path: str, out: list[Cause]) -> None:
    domain, slash, rest = name.partition("/")
    if not name:
        out.append(required(path))
    elif not slash or not domain or not rest:
        out.append(wrong(path, name, 'must be a domain-prefixed path (such as "acme.io/foo")'))
    else:
        complain(path, domain, names.subdomain(domain), out)
        if not re.fullmatch(_HTTP_PATH, rest):
            words = f"Invalid path (regex used for validation is '{_HTTP_PATH}')"
            out.append(wrong(path, rest, words))
    if len(name) > MANAGED_BY_MAX:
        out.append(too_long(path, MANAGED_BY_MAX))


def _check_indexed(spec: Structure, path: str, out: list[Cause]) -> None:
    completions, parallelism = spec.get("completions"), spec.get("parallelism") or 0
    failed = spec.get("maxFailedIndexes")
    if completions is None:
        out.append(required(f"{path}.completions", "when completion mode is Indexed"))
    if parallelism > PARALLELISM_MAX:
        words = f"must be less than or equal to {PARALLELISM_MAX} when completion mode is Indexed"
        out.append(wrong(f"{path}.parallelism", parallelism, words))
    if completions is not None and failed is not None and failed > completions:
        out.append(wrong(f"{path}.maxFailedIndexes", failed, "must be less than or equal to completions"))
    if failed is not None and failed > FAILED_INDEXES_MAX:
        words = f"must be less than or equal to {FAILED_INDEXES_MAX}"
        out.append(wrong(f"{path}.maxFailedIndexes", failed, words))
    if (completions or 0) <= COMPLETIONS_SOFT_MAX or "backoffLimitPerIndex" not in spec:
        return
    above = f"when completions are above {COMPLETIONS_SOFT_MAX} and used with backoff limit per index"
    if failed is None:
        words = f"must be specified when completions is above {COMPLETIONS_SOFT_MAX}"
        out.append(required(f"{path}.maxFailedIndexes", words))
    if parallelism > PARALLELISM_MANY_MAX:
        words = f"must be less than or equal to {PARALLELISM_MANY_MAX} {above}"
        out.append(wrong(f"{path}.parallelism", parallelism, words))
    if failed is not None and failed > FAILED_INDEXES_MANY_MAX:
        words = f"must be less than or equal to {FAILED_INDEXES_MANY_MAX} {above}"
        out.append(wrong(f"{path}.maxFailedIndexes", failed, words))


# --- failure ---------------------------------------------------------------------------------------


def _listed(choices: Sequence[str]) -> str:
    """As Go prints a list of texts."""
    return "[" + " ".join(f'"{choice}"' for choice in choices) + "]"


def _without_value(path: str, words: str) -> Cause:
    return Cause("FieldValueInvalid", f"Invalid value: {words}", path)


def _check_failure_policy(spec: Structure, policy: Structure, path: str, out: list[Cause]) -> None:
    rules = policy.get("rules") or ()
    if len(rules) > RULES_MAX:
        out.append(too_many(f"{path}.rules", len(rules), RULES_MAX))
    pod = (spec.get("template") or {}).get("spec") or {}
    known = {one.get("name") for part in ("containers", "initContainers") for one in pod.get(part) or ()}
    for index, rule in enumerate(rules):
        where, action = f"{path}.rules[{index}]", rule.get("action") or ""
        if not action:
            out.append(required(f"{where}.action", f"valid values: {_listed(ACTIONS)}"))
        elif action == "FailIndex":
            if "backoffLimitPerIndex" not in spec:
                words = "requires the backoffLimitPerIndex to be set"
                out.append(wrong(f"{where}.action", action, words))
        elif action not in ACTIONS:
            out.append(unsupported(f"{where}.action", action, ACTIONS))
        codes, conditions = rule.get("onExitCodes"), rule.get("onPodConditions") or ()
        if codes is not None:
            _check_exit_codes(codes, known, f"{where}.onExitCodes", out)
        if conditions:
            _check_patterns(conditions, f"{where}.onPodConditions", out)
        if codes is not None and conditions:
            words = "specifying both OnExitCodes and OnPodConditions is not supported"
            out.append(_without_value(where, words))
        if codes is None and not conditions:
            words = "specifying one of OnExitCodes and OnPodConditions is required"
            out.append(_without_value(where, words))


def _check_patterns(patterns: Sequence[Structure], path: str, out: list[Cause]) -> None:
    states = ("False", "True", "Unknown")
    if len(patterns) > PATTERNS_MAX:
        out.append(too_many(path, len(patterns), PATTERNS_MAX))
    for index, pattern in enumerate(patterns):
        where, kind, status = f"{path}[{index}]", pattern.get("type") or "", pattern.get("status") or ""
        complain(f"{where}.type", kind, names.qualified(kind), out)
        if not status:
            out.append(required(f"{where}.status", f"valid values: {_listed(states)}"))
        elif status not in states:
            out.append(unsupported(f"{where}.status", status, states))


def _check_exit_codes(codes: Structure, known: set[Any], path: str, out: list[Cause]) -> None:
    operator, values, name = codes.get("operator") or "", codes.get("values") or (), codes.get("containerName")
    if not operator:
        out.append(required(f"{path}.operator", f"valid values: {_listed(('In', 'NotIn'))}"))
    elif operator not in ("In", "NotIn"):
        out.append(unsupported(f"{path}.operator", operator, ("In", "NotIn")))
    if name is not None and name not in known:
        words = "must be one of the container or initContainer names in the pod template"
        out.append(wrong(f"{path}.containerName", name, words))
    if not values:
        out.append(wrong(f"{path}.values", codes.get("values"), "at least one value is required"))
    elif len(values) > EXIT_CODES_MAX:
        out.append(too_many(f"{path}.values", len(values), EXIT_CODES_MAX))
    seen: set[int] = set()
    for index, value in enumerate(values):
        if operator == "In" and value == 0:
            out.append(wrong(f"{path}.values[{index}]", value, "must not be 0 for the In operator"))
        if value in seen:
            out.append(duplicate(f"{path}.values[{index}]", value))
        seen.add(value)
    if list(values) != sorted(values):
        out.append(wrong(f"{path}.values", list(values), "must be ordered"))


# --- success ---------------------------------------------------------------------------------------


def _check_success_policy(spec: Structure, policy: Structure, path: str, out: list[Cause]) -> None:
    rules, completions = policy.get("rules") or (), spec.get("completions") or 0
    if not rules:
        words = "at least one rules must be specified when the successPolicy is specified"
        out.append(required(f"{path}.rules", words))
    if len(rules) > RULES_MAX:
        out.append(too_many(f"{path}.rules", len(rules), RULES_MAX))
    for index, rule in enumerate(rules):
        _check_success_rule(rule, completions, f"{path}.rules[{index}]", out)


def _check_success_rule(rule: Structure, completions: int, path: str, out: list[Cause]) -> None:
    count, indexes = rule.get("succeededCount"), rule.get("succeededIndexes")
    total = 0
    if count is None and indexes is None:
        words = "at least one of succeededCount or succeededIndexes must be specified"
        out.append(required(path, words))
    if indexes is not None:
        where = f"{path}.succeededIndexes"
        if len(indexes) > INDEXES_LENGTH_MAX:
            out.append(too_long(where, INDEXES_LENGTH_MAX))
        try:
            total = count_indexes(indexes, completions)
        except ValueError as error:
            out.append(wrong(where, indexes, f"error parsing succeededIndexes: {error}"))
    if count is not None:
        not_negative(rule, path, ("succeededCount",), out)
        where, most = f"{path}.succeededCount", "must be less than or equal to"
        if count > completions:
            words = f"{most} {completions} (the number of specified completions)"
            out.append(wrong(where, count, words))
        if indexes is not None and count > total:
            words = f"{most} {total} (the number of indexes in the specified succeededIndexes field)"
            out.append(wrong(where, count, words))


def count_indexes(text: str, completions: int) -> int:
    """How many indexes a text like 0-3,5 names; `ValueError` says what is wrong with it."""
    total, last = 0, -1
    for first, final in intervals(text, completions):
        if last >= first:
            raise ValueError(f"non-increasing order, previous: {last}, current: {first}")
        total, last = total + final - first + 1, final
    return total


def intervals(text: str, completions: int) -> Iterator[tuple[int, int]]:
    for part in text.split(",") if text else ():
        ends = part.split("-")
        if len(ends) > 2:
            raise ValueError(
                f'the fragment "{part}" violates the requirement that an index interval can have at most '
                "two parts separated by '-'"
            )
        numbers = []
        for end in ends:
            if not re.fullmatch(r"[+-]?[0-9]+", end):
                raise ValueError(f'cannot convert string to integer for index: "{end}"')
            if int(end) >= completions:
                raise ValueError(f'too large index: "{end}"')
            numbers.append(int(end))
        if len(numbers) > 1 and numbers[0] >= numbers[1]:
            raise ValueError(f"non-increasing order, previous: {numbers[0]}, current: {numbers[1]}")
        yield numbers[0], numbers[-1]


# --- schedules -------------------------------------------------------------------------------------


def check_cron_job(document: Document, out: list[Cause]) -> None:
    spec = document.get("spec") or {}
    _check_schedule(spec.get("schedule") or "", False, out)
    not_negative(spec, "spec", ("startingDeadlineSeconds",), out)
    _check_zone(spec.get("timeZone"), out)
    one_of(spec, "spec", "concurrencyPolicy", ("Allow", "Forbid", "Replace"), out, needed=True)
    inner, path = (spec.get("jobTemplate") or {}).get("spec") or {}, "spec.jobTemplate.spec"
    check_job_spec(inner, path, out)
    if "selector" in inner:
        out.append(wrong(f"{path}.selector", inner["selector"], "`selector` will be auto-generated"))
    if inner.get("manualSelector"):
        out.append(unsupported(f"{path}.manualSelector", True, ("nil", "false")))
    not_negative(spec, "spec", ("successfulJobsHistoryLimit", "failedJobsHistoryLimit"), out)


def check_cron_job_birth(document: Document, out: list[Cause]) -> None:
    """The names of its jobs are its own and eleven characters more."""
    name = (document.get("metadata") or {}).get("name") or ""
    if len(name) > CRON_NAME_MAX:
        out.append(wrong("metadata.name", name, f"must be no more than {CRON_NAME_MAX} characters"))


def _check_schedule(schedule: str, zone_allowed: bool, out: list[Cause]) -> None:
    path = "spec.schedule"
    if not schedule:
        out.append(required(path))
        return
    if why := schedules.complaint(schedule):
        out.append(wrong(path, schedule, why))
    if not zone_allowed and "TZ" in schedule:
        words = "cannot use TZ or CRON_TZ in schedule, use timeZone field instead"
        out.append(wrong(path, schedule, words))


_ZONE_PART = r"[A-Za-z.\-_0-9+]{1,14}"


def _check_zone(zone: str | None, out: list[Cause]) -> None:
    path = "spec.timeZone"
    if zone is None:
        return
    if not zone:
        out.append(wrong(path, zone, "timeZone must be nil or non-empty string"))
        return
    for part in zone.split("/"):
        if part in (".", "..") or part.startswith("-") or not re.fullmatch(_ZONE_PART, part):
            out.append(wrong(path, zone, f"unknown time zone {zone}"))
            return
    if zone.lower() == "local":
        words = "timeZone must be an explicit time zone as defined in https://www.iana.org/time-zones"
        out.append(wrong(path, zone, words))
        return
    try:
        ZoneInfo(zone)
    except (ZoneInfoNotFoundError, ValueError, OSError):
        out.append(wrong(path, zone, f"unknown time zone {zone}"))


# --- changes ---------------------------------------------------------------------------------------


def check_job_change(document: Document, old: Document, out: list[Cause]) -> None:
    """Only how a Job is run may change; while it is suspended, also where its pods may go."""
    spec, before = document.get("spec") or {}, old.get("spec") or {}
    _check_completions(spec, before, out)
    _check_fixed(spec, before, ("selector",), out)
    template = before.get("template") or {}
    if before.get("suspend") and not (old.get("status") or {}).get("startTime"):
        template = _redirected(template, spec.get("template") or {})
    if spec.get("template") != template:
        shown = inside("core.PodTemplateSpec", spec.get("template"))
        out.append(wrong("spec.template", shown, IMMUTABLE))
    fields = ("completionMode", "podFailurePolicy", "backoffLimitPerIndex", "managedBy", "successPolicy")
    _check_fixed(spec, before, fields, out)


_SHOWN = {"podFailurePolicy": "batch.PodFailurePolicy", "successPolicy": "batch.SuccessPolicy"}


def _check_fixed(spec: Structure, before: Structure, fields: Sequence[str], out: list[Cause]) -> None:
    for field in fields:
        value = spec.get(field)
        if value != before.get(field):
            shown = inside(_SHOWN[field], value) if field in _SHOWN and value is not None else value
            if field == "selector":
                shown = shown_selector(value)
            out.append(wrong(f"spec.{field}", shown, IMMUTABLE))


def _check_completions(spec: Structure, before: Structure, out: list[Cause]) -> None:
    completions = spec.get("completions")
    if completions == before.get("completions"):
        return
    if spec.get("completionMode") != "Indexed":
        out.append(wrong("spec.completions", completions, IMMUTABLE))
    elif completions is not None and completions != spec.get("parallelism"):
        words = "can only be modified in tandem with spec.parallelism"
        out.append(wrong("spec.completions", completions, words))


def _redirected(template: Structure, wanted: Structure) -> dict[str, Any]:
    """The old template with the wanted one's directions for the scheduler."""
    out, spec = dict(template), dict(template.get("spec") or {})
    new, metadata = wanted.get("spec") or {}, dict(template.get("metadata") or {})
    for field in ("nodeSelector", "tolerations", "schedulingGates"):
        _take(spec, new, field)
    for field in ("annotations", "labels"):
        _take(metadata, wanted.get("metadata") or {}, field)
    affinity = {key: part for key, part in (spec.get("affinity") or {}).items() if key != "nodeAffinity"}
    if "nodeAffinity" in (new.get("affinity") or {}):
        affinity["nodeAffinity"] = new["affinity"]["nodeAffinity"]
    if affinity or "affinity" in new:
        spec["affinity"] = affinity
    else:
        spec.pop("affinity", None)
    return {**out, "metadata": metadata, "spec": spec}


def _take(into: dict[str, Any], other: Structure, field: str) -> None:
    if field in other:
        into[field] = other[field]
    else:
        into.pop(field, None)
