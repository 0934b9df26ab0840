"""Rules of object metadata, the same for every kind: names, labels, annotations, owners, finalizers.

Names follow the syntax of their kind (`NAME_SYNTAX`); most are DNS subdomains. The suffix of a generated
name comes from the caller's random numbers, so a replay gives the same names.
"""

from collections.abc import Callable, Mapping
from random import Random
from typing import Any

from ksql.base.documents import Document
from ksql.schema import names
from ksql.schema.addresses import ip_complaint
from ksql.schema.errors import Cause
from ksql.schema.faults import IMMUTABLE, forbidden, invalid, required, shown, too_long, wrong
from ksql.schema.resources import ResourceType

# All keys and values of one object's annotations together.
ANNOTATIONS_BYTES_MAX = 256 * 1024
# Random characters after a generateName; 27^5 is 14 million, and a collision is retried by the writer.
SUFFIX_LENGTH = 5
# No vowels, so no words; no 0, 1, 3, which look like letters.
SUFFIX_ALPHABET = "bcdfghjklmnpqrstvwxz2456789"
GENERATED_BASE_MAX = names.LABEL_LENGTH_MAX - SUFFIX_LENGTH


def ip_name(text: str) -> names.Complaints:
    """An object that is named after the address it stands for."""
    return (complaint,) if (complaint := ip_complaint(text)) else ()


NAME_SYNTAX: Mapping[str, Callable[[str], names.Complaints]] = {
    "namespaces": names.label_name,
    "services": names.label_name_1035,
    "statefulsets.apps": names.label_name,
    "roles.rbac.authorization.k8s.io": names.path_segment,
    "rolebindings.rbac.authorization.k8s.io": names.path_segment,
    "clusterroles.rbac.authorization.k8s.io": names.path_segment,
    "clusterrolebindings.rbac.authorization.k8s.io": names.path_segment,
    "certificatesigningrequests.certificates.k8s.io": names.path_segment,
    "apiservices.apiregistration.k8s.io": names.path_segment,
    "prioritylevelconfigurations.flowcontrol.apiserver.k8s.io": names.subdomain,
    "clustertrustbundles.certificates.k8s.io": names.path_segment,
    "ipaddresses.networking.k8s.io": ip_name,
}
# Kinds whose pods or jobs carry the name with a suffix in a label.
CRON_JOB_NAME_MAX = 52

_GENERIC_GROUPS = frozenset(
    {
        "admissionregistration.k8s.io",
        "apiextensions.k8s.io",
        "apiregistration.k8s.io",
        "coordination.k8s.io",
    }
)
_GENERIC_KINDS = frozenset(
    {"events", "events.events.k8s.io", "poddisruptionbudgets.policy", "runtimeclasses.node.k8s.io"}
)
STANDARD_FINALIZERS = frozenset({"kubernetes", "orphan", "foregroundDeletion"})


def validate_name(type: ResourceType, name: str) -> None:
    """Raise `InvalidError` when no object of this type can have the name."""
    causes = [wrong("metadata.name", name, text) for text in name_complaints(type, name)]
    if causes:
        raise invalid(type, name, causes)


def name_complaints(type: ResourceType, name: str) -> names.Complaints:
    """What is wrong with the name, in kube-apiserver's words."""
    complaints = NAME_SYNTAX.get(type.qualified, names.subdomain)(name)
    if type.qualified == "cronjobs.batch" and len(name) > CRON_JOB_NAME_MAX:
        complaints += (f"must be no more than {CRON_JOB_NAME_MAX} characters",)
    return complaints


def generated_name(base: str, random: Random) -> str:
    """generateName with its random suffix; a base that is too long is cut."""
    return base[:GENERATED_BASE_MAX] + "".join(random.choices(SUFFIX_ALPHABET, k=SUFFIX_LENGTH))


