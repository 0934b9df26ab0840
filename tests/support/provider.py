"""A small OpenID provider: HTTPS on a free port, discovery, keys that can be rotated, and tokens signed by them."""

import base64
import contextlib
import hashlib
import json
import ssl
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl, urlencode

import jwt
from cryptography.hazmat.primitives.asymmetric import ec
from jwt.algorithms import ECAlgorithm

from tests.support.webhook import certificate

ENDS = 4_000_000_000  # in the year 2096


@dataclass
class Provider:
    """A running provider; `authority` is its own certificate (PEM)."""

    port: int
    authority: str
    keys: dict[str, ec.EllipticCurvePrivateKey] = field(default_factory=dict)
    speaks_for: str = ""
    # Of the code flow: what clients were told to redirect to, their secrets, who is logged in there, codes given out.
    clients: dict[str, str] = field(default_factory=dict)
    subject: str = "ann"
    spoil: dict[str, Any] = field(default_factory=dict)
    codes: dict[str, dict[str, str]] = field(default_factory=dict)

    @property
    def url(self) -> str:
        return f"https://127.0.0.1:{self.port}"

    def rotate(self, kid: str) -> None:
        """From now on this key alone."""
        self.keys = {kid: ec.generate_private_key(ec.SECP256R1())}

    def token(self, audience: Any = "ksql", **claims: Any) -> str:
        kid, key = next(iter(self.keys.items()))
        said = {"iss": self.url, "aud": audience, "exp": ENDS, "iat": 1, **claims}
        return jwt.encode(said, key, "ES256", headers={"kid": kid})

    def told(self, path: str) -> dict[str, Any] | None:
        if path == "/.well-known/openid-configuration":
            return {
                "issuer": self.speaks_for or self.url, "jwks_uri": f"{self.url}/keys",
                "authorization_endpoint": f"{self.url}/authorize", "token_endpoint": f"{self.url}/token",
            }  # fmt: skip
        return self.key_set() if path == "/keys" else None

    def authorize(self, query: dict[str, str]) -> str | None:
        """Where a browser is led back to; None for a request that is none."""
        right = query.get("response_type") == "code" and query.get("code_challenge_method") == "S256"
        if not right or query.get("client_id") not in self.clients or "openid" not in query.get("scope", "").split():
            return None
        code = f"code-{len(self.codes)}"
        self.codes[code] = query
        back = {"code": code, "state": query["state"], "iss": self.url, **self.spoil.get("back", {})}
        return f"{query['redirect_uri']}?{urlencode(back)}"

    def exchange(self, form: dict[str, str], authorization: str) -> dict[str, Any] | None:
        """The token for a code, once, to whoever has what the code was asked for with."""
        asked = self.codes.pop(form.get("code", ""), None)
        if asked is None or form.get("grant_type") != "authorization_code":
            return None
        secret = self.clients[asked["client_id"]]
        expected = "Basic " + base64.b64encode(f"{asked['client_id']}:{secret}".encode()).decode() if secret else ""
        digest = hashlib.sha256(form.get("code_verifier", "").encode()).digest()
        challenge = base64.urlsafe_b64encode(digest).decode().rstrip("=")
        if authorization != expected or challenge != asked["code_challenge"]:
            return None
        if form.get("redirect_uri") != asked["redirect_uri"]:
            return None
        claims = {"sub": self.subject, "nonce": asked["nonce"], **self.spoil.get("claims", {})}
        return {"id_token": self.token(**{"audience": asked["client_id"], **claims}), "token_type": "Bearer"}

    def key_set(self) -> dict[str, Any]:
        shown = [
            {"kid": kid, "use": "sig", "alg": "ES256", **ECAlgorithm.to_jwk(key.public_key(), as_dict=True)}
            for kid, key in self.keys.items()
        ]
        return {"keys": shown}

    def config(self, **more: Any) -> dict[str, Any]:
        """One entry of an AuthenticationConfiguration that believes this provider."""
        issuer = {"url": self.url, "audiences": ["ksql"], "certificateAuthority": self.authority}
        username = {"claim": "sub", "prefix": "oidc:"}
        return {"issuer": issuer, "claimMappings": {"username": username}, **more}


@contextlib.contextmanager
def running(folder: Path) -> Iterator[Provider]:
    pem = certificate(folder, "127.0.0.1")

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            form = dict(parse_qsl(self.rfile.read(int(self.headers["content-length"])).decode()))
            self.answer(provider.exchange(form, self.headers.get("authorization", "")), 400)

        def do_GET(self) -> None:
            path, _, query = self.path.partition("?")
            if path == "/authorize":
                back = provider.authorize(dict(parse_qsl(query)))
                self.send_response(302 if back else 400)
                self.send_header("location", back or "")
                self.send_header("content-length", "0")
                self.end_headers()
                return
            self.answer(provider.told(self.path), 404)

        def answer(self, told: dict[str, Any] | None, otherwise: int) -> None:
            data = json.dumps(told).encode()
            self.send_response(200 if told is not None else otherwise)
            self.send_header("content-length", str(len(data)))
            self.end_headers()
            self.wfile.write(data)

        def log_message(self, *args: Any) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(folder / "hook.pem")
    # Hands are shaken in a thread for each client: one that stays silent must not stop the others.
    server.socket = context.wrap_socket(server.socket, server_side=True, do_handshake_on_connect=False)
    provider = Provider(server.server_address[1], pem.decode())
    provider.rotate("first")
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield provider
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
