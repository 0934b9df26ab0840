"""Rules of dynamic resource allocation: device classes, claims and their templates, slices of devices."""

import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import orjson

from ksql.base.documents import Document
from ksql.schema import names
from ksql.schema.cel import expressions
from ksql.schema.errors import Cause
from ksql.schema.faults import duplicate, forbidden, required, too_long, too_many, unsupported, wrong
from ksql.schema.golang.internal import inside
from ksql.schema.metadata import check_annotations, check_labels
from ksql.schema.rules.checks import choice, each, immutable, spec_is_fixed
from ksql.schema.rules.scheduling import check_node_selector

Structure = Mapping[str, Any]
Names = Mapping[str, frozenset[str]]

REQUESTS_MAX = CONSTRAINTS_MAX = CONFIG_MAX = SELECTORS_MAX = 32
ALTERNATIVES_MAX = 8
EXPRESSION_BYTES_MAX = PARAMETERS_BYTES_MAX = 10 * 1024
DRIVER_NAME_MAX, IDENTIFIER_MAX, VALUE_MAX = 63, 32, 64
POOL_NAME_MAX = names.SUBDOMAIN_LENGTH_MAX
DEVICES_MAX, DEVICES_WITH_MORE_MAX = 128, 64
PROPERTIES_MAX = 32

_ONE_REQUEST = "exactly one of `exactly` or `firstAvailable` is required"
_REFERENCE = (
    "must be the name of a request in the claim or the name of a request and a subrequest separated by '/'"
)
_PLACES = "exactly one of `nodeName`, `nodeSelector`, `allNodes`, `perDeviceNodeSelection` is required"


def _all(
    items: Sequence[Any] | None, path: str, limit: int, check: Callable[[Any, str], None], out: list[Cause]
) -> bool:
    """Each item checked, unless there are so many that checking them would be an attack."""
    if len(items or ()) > limit:
        out.append(too_many(path, len(items or ()), limit))
        return False
    for item, place in each(items, path):
        check(item, place)
    return True


def _unique(keys: Sequence[str], path: str, out: list[Cause]) -> None:
    seen: set[str] = set()
    for key, place in each(keys, path):
        if key in seen:
            out.append(duplicate(place, key))
        seen.add(key)


# --- names -----------------------------------------------------------------------------------------


def _label(value: str, path: str, out: list[Cause]) -> None:
    out += [wrong(path, value, text) for text in names.label_name(value)]


def _driver(value: str, path: str, out: list[Cause]) -> None:
    if not value:
        out.append(required(path))
        return
    if len(value) > DRIVER_NAME_MAX:
        out.append(too_long(path, DRIVER_NAME_MAX))
    out += [wrong(path, value, text) for text in names.subdomain(value.lower())]


def _pool(value: str, path: str, out: list[Cause]) -> None:
    if not value:
        out.append(required(path))
        return
    if len(value) > POOL_NAME_MAX:
        out.append(too_long(path, POOL_NAME_MAX))
    for part in value.split("/"):
        out += [wrong(path, part, text) for text in names.subdomain(part)]


_IDENTIFIER = "[A-Za-z_][A-Za-z0-9_]*"
_IDENTIFIER_WORDS = (
    "a valid C identifier must start with alphabetic character or '_', followed by a string of alphanumeric "
    f"characters or '_' (e.g. 'my_name',  or 'MY_NAME',  or 'MyName', regex used for validation is '{_IDENTIFIER}')"
)


def _identifier(value: str, path: str, out: list[Cause]) -> None:
    if len(value) > IDENTIFIER_MAX:
        out.append(too_long(path, IDENTIFIER_MAX))
    if not re.fullmatch(_IDENTIFIER, value):
        out.append(wrong(path, value, _IDENTIFIER_WORDS))


def _property(value: str, path: str, out: list[Cause]) -> None:
    """[domain/]name of an attribute or a capacity."""
    parts = value.split("/")
    if len(parts) == 1:
        _identifier(value, path, out)
    elif len(parts) == 2:
        domain, name = parts
        if domain:
            _driver(domain, path, out)
        else:
            out.append(wrong(path, "", "the domain must not be empty"))
        if name:
            _identifier(name, path, out)
        else:
            out.append(wrong(path, "", "the name must not be empty"))


