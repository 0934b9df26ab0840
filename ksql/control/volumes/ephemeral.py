"""Claims that live as long as their pod: made from the template in the pod, owned by it, gone with it."""

from ksql.auth.identity import controller_user
from ksql.base.documents import Document
from ksql.control.claims import owner_reference
from ksql.control.controller import Kit
from ksql.control.informer import Update, key_of
from ksql.control.plan import ERROR, NOTHING, Burst, Create, Plan, Remark
from ksql.control.pods import is_terminal, is_terminating
from ksql.control.volumes import words
from ksql.control.volumes.words import CLAIMS
from ksql.recorder import WARNING

NAME_OF_COMPONENT = "ephemeral-volume-controller"


def plan(pod: Document, claims: dict[str, Document]) -> Plan:
    """The claims that are missing; `claims` are those that stand under the names of the pod's."""
    if is_terminating(pod) or is_terminal(pod):
        return NOTHING
    made, remarks = [], []
    for volume in pod["spec"].get("volumes") or ():
        if "ephemeral" not in volume:
            continue
        name = words.ephemeral_claim(pod, volume)
        claim = claims.get(name)
        if claim is None:
            made.append(Create(CLAIMS, new_claim(pod, volume), refused=_failed(pod)))
        elif not words.is_for(claim, pod):
            said = (
                f"ephemeral volume {volume['name']}: PVC {pod['metadata']['namespace']}/{name} was not created for pod "
                f"{key_of(pod)} (pod is not owner)"
            )
            remarks.append(Remark(pod, WARNING, "EphemeralVolumeFailed", said))
    return Plan([Burst(made, slow_start=False)] if made else (), remarks=remarks)


def new_claim(pod: Document, volume: Document) -> Document:
    template = volume["ephemeral"]["volumeClaimTemplate"]
    given = template.get("metadata") or {}
    return {
        "apiVersion": "v1",
        "kind": "PersistentVolumeClaim",
        "metadata": {
            "name": words.ephemeral_claim(pod, volume),
            "namespace": pod["metadata"]["namespace"],
            **{key: given[key] for key in ("labels", "annotations") if given.get(key)},
            "ownerReferences": [owner_reference({"apiVersion": "v1", "kind": "Pod", **pod})],
        },
        "spec": template["spec"],
    }


def _failed(pod: Document) -> Remark:
    return Remark(pod, WARNING, "EphemeralVolumeFailed", f"ephemeral volume: create PVC: {ERROR}")


class EphemeralVolumes:
    """The shell: pods, and claims of theirs that somebody deletes."""

    def __init__(self, kit: Kit) -> None:
        self._pods, self._claims = kit.informers.of("pods"), kit.informers.of(CLAIMS)
        user = controller_user(NAME_OF_COMPONENT)
        self.controller = kit.controller(NAME_OF_COMPONENT, user, self.think, (self._pods, self._claims))
        self._pods.add_handler(self._pod_changed)
        self._claims.add_handler(self._claim_changed)

    def _pod_changed(self, update: Update) -> None:
        if update.new is None or update.old is not None:
            return
        if any("ephemeral" in volume for volume in update.new["spec"].get("volumes") or ()):
            self.controller.queue.add(key_of(update.new), update.trigger)

    def _claim_changed(self, update: Update) -> None:
        if update.new is not None:
            return
        for reference in update.document["metadata"].get("ownerReferences") or ():
            if reference.get("controller") and reference.get("kind") == "Pod":
                pod = self._pods.by_uid(reference["uid"])
                if pod is not None:
                    self.controller.queue.add(key_of(pod), update.trigger)

    async def think(self, key: str) -> Plan:
        pod = self._pods.by_key(key)
        if pod is None:
            return NOTHING
        namespace = pod["metadata"]["namespace"]
        found = {name: self._claims.get(namespace, name) for name, _ in words.claims_of(pod)}
        return plan(pod, {name: claim for name, claim in found.items() if claim is not None})
