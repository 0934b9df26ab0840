"""Rules of storage: classes, attachments, and what CSI drivers say of themselves and of nodes."""

from collections.abc import Mapping, Sequence
from typing import Any

from ksql.base.documents import Document
from ksql.schema import names, quantities
from ksql.schema.errors import Cause
from ksql.schema.faults import IMMUTABLE, duplicate, forbidden, required, too_long, unsupported, wrong
from ksql.schema.rules.checks import (
    NOT_NEGATIVE,
    choice,
    each,
    immutable,
    one_of,
    selector,
    shown_selector,
    spec_is_fixed,
    untagged,
)

Structure = Mapping[str, Any]

PARAMETERS_MAX = 512
PARAMETERS_BYTES_MAX = 256 * 1024
ATTACHMENT_BYTES_MAX = 256 * 1024
ERROR_BYTES_MAX = 1024
NODE_ID_MAX = 256
DRIVER_NAME_MAX = 63
# Volumes per node are counted afresh no more often than this.
PERIOD_SECONDS_MIN = 10
# What a token of a service account may be asked to last.
TOKEN_SECONDS_MIN, TOKEN_SECONDS_MAX = 600, 1 << 32

# --- classes ---------------------------------------------------------------------------------------


def check_storage_class(document: Document, out: list[Cause]) -> None:
    _check_provisioner(document, "provisioner", out)
    _check_parameters(document.get("parameters") or {}, out)
    one_of(document, "", "reclaimPolicy", ("Delete", "Retain"), out)
    choice(document, "", "volumeBindingMode", ("Immediate", "WaitForFirstConsumer"), out)
    _check_topologies(document.get("allowedTopologies") or (), out)


def check_storage_class_change(document: Document, old: Document, out: list[Cause]) -> None:
    parameters = document.get("parameters")
    if parameters != old.get("parameters"):
        shown = parameters and dict(sorted(parameters.items()))
        out.append(wrong("parameters", shown, IMMUTABLE))
    immutable(document, old, "", ("provisioner", "reclaimPolicy", "volumeBindingMode"), out)


def check_attributes_class(document: Document, out: list[Cause]) -> None:
    _check_provisioner(document, "driverName", out)
    _check_parameters(document.get("parameters") or {}, out)
    if not document.get("parameters"):
        out.append(required("parameters", "must contain at least one key/value pair"))


def check_attributes_class_change(document: Document, old: Document, out: list[Cause]) -> None:
    for field in ("driverName", "parameters"):
        if (document.get(field) or None) != (old.get(field) or None):
            out.append(forbidden(field, f"updates to {field} are forbidden."))


def _check_provisioner(document: Document, field: str, out: list[Cause]) -> None:
    name = document.get(field, "")
    if not name:
        out.append(required(field))
    else:
        out += [wrong(field, name.lower(), text) for text in names.qualified(name.lower())]


def _check_parameters(parameters: Mapping[str, str], out: list[Cause]) -> None:
    if len(parameters) > PARAMETERS_MAX:
        out.append(too_long("parameters", PARAMETERS_MAX))
        return
    out += [wrong("parameters", key, "field can not be empty.") for key in parameters if not key]
    if _size(parameters) > PARAMETERS_BYTES_MAX:
        out.append(too_long("parameters", PARAMETERS_BYTES_MAX))


def _size(texts: Mapping[str, str]) -> int:
    return sum(len(key.encode()) + len(value.encode()) for key, value in texts.items())


def _check_topologies(terms: Sequence[Structure], out: list[Cause]) -> None:
    # A term that asks for nothing is refused as if there had been as many before as there are terms.
    seen: list[dict[str, frozenset[str]]] = [{} for _ in terms]
    for term, path in each(terms, "allowedTopologies"):
        wanted: dict[str, frozenset[str]] = {}
        for expression, place in each(term.get("matchLabelExpressions"), f"{path}.matchLabelExpressions"):
            key, values = expression.get("key", ""), expression.get("values") or ()
            if not values:
                out.append(required(f"{place}.values"))
            taken: set[str] = set()
            for value, where in each(values, f"{place}.values"):
                if value in taken:
                    out.append(duplicate(where, value))
                taken.add(value)
            out += [wrong(f"{place}.key", key, text) for text in names.qualified(key)]
            if key in wanted:
                out.append(duplicate(f"{place}.key", key))
            wanted[key] = frozenset(taken)
        out += [duplicate(f"{path}.matchLabelExpressions", "") for one in seen if one == wanted]
        seen.append(wanted)


