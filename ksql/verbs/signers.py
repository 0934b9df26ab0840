"""Who may speak for a signer: approve requests, sign them, and vouch for bundles of trust.

The plugins CertificateApproval, CertificateSigning, CertificateSubjectRestriction and ClusterTrustBundleAttest: beside
the right to write the object stands one for the signer it names, since each signer's certificates open other doors.
"""

import base64
import binascii

from cryptography import x509
from cryptography.x509.oid import NameOID

from ksql.auth.identity import ADMIN_GROUP, Authorizer, Question, User
from ksql.base.documents import Document, lookup
from ksql.schema.resources import ResourceType
from ksql.verbs import refusals
from ksql.verbs.request import Request

_GROUP = "certificates.k8s.io"
REQUESTS, BUNDLES = f"certificatesigningrequests.{_GROUP}", f"clustertrustbundles.{_GROUP}"
CLIENT_SIGNER = "kubernetes.io/kube-apiserver-client"


def review(
    request: Request, type: ResourceType, document: Document, old: Document | None, authorizer: Authorizer
) -> None:
    """`ForbiddenError` when the user may not speak for the signer that the object names."""
    if type.key == REQUESTS:
        why = _request(request, document, old, authorizer)
    elif type.key == BUNDLES:
        why = _bundle(request, document, old, authorizer)
    else:
        return
    if why:
        raise refusals.forbidden(type, document["metadata"].get("name", ""), why)


def _request(request: Request, document: Document, old: Document | None, authorizer: Authorizer) -> str:
    signer = lookup(document, "spec", "signerName", default="")
    if old is None:
        return _subject(signer, lookup(document, "spec", "request", default=""))
    if request.subresource == "approval":
        may, what = _may(request.user, "approve", signer, authorizer), "approve requests with"
        return "" if may else f'user not permitted to {what} signerName "{signer}"'
    if request.subresource == "status" and _is_signed(document, old):
        may = _may(request.user, "sign", signer, authorizer)
        return "" if may else f'user not permitted to sign requests with signerName "{signer}"'
    return ""


def _is_signed(document: Document, old: Document) -> bool:
    """Whether a signer has spoken: with a certificate, or by saying that there will be none."""
    if lookup(document, "status", "certificate") != lookup(old, "status", "certificate"):
        return True
    failed = [
        [one for one in lookup(each, "status", "conditions", default=None) or () if one.get("type") == "Failed"]
        for each in (document, old)
    ]
    return failed[0] != failed[1]


def _subject(signer: str, encoded: str) -> str:
    """Nobody asks for a certificate that would make him an administrator whatever roles say."""
    if signer != CLIENT_SIGNER or not isinstance(encoded, str):
        return ""
    try:
        asked = x509.load_pem_x509_csr(base64.b64decode(encoded))
    except (binascii.Error, ValueError):
        # What is no request the rules of its kind have refused already.
        return ""
    groups = [name.value for name in asked.subject.get_attributes_for_oid(NameOID.ORGANIZATION_NAME)]
    if ADMIN_GROUP in groups:
        return f"use of {CLIENT_SIGNER} signer with {ADMIN_GROUP} group is not allowed"
    return ""


def _bundle(request: Request, document: Document, old: Document | None, authorizer: Authorizer) -> str:
    signer = lookup(document, "spec", "signerName", default="")
    if not signer or (old is not None and document.get("spec") == old.get("spec")):
        return ""
    may = _may(request.user, "attest", signer, authorizer)
    return "" if may else f'user not permitted to attest for signerName "{signer}"'


def _may(user: User, verb: str, signer: str, authorizer: Authorizer) -> bool:
    """Whether a role names the signer, or all signers of its domain."""
    domain = signer.partition("/")[0]
    return any(
        authorizer.authorize(Question(user, verb, _GROUP, "signers", name=name)).allowed
        for name in (signer, f"{domain}/*")
    )
