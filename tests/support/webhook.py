"""A webhook as an operator would run it: HTTPS on a free port, with a certificate of its own."""

import base64
import contextlib
import datetime
import ipaddress
import json
import ssl
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

SERVICE = "hook.default.svc"


@dataclass
class Webhook:
    """A running webhook. `spoil` changes its answers; `asked` holds every question."""

    port: int
    authority: str
    pem: Path
    asked: list[Any] = field(default_factory=list)
    spoil: Callable[[Any], Any] = lambda answer: answer
    code: int = 200
    delay_seconds: float = 0.0

    @property
    def url(self) -> str:
        return f"https://127.0.0.1:{self.port}/convert"

    def config(self, **more: Any) -> dict[str, Any]:
        return {"url": self.url, "caBundle": self.authority, **more}


def certificate(folder: Path, address: str) -> bytes:
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "hook")])
    now = datetime.datetime.now(datetime.UTC)
    day = datetime.timedelta(days=1)
    names = [x509.IPAddress(ipaddress.ip_address(address)), x509.DNSName(SERVICE)]
    builder = x509.CertificateBuilder().subject_name(name).issuer_name(name).public_key(key.public_key())
    builder = builder.serial_number(1).not_valid_before(now - day).not_valid_after(now + day)
    builder = builder.add_extension(x509.SubjectAlternativeName(names), False)
    made = builder.add_extension(x509.BasicConstraints(True, None), True).sign(key, hashes.SHA256())
    pem = made.public_bytes(serialization.Encoding.PEM)
    private = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    (folder / "hook.pem").write_bytes(pem + private)
    return pem


def converted(document: dict[str, Any], api_version: str) -> dict[str, Any]:
    """v1 says `hostPort`, v2 says `host` and `port`."""
    spec = dict(document.get("spec") or {})
    if api_version.endswith("/v2") and "hostPort" in spec:
        spec["host"], _, spec["port"] = spec.pop("hostPort").partition(":")
    elif api_version.endswith("/v1") and "host" in spec:
        spec["hostPort"] = f"{spec.pop('host')}:{spec.pop('port')}"
    return {**document, "apiVersion": api_version, "spec": spec}


def answer_to(question: dict[str, Any]) -> dict[str, Any]:
    request = question["request"]
    objects = [converted(one, request["desiredAPIVersion"]) for one in request["objects"]]
    response = {"uid": request["uid"], "result": {"status": "Success"}, "convertedObjects": objects}
    return {"kind": "ConversionReview", "apiVersion": question["apiVersion"], "response": response}


@contextlib.contextmanager
def webhook(
    folder: Path, address: str = "127.0.0.1", answer: Callable[[Any], Any] = answer_to
) -> Iterator[Webhook]:
    """Run one until the block ends; `answer` says what it answers, conversions unless told otherwise."""
    pem = certificate(folder, "127.0.0.1" if address == "0.0.0.0" else address)
    found: list[Webhook] = []

    class Handler(BaseHTTPRequestHandler):
        def log_message(self, *_: Any) -> None:
            pass

        def do_POST(self) -> None:
            hook = found[0]
            question = json.loads(self.rfile.read(int(self.headers["content-length"])))
            hook.asked.append(question)
            time.sleep(hook.delay_seconds)
            said = hook.spoil(answer(question))
            data = said if isinstance(said, bytes) else json.dumps(said).encode()
            with contextlib.suppress(OSError):
                self.send_response(hook.code)
                self.send_header("content-length", str(len(data)))
                self.end_headers()
                self.wfile.write(data)

    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(folder / "hook.pem")
    server = ThreadingHTTPServer((address, 0), Handler)
    server.socket = context.wrap_socket(server.socket, server_side=True)
    found.append(Webhook(server.server_address[1], base64.b64encode(pem).decode(), folder / "hook.pem"))
    thread = threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True)
    thread.start()
    try:
        yield found[0]
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
