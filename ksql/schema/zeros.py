"""What Go prints of an object in which nothing is set.

A new object is compared with such a one to learn which fields its author set: fields that are there in every
object, `spec` or the template of a workload, belong to nobody. Which fields those are is a fact of the Go types
(structures that are no pointers, values printed even when zero), kept in `fields_protobuf.json`.
"""

from functools import cache
from importlib import resources
from typing import Any

import orjson

from ksql.schema.resources import GroupVersionKind

_PACKAGES = {
    "": "core",
    "flowcontrol.apiserver.k8s.io": "flowcontrol",
    "rbac.authorization.k8s.io": "rbac",
}
_SCALARS = {"s": "", "b": False, "i": 0, "l": 0, "d": 0, "q": "0", "o": 0}
_STRUCTURES = ("q", "o")


def of_kind(gvk: GroupVersionKind) -> dict[str, Any]:
    """The zero object of a kind, with its identity; of a kind without Go type the identity alone."""
    package = _PACKAGES.get(gvk.group) or gvk.group.partition(".")[0]
    return {
        "apiVersion": gvk.api_version,
        "kind": gvk.kind,
        **of_message(f"{package}.{gvk.version}.{gvk.kind}"),
    }


def of_definition(name: str) -> dict[str, Any]:
    """The zero value of an OpenAPI definition's Go type: `io.k8s.api.core.v1.ContainerPort`."""
    return of_message(".".join(name.split(".")[-3:]))


@cache
def of_message(name: str) -> dict[str, Any]:
    """The zero value of a message by its short name; empty when nobody knows it."""
    zero: dict[str, Any] = {}
    for field in _table().get(name, "").split():
        head, _, json_name = field.partition(":")
        code = head.lstrip("0123456789")
        flags = code[: len(code) - len(code.lstrip("*[{!~"))]
        kind = code[len(flags) :]
        inner = kind[1:-1] if kind.startswith("<") else ""
        if "~" in flags:
            zero |= of_message(inner)
        elif any(mark in flags for mark in "*[{"):
            if "!" in flags:
                zero[json_name] = None
        elif inner:
            zero[json_name] = of_message(inner)
        elif "!" in flags or kind in _STRUCTURES:
            zero[json_name] = _SCALARS.get(kind)
    return zero


@cache
def _table() -> dict[str, str]:
    found: dict[str, str] = orjson.loads(
        resources.files("ksql.schema").joinpath("fields_protobuf.json").read_bytes()
    )
    return found
