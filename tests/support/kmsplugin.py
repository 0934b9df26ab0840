"""A KMS v2 plugin made small: a real gRPC server on a socket, with keys that can be rotated and taken ill."""

import contextlib
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import grpc
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from ksql.log.kms import SERVICE, messages


class Plugin:
    """Its keys by their names; the last one encrypts."""

    def __init__(self) -> None:
        self.keys = {"key-1": AESGCM(bytes(32))}
        self.health = "ok"
        self.asked: list[str] = []

    @property
    def newest(self) -> str:
        return list(self.keys)[-1]

    def rotate(self) -> None:
        self.keys[f"key-{len(self.keys) + 1}"] = AESGCM(bytes([len(self.keys)]) * 32)

    def status(self, request: Any, context: Any) -> Any:
        self.asked.append("Status")
        return messages()["StatusResponse"](version="v2", healthz=self.health, key_id=self.newest)

    def encrypt(self, request: Any, context: Any) -> Any:
        self.asked.append("Encrypt")
        data = self.keys[self.newest].encrypt(b"n" * 12, request.plaintext, None)
        annotations = {"mode.kms.example.com": b"gcm"}
        return messages()["EncryptResponse"](ciphertext=data, key_id=self.newest, annotations=annotations)

    def decrypt(self, request: Any, context: Any) -> Any:
        self.asked.append("Decrypt")
        if request.key_id not in self.keys or request.annotations["mode.kms.example.com"] != b"gcm":
            context.abort(grpc.StatusCode.INVALID_ARGUMENT, f"no key {request.key_id}")
        return messages()["DecryptResponse"](
            plaintext=self.keys[request.key_id].decrypt(b"n" * 12, request.ciphertext, None)
        )


@contextlib.contextmanager
def serving(socket: Path) -> Iterator[Plugin]:
    plugin, known = Plugin(), messages()
    handlers = {
        method: grpc.unary_unary_rpc_method_handler(
            getattr(plugin, method.lower()), request_deserializer=known[f"{method}Request"].FromString,
            response_serializer=lambda message: message.SerializeToString(),
        )
        for method in ("Status", "Encrypt", "Decrypt")
    }  # fmt: skip
    server = grpc.server(ThreadPoolExecutor(2))
    server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler(SERVICE, handlers),))
    server.add_insecure_port(f"unix://{socket}")
    server.start()
    try:
        yield plugin
    finally:
        server.stop(None).wait()
