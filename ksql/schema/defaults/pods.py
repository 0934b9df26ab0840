"""Defaults of pods and of everything that carries a pod template."""

import re
from functools import lru_cache
from typing import Any

from ksql.schema.defaults.filling import Fill, Structure, combined

# rw-r--r--: what files of config maps, secrets and projections get.
FILE_MODE = 0o644
# Longer names no registry takes.
IMAGE_NAME_MAX = 255
TOKEN_SECONDS = 3600


# The name of an image as registries read it: a host perhaps, a path, a tag, a digest.
_LABEL = "[a-zA-Z0-9](?:[a-zA-Z0-9-]*[a-zA-Z0-9])?"
_HOST = rf"(?:{_LABEL}(?:\.{_LABEL})*|\[[a-fA-F0-9:]+\])(?::[0-9]+)?"
_PATH = r"[a-z0-9]+(?:(?:[._]|__|-+)[a-z0-9]+)*"
_IMAGE = re.compile(
    rf"(?:{_HOST}/)?{_PATH}(?:/{_PATH})*(?::[\w][\w.-]{{0,127}})?"
    r"(?:@[A-Za-z][A-Za-z0-9]*(?:[-_+.][A-Za-z][A-Za-z0-9]*)*:[0-9a-fA-F]{32,})?",
    re.ASCII,
)

# Names an image that is there, and no repository.
_IDENTIFIER = re.compile("[0-9a-f]{64}")


@lru_cache(maxsize=2048)
def image_tag(image: str) -> str:
    """The tag an image name asks for; "latest" where it names neither tag nor digest, nothing where it is no name."""
    if not _IMAGE.fullmatch(image):
        return ""
    name, _, digest = image.partition("@")
    if len(name) > IMAGE_NAME_MAX or _IDENTIFIER.fullmatch(image):
        return ""
    _, colon, tag = name.rpartition("/")[2].partition(":")
    if colon:
        return tag
    return "" if digest else "latest"


def _pull_policy(container: Structure) -> Structure:
    if container.get("imagePullPolicy"):
        return {}
    latest = image_tag(container.get("image", "")) == "latest"
    return {"imagePullPolicy": "Always" if latest else "IfNotPresent"}


def _volume_source(volume: Structure) -> Structure:
    # A volume of no kind is an empty directory.
    return {} if any(key != "name" for key in volume) else {"emptyDir": {}}


def _image_volume(source: Structure) -> Structure:
    if source.get("pullPolicy"):
        return {}
    return {"pullPolicy": "Always" if image_tag(source.get("reference", "")) == "latest" else "IfNotPresent"}


def _requests_from_limits(container: Structure) -> Structure:
    """What is limited and not requested is requested up to its limit."""
    resources = container.get("resources") or {}
    limits = resources.get("limits")
    if not limits:
        return {}
    requests = resources.get("requests") or {}
    missing = {name: amount for name, amount in limits.items() if name not in requests}
    if not missing:
        return {}
    return {"resources": {**resources, "requests": {**requests, **missing}}}


def _host_ports(spec: Structure) -> Structure:
    """On the host's network a container port is a host port."""
    if not spec.get("hostNetwork"):
        return {}
    changed: Structure = {}
    for key in ("containers", "initContainers"):
        containers = spec.get(key) or []
        opened = [_opened(container) for container in containers]
        if any(new is not old for new, old in zip(opened, containers, strict=True)):
            changed[key] = opened
    return changed


def _opened(container: Structure) -> Structure:
    ports = container.get("ports") or []
    if all(port.get("hostPort") for port in ports):
        return container
    opened = [
        port if port.get("hostPort") else {**port, "hostPort": port.get("containerPort", 0)} for port in ports
    ]
    return {**container, "ports": opened}


def _account(spec: Structure) -> Structure:
    """The account has an older name, and both are always told."""
    name = spec.get("serviceAccountName") or spec.get("serviceAccount")
    if not name or (spec.get("serviceAccountName") == name and spec.get("serviceAccount") == name):
        return {}
    return {"serviceAccountName": name, "serviceAccount": name}


