"""Rules of the core group: services, config maps, secrets, volumes, nodes, quotas, events."""

import binascii
from base64 import b64decode
from collections.abc import Mapping, Sequence
from typing import Any

import orjson

from ksql.base.documents import Document
from ksql.schema import names, quantities
from ksql.schema.checks import NOT_NEGATIVE, PORT_MAX, PORT_RANGE, one_of, port
from ksql.schema.errors import Cause
from ksql.schema.faults import IMMUTABLE, duplicate, forbidden, required, too_long, unsupported, wrong
from ksql.schema.metadata import check_labels
from ksql.schema.rules_containers import PROTOCOLS
from ksql.schema.rules_scheduling import EFFECTS

Structure = Mapping[str, Any]

# The values of one config map or secret together: it must fit a node's memory and an event's payload.
CONTENT_BYTES_MAX = 1024 * 1024
AFFINITY_SECONDS_MAX = 86400

# --- services --------------------------------------------------------------------------------------

SERVICE_TYPES = ("ClusterIP", "ExternalName", "LoadBalancer", "NodePort")


def check_service(document: Document, out: list[Cause]) -> None:
    spec = document.get("spec") or {}
    kind, headless = spec.get("type"), spec.get("clusterIP") == "None"
    ports = spec.get("ports") or ()
    if not ports and not headless and kind != "ExternalName":
        out.append(required("spec.ports"))
    if kind == "LoadBalancer" and headless:
        out.append(wrong("spec.clusterIPs[0]", "None", "may not be set to 'None' for LoadBalancer services"))
    if kind == "NodePort" and headless:
        out.append(wrong("spec.clusterIPs[0]", "None", "may not be set to 'None' for NodePort services"))
    if kind == "ExternalName":
        if spec.get("clusterIP"):
            out.append(forbidden("spec.clusterIPs", "may not be set for ExternalName services"))
        name = (spec.get("externalName") or "").removesuffix(".")
        if name:
            out += [wrong("spec.externalName", name, text) for text in names.subdomain(name)]
        else:
            out.append(required("spec.externalName"))
    _check_service_ports(ports, kind, headless, out)
    if spec.get("selector"):
        check_labels(spec["selector"], "spec.selector", out)
    one_of(spec, "spec", "sessionAffinity", ("ClientIP", "None"), out, needed=True)
    one_of(spec, "spec", "type", SERVICE_TYPES, out, needed=True)
    seconds = ((spec.get("sessionAffinityConfig") or {}).get("clientIP") or {}).get("timeoutSeconds")
    if seconds is not None and not 0 < seconds <= AFFINITY_SECONDS_MAX:
        words = f"must be greater than 0 and less than {AFFINITY_SECONDS_MAX}"
        out.append(wrong("spec.sessionAffinityConfig.clientIP.timeoutSeconds", seconds, words))
    _check_traffic(spec, kind, out)


def _check_traffic(spec: Structure, kind: Any, out: list[Cause]) -> None:
    if spec.get("externalTrafficPolicy"):
        if kind in ("NodePort", "LoadBalancer") or spec.get("externalIPs"):
            one_of(spec, "spec", "externalTrafficPolicy", ("Cluster", "Local"), out)
        else:
            words = "may only be set for externally-accessible services"
            out.append(wrong("spec.externalTrafficPolicy", spec["externalTrafficPolicy"], words))
    one_of(spec, "spec", "internalTrafficPolicy", ("Cluster", "Local"), out)


def _check_service_ports(ports: Sequence[Structure], kind: Any, headless: bool, out: list[Cause]) -> None:
    taken: dict[str, None] = {}
    pairs: dict[tuple[Any, Any], None] = {}
    for index, item in enumerate(ports):
        path, name, number = f"spec.ports[{index}]", item.get("name"), item.get("port", 0)
        if not name:
            if len(ports) > 1:
                out.append(required(f"{path}.name"))
        elif complaints := names.label_name(name):
            out += [wrong(f"{path}.name", name, text) for text in complaints]
        elif name in taken:
            out.append(duplicate(f"{path}.name", name))
        if name:
            taken[name] = None
        if not 1 <= number <= PORT_MAX:
            out.append(wrong(f"{path}.port", number, PORT_RANGE))
        one_of(item, path, "protocol", PROTOCOLS, out, needed=True)
        target = item.get("targetPort")
        if target is not None and not headless:
            port(target, f"{path}.targetPort", out)
        node = item.get("nodePort", 0)
        if node:
            if not 1 <= node <= PORT_MAX:
                out.append(wrong(f"{path}.nodePort", node, PORT_RANGE))
            if kind == "ClusterIP":
                out.append(forbidden(f"{path}.nodePort", "may not be used when `type` is 'ClusterIP'"))
        pair = (item.get("protocol"), number)
        if pair in pairs:
            shown = {
                "Name": "",
                "Protocol": pair[0],
                "AppProtocol": None,
                "Port": number,
                "TargetPort": 0,
                "NodePort": 0,
            }
            out.append(duplicate(path, shown))
        pairs[pair] = None


def check_service_change(document: Document, old: Document, out: list[Cause]) -> None:
    """An address that was given stays."""
    spec, before = document.get("spec") or {}, old.get("spec") or {}
    if "ExternalName" in (spec.get("type"), before.get("type")):
        return
    given, now = before.get("clusterIP"), spec.get("clusterIP")
    if given and now != given:
        listed = spec.get("clusterIPs") or ([now] if now else [])
        out.append(wrong("spec.clusterIPs[0]", listed, "may not change once set"))