# --- attachments -----------------------------------------------------------------------------------


def check_attachment(document: Document, out: list[Cause]) -> None:
    spec = document.get("spec") or {}
    _check_driver_name(spec.get("attacher", ""), "spec.attacher", out)
    _check_source(spec.get("source") or {}, "spec.source", out)
    node = spec.get("nodeName", "")
    out += [wrong("spec.nodeName", node, text) for text in names.subdomain(node)]
    check_attachment_status(document, {}, out)
    volume = (spec.get("source") or {}).get("persistentVolumeName")
    if volume is not None:
        path = "spec.source.persistentVolumeName"
        out += [wrong(path, volume, text) for text in names.subdomain(volume)]


def check_attachment_change(document: Document, old: Document, out: list[Cause]) -> None:
    spec_is_fixed("storage.VolumeAttachmentSpec", document, old, out)


def check_attachment_status(document: Document, old: Document, out: list[Cause]) -> None:
    status = document.get("status") or {}
    if _size(status.get("attachmentMetadata") or {}) > ATTACHMENT_BYTES_MAX:
        out.append(too_long("status.attachmentMetadata", ATTACHMENT_BYTES_MAX))
    for field in ("attachError", "detachError"):
        error = status.get(field) or {}
        if len(error.get("message", "").encode()) > ERROR_BYTES_MAX:
            # The limit that is told is not the one that is kept; clients match on the words.
            out.append(too_long(f"status.{field}.message", ATTACHMENT_BYTES_MAX))
        if error.get("errorCode", 0) < 0:
            out.append(wrong(f"status.{field}.errorCode", error["errorCode"], NOT_NEGATIVE))


def _check_source(source: Structure, path: str, out: list[Cause]) -> None:
    inline, volume = source.get("inlineVolumeSpec"), source.get("persistentVolumeName")
    words = "must specify exactly one of inlineVolumeSpec and persistentVolumeName"
    if inline is None and volume is None:
        out.append(required(path, words))
    elif inline is not None and volume is not None:
        out.append(forbidden(path, words))
    elif volume == "":
        words = "must specify non empty persistentVolumeName"
        out.append(required(f"{path}.persistentVolumeName", words))


# --- what drivers say ------------------------------------------------------------------------------


def _check_driver_name(name: str, path: str, out: list[Cause]) -> None:
    if not name:
        out.append(required(path))
        return
    if len(name) > DRIVER_NAME_MAX:
        out.append(too_long(path, DRIVER_NAME_MAX))
    out += [wrong(path, name, text) for text in names.subdomain(name.lower())]


def check_csi_node(document: Document, out: list[Cause]) -> None:
    taken: set[str] = set()
    for driver, path in each((document.get("spec") or {}).get("drivers"), "spec.drivers"):
        name, node = driver.get("name", ""), driver.get("nodeID", "")
        _check_driver_name(name, f"{path}.name", out)
        if not node:
            out.append(required(f"{path}.nodeID"))
        if len(node) > NODE_ID_MAX:
            out.append(wrong(f"{path}.nodeID", node, f"must be {NODE_ID_MAX} characters or less"))
        count = (driver.get("allocatable") or {}).get("count")
        if count is not None and count < 0:
            out.append(wrong(f"{path}.allocatable.count", count, NOT_NEGATIVE))
        if name in taken:
            out.append(duplicate(f"{path}.name", name))
        taken.add(name)
        keys: set[str] = set()
        for key in driver.get("topologyKeys") or ():
            if not key:
                out.append(required(path))
            if key in keys:
                out.append(duplicate(path, key))
            keys.add(key)
            out += [wrong(path, key, text) for text in names.qualified(key)]


