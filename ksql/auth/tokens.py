"""Tokens of service accounts: signed statements that their bearer acts as an account, and for how long.

A token is a JSON Web Token (RFC 7519) with the claims that Kubernetes puts into one: whose it is, for which
audiences, and to which pod, secret or node it is bound. Nothing of it is stored: what it says is believed
because of the signature, and only as long as the account and what it is bound to exist under the same uid,
which is looked up each time. Anybody may check one by the published keys (RFC 7517, OpenID discovery).
"""

import hashlib
from base64 import urlsafe_b64encode
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import jwt
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec
from jwt.algorithms import ECAlgorithm

from ksql.auth.identity import AUTHENTICATED, SERVICE_ACCOUNT_USER, SERVICE_ACCOUNTS, User
from ksql.base.clock import Clock, new_uid, parse_rfc3339
from ksql.base.documents import Document, lookup

# The name under which clients inside a cluster reach its API server, as installers choose it.
ISSUER = "https://kubernetes.default.svc.cluster.local"
ALGORITHM = "ES256"
JWKS_PATH = "/openid/v1/jwks"
CONFIGURATION_PATH = "/.well-known/openid-configuration"

# How far the clocks of two machines may be apart, and how long what is being deleted still counts.
LEEWAY_SECONDS = 60
# Verified tokens remembered at once, one per client that uses one; beyond it the oldest is verified again.
TOKENS_MAX = 4096

CREDENTIAL_ID = "authentication.kubernetes.io/credential-id"
_POD_NAME, _POD_UID = "authentication.kubernetes.io/pod-name", "authentication.kubernetes.io/pod-uid"
_NODE_NAME, _NODE_UID = "authentication.kubernetes.io/node-name", "authentication.kubernetes.io/node-uid"
_INVALIDATED = "service account token has been invalidated"

# resource, namespace, name: the object as it is now.
Look = Callable[[str, str, str], Document | None]


class TokenError(Exception):
    """The token proves nothing; the message says why."""


@dataclass(frozen=True, slots=True)
class Reference:
    """An object that a token is bound to. A node that is gone has no uid."""

    name: str
    uid: str = ""

    @classmethod
    def of(cls, document: Document) -> "Reference":
        return cls(document["metadata"]["name"], document["metadata"]["uid"])

    def claim(self) -> Document:
        return {"name": self.name, **({"uid": self.uid} if self.uid else {})}


@dataclass(frozen=True, slots=True)
class Bound:
    """What a token lives with: a pod (and the node it runs on), a secret, or a node."""

    pod: Reference | None = None
    secret: Reference | None = None
    node: Reference | None = None


