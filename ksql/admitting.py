"""Users let in and shut out through the API: a signing request that is approved, and an entry among the revocations.

The key of whoever is let in is made here and never leaves but into his kubeconfig; what the cluster sees is the request
for a certificate, as from any other client.
"""

import asyncio
import contextlib
from base64 import b64decode, b64encode
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import yaml
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from ksql import kubeconfig as kubeconfigs
from ksql.auth import revocations
from ksql.auth.identity import NODE_USER, NODES_GROUP
from ksql.auth.pki.files import write_private
from ksql.base.clock import SystemClock, new_uid
from ksql.https import HttpClient
from ksql.operating import fail
from ksql.schema.errors import AlreadyExistsError, ApiError, ConflictError, NotFoundError
from ksql.settings import SettingsError

CSR = "certificatesigningrequests.certificates.k8s.io"
CLIENT, NODE = "kubernetes.io/kube-apiserver-client", "kubernetes.io/kube-apiserver-client-kubelet"
# A running cluster signs within a moment; one whose controllers are elsewhere has this long.
SIGNED_SECONDS = 30.0
LOOK_SECONDS = 0.1
# Somebody else may change the revocations at the same moment, but hardly this often.
TRIES_MAX = 10


@contextlib.contextmanager
def plainly() -> Iterator[None]:
    """What the server refuses, as one line."""
    try:
        yield
    except kubeconfigs.KubeconfigError as error:
        raise fail(str(error), 2) from None
    except ApiError as error:
        raise fail(error.message) from None


@contextlib.asynccontextmanager
async def _client() -> Any:
    connection = kubeconfigs.load()
    client = HttpClient(connection, "ksql-pki")
    try:
        yield connection, client
    finally:
        await client.aclose()


async def kubeconfig(user: str, groups: list[str], *, node: bool, days: int) -> str:
    """A kubeconfig for somebody, by a certificate that the cluster signs."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = f"{NODE_USER}{user}" if node else user
    attributes = [x509.NameAttribute(NameOID.ORGANIZATION_NAME, one) for one in ([NODES_GROUP] if node else groups)]
    try:
        subject = x509.Name([*attributes, x509.NameAttribute(NameOID.COMMON_NAME, name)])
    except ValueError as error:
        raise SettingsError(f"{user!r}: {error}") from None
    request = x509.CertificateSigningRequestBuilder().subject_name(subject).sign(key, hashes.SHA256())
    async with _client() as (connection, client):
        certificate = await _signed(client, request.public_bytes(serialization.Encoding.PEM), node, days)
        secret = key.private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        )
        theirs = kubeconfigs.Connection(
            connection.server, connection.authority, certificate, secret, verify=connection.verify,
            server_name=connection.server_name,
        )  # fmt: skip
        return str(yaml.safe_dump(kubeconfigs.document(theirs, connection.server), sort_keys=False))


async def _signed(client: HttpClient, request: bytes, node: bool, days: int) -> bytes:
    """The certificate for a request, after it was made and approved."""
    document = {
        "apiVersion": "certificates.k8s.io/v1", "kind": "CertificateSigningRequest",
        "metadata": {"name": f"ksql-pki-{new_uid(SystemClock())}"},
        "spec": {
            "request": b64encode(request).decode(), "signerName": NODE if node else CLIENT,
            "expirationSeconds": days * 86400, "usages": ["digital signature", "client auth"],
        },
    }  # fmt: skip
    made = await client.create(CSR, document)
    said = {"type": "Approved", "status": "True", "reason": "Asked", "message": "approved by ksql pki kubeconfig"}
    with contextlib.suppress(ConflictError):
        # Where a controller was faster it has approved already.
        await client.update(CSR, {**made, "status": {"conditions": [said]}}, subresource="approval")
    async with asyncio.timeout(SIGNED_SECONDS):
        while True:
            status = (await client.get(CSR, "", made["metadata"]["name"])).get("status") or {}
            if text := status.get("certificate"):
                return b64decode(text)
            for condition in status.get("conditions") or ():
                if condition["type"] in ("Denied", "Failed"):
                    raise fail(f"not signed: {condition.get('message') or condition.get('reason')}")
            await SystemClock().sleep(LOOK_SECONDS)


def write(path: Path, text: str) -> None:
    """For its owner's eyes alone."""
    path.parent.mkdir(parents=True, exist_ok=True)
    write_private(path, text.encode())


async def revoke(user: str, serial: int | None, reason: str, *, undo: bool) -> str:
    """Enter it among the revocations, or take it out; what was done, as a sentence."""
    now = SystemClock().now()
    key, text = (
        revocations.of_user(user, now, reason) if serial is None else revocations.of_serial(serial, reason)
    )
    what = f"user {user}" if serial is None else f"certificate {serial:x}"
    async with _client() as (_, client):
        for _ in range(TRIES_MAX):
            try:
                if undo:
                    if not await _taken_out(client, key):
                        raise fail(f"{what} is not revoked")
                    return f"{what} is let in again"
                await _entered(client, key, text)
                return f"revoked {what}: what was issued until now opens nothing any more"
            except (ConflictError, AlreadyExistsError):
                continue
    raise fail("the revocations change all the time: try again")


async def _entered(client: HttpClient, key: str, text: str) -> None:
    space, name = revocations.SPACE, revocations.NAME
    try:
        found = await client.get("configmaps", space, name)
    except NotFoundError:
        metadata = {"name": name, "namespace": space}
        document = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": metadata, "data": {key: text}}
        await client.create("configmaps", document)
        return
    await client.update("configmaps", {**found, "data": {**(found.get("data") or {}), key: text}})


async def _taken_out(client: HttpClient, key: str) -> bool:
    try:
        found = await client.get("configmaps", revocations.SPACE, revocations.NAME)
    except NotFoundError:
        return False
    data = dict(found.get("data") or {})
    if data.pop(key, None) is None:
        return False
    await client.update("configmaps", {**found, "data": data})
    return True
