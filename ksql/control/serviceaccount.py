"""The ServiceAccount `default` in every namespace: whom a pod is that does not say."""

from dataclasses import dataclass

from ksql.auth.identity import controller_user
from ksql.base.documents import Document
from ksql.control.controller import Kit
from ksql.control.informer import Update, key_of
from ksql.control.plan import NOTHING, Create, Plan
from ksql.control.pods import is_terminating

NAME_OF_COMPONENT = "service-account-controller"
ACCOUNT = "default"


@dataclass(frozen=True, slots=True)
class Observed:
    """A namespace and its default account, if it is there."""

    namespace: Document
    account: Document | None = None


def plan(observed: Observed) -> Plan:
    """Make the account where it is missing; a namespace that ends gets none."""
    if observed.account is not None or is_terminating(observed.namespace):
        return NOTHING
    metadata = {"name": ACCOUNT, "namespace": observed.namespace["metadata"]["name"]}
    account = {"apiVersion": "v1", "kind": "ServiceAccount", "metadata": metadata}
    return Plan([Create("serviceaccounts", account)])


class ServiceAccounts:
    """The shell: namespaces, and the accounts that somebody deletes."""

    def __init__(self, kit: Kit) -> None:
        self._namespaces = kit.informers.of("namespaces")
        self._accounts = kit.informers.of("serviceaccounts")
        user = controller_user(NAME_OF_COMPONENT)
        needs = (self._namespaces, self._accounts)
        self.controller = kit.controller(NAME_OF_COMPONENT, user, self.think, needs)
        self._namespaces.add_handler(self._namespace_changed)
        self._accounts.add_handler(self._account_changed)

    def _namespace_changed(self, update: Update) -> None:
        if update.new is not None:
            self.controller.queue.add(key_of(update.new), update.trigger)

    def _account_changed(self, update: Update) -> None:
        metadata = update.document["metadata"]
        if update.new is None and metadata["name"] == ACCOUNT:
            self.controller.queue.add(metadata["namespace"], update.trigger)

    async def think(self, key: str) -> Plan:
        namespace = self._namespaces.by_key(key)
        if namespace is None:
            return NOTHING
        return plan(Observed(namespace, self._accounts.get(key, ACCOUNT)))