# On an update kube-apiserver's layers look at the metadata one after the other, and each tells all that it finds;
# clients that count causes see every telling. The generic layer looks at the whole and at the change. What comes
# after it depends on the kind: C its change, W the whole again.
_LAYERS = {
    "": {"poddisruptionbudgets.policy"},
    "CW": {
        "apiservices.apiregistration.k8s.io", "certificatesigningrequests.certificates.k8s.io",
        "clusterrolebindings.rbac.authorization.k8s.io", "clusterroles.rbac.authorization.k8s.io", "configmaps",
        "controllerrevisions.apps", "csistoragecapacities.storage.k8s.io", "endpoints",
        "ingressclasses.networking.k8s.io", "ingresses.networking.k8s.io", "jobs.batch", "persistentvolumeclaims",
        "pods", "resourceclaimtemplates.resource.k8s.io", "rolebindings.rbac.authorization.k8s.io",
        "roles.rbac.authorization.k8s.io", "runtimeclasses.node.k8s.io", "secrets", "serviceaccounts",
        "storageclasses.storage.k8s.io", "volumeattributesclasses.storage.k8s.io",
    },
    "W": {
        "csinodes.storage.k8s.io", "endpointslices.discovery.k8s.io",
        "flowschemas.flowcontrol.apiserver.k8s.io", "limitranges",
        "mutatingadmissionpolicies.admissionregistration.k8s.io",
        "mutatingadmissionpolicybindings.admissionregistration.k8s.io",
        "mutatingwebhookconfigurations.admissionregistration.k8s.io",
        "prioritylevelconfigurations.flowcontrol.apiserver.k8s.io",
        "validatingadmissionpolicies.admissionregistration.k8s.io",
        "validatingadmissionpolicybindings.admissionregistration.k8s.io",
        "validatingwebhookconfigurations.admissionregistration.k8s.io",
    },
    "WC": {
        "deviceclasses.resource.k8s.io", "ipaddresses.networking.k8s.io", "namespaces", "nodes",
        "resourceclaims.resource.k8s.io",
    },
    "WW": {"persistentvolumes"},
}  # fmt: skip
_LAYERS_OF = {key: layers for layers, keys in _LAYERS.items() for key in keys}


def validate_metadata(
    type: ResourceType, document: Document, old: Document | None, out: list[Cause], subresource: str = ""
) -> None:
    """Append what is wrong with `metadata`; `old` is given for updates, of a part through a `subresource`."""
    metadata: dict[str, Any] = document.get("metadata") or {}
    # A prefix of names is looked at where names are; on an update that is where the kind's whole is.
    _check_place(type, metadata, out, old is None or "W" in _layers(type, subresource))
    parts: list[Cause] = []
    if labels := metadata.get("labels"):
        check_labels(labels, "metadata.labels", parts)
    if annotations := metadata.get("annotations"):
        check_annotations(annotations, "metadata.annotations", parts)
    if owners := metadata.get("ownerReferences"):
        _check_owners(owners, parts)
    qualified: list[Cause] = []
    standard: list[Cause] = []
    if finalizers := metadata.get("finalizers"):
        _check_finalizers(type, finalizers, qualified, standard)
    if old is None:
        out += [*parts, *qualified, *standard]
        return
    changed: list[Cause] = []
    _check_update(metadata, old.get("metadata") or {}, changed)
    if parts or qualified or standard or changed:
        out += _told(type, subresource, [*parts, *qualified], [*changed, *parts], standard)


def _told(
    type: ResourceType, subresource: str, whole: list[Cause], change: list[Cause], standard: list[Cause]
) -> list[Cause]:
    """The faults of an update as the layers tell them: the generic one, the kind's change, the kind as a whole."""
    if type.custom is not None:
        return [*whole, *change[: len(change) - len(_repeated(whole, change))], *standard]
    found = [*whole, *change]
    for layer in _layers(type, subresource):
        found += [*(change if layer == "C" else whole), *standard]
    return found


def _layers(type: ResourceType, subresource: str) -> str:
    """What follows the generic layer on an update."""
    if (type.key, subresource) == ("cronjobs.batch", "status"):
        return ""
    layers = _LAYERS_OF.get(type.key, "C")
    return "C" if subresource and layers else layers


def _repeated(whole: list[Cause], change: list[Cause]) -> list[Cause]:
    """What a change says again of what was said of the whole."""
    return [cause for cause in change if cause in whole]


def _check_place(
    type: ResourceType, metadata: Mapping[str, Any], out: list[Cause], with_prefix: bool
) -> None:
    _check_name(type, metadata, out, with_prefix)
    namespace = metadata.get("namespace", "")
    if type.namespaced:
        if not namespace:
            out.append(required("metadata.namespace"))
        else:
            out += [wrong("metadata.namespace", namespace, text) for text in names.label_name(namespace)]
    elif namespace:
        out.append(forbidden("metadata.namespace", "not allowed on this type"))
    if (metadata.get("generation") or 0) < 0:
        out.append(wrong("metadata.generation", metadata["generation"], "must be greater than or equal to 0"))


