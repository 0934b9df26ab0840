"""Component statuses: is each part of the control plane well? Asked afresh, never stored.

Kubernetes keeps these for old clients (`kubectl get cs`) and warns that they are deprecated. What is told
is what the checks say that the roof has named; the event log stands where etcd would.
"""

from collections.abc import Callable, Mapping

from ksql.base.documents import Document
from ksql.log.event import Stream
from ksql.schema.errors import NotFoundError
from ksql.state.entry import Entry
from ksql.verbs.request import Page, Request, Selection
from ksql.verbs.selection import Matcher

KEY = "componentstatuses"
DEPRECATED = "v1 ComponentStatus is deprecated in v1.19+"

# Answers an empty text when all is well, or why it is not.
Check = Callable[[], str]


def status(name: str, check: Check) -> Document:
    """The ComponentStatus of one part."""
    why = check()
    condition = {"type": "Healthy", "status": "False" if why else "True", "message": why or "ok"}
    return {
        "apiVersion": "v1", "kind": "ComponentStatus", "metadata": {"name": name}, "conditions": [condition],
    }  # fmt: skip


def get(request: Request, checks: Mapping[str, Check]) -> Document:
    check = checks.get(request.name)
    if check is None:
        raise NotFoundError(
            f'componentstatus "{request.name}" not found', kind="componentstatus", name=request.name
        )
    return status(request.name, check)


def page(request: Request, selection: Selection, checks: Mapping[str, Check], revision: int) -> Page:
    """All that are selected."""
    matcher = Matcher(request.type, "", selection)
    entries = [
        Entry.of(Stream(KEY, "", name, ""), revision, status(name, check)) for name, check in checks.items()
    ]
    return Page([entry for entry in entries if matcher.matches(entry)], revision)
