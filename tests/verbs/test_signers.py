"""Who may speak for a signer, beside who may write the object."""

import base64
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from ksql.auth.identity import ADMIN_GROUP, Question, User, Verdict
from ksql.base.documents import Document
from ksql.schema.errors import ForbiddenError
from tests.verbs.room import Room

REQUESTS = "certificatesigningrequests.certificates.k8s.io"
CLIENT = "kubernetes.io/kube-apiserver-client"
CLERK = User("clerk", (ADMIN_GROUP,))


class Rules:
    """Everything is allowed, but for signers: of those `allowed` names verbs with names."""

    def __init__(self, *allowed: str) -> None:
        self.allowed = allowed

    def authorize(self, question: Question) -> Verdict:
        return Verdict(question.resource != "signers" or f"{question.verb} {question.name}" in self.allowed)


def rule(room: Room, *allowed: str) -> None:
    object.__setattr__(room.pipeline._ground, "authorizer", Rules(*allowed))


def request(signer: str = CLIENT, *groups: str) -> Document:
    key = ec.generate_private_key(ec.SECP256R1())
    names = [x509.NameAttribute(NameOID.COMMON_NAME, "bob")]
    names += [x509.NameAttribute(NameOID.ORGANIZATION_NAME, group) for group in groups]
    asked = x509.CertificateSigningRequestBuilder().subject_name(x509.Name(names)).sign(key, hashes.SHA256())
    pem = base64.b64encode(asked.public_bytes(serialization.Encoding.PEM)).decode()
    spec = {"request": pem, "signerName": signer, "usages": ["client auth", "digital signature"]}
    return {"metadata": {"name": "bob"}, "spec": spec}


async def approve(room: Room, **more: Any) -> Document:
    document = await room.get(REQUESTS, "", "bob")
    condition = {"type": "Approved", "status": "True", "reason": "x", "message": "y"}
    body = {**document, "status": {"conditions": [condition]}}
    return await room.update(REQUESTS, body, subresource="approval", user=CLERK, **more)


async def test_nobody_asks_to_be_an_administrator_by_certificate(room: Room) -> None:
    with pytest.raises(ForbiddenError) as refused:
        await room.create(REQUESTS, request(CLIENT, "devs", "system:masters"))
    assert refused.value.message.endswith(f"use of {CLIENT} signer with system:masters group is not allowed")
    await room.create(REQUESTS, request("example.com/own", "system:masters"))


async def test_who_approves_may_do_so_for_the_signer(room: Room) -> None:
    await room.create(REQUESTS, request())
    rule(room, "approve example.com/*")
    with pytest.raises(ForbiddenError) as refused:
        await approve(room)
    assert refused.value.message == (
        f'certificatesigningrequests.certificates.k8s.io "bob" is forbidden: user not permitted to approve requests '
        f'with signerName "{CLIENT}"'
    )
    rule(room, "approve kubernetes.io/*")
    assert (await approve(room))["status"]["conditions"][0]["type"] == "Approved"


async def test_who_signs_may_do_so_for_the_signer(room: Room) -> None:
    await room.create(REQUESTS, request())
    await approve(room)
    rule(room)
    document = await room.get(REQUESTS, "", "bob")
    conditions = [*document["status"]["conditions"], {"type": "Failed", "status": "True", "reason": "x"}]
    body = {**document, "status": {"conditions": conditions}}
    with pytest.raises(ForbiddenError, match="user not permitted to sign requests with signerName"):
        await room.update(REQUESTS, body, subresource="status", user=CLERK)
    rule(room, f"sign {CLIENT}")
    await room.update(REQUESTS, body, subresource="status", user=CLERK)