HTTP_GET = Fill(empty={"path": "/", "scheme": "HTTP"})
_PROBE = Fill(
    empty={"timeoutSeconds": 1, "periodSeconds": 10, "successThreshold": 1, "failureThreshold": 3},
    parts={"httpGet": HTTP_GET, "grpc": Fill(absent={"service": ""})},
)
_HANDLER = Fill(parts={"httpGet": HTTP_GET})
FIELD_REF = Fill(parts={"fieldRef": Fill(empty={"apiVersion": "v1"})})
PORT_PROTOCOL = Fill(empty={"protocol": "TCP"})

CONTAINER = Fill(
    empty={"terminationMessagePath": "/dev/termination-log", "terminationMessagePolicy": "File"},
    # Never printed as nothing: in Go it is no pointer.
    absent={"resources": {}},
    parts={
        "livenessProbe": _PROBE,
        "readinessProbe": _PROBE,
        "startupProbe": _PROBE,
        "lifecycle": Fill(parts={"postStart": _HANDLER, "preStop": _HANDLER}),
    },
    every={"ports": PORT_PROTOCOL, "env": Fill(parts={"valueFrom": FIELD_REF})},
    steps=[_pull_policy],
)

CLAIM_SPEC = Fill(absent={"volumeMode": "Filesystem", "resources": {}})
_FIELD_FILES = Fill(every={"items": FIELD_REF})
_MODE = Fill(absent={"defaultMode": FILE_MODE})

# Sources that pods and persistent volumes share.
SOURCES: dict[str, Fill] = {
    "azureDisk": Fill(
        absent={"cachingMode": "ReadWrite", "fsType": "ext4", "readOnly": False, "kind": "Shared"}
    ),
    "hostPath": Fill(absent={"type": ""}),
    "iscsi": Fill(empty={"iscsiInterface": "default"}),
    "rbd": Fill(empty={"pool": "rbd", "user": "admin", "keyring": "/etc/ceph/keyring"}),
    "scaleIO": Fill(empty={"storageMode": "ThinProvisioned", "fsType": "xfs"}),
}
_VOLUME = Fill(
    parts={
        **SOURCES,
        "configMap": _MODE,
        "secret": _MODE,
        "downwardAPI": combined(_MODE, _FIELD_FILES),
        "image": Fill(steps=[_image_volume]),
        "ephemeral": Fill(parts={"volumeClaimTemplate": Fill(parts={"spec": CLAIM_SPEC})}),
        "projected": Fill(
            absent={"defaultMode": FILE_MODE},
            every={
                "sources": Fill(
                    parts={
                        "serviceAccountToken": Fill(absent={"expirationSeconds": TOKEN_SECONDS}),
                        "downwardAPI": _FIELD_FILES,
                    }
                )
            },
        ),
    },
    steps=[_volume_source],
)

POD_SPEC = Fill(
    empty={"dnsPolicy": "ClusterFirst", "restartPolicy": "Always", "schedulerName": "default-scheduler"},
    absent={"securityContext": {}, "terminationGracePeriodSeconds": 30},
    every={
        "containers": CONTAINER,
        "initContainers": CONTAINER,
        "ephemeralContainers": CONTAINER,
        "volumes": _VOLUME,
    },
    steps=[_account, _host_ports],
)
TEMPLATE = Fill(parts={"spec": POD_SPEC})

# Only real pods get these; a template is left as its author wrote it.
_REQUESTING = combined(CONTAINER, Fill(steps=[_requests_from_limits]))
POD = Fill(
    parts={
        "spec": combined(
            POD_SPEC,
            Fill(
                absent={"enableServiceLinks": True},
                every={"containers": _REQUESTING, "initContainers": _REQUESTING},
            ),
        )
    }
)


def labels_from_template(document: Structure) -> Structure:
    """Some kinds without labels take those of their template."""
    labels: Any = (document.get("spec") or {}).get("template", {}).get("metadata", {}).get("labels")
    metadata = document.get("metadata") or {}
    return {"metadata": {**metadata, "labels": labels}} if labels and not metadata.get("labels") else {}
