"""What is allowed and yet seldom meant: told with the answer as a warning, never refused.

A caution is a pure function of a document (and of the one before it, on a change) to texts, by kind, in
kube-apiserver's words. They are for people: a change through which most objects pass unseen (a status, a
controller's write) is looked at like any other, so each must cost next to nothing.
"""

from base64 import b64decode
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives import serialization

from ksql.base.documents import Document
from ksql.schema import addresses, names
from ksql.schema.custom.value_formats import KNOWN_FORMATS
from ksql.schema.faults import quoted
from ksql.schema.resources import ResourceType
from ksql.schema.rules import podcautions
from ksql.schema.rules.checks import each

Caution = Callable[[Document, Document | None], Iterator[str]]


def of(type: ResourceType, document: Document, old: Document | None) -> Sequence[str]:
    """The warnings for an object as it is about to be written."""
    found = CAUTIONS.get(type.key)
    return () if found is None else tuple(text for caution in found for text in caution(document, old))


def _spec(document: Document) -> Mapping[str, Any]:
    spec: Mapping[str, Any] = document.get("spec") or {}
    return spec


# --- custom kinds ----------------------------------------------------------------------------------


def _definition(document: Document, old: Document | None) -> Iterator[str]:
    """Formats that mean nothing to the server: values are not held to them."""
    if old is not None and old.get("spec") == document.get("spec"):
        return
    told: dict[str, None] = {}
    for version in _spec(document).get("versions") or ():
        _formats((version.get("schema") or {}).get("openAPIV3Schema") or {}, told)
    yield from (f"unrecognized format {quoted(name)}" for name in told)


def _formats(schema: Any, told: dict[str, None]) -> None:
    """Collect the unknown formats of a schema and of all in it; other properties may have the same names."""
    if not isinstance(schema, Mapping):
        return
    name = schema.get("format")
    if isinstance(name, str) and name and name not in KNOWN_FORMATS:
        told[name] = None
    for inner in (schema.get("properties") or {}).values():
        _formats(inner, told)
    for word in ("items", "additionalProperties", "not"):
        _formats(schema.get(word), told)
    for word in ("allOf", "anyOf", "oneOf"):
        for inner in schema.get(word) or ():
            _formats(inner, told)


# --- networks --------------------------------------------------------------------------------------

_CLASS = "kubernetes.io/ingress.class"
_HINTS, _MODE = "service.kubernetes.io/topology-aware-hints", "service.kubernetes.io/topology-mode"


def _ingress(document: Document, old: Document | None) -> Iterator[str]:
    annotations = (document.get("metadata") or {}).get("annotations") or {}
    if old is None and _CLASS in annotations and "ingressClassName" not in _spec(document):
        yield f"annotation {quoted(_CLASS)} is deprecated, please use 'spec.ingressClassName' instead"


def _policy(document: Document, old: Document | None) -> Iterator[str]:
    for direction, peers in (("ingress", "from"), ("egress", "to")):
        for rule, path in each(_spec(document).get(direction), f"spec.{direction}"):
            for peer, place in each(rule.get(peers), f"{path}.{peers}"):
                block = peer.get("ipBlock") or {}
                if block.get("cidr"):
                    yield from addresses.range_cautions(block["cidr"], f"{place}.ipBlock.cidr")
                for text, where in each(block.get("except"), f"{place}.ipBlock.except"):
                    yield from addresses.range_cautions(text, where)


def _service(document: Document, old: Document | None) -> Iterator[str]:
    spec = _spec(document)
    if _HINTS in ((document.get("metadata") or {}).get("annotations") or {}):
        yield f"annotation {_HINTS} is deprecated, please use {_MODE} instead"
    headless, kind, outer = spec.get("clusterIP") == "None", spec.get("type"), spec.get("externalIPs") or ()
    if headless:
        if spec.get("loadBalancerIP"):
            yield "spec.loadBalancerIP is ignored for headless services"
        if outer:
            yield "spec.externalIPs is ignored for headless services"
        if spec.get("sessionAffinity") != "None":
            yield "spec.SessionAffinity is ignored for headless services"
    for text, path in each(outer, "spec.externalIPs"):
        yield from addresses.cautions(text, path)
    if spec.get("loadBalancerIP"):
        yield from addresses.cautions(spec["loadBalancerIP"], "spec.loadBalancerIP")
    for text, path in each(spec.get("loadBalancerSourceRanges"), "spec.loadBalancerSourceRanges"):
        yield from addresses.range_cautions(text.strip(), path)
    if kind == "ExternalName" and outer:
        yield 'spec.externalIPs is ignored when spec.type is "ExternalName"'
    if kind != "ExternalName" and spec.get("externalName"):
        yield 'spec.externalName is ignored when spec.type is not "ExternalName"'
    if spec.get("trafficDistribution") == "PreferClose":
        yield 'spec.trafficDistribution: "PreferClose" is deprecated; use "PreferSameZone"'


# --- storage and devices ---------------------------------------------------------------------------


