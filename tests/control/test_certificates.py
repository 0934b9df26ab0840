"""Signing requests: approved for nodes that may, signed under each signer's rules, cleared away in time."""

from base64 import b64decode, b64encode
from datetime import timedelta
from ipaddress import ip_address
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from ksql.auth import pki
from ksql.auth.pki.certificates import issued_by
from ksql.base.clock import SystemClock, rfc3339
from ksql.base.documents import Document
from ksql.base.tasks import Tasks
from ksql.control.certificates import approving, cleaning, requests, signing
from ksql.control.certificates.requests import CLIENT_SIGNER, NODE_SIGNER, RESOURCE, SERVING_SIGNER
from ksql.control.controller import Kit
from ksql.control.informer import Informers
from ksql.verbs.local import connect
from tests.node.small import Small, told

CLOCK = SystemClock(seed=1)
AUTHORITIES = {name: pki.make_authority(CLOCK, name) for name in ("clients", "nodes")}
KEY = ec.generate_private_key(ec.SECP256R1())
BAD, MISSING = "invalid usage for client certificate: ", "missing required usage for client certificate: "
NODE_USAGES = ["digital signature", "client auth"]
NODE = ("system:node:one", ("system:nodes",))


def asked(common: str, groups: tuple[str, ...] = (), names: tuple[x509.GeneralName, ...] = ()) -> str:
    attributes = [x509.NameAttribute(NameOID.ORGANIZATION_NAME, group) for group in groups]
    subject = x509.Name([*attributes, x509.NameAttribute(NameOID.COMMON_NAME, common)])
    builder = x509.CertificateSigningRequestBuilder().subject_name(subject)
    if names:
        builder = builder.add_extension(x509.SubjectAlternativeName(names), critical=False)
    return b64encode(builder.sign(KEY, hashes.SHA256()).public_bytes(Encoding.PEM)).decode()


def request(
    signer: str, usages: list[str], subject: Any, names: tuple[x509.GeneralName, ...] = (), **more: Any
) -> Document:  # fmt: skip
    return {
        "apiVersion": "certificates.k8s.io/v1", "kind": "CertificateSigningRequest",
        "metadata": {"name": "r", "uid": "u", "creationTimestamp": rfc3339(CLOCK.now())},
        "spec": {"request": asked(*subject, names), "signerName": signer, "usages": usages, **more},
    }  # fmt: skip


def saying(document: Document, kind: str, **status: Any) -> Document:
    said = {"type": kind, "status": "True", "reason": "x", "lastUpdateTime": rfc3339(CLOCK.now())}
    return {**document, "status": {"conditions": [said], **status}}


def answer(document: Document, clock: Any = CLOCK, revoked: signing.Revoked = lambda user: None) -> Document:
    pair = AUTHORITIES[requests.AUTHORITY_OF[document["spec"]["signerName"]]]
    [change] = signing.answered(saying(document, "Approved"), pair, clock, revoked).changes()
    assert change.subresource == "status"
    return change.document["status"]


def signed(status: Document) -> x509.Certificate:
    return x509.load_pem_x509_certificate(b64decode(status["certificate"]))


def test_a_user_gets_what_was_asked_for_by_the_authority_of_users() -> None:
    made = signed(answer(request(CLIENT_SIGNER, ["client auth", "key encipherment"], ("alice", ("dev", "ops")))))
    assert issued_by(made, AUTHORITIES["clients"].leaf) and made.public_key() == KEY.public_key()
    assert made.subject.rfc4514_string() == "CN=alice,O=ops,O=dev"
    usage = made.extensions.get_extension_for_class(x509.KeyUsage).value
    assert usage.key_encipherment and not usage.digital_signature and not usage.key_cert_sign
    extended = made.extensions.get_extension_for_class(x509.ExtendedKeyUsage).value
    assert list(extended) == [ExtendedKeyUsageOID.CLIENT_AUTH]
    assert not made.extensions.get_extension_for_class(x509.BasicConstraints).value.ca


def test_a_node_gets_its_certificates_by_the_authority_of_nodes() -> None:
    client = signed(answer(request(NODE_SIGNER, NODE_USAGES, NODE)))
    names = (x509.DNSName("one"), x509.IPAddress(ip_address("10.0.0.1")))
    served = signed(answer(request(SERVING_SIGNER, ["digital signature", "server auth"], NODE, names)))
    for made in (client, served):
        assert issued_by(made, AUTHORITIES["nodes"].leaf)
    assert list(served.extensions.get_extension_for_class(x509.SubjectAlternativeName).value) == list(names)


@pytest.mark.parametrize(
    ("seconds", "hours"), [(None, 365 * 24), (600, 1 / 6), (3600, 1), (10 * 3600, 10), (10**9, 365 * 24)]
)
def test_a_certificate_lives_as_long_as_was_asked_for_and_no_longer_than_a_year(
    seconds: int | None, hours: float
) -> None:
    made = signed(answer(request(CLIENT_SIGNER, ["client auth"], ("alice",), expirationSeconds=seconds)))
    wanted, backdated = timedelta(hours=hours), timedelta(minutes=5)
    life = made.not_valid_after_utc - made.not_valid_before_utc
    assert life == (wanted + backdated if wanted < timedelta(hours=8) else wanted)


EMAIL, URI, DNS, IP = (
    x509.RFC822Name("a@b.c"), x509.UniformResourceIdentifier("spiffe://x"), x509.DNSName("a"),
    x509.IPAddress(ip_address("10.0.0.1")),
)  # fmt: skip


