"""The status of admission policies: what their expressions would find wrong in the kinds that they name."""

from ksql.auth.identity import controller_user
from ksql.base.documents import Document
from ksql.control.controller import Kit
from ksql.control.informer import Update, key_of
from ksql.control.plan import NOTHING, Plan, Replace
from ksql.schema.catalogue import Catalogue
from ksql.schema.cel import typechecking

NAME_OF_COMPONENT = "validatingadmissionpolicy-status-controller"
RESOURCE = "validatingadmissionpolicies.admissionregistration.k8s.io"


def is_stale(policy: Document) -> bool:
    """Whether its status tells of an older spec, or of none."""
    observed = (policy.get("status") or {}).get("observedGeneration") or 0
    return int(policy["metadata"].get("generation") or 0) > int(observed)


def plan(policy: Document, catalogue: Catalogue) -> Plan:
    """Tell it once for each spec."""
    if not is_stale(policy):
        return NOTHING
    found = typechecking.warnings(policy, catalogue)
    status = {
        **(policy.get("status") or {}), "observedGeneration": policy["metadata"]["generation"],
        "typeChecking": {"expressionWarnings": found} if found else {},
    }  # fmt: skip
    return Plan([Replace(RESOURCE, {**policy, "status": status}, "status")])


class PolicyStatuses:
    """The shell: policies as they change."""

    def __init__(self, kit: Kit, catalogue: Catalogue) -> None:
        self._catalogue, self._policies = catalogue, kit.informers.of(RESOURCE)
        user = controller_user(NAME_OF_COMPONENT)
        self.controller = kit.controller(NAME_OF_COMPONENT, user, self.think, (self._policies,), workers=1)
        self._policies.add_handler(self._changed)

    def _changed(self, update: Update) -> None:
        if update.new is not None and is_stale(update.new):
            self.controller.queue.add(key_of(update.new), update.trigger)

    async def think(self, key: str) -> Plan:
        policy = self._policies.by_key(key)
        return NOTHING if policy is None else plan(policy, self._catalogue)
