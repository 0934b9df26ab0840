"""What a signing request asks for, and whether its signer gives it, by kube-controller-manager's rules. Pure."""

from base64 import b64decode
from collections.abc import Sequence

from cryptography import x509
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID, ObjectIdentifier

from ksql.auth.identity import NODE_USER, NODES_GROUP
from ksql.auth.pki.record import CLIENTS, NODES
from ksql.base.documents import Document

RESOURCE = "certificatesigningrequests.certificates.k8s.io"
APPROVED, DENIED, FAILED = "Approved", "Denied", "Failed"

CLIENT_SIGNER = "kubernetes.io/kube-apiserver-client"
NODE_SIGNER = "kubernetes.io/kube-apiserver-client-kubelet"
SERVING_SIGNER = "kubernetes.io/kubelet-serving"
LEGACY_SIGNER = "kubernetes.io/legacy-unknown"

# Which authority signs. What the legacy signer gives opens nothing that a user's certificate does not.
AUTHORITY_OF = {CLIENT_SIGNER: CLIENTS, NODE_SIGNER: NODES, SERVING_SIGNER: NODES, LEGACY_SIGNER: CLIENTS}

_CLIENT, _SERVER, _SIGNATURE, _ENCIPHERMENT = "client auth", "server auth", "digital signature", "key encipherment"
_KEY_USAGES = {
    "signing": "digital_signature", _SIGNATURE: "digital_signature", "content commitment": "content_commitment",
    _ENCIPHERMENT: "key_encipherment", "key agreement": "key_agreement", "data encipherment": "data_encipherment",
    "cert sign": "key_cert_sign", "crl sign": "crl_sign", "encipher only": "encipher_only",
    "decipher only": "decipher_only",
}  # fmt: skip
_EXTENDED = {
    "any": ExtendedKeyUsageOID.ANY_EXTENDED_KEY_USAGE, _SERVER: ExtendedKeyUsageOID.SERVER_AUTH,
    _CLIENT: ExtendedKeyUsageOID.CLIENT_AUTH, "code signing": ExtendedKeyUsageOID.CODE_SIGNING,
    "email protection": ExtendedKeyUsageOID.EMAIL_PROTECTION, "s/mime": ExtendedKeyUsageOID.EMAIL_PROTECTION,
    "ipsec end system": ObjectIdentifier("1.3.6.1.5.5.7.3.5"), "ipsec tunnel": ObjectIdentifier("1.3.6.1.5.5.7.3.6"),
    "ipsec user": ObjectIdentifier("1.3.6.1.5.5.7.3.7"), "timestamping": ExtendedKeyUsageOID.TIME_STAMPING,
    "ocsp signing": ExtendedKeyUsageOID.OCSP_SIGNING, "microsoft sgc": ObjectIdentifier("1.3.6.1.4.1.311.10.3.3"),
    "netscape sgc": ObjectIdentifier("2.16.840.1.113730.4.1"),
}  # fmt: skip


def parsed(document: Document) -> x509.CertificateSigningRequest:
    """The request in a CertificateSigningRequest; validation has seen to it that it is one."""
    return x509.load_pem_x509_csr(b64decode(document["spec"]["request"]))


def condition(document: Document, kind: str) -> Document | None:
    """Its condition of that kind, when it holds."""
    found = (document.get("status") or {}).get("conditions") or ()
    return next((one for one in found if one.get("type") == kind and one.get("status") == "True"), None)


def certificate(document: Document) -> str:
    """What it was answered with, still as base64."""
    return str((document.get("status") or {}).get("certificate") or "")


def complaint(request: x509.CertificateSigningRequest, signer: str, usages: Sequence[str]) -> str:
    """Why the signer does not give what is asked for; empty when it does."""
    if signer == NODE_SIGNER:
        return node_complaint(request, usages)
    if signer == SERVING_SIGNER:
        return serving_complaint(request, usages)
    return client_complaint(usages) if signer == CLIENT_SIGNER else ""


def node_complaint(request: x509.CertificateSigningRequest, usages: Sequence[str]) -> str:
    """The same for what a node shows as a client."""
    if _organizations(request) != [NODES_GROUP]:
        return "subject organization is not system:nodes"
    names = _alternatives(request)
    for kind, word in (
        (x509.DNSName, "DNS"), (x509.RFC822Name, "Email"), (x509.IPAddress, "IP"),
        (x509.UniformResourceIdentifier, "URI"),
    ):  # fmt: skip
        if any(isinstance(name, kind) for name in names):
            return f"{word} subjectAltNames are not allowed"
    if not common_name(request).startswith(NODE_USER):
        return f"subject common name does not begin with {NODE_USER}"
    return _mismatch(usages, _CLIENT)


def serving_complaint(request: x509.CertificateSigningRequest, usages: Sequence[str]) -> str:
    """The same for what a node shows as a server."""
    if _organizations(request) != [NODES_GROUP]:
        return "subject organization is not system:nodes"
    names = _alternatives(request)
    if not any(isinstance(name, (x509.DNSName, x509.IPAddress)) for name in names):
        return "DNS or IP subjectAltName is required"
    if any(isinstance(name, x509.RFC822Name) for name in names):
        return "Email subjectAltNames are not allowed"
    if any(isinstance(name, x509.UniformResourceIdentifier) for name in names):
        return "URI subjectAltNames are not allowed"
    if why := _mismatch(usages, _SERVER):
        return why
    return "" if common_name(request).startswith(NODE_USER) else f"subject common name does not begin with {NODE_USER}"


def client_complaint(usages: Sequence[str]) -> str:
    """The same for any user."""
    for usage in usages:
        if usage not in (_SIGNATURE, _ENCIPHERMENT, _CLIENT):
            return f"invalid usage for client certificate: {usage}"
    return "" if _CLIENT in usages else f"missing required usage for client certificate: {_CLIENT}"


def _mismatch(usages: Sequence[str], purpose: str) -> str:
    """Keys of elliptic curves encipher nothing, so that usage may be left out."""
    if set(usages) in ({_SIGNATURE, _ENCIPHERMENT, purpose}, {_SIGNATURE, purpose}):
        return ""
    return f"usages did not match [{' '.join(sorted((_SIGNATURE, _ENCIPHERMENT, purpose)))}]"


def common_name(request: x509.CertificateSigningRequest) -> str:
    found = request.subject.get_attributes_for_oid(NameOID.COMMON_NAME)
    return str(found[0].value) if found else ""


def _organizations(request: x509.CertificateSigningRequest) -> list[str]:
    return [str(one.value) for one in request.subject.get_attributes_for_oid(NameOID.ORGANIZATION_NAME)]


def alternatives(request: x509.CertificateSigningRequest) -> x509.SubjectAlternativeName | None:
    """Its alternative names: all of its extensions that go on into the certificate."""
    try:
        return request.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    except x509.ExtensionNotFound:
        return None


def _alternatives(request: x509.CertificateSigningRequest) -> Sequence[x509.GeneralName]:
    found = alternatives(request)
    return () if found is None else list(found)


def usages_of(usages: Sequence[str]) -> tuple[Sequence[str], Sequence[ObjectIdentifier]]:
    """Kubernetes' words as key usages and as extended ones."""
    keys = dict.fromkeys(_KEY_USAGES[usage] for usage in usages if usage in _KEY_USAGES)
    extended = dict.fromkeys(_EXTENDED[usage] for usage in usages if usage in _EXTENDED)
    return list(keys), list(extended)