def _csi_driver(document: Document, old: Document | None) -> Iterator[str]:
    spec = _spec(document)
    requests = spec.get("tokenRequests")
    if not requests or spec.get("serviceAccountTokenInSecrets") is not None:
        return
    if old is None or _spec(old).get("tokenRequests") != requests:
        yield (
            "spec.serviceAccountTokenInSecrets is unset; if supported by this CSI driver, set to true to prevent "
            "possible logging of tokens in volume attributes"
        )


def _slice(document: Document, old: Document | None) -> Iterator[str]:
    driver = _spec(document).get("driver", "")
    if driver != driver.lower():
        yield f"spec.driver: driver names should be lowercase; {quoted(driver)} contains uppercase characters"


_BETA_CLASS = "volume.beta.kubernetes.io/storage-class"
_BETA_OPTIONS = "volume.beta.kubernetes.io/mount-options"
_USE_CLASS = 'deprecated since v1.8; use "storageClassName" attribute instead'
_USE_OPTIONS = 'deprecated since v1.31; use "mountOptions" attribute instead'


def _annotations(document: Document) -> Mapping[str, str]:
    found: Mapping[str, str] = (document.get("metadata") or {}).get("annotations") or {}
    return found


def _volume(document: Document, old: Document | None) -> Iterator[str]:
    spec = _spec(document)
    for key, said in ((_BETA_CLASS, _USE_CLASS), (_BETA_OPTIONS, _USE_OPTIONS)):
        if key in _annotations(document):
            yield f"metadata.annotations[{key}]: {said}"
    if spec.get("persistentVolumeReclaimPolicy") == "Recycle":
        yield (
            "spec.persistentVolumeReclaimPolicy: The Recycle reclaim policy is deprecated. Instead, the recommended "
            "approach is to use dynamic provisioning."
        )
    terms = ((spec.get("nodeAffinity") or {}).get("required") or {}).get("nodeSelectorTerms")
    for term, path in each(terms, "spec.nodeAffinity.required.nodeSelectorTerms"):
        yield from podcautions.of_term(term, path)
    gone = ("cephfs", "photonPersistentDisk", "scaleIO", "storageos", "glusterfs", "rbd")
    for field in gone:
        if spec.get(field) is not None:
            yield f"spec.{'storageOS' if field == 'storageos' else field}: {podcautions.GONE_VOLUMES[field]}"


def _claim(document: Document, old: Document | None) -> Iterator[str]:
    if _BETA_CLASS in _annotations(document):
        yield f"metadata.annotations[{_BETA_CLASS}]: {_USE_CLASS}"
    yield from podcautions.of_claim(_spec(document), "spec")


def _class(document: Document, old: Document | None) -> Iterator[str]:
    for topology, path in each(document.get("allowedTopologies"), "allowedTopologies"):
        for one, place in each(topology.get("matchLabelExpressions"), f"{path}.matchLabelExpressions"):
            if said := podcautions.label_caution(one.get("key", "")):
                yield f"{place}.key: {said}"


def _capacity(document: Document, old: Document | None) -> Iterator[str]:
    topology = document.get("nodeTopology") or {}
    yield from podcautions.of_term(topology, "nodeTopology")
    for label in topology.get("matchLabels") or ():
        if said := podcautions.label_caution(label):
            yield f"nodeTopology.matchLabels.{label}: {said}"


# --- nodes and accounts ----------------------------------------------------------------------------


def _node(document: Document, old: Document | None) -> Iterator[str]:
    spec = _spec(document)
    if spec.get("externalID"):
        yield "spec.externalID: this field is deprecated, and is unused by Kubernetes"
    for text, path in each(spec.get("podCIDRs"), "spec.podCIDRs"):
        yield from addresses.range_cautions(text, path)


def _runtime_class(document: Document, old: Document | None) -> Iterator[str]:
    for key in (document.get("scheduling") or {}).get("nodeSelector") or ():
        if said := podcautions.label_caution(key):
            yield f"scheduling.nodeSelector: {said}"


_MOUNTABLE = "kubernetes.io/enforce-mountable-secrets"


def _account(document: Document, old: Document | None) -> Iterator[str]:
    if _MOUNTABLE in _annotations(document) and (old is None or _MOUNTABLE not in _annotations(old)):
        yield (
            f"metadata.annotations[{_MOUNTABLE}]: deprecated in v1.32+; prefer separate namespaces to isolate access "
            "to mounted secrets"
        )


# --- secrets ---------------------------------------------------------------------------------------


def _secret(document: Document, old: Document | None) -> Iterator[str]:
    """A key and a certificate that do not belong together are of no use to any server."""
    if document.get("type") != "kubernetes.io/tls":
        return
    data = document.get("data") or {}
    certificate, key = (b64decode(data.get(name) or "") for name in ("tls.crt", "tls.key"))
    if b"-----BEGIN CERTIFICATE-----" not in certificate:
        yield "tls: failed to find any PEM data in certificate input"
    elif b"-----BEGIN " not in key or b"PRIVATE KEY-----" not in key:
        yield "tls: failed to find any PEM data in key input"
    elif why := _pair_complaint(certificate, key):
        yield why


