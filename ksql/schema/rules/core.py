"""Rules of the core group: endpoints, config maps, secrets, namespaces, nodes, bindings."""

import binascii
from base64 import b64decode
from collections.abc import Mapping, Sequence
from typing import Any

import orjson

from ksql.base.documents import Document
from ksql.schema import names
from ksql.schema.addresses import endpoint, lax_cidr, lax_ip
from ksql.schema.errors import Cause
from ksql.schema.faults import IMMUTABLE, duplicate, forbidden, required, too_long, unsupported, wrong
from ksql.schema.metadata import STANDARD_FINALIZERS
from ksql.schema.rules.checks import PORT_MAX, PORT_RANGE, complain, one_of
from ksql.schema.rules.containers import PROTOCOLS
from ksql.schema.rules.resources import check_quantity
from ksql.schema.rules.scheduling import EFFECTS

Structure = Mapping[str, Any]

# The values of one config map or secret together: it must fit a node's memory and an event's payload.
CONTENT_BYTES_MAX = 1024 * 1024

# --- endpoints ---------------------------------------------------------------------------------------


def check_endpoints(document: Document, out: list[Cause]) -> None:
    for index, subset in enumerate(document.get("subsets") or ()):
        path, ports = f"subsets[{index}]", subset.get("ports") or ()
        if not subset.get("addresses") and not subset.get("notReadyAddresses"):
            out.append(required(path, "must specify `addresses` or `notReadyAddresses`"))
        for field in ("addresses", "notReadyAddresses"):
            for place, address in enumerate(subset.get(field) or ()):
                _check_address(address, f"{path}.{field}[{place}]", out)
        for place, item in enumerate(ports):
            _check_endpoint_port(item, len(ports) > 1, f"{path}.ports[{place}]", out)


def _check_address(address: Structure, path: str, out: list[Cause]) -> None:
    text, host, node = address.get("ip") or "", address.get("hostname"), address.get("nodeName")
    lax_ip(text, f"{path}.ip", out)
    if host:
        complain(f"{path}.hostname", host, names.label_name(host), out)
    if node is not None:
        complain(f"{path}.nodeName", node, names.subdomain(node), out)
    endpoint(text, f"{path}.ip", out)


def _check_endpoint_port(item: Structure, needs_name: bool, path: str, out: list[Cause]) -> None:
    name, number, application = item.get("name") or "", item.get("port", 0), item.get("appProtocol")
    if name:
        complain(f"{path}.name", name, names.label_name(name), out)
    elif needs_name:
        out.append(required(f"{path}.name"))
    if not 1 <= number <= PORT_MAX:
        out.append(wrong(f"{path}.port", number, PORT_RANGE))
    one_of(item, path, "protocol", PROTOCOLS, out, needed=True)
    if application is not None:
        complain(f"{path}.appProtocol", application, names.qualified(application), out)


# --- config maps and secrets -----------------------------------------------------------------------


def check_config_map(document: Document, out: list[Cause]) -> None:
    data, binary = document.get("data") or {}, document.get("binaryData") or {}
    size = 0
    for key, text in data.items():
        if complaints := names.config_key(key):
            out += [wrong(f"data[{key}]", key, words) for words in complaints]
        if key in binary:
            out.append(wrong(f"data[{key}]", key, "duplicate of key present in binaryData"))
        size += len(text) if text.isascii() else len(text.encode())
    for key, text in binary.items():
        out += [wrong(f"binaryData[{key}]", key, words) for words in names.config_key(key)]
        size += _decoded_size(text)
    if size > CONTENT_BYTES_MAX:
        # How Go prints a path without a name; kubectl users know these brackets.
        out.append(too_long("[]", CONTENT_BYTES_MAX))


def _decoded_size(text: str) -> int:
    return len(text) * 3 // 4 - text[-2:].count("=")


