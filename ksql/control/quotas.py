"""ResourceQuotas whose status somebody else has written: counted again, as upstream's full look does, in time.

The counts themselves are kept by the server in each transaction. What is written into a status by hand stands
until the next look, so that who wrote it can see it; then the quota is measured anew.
"""

from datetime import datetime

from ksql.auth.identity import controller_user
from ksql.base.documents import Document
from ksql.control.controller import Kit
from ksql.control.informer import Update, key_of
from ksql.control.plan import NOTHING, Plan, Replace
from ksql.control.pods import is_terminating

NAME_OF_COMPONENT = "resourcequota-controller"
RESOURCE = "resourcequotas"
# Who keeps the counts, as the managers of a quota's fields show.
KEEPER = "ksql-quota"
# Upstream's default for --resource-quota-sync-period.
LOOK_SECONDS = 300.0


def is_written_by_others(quota: Document) -> bool:
    """Whether a field of the status is not the server's own."""
    status = quota.get("status") or {}
    if status.get("hard") != (quota["spec"].get("hard") or None):
        return bool(status)
    return any(
        entry.get("subresource") == "status" and entry.get("manager") not in (KEEPER, NAME_OF_COMPONENT)
        for entry in quota["metadata"].get("managedFields") or ()
    )


def plan(quota: Document, seen_seconds: float) -> Plan:
    """Measure it again when what others wrote has stood long enough."""
    if not is_written_by_others(quota) or is_terminating(quota):
        return NOTHING
    if seen_seconds < LOOK_SECONDS:
        return Plan(again_seconds=LOOK_SECONDS - seen_seconds)
    # Without its counts it is measured by the server, in the transaction that takes them away.
    return Plan([Replace(RESOURCE, {**quota, "status": {}}, subresource="status")])


class Quotas:
    """The shell: remembers since when a version stands that others wrote."""

    def __init__(self, kit: Kit) -> None:
        self._clock = kit.clock
        self._quotas = kit.informers.of(RESOURCE)
        self._seen: dict[str, tuple[str, datetime]] = {}
        user = controller_user(NAME_OF_COMPONENT)
        self.controller = kit.controller(NAME_OF_COMPONENT, user, self.think, (self._quotas,), workers=1)
        self._quotas.add_handler(self._changed)

    def _changed(self, update: Update) -> None:
        key = key_of(update.document)
        if update.new is None:
            self._seen.pop(key, None)
        elif is_written_by_others(update.new):
            self.controller.queue.add(key, update.trigger)

    async def think(self, key: str) -> Plan:
        quota = self._quotas.by_key(key)
        if quota is None:
            return NOTHING
        version, now = quota["metadata"]["resourceVersion"], self._clock.now()
        known = self._seen.get(key)
        if known is None or known[0] != version:
            known = self._seen[key] = (version, now)
        return plan(quota, (now - known[1]).total_seconds())