def _pair_complaint(certificate: bytes, key: bytes) -> str:
    try:
        public = x509.load_pem_x509_certificate(certificate).public_key()
        own = serialization.load_pem_private_key(key, None).public_key()
    except (ValueError, TypeError, UnsupportedAlgorithm) as error:
        return f"tls: {error}"
    return "" if public == own else "tls: private key does not match public key"


# --- pods and what makes them ----------------------------------------------------------------------


def _named(words: str) -> Caution:
    def caution(document: Document, old: Document | None) -> Iterator[str]:
        complaints = names.label_name((document.get("metadata") or {}).get("name", "")) if old is None else ()
        if complaints:
            listed = " ".join(complaints)
            yield (
                f"metadata.name: this is used in {words}, which can result in surprising behavior; a DNS label is "
                f"recommended: [{listed}]"
            )

    return caution


def _pod(*steps: str, tells_old: bool = False) -> Caution:
    """What is odd about the pod, or the template at this path; `tells_old` of the one before the change."""
    prefix = "".join(f"{step}." for step in steps)

    def caution(document: Document, old: Document | None) -> Iterator[str]:
        # Pods are changed all the time, mostly by their nodes; what they were made with was told then. Of others a
        # change of what is wished is told of.
        if old is not None and (not steps or not _is_wished_anew(document, old)):
            return
        pod: Any = old if tells_old and old is not None else document
        for step in steps:
            pod = pod.get(step) or {}
        yield from podcautions.of_pod(pod, prefix, is_template=bool(steps))

    return caution


def _is_wished_anew(document: Document, old: Document) -> bool:
    return any(document.get(part) != old.get(part) for part in ("spec", "template"))


def _indexed(*steps: str) -> Caution:
    """Jobs of which too many indexes could fail to be kept account of."""
    path = ".".join(steps)

    def caution(document: Document, old: Document | None) -> Iterator[str]:
        spec: Any = document
        for step in steps:
            spec = spec.get(step) or {}
        is_large = (spec.get("completions") or 0) > _COMPLETIONS_MANY and (spec.get("parallelism") or 0) > _AT_ONCE_MANY
        if spec.get("completionMode") == "Indexed" and is_large and (old is None or _is_wished_anew(document, old)):
            yield (
                f"{path}: In Indexed Jobs with a number of completions higher than 10^5 and a parallelism higher than "
                "10^4, Kubernetes might not be able to track completedIndexes when a big number of indexes fail"
            )

    return caution


_COMPLETIONS_MANY, _AT_ONCE_MANY = 100_000, 10_000


def _zoned(document: Document, old: Document | None) -> Iterator[str]:
    if old is not None and "TZ" in _spec(document).get("schedule", ""):
        yield (
            "cannot use TZ or CRON_TZ in spec.spec.schedule, use timeZone instead, see https://kubernetes.io/docs/"
            "concepts/workloads/controllers/cron-jobs/ for more details"
        )


def _stateful_set(document: Document, old: Document | None) -> Iterator[str]:
    spec = _spec(document)
    for claim, path in each(spec.get("volumeClaimTemplates"), "spec.volumeClaimTemplates"):
        # The two say its place differently.
        yield from podcautions.of_claim(claim.get("spec") or {}, path if old is None else f"{path}.Spec")
    if (spec.get("revisionHistoryLimit") or 0) < 0:
        yield (
            "spec.revisionHistoryLimit: a negative value retains all historical revisions; a value >= 0 is recommended"
        )


_HOSTNAMES = _named("Pod names and hostnames")

CAUTIONS: Mapping[str, Sequence[Caution]] = {
    "customresourcedefinitions.apiextensions.k8s.io": (_definition,),
    "csistoragecapacities.storage.k8s.io": (_capacity,),
    "cronjobs.batch": (
        _HOSTNAMES, _indexed("spec", "jobTemplate", "spec"), _pod("spec", "jobTemplate", "spec", "template"), _zoned,
    ),
    "csidrivers.storage.k8s.io": (_csi_driver,),
    "daemonsets.apps": (_pod("spec", "template"),),
    "deployments.apps": (_HOSTNAMES, _pod("spec", "template")),
    "ingresses.networking.k8s.io": (_ingress,),
    "jobs.batch": (_HOSTNAMES, _indexed("spec"), _pod("spec", "template")),
    "networkpolicies.networking.k8s.io": (_policy,),
    "nodes": (_node,),
    "persistentvolumeclaims": (_claim,),
    "persistentvolumes": (_volume,),
    "pods": (_named("the Pod's hostname"), _pod()),
    "podtemplates": (_pod("template"),),
    "replicasets.apps": (_HOSTNAMES, _pod("spec", "template")),
    # Of a change kube-apiserver tells what was odd before it.
    "replicationcontrollers": (_HOSTNAMES, _pod("spec", "template", tells_old=True)),
    "resourceslices.resource.k8s.io": (_slice,),
    "runtimeclasses.node.k8s.io": (_runtime_class,),
    "secrets": (_secret,),
    "services": (_service,),
    "serviceaccounts": (_account,),
    "statefulsets.apps": (_pod("spec", "template"), _stateful_set),
    "storageclasses.storage.k8s.io": (_class,),
}  # fmt: skip
