"""The guards there are: configurations folded from the log into one compiled table.

It is made anew from the stored configurations when one of them changed, when it is next looked at. Requests that
no guard is for are told from the others by one look: the resource is in no rule.
"""

from collections.abc import Sequence

from ksql.base.documents import Document
from ksql.schema.catalogue import Catalogue
from ksql.schema.resources import ResourceType
from ksql.state.objects import Objects
from ksql.verbs.guards.policies import Binding, Policy, binding_of, policy_of
from ksql.verbs.guards.questions import EXEMPT, Match, keys_of
from ksql.verbs.guards.webhooks import Hook, hooks_of

_GROUP = "admissionregistration.k8s.io"
# Reviews of identity and permission are answered, not stored: upstream's guards would see them, ours do not.
_EXEMPT_GROUPS = ("authentication.k8s.io", "authorization.k8s.io")


class Guards:
    """Mutating and validating webhooks and policies, each in the order in which they are asked."""

    def __init__(self, objects: Objects, catalogue: Catalogue) -> None:
        self._objects, self._catalogue = objects, catalogue
        self._is_stale = True
        self._plurals: frozenset[str] = frozenset()
        self._versions: dict[str, Sequence[ResourceType]] = {}
        self.mutating_hooks: Sequence[Hook] = ()
        self.validating_hooks: Sequence[Hook] = ()
        self.mutating_policies: Sequence[Policy] = ()
        self.validating_policies: Sequence[Policy] = ()
        for key in EXEMPT:
            objects.listen(key, self._stale)
        catalogue.listen(self._stale)

    def _stale(self) -> None:
        self._is_stale = True

    def any(self, type: ResourceType) -> bool:
        """Whether there may be a guard for a resource, in whatever version."""
        if self._is_stale:
            self._refresh()
        known = self._plurals
        if not known or type.key in EXEMPT or type.group in _EXEMPT_GROUPS:
            return False
        return "*" in known or type.resource in known or any(t.resource in known for t in self.versions(type))

    def versions(self, type: ResourceType) -> Sequence[ResourceType]:
        """The resource as served in all versions and groups, itself among them."""
        found = self._versions.get(type.key)
        if found is None:
            found = self._versions[type.key] = [one for one in self._catalogue.types if one.key == type.key]
        return found

    def _refresh(self) -> None:
        self._is_stale = False
        self._versions = {}
        self.mutating_hooks = self._hooks("mutatingwebhookconfigurations")
        self.validating_hooks = self._hooks("validatingwebhookconfigurations")
        self.mutating_policies = self._policies("mutatingadmissionpolicies", "mutatingadmissionpolicybindings")
        self.validating_policies = self._policies("validatingadmissionpolicies", "validatingadmissionpolicybindings")
        hooks, policies = (
            (*self.mutating_hooks, *self.validating_hooks),
            (*self.mutating_policies, *self.validating_policies),
        )
        matches: list[Match] = [*(hook.match for hook in hooks), *(policy.match for policy in policies)]
        self._plurals = keys_of(rule for match in matches for rule in match.rules)

    def _list(self, plural: str) -> list[Document]:
        """The stored configurations, by name."""
        found = [entry.document for entry in self._objects.list(f"{plural}.{_GROUP}")]
        return sorted(found, key=lambda document: document["metadata"]["name"])

    def _hooks(self, plural: str) -> list[Hook]:
        return [hook for document in self._list(plural) for hook in hooks_of(document)]

    def _policies(self, plural: str, bindings: str) -> list[Policy]:
        bound: dict[str, list[Binding]] = {}
        for document in self._list(bindings):
            binding = binding_of(document)
            bound.setdefault(binding.policy, []).append(binding)
        documents = self._list(plural)
        return [policy_of(one, bound[one["metadata"]["name"]]) for one in documents if one["metadata"]["name"] in bound]
