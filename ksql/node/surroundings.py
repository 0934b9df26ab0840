"""What a container finds around it: its environment and the files that are there before it starts.

Both are computed from the pod and from what the pod names (ConfigMaps, Secrets), as a kubelet does when
it starts a container; here when somebody first looks inside, since nobody else would notice.
"""

import base64
import posixpath
from collections.abc import Iterator
from typing import Any

from ksql.base.clock import Clock
from ksql.base.documents import Document
from ksql.client import Client
from ksql.node.files import Files
from ksql.schema.errors import ApiError

_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
_FOLDERS = ("/bin", "/dev", "/etc", "/home", "/proc", "/root", "/tmp", "/usr/bin", "/var/log", "/var/run")
_DOMAIN = "cluster.local"
_RELEASE = 'NAME="ksql simulated container"\nID=simulated\n'

_SOURCES = {"configMap": "configmaps", "secret": "secrets"}
# How a reference names its object, by source: env refs and volumes differ for secrets.
_NAMES = ("name", "secretName")


async def environment_of(client: Client, pod: Document, container: Document) -> dict[str, str]:
    """The variables of a container's processes."""
    metadata = pod["metadata"]
    found = {
        "PATH": _PATH, "HOSTNAME": pod["spec"].get("hostname") or metadata["name"], "HOME": "/root",
        "KUBERNETES_SERVICE_HOST": "kubernetes.default.svc", "KUBERNETES_SERVICE_PORT": "443",
    }  # fmt: skip
    if container.get("tty"):
        found["TERM"] = "xterm"
    for source in container.get("envFrom") or ():
        for kind in ("configMap", "secret"):
            if reference := source.get(f"{kind}Ref"):
                data = await _data(client, metadata["namespace"], kind, reference)
                found |= {source.get("prefix", "") + key: text.decode(errors="replace") for key, text in data.items()}
    for variable in container.get("env") or ():
        text = variable.get("value", "")
        if "valueFrom" in variable:
            text = await _value(client, pod, container, variable["valueFrom"])
        found[variable["name"]] = text
    return found


async def _value(client: Client, pod: Document, container: Document, source: Document) -> str:
    if field := source.get("fieldRef"):
        return field_of(pod, field["fieldPath"])
    if resource := source.get("resourceFieldRef"):
        kind, _, name = resource["resource"].partition(".")
        return str(((container.get("resources") or {}).get(kind) or {}).get(name, "0"))
    for kind in _SOURCES:
        if reference := source.get(f"{kind}KeyRef"):
            data = await _data(client, pod["metadata"]["namespace"], kind, reference)
            return data.get(reference["key"], b"").decode(errors="replace")
    return ""


def field_of(pod: Document, path: str) -> str:
    """What the downward API says under a path."""
    if path.endswith("']"):
        above, _, key = path[:-2].partition("['")
        return str((_walk(pod, above) or {}).get(key, ""))
    found = _walk(pod, path)
    if isinstance(found, dict):
        return "\n".join(f'{key}="{text}"' for key, text in sorted(found.items()))
    return "" if found is None else str(found)


def _walk(document: Document, path: str) -> Any:
    found: Any = document
    for step in path.split("."):
        found = found.get(step) if isinstance(found, dict) else None
    return found


async def _data(client: Client, namespace: str, kind: str, reference: Document) -> dict[str, bytes]:
    """The keys of the ConfigMap or Secret that a reference names; none when it is not to be had."""
    name = next((reference[key] for key in _NAMES if reference.get(key)), "")
    try:
        document = await client.get(_SOURCES[kind], namespace, name)
    except ApiError:
        return {}
    data = document.get("data") or {}
    if kind == "secret":
        return {key: base64.b64decode(text) for key, text in data.items()}
    binary = {key: base64.b64decode(text) for key, text in (document.get("binaryData") or {}).items()}
    return {**{key: text.encode() for key, text in data.items()}, **binary}


async def files_of(client: Client, pod: Document, container: Document, clock: Clock) -> Files:
    """The files of a container: a bare system, and its volumes that are ConfigMaps, Secrets or empty."""
    now, files = clock.now(), Files(clock.now())
    for folder in _FOLDERS:
        files.make_directory(folder, now, parents=True)
    metadata, address = pod["metadata"], (pod.get("status") or {}).get("podIP", "")
    files.write("/etc/hostname", f"{metadata['name']}\n".encode(), now)
    files.write("/etc/hosts", f"127.0.0.1\tlocalhost\n{address}\t{metadata['name']}\n".encode(), now)
    files.write("/etc/resolv.conf", (await _resolver(client, metadata["namespace"])).encode(), now)
    files.write("/etc/os-release", _RELEASE.encode(), now)
    volumes = {volume["name"]: volume for volume in pod["spec"].get("volumes") or ()}
    for mount in container.get("volumeMounts") or ():
        path = posixpath.normpath(mount["mountPath"])
        if not mount.get("subPath"):
            files.make_directory(path, now, parents=True)
        for name, data in await _volume(client, pod, volumes.get(mount["name"]) or {}):
            if mount.get("subPath"):
                if name == mount["subPath"]:
                    files.make_directory(posixpath.dirname(path), now, parents=True)
                    files.write(path, data, now)
                continue
            inner = posixpath.normpath(posixpath.join(path, name))
            files.make_directory(posixpath.dirname(inner), now, parents=True)
            files.write(inner, data, now)
    return files


async def _resolver(client: Client, namespace: str) -> str:
    """How names are looked up: by the cluster's DNS where there is one."""
    try:
        service = await client.get("services", "kube-system", "kube-dns")
    except ApiError:
        return ""
    search = " ".join((f"{namespace}.svc.{_DOMAIN}", f"svc.{_DOMAIN}", _DOMAIN))
    return f"search {search}\nnameserver {service['spec']['clusterIP']}\noptions ndots:5\n"


async def _volume(client: Client, pod: Document, volume: Document) -> list[tuple[str, bytes]]:
    namespace = pod["metadata"]["namespace"]
    if items := (volume.get("downwardAPI") or {}).get("items"):
        return _fields(pod, items)
    if sources := (volume.get("projected") or {}).get("sources"):
        parts = [await _volume(client, pod, source) for source in sources]
        return [pair for part in parts for pair in part]
    for kind in _SOURCES:
        if source := volume.get(kind):
            data = await _data(client, namespace, kind, source)
            if items := source.get("items"):
                return [(item["path"], data[item["key"]]) for item in items if item["key"] in data]
            return list(data.items())
    return []


def _fields(pod: Document, items: list[Document]) -> list[tuple[str, bytes]]:
    return [
        (item["path"], field_of(pod, item["fieldRef"]["fieldPath"]).encode()) for item in items if "fieldRef" in item
    ]


def containers_of(pod: Document) -> Iterator[Document]:
    """Every container of a pod, whatever its role."""
    spec = pod["spec"]
    for key in ("initContainers", "containers", "ephemeralContainers"):
        yield from spec.get(key) or ()
