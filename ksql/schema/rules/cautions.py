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


def _pod(*steps: str) -> Caution:
    """What is odd about the pod, or the template at this path."""
    path = "".join(f"{step}." for step in steps)

    def caution(document: Document, old: Document | None) -> Iterator[str]:
        pod: Any = document
        for step in steps:
            pod = pod.get(step) or {}
        # Pods are changed all the time, mostly by their nodes; what they were made with was told then.
        if old is None or steps:
            yield from _pod_cautions(pod.get("spec") or {}, f"{path}spec")

    return caution


def _pod_cautions(spec: Mapping[str, Any], path: str) -> Iterator[str]:
    nothing = "a null labelSelector results in matching no pod"
    for constraint, place in each(spec.get("topologySpreadConstraints"), f"{path}.topologySpreadConstraints"):
        if "labelSelector" not in constraint:
            yield f"{place}.labelSelector: {nothing}"
    affinity = spec.get("affinity") or {}
    for kind in ("podAffinity", "podAntiAffinity"):
        terms = affinity.get(kind) or {}
        needed, wished = (f"{when}DuringSchedulingIgnoredDuringExecution" for when in ("required", "preferred"))
        for term, place in each(terms.get(needed), f"{path}.affinity.{kind}.{needed}"):
            if "labelSelector" not in term:
                yield f"{place}.labelSelector: {nothing}"
        for term, place in each(terms.get(wished), f"{path}.affinity.{kind}.{wished}"):
            if "labelSelector" not in (term.get("podAffinityTerm") or {}):
                yield f"{place}.podAffinityTerm.labelSelector: {nothing}"
    for secret, place in each(spec.get("imagePullSecrets"), f"{path}.imagePullSecrets"):
        if not secret.get("name"):
            yield f'{place}.name: invalid empty name ""'
    seconds = spec.get("terminationGracePeriodSeconds")
    if seconds is not None and seconds < 0:
        yield (
            f"{path}.terminationGracePeriodSeconds: must be >= 0; negative values are invalid and will be treated "
            "as 1"
        )


_HOSTNAMES = _named("Pod names and hostnames")

CAUTIONS: Mapping[str, Sequence[Caution]] = {
    "customresourcedefinitions.apiextensions.k8s.io": (_definition,),
    "cronjobs.batch": (_HOSTNAMES, _pod("spec", "jobTemplate", "spec", "template")),
    "csidrivers.storage.k8s.io": (_csi_driver,),
    "daemonsets.apps": (_pod("spec", "template"),),
    "deployments.apps": (_HOSTNAMES, _pod("spec", "template")),
    "ingresses.networking.k8s.io": (_ingress,),
    "jobs.batch": (_HOSTNAMES, _pod("spec", "template")),
    "networkpolicies.networking.k8s.io": (_policy,),
    "pods": (_named("the Pod's hostname"), _pod()),
    "podtemplates": (_pod("template"),),
    "replicasets.apps": (_HOSTNAMES, _pod("spec", "template")),
    "replicationcontrollers": (_HOSTNAMES, _pod("spec", "template")),
    "resourceslices.resource.k8s.io": (_slice,),
    "secrets": (_secret,),
    "services": (_service,),
    "statefulsets.apps": (_pod("spec", "template"),),
}
