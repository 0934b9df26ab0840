"""What the published packages do not say about the built-in kinds, as tables.

Short names, categories, the order of groups, connect subresources, which parts of the schema a default
kube-apiserver keeps switched off, and where objects are stored when not under their own name. Each table
is small and stable between minors; `derive.py` joins them with what the packages do say.
"""

from collections.abc import Mapping

# kube-apiserver sorts groups by the priority of their APIServices, highest first; the aggregator's own
# group comes before all others. A group that is not here (a new one) follows these, by name.
GROUP_ORDER = (
    "",
    "apiregistration.k8s.io",
    "apps",
    "events.k8s.io",
    "authentication.k8s.io",
    "authorization.k8s.io",
    "autoscaling",
    "batch",
    "certificates.k8s.io",
    "networking.k8s.io",
    "policy",
    "rbac.authorization.k8s.io",
    "storage.k8s.io",
    "admissionregistration.k8s.io",
    "apiextensions.k8s.io",
    "scheduling.k8s.io",
    "coordination.k8s.io",
    "node.k8s.io",
    "discovery.k8s.io",
    "resource.k8s.io",
    "flowcontrol.apiserver.k8s.io",
    "storagemigration.k8s.io",
)

# Beta versions have been off by default since 1.24, and the last one kept on from before
# (flowcontrol v1beta3) left with 1.32: from MINOR_MIN on, what is served by default is exactly what is GA.
MINOR_MIN = "1.32"

# Parts of GA versions that stand in the published schema (it is printed with every gate open) before their
# feature gate opens by default: resource or resource/subresource to the first minor that serves it.
SINCE: Mapping[str, str] = {
    "pods/resize": "1.33",
    # Behind a gate that no minor known here opens by default.
    "csinodes/status": "never",
}

SHORT_NAMES: Mapping[str, tuple[str, ...]] = {
    "certificatesigningrequests.certificates.k8s.io": ("csr",),
    "componentstatuses": ("cs",),
    "configmaps": ("cm",),
    "cronjobs.batch": ("cj",),
    "customresourcedefinitions.apiextensions.k8s.io": ("crd", "crds"),
    "daemonsets.apps": ("ds",),
    "deployments.apps": ("deploy",),
    "endpoints": ("ep",),
    "events": ("ev",),
    "events.events.k8s.io": ("ev",),
    "horizontalpodautoscalers.autoscaling": ("hpa",),
    "ingresses.networking.k8s.io": ("ing",),
    "ipaddresses.networking.k8s.io": ("ip",),
    "limitranges": ("limits",),
    "namespaces": ("ns",),
    "networkpolicies.networking.k8s.io": ("netpol",),
    "nodes": ("no",),
    "persistentvolumeclaims": ("pvc",),
    "persistentvolumes": ("pv",),
    "poddisruptionbudgets.policy": ("pdb",),
    "pods": ("po",),
    "priorityclasses.scheduling.k8s.io": ("pc",),
    "replicasets.apps": ("rs",),
    "replicationcontrollers": ("rc",),
    "resourcequotas": ("quota",),
    "serviceaccounts": ("sa",),
    "services": ("svc",),
    "statefulsets.apps": ("sts",),
    "storageclasses.storage.k8s.io": ("sc",),
    "volumeattributesclasses.storage.k8s.io": ("vac",),
}

CATEGORIES: Mapping[str, tuple[str, ...]] = {
    **dict.fromkeys(
        (
            "cronjobs.batch",
            "daemonsets.apps",
            "deployments.apps",
            "horizontalpodautoscalers.autoscaling",
            "jobs.batch",
            "pods",
            "replicasets.apps",
            "replicationcontrollers",
            "services",
            "statefulsets.apps",
        ),
        ("all",),
    ),
    **dict.fromkeys(
        (
            "apiservices.apiregistration.k8s.io",
            "customresourcedefinitions.apiextensions.k8s.io",
            "mutatingadmissionpolicies.admissionregistration.k8s.io",
            "mutatingadmissionpolicybindings.admissionregistration.k8s.io",
            "mutatingwebhookconfigurations.admissionregistration.k8s.io",
            "validatingadmissionpolicies.admissionregistration.k8s.io",
            "validatingadmissionpolicybindings.admissionregistration.k8s.io",
            "validatingwebhookconfigurations.admissionregistration.k8s.io",
        ),
        ("api-extensions",),
    ),
}

_PROXY = ("create", "delete", "get", "patch", "update")
# Subresources that are connections, not documents: the packages' OpenAPI source has no bodies for them.
# resource/subresource: (kind, verbs).
CONNECT: Mapping[str, tuple[str, tuple[str, ...]]] = {
    "nodes/proxy": ("NodeProxyOptions", _PROXY),
    "pods/attach": ("PodAttachOptions", ("create", "get")),
    "pods/exec": ("PodExecOptions", ("create", "get")),
    "pods/portforward": ("PodPortForwardOptions", ("create", "get")),
    "pods/proxy": ("PodProxyOptions", _PROXY),
    "services/proxy": ("ServiceProxyOptions", _PROXY),
}

# Objects kept under another resource, in another version: (storage key, stored apiVersion).
STORED_AS: Mapping[str, tuple[str, str]] = {
    "events.k8s.io/v1/events": ("events", "v1"),
    "autoscaling/v1/horizontalpodautoscalers": ("", "autoscaling/v2"),
}

# The newer of two GA versions is preferred.
VERSION_ORDER: Mapping[str, tuple[str, ...]] = {"autoscaling": ("v2", "v1")}

# Heartbeats: thousands of renewals a minute that nobody asks about afterwards.
LATEST_ONLY = frozenset({"leases.coordination.k8s.io"})

# Verbs of the published paths that the server does not have behind them.
WITHOUT: Mapping[str, tuple[str, ...]] = {"componentstatuses": ("watch",)}

# What answers about a resource warn of: since which minor, and in favour of what.
DEPRECATED: Mapping[str, tuple[str, str]] = {
    "componentstatuses": ("1.19", "v1 ComponentStatus is deprecated in v1.19+"),
    "endpoints": ("1.33", "v1 Endpoints is deprecated in v1.33+; use discovery.k8s.io/v1 EndpointSlice"),
}

# Singular names that are not the kind in lower case.
SINGULAR: Mapping[str, str] = {}