class Tokens:
    """Signs tokens with the cluster's key and believes those that were."""

    def __init__(self, key: bytes, clock: Clock, look: Look, issuer: str = ISSUER) -> None:
        self.issuer, self.audiences = issuer, (issuer,)
        self._clock, self.look = clock, look
        parsed = serialization.load_pem_private_key(key, None)
        if not isinstance(parsed, ec.EllipticCurvePrivateKey):
            raise ValueError("the key of service accounts is no elliptic curve key")
        self._private, self._public = parsed, parsed.public_key()
        der = self._public.public_bytes(
            serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo
        )
        self._id = urlsafe_b64encode(hashlib.sha256(der).digest()).rstrip(b"=").decode()
        self._verified: dict[str, Mapping[str, Any]] = {}

    # --- signing

    def sign(
        self,
        account: Document,
        audiences: Sequence[str],
        seconds: int,
        bound: Bound,
        warn_after: int | None = None,
    ) -> str:
        """A token for the account, good from now on for so many seconds.

        `warn_after` is when its holder should have renewed it, where it is good for longer than was asked.
        """
        metadata = account["metadata"]
        namespace, name = metadata["namespace"], metadata["name"]
        now = int(self._clock.now().timestamp())
        private: Document = {"namespace": namespace}
        for kind in ("node", "pod", "secret"):
            if (reference := getattr(bound, kind)) is not None:
                private[kind] = reference.claim()
        private["serviceaccount"] = Reference.of(account).claim()
        if warn_after is not None:
            private["warnafter"] = now + warn_after
        claims = {
            "aud": list(audiences),
            "exp": now + seconds,
            "iat": now,
            "iss": self.issuer,
            "jti": new_uid(self._clock),
            "kubernetes.io": private,
            "nbf": now,
            "sub": f"{SERVICE_ACCOUNT_USER}{namespace}:{name}",
        }
        return jwt.encode(claims, self._private, ALGORITHM, headers={"kid": self._id})

    # --- believing

    def user(self, token: str, audiences: Sequence[str] = ()) -> tuple[User, Sequence[str]]:
        """Who the token stands for, and for which of these audiences (none given: the server's own).

        `TokenError` when it is not ours, out of date, for others, or what it is bound to is gone.
        """
        claims = self._claims(token)
        wanted = audiences or self.audiences
        meant = [audience for audience in claims["aud"] if audience in wanted]
        if not meant:
            given = " ".join(f'"{audience}"' for audience in claims["aud"])
            asked = " ".join(f'"{audience}"' for audience in wanted)
            raise TokenError(f"token audiences [{given}] is invalid for the target audiences [{asked}]")
        self._check_time(claims)
        return self._living(claims), meant

    def _claims(self, token: str) -> Mapping[str, Any]:
        """What a token says whose signature is ours; remembered, since a client sends it each time."""
        known = self._verified.get(token)
        if known is not None:
            return known
        try:
            # Time is the clock's matter, audiences are the caller's.
            claims = jwt.decode(
                token, self._public, [ALGORITHM], issuer=self.issuer,
                options={
                    "verify_exp": False, "verify_nbf": False, "verify_iat": False, "verify_aud": False,
                    "require": ["aud", "exp", "iat", "nbf", "sub", "kubernetes.io"],
                },
            )  # fmt: skip
        except jwt.PyJWTError as error:
            raise TokenError(str(error)) from error
        if len(self._verified) >= TOKENS_MAX:
            del self._verified[next(iter(self._verified))]
        self._verified[token] = claims
        return claims

    def _check_time(self, claims: Mapping[str, Any]) -> None:
        now = self._clock.now().timestamp()
        if now - LEEWAY_SECONDS > claims["exp"]:
            raise TokenError("service account token has expired")
        if now + LEEWAY_SECONDS < claims["nbf"]:
            raise TokenError("service account token is not valid yet")

    def _living(self, claims: Mapping[str, Any]) -> User:
        """The account behind the claims, as long as all that they name is still what it was."""
        private = claims["kubernetes.io"]
        namespace, account = private["namespace"], private["serviceaccount"]
        found = self.look("serviceaccounts", namespace, account["name"])
        if found is None:
            raise TokenError(f'serviceaccounts "{account["name"]}" not found')
        uid = found["metadata"]["uid"]
        if uid != account["uid"]:
            raise TokenError(f"service account UID ({uid}) does not match claim ({account['uid']})")
        if self._is_past(found):
            raise TokenError(f"service account {namespace}/{account['name']} has been deleted")
        extra = {CREDENTIAL_ID: (f"JTI={claims['jti']}",)} if claims.get("jti") else {}
        pod, node = private.get("pod"), private.get("node")
        self._check_bound("secrets", namespace, private.get("secret"), "secret")
        self._check_bound("pods", namespace, pod, "pod")
        if pod is None:
            self._check_bound("nodes", "", node, "node")
        else:
            extra |= {_POD_NAME: (pod["name"],), _POD_UID: (pod["uid"],)}
        if node is not None:
            extra[_NODE_NAME] = (node["name"],)
            if node.get("uid"):
                extra[_NODE_UID] = (node["uid"],)
        groups = (SERVICE_ACCOUNTS, f"{SERVICE_ACCOUNTS}:{namespace}", AUTHENTICATED)
        return User(claims["sub"], groups, uid, extra)

    def _check_bound(self, resource: str, namespace: str, claim: Document | None, kind: str) -> None:
        if claim is None:
            return
        found = self.look(resource, namespace, claim["name"])
        if found is None or self._is_past(found):
            raise TokenError(_INVALIDATED)
        uid = found["metadata"]["uid"]
        if uid != claim.get("uid"):
            said = f"{kind} UID ({uid}) does not match service account {kind} ref claim ({claim.get('uid')})"
            raise TokenError(said)

    def _is_past(self, document: Document) -> bool:
        """Whether it was to be gone a while ago."""
        deleted = lookup(document, "metadata", "deletionTimestamp")
        return deleted is not None and _age(parse_rfc3339(deleted), self._clock.now()) > LEEWAY_SECONDS

    # --- telling others how to check

    def keys(self) -> Document:
        """The JSON Web Key Set of the public key."""
        key = ECAlgorithm.to_jwk(self._public, as_dict=True)
        return {"keys": [{"use": "sig", "kid": self._id, "alg": ALGORITHM, **key}]}

    def configuration(self, address: str) -> Document:
        """OpenID Connect's discovery document for a server reached at host:port."""
        return {
            "issuer": self.issuer,
            "jwks_uri": f"https://{address}{JWKS_PATH}",
            "response_types_supported": ["id_token"],
            "subject_types_supported": ["public"],
            "id_token_signing_alg_values_supported": [ALGORITHM],
        }


def _age(instant: datetime, now: datetime) -> float:
    return (now - instant).total_seconds()


def make_key() -> bytes:
    """A new key to sign tokens with, as PEM."""
    return ec.generate_private_key(ec.SECP256R1()).private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
