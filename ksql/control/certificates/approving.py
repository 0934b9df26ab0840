"""Nodes' client certificates approved: for a node that renews its own, and for whoever may bring nodes in."""

from collections.abc import Sequence

from ksql.auth.identity import controller_user
from ksql.base.documents import Document
from ksql.control.certificates import requests
from ksql.control.certificates.requests import APPROVED, DENIED, NODE_SIGNER, RESOURCE
from ksql.control.controller import Kit
from ksql.control.informer import Update, key_of
from ksql.control.plan import NOTHING, Plan, Replace

NAME_OF_COMPONENT = "certificate-approver"
# Whose role in Kubernetes all that answer requests share.
ACCOUNT = "certificate-controller"
REVIEWS = "subjectaccessreviews.authorization.k8s.io"

OWN, ANY = "selfnodeclient", "nodeclient"
_SAID = {
    OWN: "Auto approving self kubelet client certificate after SubjectAccessReview.",
    ANY: "Auto approving kubelet client certificate after SubjectAccessReview.",
}


def rights(document: Document) -> Sequence[str]:
    """By which of these rights its author may have it; none when nobody but a person can say yes."""
    if requests.certificate(document) or any(requests.condition(document, kind) for kind in (APPROVED, DENIED)):
        return ()
    spec, request = document["spec"], requests.parsed(document)
    if spec["signerName"] != NODE_SIGNER or requests.node_complaint(request, spec.get("usages") or ()):
        return ()
    return (OWN, ANY) if spec.get("username") == requests.common_name(request) else (ANY,)


def review(document: Document, right: str) -> Document:
    """The question whether its author has that right."""
    spec = document["spec"]
    asked = {
        "group": "certificates.k8s.io", "resource": "certificatesigningrequests", "verb": "create",
        "subresource": right, "version": "*",
    }  # fmt: skip
    who = {"user": "username", "uid": "uid", "groups": "groups", "extra": "extra"}
    given = {key: spec[field] for key, field in who.items() if spec.get(field)}
    return {
        "apiVersion": "authorization.k8s.io/v1", "kind": "SubjectAccessReview", "metadata": {},
        "spec": {**given, "resourceAttributes": asked},
    }  # fmt: skip


def approval(document: Document, right: str) -> Plan:
    """Say yes, by that right."""
    said = {"type": APPROVED, "status": "True", "reason": "AutoApproved", "message": _SAID[right]}
    status = document.get("status") or {}
    conditions = [*(status.get("conditions") or ()), said]
    return Plan([Replace(RESOURCE, {**document, "status": {**status, "conditions": conditions}}, "approval")])


class Approving:
    """The shell: requests as they come."""

    def __init__(self, kit: Kit) -> None:
        self._requests = kit.informers.of(RESOURCE)
        user = controller_user(ACCOUNT)
        self.controller = kit.controller(NAME_OF_COMPONENT, user, self.think, (self._requests,), workers=1)
        self._requests.add_handler(self._changed)

    def _changed(self, update: Update) -> None:
        if update.new is not None:
            self.controller.queue.add(key_of(update.new), update.trigger)

    async def think(self, key: str) -> Plan:
        document = self._requests.by_key(key)
        if document is None:
            return NOTHING
        for right in rights(document):
            answer = await self.controller.client.create(REVIEWS, review(document, right))
            if (answer.get("status") or {}).get("allowed"):
                return approval(document, right)
        return NOTHING
