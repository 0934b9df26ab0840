"""The ConfigMap `kube-root-ca.crt` in every namespace: how pods know the API server's certificate."""

from dataclasses import dataclass

from ksql.auth.identity import controller_user
from ksql.base.documents import Document
from ksql.control.controller import Kit
from ksql.control.informer import Update, key_of
from ksql.control.plan import NOTHING, Create, Plan, Replace
from ksql.control.pods import is_terminating

NAME_OF_COMPONENT = "root-ca-certificate-publisher"
CONFIG_MAP = "kube-root-ca.crt"
FILE = "ca.crt"
DESCRIPTION = {
    "kubernetes.io/description": "Contains a CA bundle that can be used to verify the kube-apiserver when "
    "using internal endpoints such as the internal service IP or kubernetes.default.svc. No other usage is "
    "guaranteed across distributions of Kubernetes clusters."
}


@dataclass(frozen=True, slots=True)
class Observed:
    """A namespace, its ConfigMap if it is there, and the certificate that shall be in it."""

    namespace: Document
    config_map: Document | None
    certificate: str


def plan(observed: Observed) -> Plan:
    """Make it, or put right what somebody changed; a namespace that ends is left alone."""
    if is_terminating(observed.namespace):
        return NOTHING
    data = {FILE: observed.certificate}
    there = observed.config_map
    if there is None:
        name = observed.namespace["metadata"]["name"]
        metadata = {"name": CONFIG_MAP, "namespace": name, "annotations": DESCRIPTION}
        config_map = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": metadata, "data": data}
        return Plan([Create("configmaps", config_map)])
    return NOTHING if there.get("data") == data else Plan([Replace("configmaps", {**there, "data": data})])


class RootCertificates:
    """The shell: namespaces, and the ConfigMaps of that name."""

    def __init__(self, kit: Kit, certificate: str) -> None:
        self._certificate = certificate
        self._namespaces, self._maps = kit.informers.of("namespaces"), kit.informers.of("configmaps")
        user = controller_user(NAME_OF_COMPONENT)
        needs = (self._namespaces, self._maps)
        self.controller = kit.controller(NAME_OF_COMPONENT, user, self.think, needs)
        self._namespaces.add_handler(self._namespace_changed)
        self._maps.add_handler(self._map_changed)

    def publish(self, certificate: str) -> None:
        """Let this be what is trusted from now on."""
        if certificate != self._certificate:
            self._certificate = certificate
            for namespace in self._namespaces.list():
                self.controller.queue.add(key_of(namespace))

    def _namespace_changed(self, update: Update) -> None:
        if update.new is not None:
            self.controller.queue.add(key_of(update.new), update.trigger)

    def _map_changed(self, update: Update) -> None:
        metadata = update.document["metadata"]
        if metadata["name"] == CONFIG_MAP:
            self.controller.queue.add(metadata["namespace"], update.trigger)

    async def think(self, key: str) -> Plan:
        namespace = self._namespaces.by_key(key)
        if namespace is None:
            return NOTHING
        return plan(Observed(namespace, self._maps.get(key, CONFIG_MAP), self._certificate))