# type: keys its data must have.
_SECRET_KEYS: Mapping[str, tuple[str, ...]] = {
    "kubernetes.io/dockercfg": (".dockercfg",),
    "kubernetes.io/dockerconfigjson": (".dockerconfigjson",),
    "kubernetes.io/ssh-auth": ("ssh-privatekey",),
    "kubernetes.io/tls": ("tls.crt", "tls.key"),
}
_DOCKER_TYPES = ("kubernetes.io/dockercfg", "kubernetes.io/dockerconfigjson")
_ACCOUNT_ANNOTATION = "kubernetes.io/service-account.name"


def check_secret(document: Document, out: list[Cause]) -> None:
    data, kind = document.get("data") or {}, document.get("type", "")
    size = 0
    for key, text in data.items():
        if complaints := names.config_key(key):
            out += [wrong(f"data[{key}]", key, words) for words in complaints]
        size += _decoded_size(text)
    if size > CONTENT_BYTES_MAX:
        out.append(too_long("data", CONTENT_BYTES_MAX))
    for key in _SECRET_KEYS.get(kind, ()):
        if key not in data or (kind == "kubernetes.io/ssh-auth" and not data[key]):
            out.append(required(f"data[{key}]"))
        elif kind in _DOCKER_TYPES and not _is_json(data[key]):
            words = "<secret contents redacted>"
            said = "invalid character or structure: must be a JSON object"
            out.append(wrong(f"data[{key}]", words, said if data[key] else "unexpected end of JSON input"))
    if kind == "kubernetes.io/basic-auth" and "username" not in data and "password" not in data:
        out += [required("data[username]"), required("data[password]")]
    if kind == "kubernetes.io/service-account-token":
        annotations = (document.get("metadata") or {}).get("annotations") or {}
        if not annotations.get(_ACCOUNT_ANNOTATION):
            out.append(required(f"metadata.annotations[{_ACCOUNT_ANNOTATION}]"))


def _is_json(text: str) -> bool:
    try:
        return isinstance(orjson.loads(b64decode(text)), dict)
    except (orjson.JSONDecodeError, binascii.Error):
        return False


def check_config_map_change(document: Document, old: Document, out: list[Cause]) -> None:
    _check_sealed(document, old, ("data", "binaryData"), out)


def check_secret_change(document: Document, old: Document, out: list[Cause]) -> None:
    if document.get("type") != old.get("type"):
        out.append(wrong("type", document.get("type"), IMMUTABLE))
    _check_sealed(document, old, ("data",), out)


def _check_sealed(document: Document, old: Document, fields: Sequence[str], out: list[Cause]) -> None:
    """What was once declared immutable."""
    if not old.get("immutable"):
        return
    words = "field is immutable when `immutable` is set"
    if not document.get("immutable"):
        out.append(forbidden("immutable", words))
    for field in fields:
        if (document.get(field) or {}) != (old.get(field) or {}):
            out.append(forbidden(field, words))


# --- namespaces and nodes ---------------------------------------------------------------------------


def check_namespace(document: Document, out: list[Cause]) -> None:
    """What keeps a namespace is named like what keeps any object."""
    for finalizer in (document.get("spec") or {}).get("finalizers") or ():
        _check_finalizer(finalizer, "spec.finalizers", out)


def check_namespace_finalizers(document: Document, old: Document, out: list[Cause]) -> None:
    for index, finalizer in enumerate((document.get("spec") or {}).get("finalizers") or ()):
        _check_finalizer(finalizer, f"spec.finalizers[{index}]", out)


def check_namespace_status(document: Document, old: Document, out: list[Cause]) -> None:
    phase = (document.get("status") or {}).get("phase") or ""
    if "deletionTimestamp" not in (document.get("metadata") or {}):
        if phase != "Active":
            words = "may only be 'Active' if `deletionTimestamp` is empty"
            out.append(wrong("status.Phase", phase, words))
    elif phase != "Terminating":
        words = "may only be 'Terminating' if `deletionTimestamp` is not empty"
        out.append(wrong("status.Phase", phase, words))


def _check_finalizer(name: str, path: str, out: list[Cause]) -> None:
    complain(path, name, names.qualified(name), out)
    if "/" not in name and name not in STANDARD_FINALIZERS:
        words = "name is neither a standard finalizer name nor is it fully qualified"
        out.append(wrong(path, name, words))