def check_csi_node_change(document: Document, old: Document, out: list[Cause]) -> None:
    """What a driver says of a node stays, but for how many volumes fit."""
    before = {driver.get("name"): driver for driver in (old.get("spec") or {}).get("drivers") or ()}
    for driver in (document.get("spec") or {}).get("drivers") or ():
        known = before.get(driver.get("name"))
        if known is not None and _without_allocatable(driver) != _without_allocatable(known):
            shown = untagged(driver, ("Name", "NodeID", "TopologyKeys"))
            out.append(wrong("spec.drivers", {**shown, "Allocatable": None}, IMMUTABLE))


def _without_allocatable(driver: Structure) -> Structure:
    return {key: value for key, value in driver.items() if key != "allocatable"}


def check_csi_driver(document: Document, out: list[Cause]) -> None:
    spec = document.get("spec") or {}
    choice(spec, "spec", "fsGroupPolicy", ("File", "None", "ReadWriteOnceWithFSType"), out)
    _check_token_requests(spec.get("tokenRequests") or (), out)
    for mode in spec.get("volumeLifecycleModes") or ():
        if mode not in ("Persistent", "Ephemeral"):
            out.append(unsupported("spec.volumeLifecycleModes", mode, ("Persistent", "Ephemeral")))
    period = spec.get("nodeAllocatableUpdatePeriodSeconds")
    if period is not None and period < PERIOD_SECONDS_MIN:
        words = f"must be greater than or equal to {PERIOD_SECONDS_MIN} seconds"
        out.append(wrong("spec.nodeAllocatableUpdatePeriodSeconds", period, words))
    hidden = spec.get("serviceAccountTokenInSecrets")
    if hidden is not None and not spec.get("tokenRequests"):
        words = "serviceAccountTokenInSecrets is set but no tokenRequests are specified"
        out.append(wrong("spec.serviceAccountTokenInSecrets", hidden, words))


def _check_token_requests(requests: Sequence[Structure], out: list[Cause]) -> None:
    audiences: set[str] = set()
    for request, path in each(requests, "spec.tokenRequests"):
        audience, seconds = request.get("audience", ""), request.get("expirationSeconds")
        if audience in audiences:
            out.append(duplicate(f"{path}.audience", audience))
            continue
        audiences.add(audience)
        if seconds is None:
            continue
        if seconds < TOKEN_SECONDS_MIN:
            words = "may not specify a duration less than 10 minutes"
            out.append(wrong(f"{path}.expirationSeconds", seconds, words))
        if seconds > TOKEN_SECONDS_MAX:
            words = "may not specify a duration larger than 2^32 seconds"
            out.append(wrong(f"{path}.expirationSeconds", seconds, words))


def check_csi_driver_change(document: Document, old: Document, out: list[Cause]) -> None:
    new, before = document.get("spec") or {}, old.get("spec") or {}
    # The field is called attachRequired; kube-apiserver names it so.
    if new.get("attachRequired") != before.get("attachRequired"):
        out.append(wrong("spec.attachedRequired", new.get("attachRequired"), IMMUTABLE))
    immutable(new, before, "spec", ("volumeLifecycleModes",), out)


def check_capacity(document: Document, out: list[Cause]) -> None:
    if "nodeTopology" in document:
        selector(document["nodeTopology"], "nodeTopology", out)
    name = document.get("storageClassName", "")
    out += [wrong("storageClassName", name, text) for text in names.subdomain(name)]
    amount = document.get("capacity")
    if amount is not None and quantities.milli(amount) < 0:
        out.append(wrong("capacity", amount, NOT_NEGATIVE))


def check_capacity_change(document: Document, old: Document, out: list[Cause]) -> None:
    topology = document.get("nodeTopology")
    if topology != old.get("nodeTopology"):
        out.append(wrong("nodeTopology", shown_selector(topology), IMMUTABLE))
    immutable(document, old, "", ("storageClassName",), out)
