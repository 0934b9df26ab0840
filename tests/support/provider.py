"""A small OpenID provider: HTTPS on a free port, discovery, keys that can be rotated, and tokens signed by them."""

import contextlib
import json
import ssl
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

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
            return {"issuer": self.speaks_for or self.url, "jwks_uri": f"{self.url}/keys"}
        return self.key_set() if path == "/keys" else None

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
        def do_GET(self) -> None:
            told = provider.told(self.path)
            data = json.dumps(told).encode()
            self.send_response(200 if told is not None else 404)
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
