"""A record: one stage of one request, and how Kubernetes writes it down (`audit.k8s.io/v1` Event)."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from ksql.audit.policy import LEVEL_NAMES, Level, Stage
from ksql.base.clock import from_microseconds, rfc3339_micro
from ksql.base.documents import Document

API_VERSION = "audit.k8s.io/v1"
READS = frozenset({"get", "list", "watch"})


@dataclass(frozen=True, slots=True)
class Body:
    """What was sent, with what was said of its form."""

    data: bytes
    media: str = ""


@dataclass(slots=True)
class Record:
    """All instants in microseconds. `group` and `resource` are empty for what is no resource."""

    level: Level
    stage: Stage
    correlation: str
    time: int  # when the request came
    reached: int  # when this stage was
    revision: int  # the log's head then
    uri: str
    verb: str
    user: str = ""
    groups: Sequence[str] = ()
    user_uid: str = ""
    extra: Sequence[tuple[str, Sequence[str]]] = ()
    impersonator: str = ""
    sources: Sequence[str] = ()
    user_agent: str = ""
    group: str = ""
    version: str = ""
    resource: str = ""
    subresource: str = ""
    namespace: str = ""
    name: str = ""
    code: int = 0
    reason: str = ""
    message: str = ""
    decision: str = ""  # allow or forbid
    rule: str = ""  # what allowed it, or what was missing
    omit_managed_fields: bool = False
    request: Body | None = None
    response: Body | None = None
    annotations: Mapping[str, str] = field(default_factory=dict)  # what admission noted
    stored: bool = True  # whether the journal keeps it, or the log's own event does

    @property
    def key(self) -> str:
        """The resource as the log names it."""
        return f"{self.resource}.{self.group}" if self.group else self.resource

    def document(self, request: Any = None, response: Any = None) -> Document:
        """The audit event; the bodies as they were decoded."""
        out: Document = {
            "kind": "Event", "apiVersion": API_VERSION, "level": LEVEL_NAMES[self.level],
            "auditID": self.correlation, "stage": str(self.stage), "requestURI": self.uri, "verb": self.verb,
        }  # fmt: skip
        user: Document = {"username": self.user}
        for key, value in (("uid", self.user_uid), ("groups", list(self.groups)),
                           ("extra", {name: list(values) for name, values in self.extra})):  # fmt: skip
            if value:
                user[key] = value
        if self.impersonator:
            out |= {"user": {"username": self.impersonator}, "impersonatedUser": user}
        else:
            out["user"] = user
        if self.sources:
            out["sourceIPs"] = list(self.sources)
        if self.user_agent:
            out["userAgent"] = self.user_agent
        if self.resource:
            out["objectRef"] = _filled(
                resource=self.resource, namespace=self.namespace, name=self.name, apiGroup=self.group,
                apiVersion=self.version, subresource=self.subresource,
            )  # fmt: skip
        if self.stage is not Stage.RECEIVED:
            out["responseStatus"] = self._status()
        if request is not None:
            out["requestObject"] = request
        if response is not None:
            out["responseObject"] = response
        out["requestReceivedTimestamp"] = rfc3339_micro(from_microseconds(self.time))
        out["stageTimestamp"] = rfc3339_micro(from_microseconds(self.reached))
        noted = dict(self.annotations)
        if self.decision:
            noted |= {"authorization.k8s.io/decision": self.decision, "authorization.k8s.io/reason": self.rule}
        if noted:
            out["annotations"] = noted
        return out

    def _status(self) -> Document:
        if self.code >= 400:
            return {"metadata": {}} | _filled(
                status="Failure", message=self.message, reason=self.reason, code=self.code
            )
        return {"metadata": {}, "code": self.code}


def _filled(**fields: Any) -> Document:
    return {name: value for name, value in fields.items() if value}