def check_endpoints(document: Document, out: list[Cause]) -> None:
    for index, subset in enumerate(document.get("subsets") or ()):
        path = f"subsets[{index}]"
        if not subset.get("addresses") and not subset.get("notReadyAddresses"):
            out.append(required(path, "must specify `addresses` or `notReadyAddresses`"))
        for place, item in enumerate(subset.get("ports") or ()):
            where = f"{path}.ports[{place}]"
            if len(subset["ports"]) > 1 and not item.get("name"):
                out.append(required(f"{where}.name"))
            if not 1 <= item.get("port", 0) <= PORT_MAX:
                out.append(wrong(f"{where}.port", item.get("port", 0), PORT_RANGE))
            one_of(item, where, "protocol", PROTOCOLS, out, needed=True)


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
        if key not in data:
            out.append(required(f"data[{key}]"))
        elif kind in _DOCKER_TYPES and not _is_json(data[key]):
            words = "<secret contents redacted>"
            out.append(wrong(f"data[{key}]", words, "invalid character or structure: must be a JSON object"))
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


# --- nodes, quotas, limits, events -----------------------------------------------------------------


def check_node(document: Document, out: list[Cause]) -> None:
    taken: dict[tuple[Any, Any], None] = {}
    for index, taint in enumerate((document.get("spec") or {}).get("taints") or ()):
        path, key = f"spec.taints[{index}]", taint.get("key", "")
        out += [wrong(f"{path}.key", key, text) for text in names.qualified(key)]
        out += [wrong(f"{path}.value", taint["value"], text) for text in names.label_value(taint.get("value", ""))]
        effect = taint.get("effect")
        if not effect:
            out.append(required(f"{path}.effect"))
        elif effect not in EFFECTS:
            out.append(unsupported(f"{path}.effect", effect, EFFECTS))
        pair = (key, effect)
        if pair in taken:
            cause = duplicate(path, taint)
            words = "taints must be unique by key and effect pair"
            out.append(Cause(cause.reason, f"{cause.message}: {words}", cause.field))
        taken[pair] = None


def check_quota(document: Document, out: list[Cause]) -> None:
    for name, amount in ((document.get("spec") or {}).get("hard") or {}).items():
        path = f"spec.hard[{name}]"
        out += [wrong(path, name, text) for text in names.qualified(name)]
        if isinstance(amount, str) and amount.startswith("-"):
            out.append(wrong(path, amount, NOT_NEGATIVE))
        elif (name.startswith("count/") or name in _COUNTED) and quantities.milli(amount) % 1000:
            out.append(wrong(path, amount, "must be an integer"))


_COUNTED = frozenset(
    {
        "configmaps",
        "persistentvolumeclaims",
        "pods",
        "replicationcontrollers",
        "resourcequotas",
        "secrets",
        "services",
        "services.loadbalancers",
        "services.nodeports",
    }
)


def check_limit_range(document: Document, out: list[Cause]) -> None:
    taken: dict[str, None] = {}
    for index, item in enumerate((document.get("spec") or {}).get("limits") or ()):
        path, kind = f"spec.limits[{index}]", item.get("type", "")
        out += [wrong(f"{path}.type", kind, text) for text in names.qualified(kind)]
        if kind in taken:
            out.append(duplicate(f"{path}.type", kind))
        taken[kind] = None
        if kind == "Pod":
            for field in ("default", "defaultRequest"):
                if item.get(field):
                    words = "may not be specified when `type` is 'Pod'"
                    out.append(forbidden(f"{path}.{field}", words))
        for low, high, words in _LIMIT_ORDER:
            _check_order(item, low, high, words, path, out)


# lower bound, upper bound, how the former is named in the complaint.
_LIMIT_ORDER = (
    ("min", "max", "min value {} is greater than max value {}"),
    ("min", "defaultRequest", "min value {} is greater than default request value {}"),
    ("defaultRequest", "max", "default request value {} is greater than max value {}"),
    ("defaultRequest", "default", "default request value {} is greater than default limit value {}"),
    ("min", "default", "min value {} is greater than default value {}"),
    ("default", "max", "default value {} is greater than max value {}"),
)


def _check_order(item: Structure, low: str, high: str, words: str, path: str, out: list[Cause]) -> None:
    upper = item.get(high) or {}
    for name, amount in (item.get(low) or {}).items():
        if name in upper and quantities.compare(amount, upper[name]) > 0:
            out.append(wrong(f"{path}.{low}[{name}]", amount, words.format(amount, upper[name])))


def check_core_event(document: Document, out: list[Cause]) -> None:
    _check_event_namespace(document, "involvedObject", out)


def check_event(document: Document, out: list[Cause]) -> None:
    _check_event_namespace(document, "regarding", out)


def _check_event_namespace(document: Document, field: str, out: list[Cause]) -> None:
    """An event lives where what it tells of lives; of cluster-scoped things, in default or kube-system."""
    about = document.get(field) or {}
    namespace = (document.get("metadata") or {}).get("namespace", "")
    where = about.get("namespace", "")
    if (where and where != namespace) or (not where and namespace not in ("default", "kube-system", "")):
        out.append(wrong(f"{field}.namespace", where, "does not match event.namespace"))


def check_binding(document: Document, out: list[Cause]) -> None:
    target = document.get("target") or {}
    if target.get("kind") not in (None, "", "Node"):
        out.append(unsupported("target.kind", target["kind"], ("Node", "<empty>")))
    if not target.get("name"):
        out.append(required("target.name"))