def check_node(document: Document, out: list[Cause]) -> None:
    """A node that is made: its taints, what it offers, its addresses for pods."""
    spec, status = document.get("spec") or {}, document.get("status") or {}
    _check_taints(spec.get("taints") or (), out)
    _check_offers(status, out)
    ranges, path = spec.get("podCIDRs") or (), "spec.podCIDRs"
    found = [lax_cidr(text, f"{path}[{index}]", out) for index, text in enumerate(ranges)]
    if len(ranges) > 1:
        bad = next((index for index, one in enumerate(found) if one is None), None)
        if bad is not None:
            said = (
                "invalid PodCIDRs. failed to check with dual stack with error:"
                f"invalid CIDR[{bad}]: <nil> (invalid CIDR address: {ranges[bad]})"
            )
            out.append(Cause("InternalError", f"Internal error: {said}", path))
        versions = {one.version for one in found if one is not None}
        if len(versions) != 2 or len(ranges) > 2:
            words = "may specify no more than one CIDR for each IP family"
            out.append(wrong(path, list(ranges), words))


def check_node_change(document: Document, old: Document, out: list[Cause]) -> None:
    """A node keeps the addresses its pods have, and the machine that it is."""
    spec, before, status = document.get("spec") or {}, old.get("spec") or {}, document.get("status") or {}
    _check_offers(status, out)
    addresses = status.get("addresses") or ()
    for index, address in enumerate(addresses):
        if address in addresses[:index]:
            shown = {"Type": address.get("type", ""), "Address": address.get("address", "")}
            out.append(duplicate(f"status.addresses[{index}]", shown))
    given, now = before.get("podCIDRs") or [], spec.get("podCIDRs") or []
    words = 'node updates may not change {} except from "" to valid'
    if given and len(given) != len(now):
        out.append(forbidden("spec.podCIDRs", words.format("podCIDR")))
    else:
        pairs = zip(given, now, strict=False)
        out += [forbidden("spec.podCIDRs", words.format("podCIDR")) for one, other in pairs if one != other]
    if before.get("providerID") and before["providerID"] != spec.get("providerID"):
        out.append(forbidden("spec.providerID", words.format("providerID")))
    _check_taints(spec.get("taints") or (), out)
    if (spec.get("externalID") or "") != (before.get("externalID") or ""):
        out.append(forbidden("spec.externalID", "may not be updated"))


def _check_offers(status: Structure, out: list[Cause]) -> None:
    for field in ("capacity", "allocatable"):
        for name, amount in (status.get(field) or {}).items():
            check_quantity(name, amount, f"status.{field}.{name}", out)


def _check_taints(taints: Sequence[Structure], out: list[Cause]) -> None:
    taken: set[tuple[str, str]] = set()
    for index, taint in enumerate(taints):
        # Taints stand, in messages, in the metadata.
        path, key, value = f"metadata.taints[{index}]", taint.get("key") or "", taint.get("value") or ""
        effect = taint.get("effect") or ""
        complain(f"{path}.key", key, names.qualified(key), out)
        if complaints := names.label_value(value):
            out.append(wrong(f"{path}.value", value, ";".join(complaints)))
        if not effect:
            out.append(required(f"{path}.effect"))
        elif effect not in EFFECTS:
            out.append(unsupported(f"{path}.effect", effect, EFFECTS))
        if (key, effect) in taken:
            shown = {"Key": key, "Value": value, "Effect": effect, "TimeAdded": taint.get("timeAdded")}
            cause, words = duplicate(path, shown), "taints must be unique by key and effect pair"
            out.append(Cause(cause.reason, f"{cause.message}: {words}", cause.field))
        taken.add((key, effect))


def check_binding(document: Document, out: list[Cause]) -> None:
    target = document.get("target") or {}
    if target.get("kind") not in (None, "", "Node"):
        out.append(unsupported("target.kind", target["kind"], ("Node", "<empty>")))
    if not target.get("name"):
        out.append(required("target.name"))