@pytest.mark.parametrize(
    ("signer", "usages", "subject", "names", "why"),
    [
        (CLIENT_SIGNER, ["client auth", "server auth"], ("a",), (), BAD + "server auth"),
        (CLIENT_SIGNER, ["digital signature"], ("a",), (), MISSING + "client auth"),
        (NODE_SIGNER, NODE_USAGES, ("system:node:a",), (), "subject organization is not system:nodes"),
        (NODE_SIGNER, NODE_USAGES, ("a", NODE[1]), (), "subject common name does not begin with system:node:"),
        (NODE_SIGNER, NODE_USAGES, NODE, (DNS,), "DNS subjectAltNames are not allowed"),
        (NODE_SIGNER, NODE_USAGES, NODE, (EMAIL,), "Email subjectAltNames are not allowed"),
        (NODE_SIGNER, NODE_USAGES, NODE, (IP,), "IP subjectAltNames are not allowed"),
        (NODE_SIGNER, NODE_USAGES, NODE, (URI,), "URI subjectAltNames are not allowed"),
        (
            NODE_SIGNER, ["client auth"], NODE, (),
            "usages did not match [client auth digital signature key encipherment]",
        ),
        (SERVING_SIGNER, ["digital signature", "server auth"], NODE, (), "DNS or IP subjectAltName is required"),
        (SERVING_SIGNER, ["digital signature", "server auth"], NODE, (DNS, URI), "URI subjectAltNames are not allowed"),
        (
            SERVING_SIGNER, NODE_USAGES, NODE, (DNS,),
            "usages did not match [digital signature key encipherment server auth]",
        ),
    ],
)  # fmt: skip
def test_what_a_signer_does_not_give_fails_in_words(
    signer: str, usages: list[str], subject: Any, names: tuple[x509.GeneralName, ...], why: str
) -> None:
    status = answer(request(signer, usages, subject, names))
    assert "certificate" not in status
    failed = status["conditions"][-1]
    assert (failed["type"], failed["reason"], failed["message"]) == ("Failed", "SignerValidationFailure", why)


def test_only_what_was_approved_and_is_ours_waits_for_a_signature() -> None:
    plain = request(CLIENT_SIGNER, ["client auth"], ("alice",))
    assert not signing.is_waiting(plain) and not signing.is_waiting(saying(plain, "Denied"))
    assert signing.is_waiting(saying(plain, "Approved"))
    assert not signing.is_waiting(saying(plain, "Approved", certificate="x"))
    assert not signing.is_waiting(saying(request("example.com/x", ["client auth"], ("alice",)), "Approved"))


def test_whoever_was_revoked_and_asks_again_gets_one_that_counts_from_after() -> None:
    now = CLOCK.now()
    made = signed(answer(request(CLIENT_SIGNER, ["client auth"], ("alice",)), revoked=lambda user: now))
    assert made.not_valid_before_utc > now


def test_nodes_are_approved_by_two_rights_and_nobody_else() -> None:
    node = request(NODE_SIGNER, NODE_USAGES, NODE, username="system:bootstrap:abcdef")
    assert approving.rights(node) == ("nodeclient",)
    assert approving.rights({**node, "spec": {**node["spec"], "username": NODE[0]}}) == ("selfnodeclient", "nodeclient")
    for other in (
        request(NODE_SIGNER, NODE_USAGES, ("alice", NODE[1]), username="x"), saying(node, "Denied"),
        request(CLIENT_SIGNER, ["client auth"], NODE, username=NODE[0]), saying(node, "Approved"),
        request(SERVING_SIGNER, ["digital signature", "server auth"], NODE, (DNS,), username=NODE[0]),
    ):  # fmt: skip
        assert approving.rights(other) == ()


def test_requests_go_an_hour_after_their_answer_or_a_day_without_one() -> None:
    node, now = request(CLIENT_SIGNER, ["client auth"], ("alice",), expirationSeconds=600), CLOCK.now()
    short = answer(node)
    cases = [
        (node, 24.0), (saying(node, "Denied"), 1.0), (saying(node, "Failed"), 1.0), (saying(node, "Approved"), 24.0),
        (saying(node, "Approved", certificate=short["certificate"]), 1 / 6),
    ]  # fmt: skip
    for document, hours in cases:
        early, late = now + timedelta(hours=hours - 0.1), now + timedelta(hours=hours + 0.1)
        assert not cleaning.plan(document, early).steps and cleaning.plan(document, early).again_seconds
        [change] = cleaning.plan(document, late).changes()
        assert change.name == "r" and change.uid == "u"


def test_a_request_is_approved_signed_and_cleared_away() -> None:
    async def story(cluster: Small) -> None:
        kit = Kit(connect(cluster.client._pipeline), cluster.clock, Informers(cluster.client, cluster.clock))
        authorities = {name: pki.make_authority(cluster.clock, name) for name in ("clients", "nodes")}
        parts = [
            approving.Approving(kit), signing.Signing(kit, authorities.get, lambda user: None), cleaning.Cleaning(kit)
        ]  # fmt: skip
        tasks = Tasks()
        kit.informers.start()
        for part in parts:
            tasks.start(part.controller.name, part.controller.run())
        document = request(NODE_SIGNER, NODE_USAGES, NODE)
        await cluster.client.create(RESOURCE, {**document, "metadata": {"name": "r"}})

        def status() -> Document:
            entry = cluster.objects.get(RESOURCE, "", "r")
            return {} if entry is None else entry.document.get("status") or {}

        await cluster.until(lambda: status().get("certificate"))
        assert status()["conditions"][0]["reason"] == "AutoApproved"
        assert issued_by(signed(status()), authorities["nodes"].leaf)
        await cluster.clock.sleep(3700)
        await cluster.until(lambda: cluster.objects.get(RESOURCE, "", "r") is None)
        await tasks.aclose()
        await kit.informers.aclose()
        for part in parts:
            await part.controller.aclose()

    told(story)
