"""The cluster's permissions kept in step with its objects: roles and bindings, and what leads to which node.

Whenever the state takes in a change of a role or binding, the compiled index does too, before the writer is
answered: a permission that was taken away is gone when the answer says so. What nodes may see is taken in
when a node asks. Both are folds of current objects; a restart and another server come to the same.
"""

from collections.abc import Callable, Mapping, Sequence
from functools import partial

from ksql.auth import nodes, rbac
from ksql.auth.authorize import Authorizers
from ksql.auth.defaults import node_rules
from ksql.auth.identity import Authorizer, Question, Rules, User, Verdict
from ksql.log.event import Change
from ksql.state.entry import Entry, Frame
from ksql.state.objects import Objects
from ksql.verbs.request import Request, Selection

# Changes noted for a node's next question; beyond it everything is looked at anew, which costs no more.
NOTED_MAX = 20_000


_NAME_TERM = "metadata.name="

Arrange = Callable[[Authorizer, Authorizer], Sequence[Authorizer]]


def question(request: Request, selection: Selection | None = None) -> Question:
    """What a request asks of the authorizer. Whoever selects by one name asks for that object."""
    name = request.name
    if request.verb == "create" and not request.subresource:
        # What a new object will be called is no matter of who may make one.
        name = ""
    fields, labels = "", ""
    if selection is not None:
        fields, labels = selection.field_selector, selection.label_selector
        if not name and fields.startswith(_NAME_TERM) and "," not in fields:
            name = fields[len(_NAME_TERM) :].lstrip("=")
    return Question(
        request.user, request.verb, request.type.group, request.type.resource, request.subresource,
        request.namespace, name, "", fields, labels,
    )  # fmt: skip


class Permissions:
    """The authorizer of a cluster: what nodes may, then what roles give."""

    def __init__(self, objects: Objects, arrange: Arrange | None = None) -> None:
        """`arrange` makes of the two whom to ask, in which order."""
        self._objects = objects
        self.grants, self.relations = rbac.Grants(), nodes.Relations()
        own = nodes.NodeAuthorizer(self._related, node_rules())
        self._authorizers = Authorizers([own, self.grants] if arrange is None else arrange(own, self.grants))
        for resource in rbac.KINDS:
            objects.follow(resource, partial(self._granted, resource))
            self._load(resource)
        # What changed since a node last asked, by what it is; None: everything is to be looked at.
        self._noted: dict[nodes.Thing, Entry | None] | None = None
        for resource in nodes.FOLLOWED:
            objects.follow(resource, self._note)

    def authorize(self, question: Question) -> Verdict:
        return self._authorizers.authorize(question)

    def rules(self, user: User, namespace: str) -> Rules:
        return self._authorizers.rules(user, namespace)

    # --- roles and bindings

    def _load(self, resource: str) -> None:
        for entry in self._objects.list(resource):
            self.grants.put(resource, entry.document)

    def _granted(self, resource: str, frame: Frame | None) -> None:
        if frame is None:
            if resource == rbac.KINDS[0]:
                # Said once for each kind; the first clears for all of them.
                self.grants.clear()
            self._load(resource)
            return
        entry = frame.entry
        if entry is None:
            return
        if frame.change is Change.DELETED:
            self.grants.remove(resource, entry.stream.namespace, entry.stream.name)
        else:
            self.grants.put(resource, entry.document)

    # --- nodes

    def _note(self, frame: Frame | None) -> None:
        noted = self._noted
        if noted is None:
            return
        if frame is None or len(noted) >= NOTED_MAX:
            self._noted = None
        elif frame.entry is not None:
            stream = frame.entry.stream
            is_gone = frame.change is Change.DELETED
            noted[(stream.resource, stream.namespace, stream.name)] = None if is_gone else frame.entry

    def _related(self) -> nodes.Relations:
        if self._noted is None:
            self.relations.clear()
            for resource in nodes.FOLLOWED:
                for entry in self._objects.list(resource):
                    self.relations.put(resource, entry.document)
        else:
            self._take_in(self._noted)
        self._noted = {}
        return self.relations

    def _take_in(self, noted: Mapping[nodes.Thing, Entry | None]) -> None:
        for thing, entry in noted.items():
            if entry is None:
                self.relations.remove(*thing)
            else:
                self.relations.put(thing[0], entry.document)