def _full_property(value: str, path: str, out: list[Cause]) -> None:
    _property(value, path, out)
    if "/" not in value:
        words = "a fully qualified name must be a domain and a name separated by a slash"
        out.append(wrong(path, value, words))


# --- claims ----------------------------------------------------------------------------------------


def check_claim(document: Document, out: list[Cause]) -> None:
    _check_devices((document.get("spec") or {}).get("devices") or {}, "spec.devices", out)


def check_claim_change(document: Document, old: Document, out: list[Cause]) -> None:
    spec_is_fixed("resource.ResourceClaimSpec", document, old, out)


def check_template_change(document: Document, old: Document, out: list[Cause]) -> None:
    spec_is_fixed("resource.ResourceClaimTemplateSpec", document, old, out)


def check_template(document: Document, out: list[Cause]) -> None:
    spec = document.get("spec") or {}
    metadata = spec.get("metadata") or {}
    check_annotations(metadata.get("annotations") or {}, "spec.metadata.annotations", out)
    check_labels(metadata.get("labels") or {}, "spec.metadata.labels", out)
    # A claim made from it gets these from whoever makes it.
    out += [
        forbidden(f"spec.metadata.{_GO_NAMES.get(field, field)}", "cannot be set")
        for field in _TEMPLATE_FIELDS
        if metadata.get(field) is not None
    ]
    _check_devices((spec.get("spec") or {}).get("devices") or {}, "spec.spec.devices", out)


_TEMPLATE_FIELDS = (
    "name", "generateName", "namespace", "selfLink", "uid", "resourceVersion", "generation", "creationTimestamp",
    "deletionTimestamp", "deletionGracePeriodSeconds", "ownerReferences", "finalizers", "managedFields",
)  # fmt: skip
_GO_NAMES = {"uid": "uID"}


def _check_devices(devices: Structure, path: str, out: list[Cause]) -> None:
    requests = devices.get("requests") or ()
    known = _names(requests)
    if _all(requests, f"{path}.requests", REQUESTS_MAX, lambda one, at: _check_request(one, at, out), out):
        _unique([one.get("name", "") for one in requests], f"{path}.requests", out)
    constraints, config = devices.get("constraints"), devices.get("config")
    _all(
        constraints, f"{path}.constraints", CONSTRAINTS_MAX,
        lambda one, at: _check_constraint(one, known, at, out), out,
    )  # fmt: skip
    _all(config, f"{path}.config", CONFIG_MAX, lambda one, at: _check_config(one, known, at, out), out)


def _names(requests: Sequence[Structure]) -> Names:
    """The names of requests, each with those of its alternatives."""
    return {
        one.get("name", ""): frozenset(other.get("name", "") for other in one.get("firstAvailable") or ())
        for one in requests
    }


def _check_request(request: Structure, path: str, out: list[Cause]) -> None:
    _label(request.get("name", ""), f"{path}.name", out)
    exactly, alternatives = request.get("exactly"), request.get("firstAvailable") or ()
    if exactly is None and not alternatives:
        out.append(required(path, _ONE_REQUEST))
    elif exactly is not None and alternatives:
        out.append(wrong(path, None, f"{_ONE_REQUEST}, but multiple fields are set"))
    elif exactly is not None:
        _check_exact(exactly, f"{path}.exactly", out)
    else:
        place = f"{path}.firstAvailable"
        if _all(alternatives, place, ALTERNATIVES_MAX, lambda one, at: _check_alternative(one, at, out), out):
            _unique([one.get("name", "") for one in alternatives], place, out)


def _check_alternative(request: Structure, path: str, out: list[Cause]) -> None:
    _label(request.get("name", ""), f"{path}.name", out)
    _check_exact(request, path, out)


def _check_exact(request: Structure, path: str, out: list[Cause]) -> None:
    name = request.get("deviceClassName", "")
    if not name:
        out.append(required(f"{path}.deviceClassName"))
    else:
        out += [wrong(f"{path}.deviceClassName", name, text) for text in names.subdomain(name)]
    _check_selectors(request.get("selectors"), f"{path}.selectors", out)
    mode, count = request.get("allocationMode", ""), request.get("count", 0)
    if mode == "All":
        if count:
            words = "must not be specified when allocationMode is 'All'"
            out.append(wrong(f"{path}.count", count, words))
    elif mode != "ExactCount":
        out.append(unsupported(f"{path}.allocationMode", mode, ("All", "ExactCount")))
    elif count <= 0:
        out.append(wrong(f"{path}.count", count, "must be greater than zero"))
    for toleration, place in each(request.get("tolerations"), f"{path}.tolerations"):
        _check_toleration(toleration, place, out)


