"""Aggregated ClusterRoles: their rules are those of all ClusterRoles that their selectors pick.

So a definition's author makes `view` and `edit` know the new kind by a label. Any change of a ClusterRole may
concern any aggregating one, and there are few of those: all of them think again.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from ksql.auth.identity import controller_user
from ksql.base.documents import Document
from ksql.control.controller import Kit
from ksql.control.informer import Update, key_of
from ksql.control.plan import NOTHING, Amend, Plan
from ksql.control.pods import is_terminating
from ksql.schema.selectors import from_document

NAME_OF_COMPONENT = "clusterrole-aggregation-controller"
ROLES = "clusterroles.rbac.authorization.k8s.io"


@dataclass(frozen=True, slots=True)
class Observed:
    """An aggregating role, and all ClusterRoles by name."""

    role: Document
    others: Sequence[Document]


def plan(observed: Observed) -> Plan:
    """The rules of all that is picked, in the order of selectors and names, each once."""
    role = observed.role
    if is_terminating(role) or not role.get("aggregationRule"):
        return NOTHING
    rules: list[Document] = []
    for selector in role["aggregationRule"].get("clusterRoleSelectors") or ():
        matches = from_document(selector).matches
        for other in observed.others:
            metadata = other["metadata"]
            if metadata["name"] != role["metadata"]["name"] and matches(metadata.get("labels") or {}):
                rules += [rule for rule in other.get("rules") or () if rule not in rules]
    if rules == (role.get("rules") or []):
        return NOTHING
    patch = {"metadata": {"uid": role["metadata"]["uid"]}, "rules": rules}
    return Plan([Amend(ROLES, "", role["metadata"]["name"], patch)])


class AggregatedRoles:
    """The shell: every aggregating role whenever any ClusterRole changes."""

    def __init__(self, kit: Kit) -> None:
        self._roles = kit.informers.of(ROLES)
        user = controller_user(NAME_OF_COMPONENT)
        self.controller = kit.controller(NAME_OF_COMPONENT, user, self.think, (self._roles,))
        self._roles.add_index("aggregates", lambda role: ["yes"] if role.get("aggregationRule") else [])
        self._roles.add_handler(self._changed)

    def _changed(self, update: Update) -> None:
        for role in self._roles.indexed("aggregates", "yes"):
            self.controller.queue.add(key_of(role), update.trigger)

    async def think(self, key: str) -> Plan:
        role = self._roles.by_key(key)
        if role is None:
            return NOTHING
        roles = sorted(self._roles.list(), key=lambda other: str(other["metadata"]["name"]))
        return plan(Observed(role, roles))
