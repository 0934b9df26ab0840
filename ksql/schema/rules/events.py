"""Rules of events: those of old clients, and those that say who reports what was done.

An event that names its time is of the new kind, in whichever version it comes; it is kept in the older one,
and its faults are named by that one's fields.
"""

from collections.abc import Mapping
from typing import Any

from ksql.base.documents import Document
from ksql.schema import names
from ksql.schema.errors import Cause
from ksql.schema.faults import IMMUTABLE, required, wrong
from ksql.schema.rules.checks import complain

Structure = Mapping[str, Any]

WORD_LENGTH_MAX = 128
NOTE_LENGTH_MAX = 1024


def check_core_event(document: Document, out: list[Cause]) -> None:
    _check(document, "reportingComponent", out)


def check_event(document: Document, out: list[Cause]) -> None:
    """An event of events.k8s.io, in its stored form."""
    _check(document, "reportingController", out)


def check_event_birth(document: Document, out: list[Cause]) -> None:
    """What a new event of events.k8s.io must say, and no longer may."""
    _check_series(document, out)
    if document.get("eventTime") is None:
        out.append(required("eventTime"))
    kind = document.get("type") or ""
    if kind not in ("Normal", "Warning"):
        out.append(wrong("type", "", f"has invalid value: {kind}"))
    for field in ("firstTimestamp", "lastTimestamp", "count", "source"):
        if document.get(field):
            out.append(wrong(field, "", "needs to be unset"))


def _check(document: Document, reporter: str, out: list[Cause]) -> None:
    about = document.get("involvedObject") or {}
    namespace, where = (document.get("metadata") or {}).get("namespace", ""), about.get("namespace") or ""
    new = document.get("eventTime") is not None
    homes = ("default", "kube-system") if new else ("", "default")
    if (not where and namespace not in homes) or (where and where != namespace and not new):
        out.append(wrong("involvedObject.namespace", where, "does not match event.namespace"))
    if new:
        _check_new(document, reporter, out)
    complain("namespace", namespace, names.subdomain(namespace), out)


def _check_new(document: Document, reporter: str, out: list[Cause]) -> None:
    name = document.get("reportingComponent") or ""
    if not name:
        out.append(required(reporter))
    complain(reporter, name, names.qualified(name), out)
    for field in ("reportingInstance", "action", "reason"):
        value = document.get(field) or ""
        if not value:
            out.append(required(field))
        if len(value.encode()) > WORD_LENGTH_MAX:
            out.append(wrong(field, "", f"can have at most {WORD_LENGTH_MAX} characters"))
    if len((document.get("message") or "").encode()) > NOTE_LENGTH_MAX:
        out.append(wrong("message", "", f"can have at most {NOTE_LENGTH_MAX} characters"))


def _check_series(document: Document, out: list[Cause]) -> None:
    series = document.get("series")
    if series is None:
        return
    if series.get("count", 0) < 2:
        out.append(wrong("series.count", "", "should be at least 2"))
    if series.get("lastObservedTime") is None:
        out.append(required("series.lastObservedTime"))


_FIXED = (
    "involvedObject", "reason", "message", "source", "firstTimestamp", "lastTimestamp", "count", "reason", "type",
    "eventTime", "action", "related", "reportingComponent", "reportingInstance",
)  # fmt: skip


def check_event_change(document: Document, old: Document, out: list[Cause]) -> None:
    """Of an event of events.k8s.io only its series goes on."""
    if document.get("series") != old.get("series"):
        _check_series(document, out)
    for field in _FIXED:
        if document.get(field) != old.get(field):
            path = "reportingController" if field == "reportingComponent" else field
            out.append(wrong(path, document.get(field), IMMUTABLE))