def _check_name(type: ResourceType, metadata: Mapping[str, Any], out: list[Cause], with_prefix: bool) -> None:
    prefix = metadata.get("generateName")
    if prefix and with_prefix:
        out += [
            wrong("metadata.generateName", prefix, text)
            for text in name_complaints(type, names.masked(prefix))
        ]
    name = metadata.get("name")
    if name:
        out += [wrong("metadata.name", name, text) for text in name_complaints(type, name)]
    elif not prefix:
        out.append(required("metadata.name", "name or generateName is required"))


def check_labels(labels: Mapping[str, str], path: str, out: list[Cause]) -> None:
    for key, value in labels.items():
        if complaints := names.qualified(key):
            out += [wrong(path, key, text) for text in complaints]
        if complaints := names.label_value(value):
            out += [wrong(path, value, text) for text in complaints]


def check_annotations(annotations: Mapping[str, str], path: str, out: list[Cause]) -> None:
    size = 0
    for key, value in annotations.items():
        if complaints := names.qualified(key.lower()):
            out += [wrong(path, key, text) for text in complaints]
        # A text of ASCII is as long as its bytes; only others have to be encoded to be counted.
        size += len(key) + (len(value) if value.isascii() else len(value.encode()))
    if size > ANNOTATIONS_BYTES_MAX:
        out.append(too_long(path, ANNOTATIONS_BYTES_MAX))


def _check_owners(owners: list[dict[str, Any]], out: list[Cause]) -> None:
    path, controller = "metadata.ownerReferences", ""
    for owner in owners:
        group, _, version = owner.get("apiVersion", "").rpartition("/")
        if not version or "/" in group:
            out.append(wrong(f"{path}.apiVersion", owner.get("apiVersion", ""), "version must not be empty"))
        out += [
            wrong(f"{path}.{field}", owner.get(field, ""), "must not be empty")
            for field in ("kind", "name", "uid")
            if not owner.get(field)
        ]
        if owner.get("kind") == "Event" and group in ("", "events.k8s.io"):
            out.append(
                wrong(path, owner, f"{group}/{version}, Kind=Event is disallowed from being an owner")
            )
        if owner.get("controller"):
            if controller:
                words = 'Only one reference can have Controller set to true. Found "true" in references for'
                out.append(
                    wrong(path, owners, f"{words} {controller} and {owner.get('kind')}/{owner.get('name')}")
                )
            controller = f"{owner.get('kind')}/{owner.get('name')}"


def _check_finalizers(
    type: ResourceType, finalizers: list[str], out: list[Cause], standard: list[Cause]
) -> None:
    """What is wrong with finalizers for any server, and (`standard`) for kube-apiserver's own kinds."""
    path = "metadata.finalizers"
    for index, finalizer in enumerate(finalizers):
        out += [wrong(path, finalizer, text) for text in names.qualified(finalizer)]
        # kube-apiserver asks this of most of its own kinds, not of those of the servers it is joined with.
        if type.custom is not None or type.group in _GENERIC_GROUPS or type.key in _GENERIC_KINDS:
            continue
        if "/" not in finalizer and finalizer not in STANDARD_FINALIZERS:
            words = "name is neither a standard finalizer name nor is it fully qualified"
            standard.append(wrong(f"{path}[{index}]", finalizer, words))
    if "orphan" in finalizers and "foregroundDeletion" in finalizers:
        words = "finalizer orphan and foregroundDeletion cannot be both set"
        out.append(wrong(path, finalizers, words))


_FIXED = ("name", "namespace", "uid", "creationTimestamp", "deletionTimestamp", "deletionGracePeriodSeconds")


def _check_update(metadata: Mapping[str, Any], old: Mapping[str, Any], out: list[Cause]) -> None:
    for field in _FIXED:
        if metadata.get(field) != old.get(field):
            out.append(
                wrong(f"metadata.{field}", metadata.get(field, "" if field[0] in "nu" else None), IMMUTABLE)
            )
    before, after = old.get("generation") or 0, metadata.get("generation") or 0
    if after < before:
        out.append(wrong("metadata.generation", after, "must not be decremented"))
    if old.get("deletionTimestamp"):
        known = old.get("finalizers") or ()
        added = [finalizer for finalizer in metadata.get("finalizers") or () if finalizer not in known]
        if added:
            listed = ", ".join(shown(finalizer) for finalizer in added)
            out.append(
                forbidden(
                    "metadata.finalizers",
                    "no new finalizers can be added if the object is being deleted, found new finalizers "
                    f"[]string{{{listed}}}",
                )
            )