def _check_selectors(selectors: Sequence[Structure] | None, path: str, out: list[Cause]) -> None:
    def check(selector: Structure, at: str) -> None:
        if "cel" not in selector:
            out.append(required(f"{at}.cel"))
        elif len(selector["cel"].get("expression", "").encode()) > EXPRESSION_BYTES_MAX:
            out.append(too_long(f"{at}.cel.expression", EXPRESSION_BYTES_MAX))
        else:
            expression = selector["cel"].get("expression", "")
            expressions.check(expression, f"{at}.cel.expression", expressions.DEVICE, out)

    _all(selectors, path, SELECTORS_MAX, check, out)


def _check_toleration(toleration: Structure, path: str, out: list[Cause]) -> None:
    key, operator, value = (toleration.get(field, "") for field in ("key", "operator", "value"))
    if key:
        out += [wrong(f"{path}.key", key, text) for text in names.qualified(key)]
    if operator == "Exists":
        if value:
            out.append(wrong(f"{path}.value", value, "must be empty for operator `Exists`"))
    elif operator == "Equal":
        out += [wrong(f"{path}.value", value, text) for text in names.label_value(value)]
    elif operator:
        out.append(unsupported(f"{path}.operator", operator, ("Equal", "Exists")))
    else:
        out.append(required(f"{path}.operator"))
    if toleration.get("effect"):
        choice(toleration, path, "effect", _EFFECTS, out)


_EFFECTS = ("NoExecute", "NoSchedule", "None")


def _check_references(requests: Sequence[str] | None, known: Names, path: str, out: list[Cause]) -> None:
    def check(name: str, at: str) -> None:
        request, slash, alternative = name.partition("/")
        if "/" in alternative:
            out.append(wrong(at, name, _REFERENCE))
            return
        for part in name.split("/"):
            _label(part, at, out)
        if request not in known or (slash and alternative not in known[request]):
            out.append(wrong(at, name, _REFERENCE))

    if _all(requests, path, REQUESTS_MAX, check, out):
        _unique(requests or (), path, out)


def _check_constraint(constraint: Structure, known: Names, path: str, out: list[Cause]) -> None:
    _check_references(constraint.get("requests"), known, f"{path}.requests", out)
    if "matchAttribute" in constraint:
        _full_property(constraint["matchAttribute"], f"{path}.matchAttribute", out)
    elif "distinctAttribute" in constraint:
        _full_property(constraint["distinctAttribute"], f"{path}.distinctAttribute", out)
    else:
        out.append(required(f"{path}.matchAttribute"))


def _check_config(config: Structure, known: Names, path: str, out: list[Cause]) -> None:
    _check_references(config.get("requests"), known, f"{path}.requests", out)
    _check_opaque(config, path, out)


def _check_opaque(config: Structure, path: str, out: list[Cause]) -> None:
    opaque, path = config.get("opaque"), f"{path}.opaque"
    if opaque is None:
        out.append(required(path))
        return
    _driver(opaque.get("driver", ""), f"{path}.driver", out)
    parameters, place = opaque.get("parameters"), f"{path}.parameters"
    if parameters is None:
        out.append(required(place))
    elif len(orjson.dumps(parameters)) > PARAMETERS_BYTES_MAX:
        out.append(too_long(place, PARAMETERS_BYTES_MAX))
    elif not isinstance(parameters, dict):
        out.append(wrong(place, "<value omitted>", "must be a valid JSON object"))


# --- what there is ---------------------------------------------------------------------------------


def check_class(document: Document, out: list[Cause]) -> None:
    spec = document.get("spec") or {}
    _check_selectors(spec.get("selectors"), "spec.selectors", out)
    _all(spec.get("config"), "spec.config", CONFIG_MAX, lambda one, at: _check_opaque(one, at, out), out)


