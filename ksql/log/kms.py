"""A root behind a wire: Kubernetes' KMS v2 plugins, which speak gRPC over a socket of this machine.

The three messages are small and fixed (k8s.io/kms, apis/v2), so that they are described here rather than generated.
grpcio is an extra: without it, whoever names a plugin is told what to install.
"""

import base64
from functools import cache
from typing import Any

import orjson
from google.protobuf import descriptor_pb2, descriptor_pool, message_factory

from ksql.base.clock import secret_token
from ksql.log.roots import RootError

SERVICE = "v2.KeyManagementService"
_BYTES, _TEXT = 12, 9
_FIELDS: dict[str, tuple[tuple[str, int], ...]] = {
    "StatusRequest": (),
    "StatusResponse": (("version", _TEXT), ("healthz", _TEXT), ("key_id", _TEXT)),
    "DecryptRequest": (("ciphertext", _BYTES), ("uid", _TEXT), ("key_id", _TEXT), ("annotations", 0)),
    "DecryptResponse": (("plaintext", _BYTES),),
    "EncryptRequest": (("plaintext", _BYTES), ("uid", _TEXT)),
    "EncryptResponse": (("ciphertext", _BYTES), ("key_id", _TEXT), ("annotations", 0)),
}


@cache
def messages() -> dict[str, Any]:
    """The classes of the protocol's messages."""
    file = descriptor_pb2.FileDescriptorProto(name="ksql/kms.proto", package="v2", syntax="proto3")
    for name, fields in _FIELDS.items():
        message = file.message_type.add(name=name)
        for number, (field, kind) in enumerate(fields, 1):
            if kind:
                message.field.add(name=field, number=number, type=kind, label=1)
                continue
            entry = message.nested_type.add(name="AnnotationsEntry", options={"map_entry": True})
            entry.field.add(name="key", number=1, type=_TEXT, label=1)
            entry.field.add(name="value", number=2, type=_BYTES, label=1)
            of = f".v2.{name}.AnnotationsEntry"
            message.field.add(name=field, number=number, type=11, label=3, type_name=of)
    pool = descriptor_pool.DescriptorPool()
    pool.Add(file)
    found = {name: pool.FindMessageTypeByName(f"v2.{name}") for name in _FIELDS}
    return {name: message_factory.GetMessageClass(of) for name, of in found.items()}


class Kms:
    """One plugin. Blocking: asked at a start, when keys rotate, and never for a write."""

    def __init__(self, name: str, endpoint: str, seconds: float) -> None:
        self.name, self.endpoint, self._seconds = name, endpoint, seconds
        self._channel: Any = None

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Kms) and (self.name, self.endpoint) == (other.name, other.endpoint)

    def __hash__(self) -> int:
        return hash((self.name, self.endpoint))

    def current(self) -> str:
        answer = self._ask("Status")
        if answer.healthz != "ok":
            raise RootError(f"the KMS plugin {self.name!r} is not well: {answer.healthz[:200]}")
        if not answer.key_id:
            raise RootError(f"the KMS plugin {self.name!r} names no key")
        return f"{self.name}:{answer.key_id}"

    def wrap(self, key: bytes) -> bytes:
        answer = self._ask("Encrypt", plaintext=key, uid=secret_token(9))
        shown = {name: base64.b64encode(value).decode() for name, value in answer.annotations.items()}
        return orjson.dumps(
            {"ciphertext": base64.b64encode(answer.ciphertext).decode(), "key": answer.key_id, "annotations": shown}
        )

    def unwrap(self, wrapped: bytes) -> bytes:
        found = orjson.loads(wrapped)
        annotations = {name: base64.b64decode(value) for name, value in found["annotations"].items()}
        answer = self._ask(
            "Decrypt", ciphertext=base64.b64decode(found["ciphertext"]), uid=secret_token(9), key_id=found["key"],
            annotations=annotations,
        )  # fmt: skip
        return bytes(answer.plaintext)

    def _ask(self, method: str, **fields: Any) -> Any:
        try:
            import grpc
        except ImportError:
            raise RootError("KMS plugins need grpcio: pip install 'ksql[kms]'") from None
        if self._channel is None:
            self._channel = grpc.insecure_channel(self.endpoint)
        known = messages()
        call = self._channel.unary_unary(
            f"/{SERVICE}/{method}", request_serializer=lambda message: message.SerializeToString(),
            response_deserializer=known[f"{method}Response"].FromString,
        )  # fmt: skip
        try:
            return call(known[f"{method}Request"](**fields), timeout=self._seconds, wait_for_ready=True)
        except grpc.RpcError as error:
            said = getattr(error, "details", str)() or type(error).__name__
            raise RootError(f"the KMS plugin {self.name!r} at {self.endpoint} does not answer: {said[:200]}") from None