def check_slice(document: Document, out: list[Cause]) -> None:
    spec = document.get("spec") or {}
    _driver(spec.get("driver", ""), "spec.driver", out)
    pool = spec.get("pool") or {}
    _pool(pool.get("name", ""), "spec.pool.name", out)
    if pool.get("resourceSliceCount", 0) <= 0:
        count = pool.get("resourceSliceCount", 0)
        out.append(wrong("spec.pool.resourceSliceCount", count, "must be greater than zero"))
    if pool.get("generation", 0) < 0:
        words = "must be greater than or equal to zero"
        out.append(wrong("spec.pool.generation", pool["generation"], words))
    _check_places(spec, out)
    devices = spec.get("devices") or ()
    has_more = any(device.get("taints") or device.get("consumesCounters") for device in devices)
    limit = DEVICES_WITH_MORE_MAX if has_more else DEVICES_MAX
    if _all(devices, "spec.devices", limit, lambda one, at: _check_device(one, at, out), out):
        _unique([device.get("name", "") for device in devices], "spec.devices", out)


def _check_places(spec: Structure, out: list[Cause]) -> None:
    """From which nodes the devices are reached."""
    given = []
    if "nodeName" in spec:
        node = spec["nodeName"]
        if node:
            given.append("`nodeName`")
            out += [wrong("spec.nodeName", node, text) for text in names.subdomain(node)]
        else:
            words = "must be either unset or set to a non-empty string"
            out.append(wrong("spec.nodeName", node, words))
    if "nodeSelector" in spec:
        given.append("`nodeSelector`")
        check_node_selector(spec["nodeSelector"], "spec.nodeSelector", out)
        terms = spec["nodeSelector"].get("nodeSelectorTerms") or ()
        if len(terms) != 1:
            place, words = "spec.nodeSelector.nodeSelectorTerms", "must have exactly one node selector term"
            out.append(wrong(place, terms, words))
    for field in ("allNodes", "perDeviceNodeSelection"):
        if spec.get(field):
            given.append(f"`{field}`")
        elif field in spec:
            out.append(wrong(f"spec.{field}", spec[field], "must be either unset or set to true"))
    if not given:
        out.append(required("spec", _PLACES))
    elif len(given) > 1:
        shown = f"{{{', '.join(given)}}}"
        out.append(wrong("spec", shown, f"{_PLACES}, but multiple fields are set"))


def _check_device(device: Structure, path: str, out: list[Cause]) -> None:
    _label(device.get("name", ""), f"{path}.name", out)
    attributes, capacity = device.get("attributes") or {}, device.get("capacity") or {}
    count = len(attributes) + len(capacity)
    if count > PROPERTIES_MAX:
        words = f"the total number of attributes and capacities must not exceed {PROPERTIES_MAX}"
        out.append(wrong(path, count, words))
    for key, attribute in attributes.items():
        _property(key, f"{path}.attributes", out)
        _check_attribute(attribute, f"{path}.attributes[{key}]", out)
    for key in capacity:
        _property(key, f"{path}.capacity", out)


_NUMBER = r"(0|[1-9]\d*)"
_PRERELEASE = r"(0|[1-9]\d*|\d*[a-zA-Z-][0-9a-zA-Z-]*)"
_VERSION = re.compile(
    rf"{_NUMBER}\.{_NUMBER}\.{_NUMBER}(-{_PRERELEASE}(\.{_PRERELEASE})*)?(\+[0-9a-zA-Z-]+(\.[0-9a-zA-Z-]+)*)?"
)


def _check_attribute(attribute: Structure, path: str, out: list[Cause]) -> None:
    version = attribute.get("version")
    text = attribute.get("string")
    if text is not None and len(text.encode()) > VALUE_MAX:
        out.append(too_long(f"{path}.string", VALUE_MAX))
    if version is not None:
        if not _VERSION.fullmatch(version):
            words = "must be a string compatible with semver.org spec 2.0.0"
            out.append(wrong(f"{path}.version", version, words))
        if len(version.encode()) > VALUE_MAX:
            out.append(too_long(f"{path}.version", VALUE_MAX))
    given = [field for field in ("bool", "int", "string", "version") if field in attribute]
    if len(given) != 1:
        shown = inside("resource.DeviceAttribute", attribute) if given else ""
        out.append(wrong(path, shown, "exactly one value must be specified"))


def check_slice_change(document: Document, old: Document, out: list[Cause]) -> None:
    new, before = document.get("spec") or {}, old.get("spec") or {}
    immutable(new.get("pool") or {}, before.get("pool") or {}, "spec.pool", ("name",), out, "")
    immutable(new, before, "spec", ("driver",), out, "")
    immutable(new, before, "spec", ("nodeName",), out)
