"""The volumes of one pod, as trees of files that its containers share.

ConfigMaps, Secrets, the downward API and projections of them are written when the pod starts and looked at
again as time goes by, as a kubelet does; empty directories belong to the pod; paths of the host and claims
belong to the node's `Disks` and outlive it. What cannot be had is a `ConfigurationError`: the pod waits.
"""

import posixpath
from collections import OrderedDict
from collections.abc import Iterator
from datetime import datetime

from ksql.base.documents import Document
from ksql.client import Client
from ksql.node.files import Files
from ksql.node.images.catalogue import image_of
from ksql.node.mounts import Mount, Tree
from ksql.node.variables import SOURCES, ConfigurationError, amount_of, data_of, field_of, filled
from ksql.schema.errors import ApiError

# A file of a volume: its content and its mode.
Content = dict[str, tuple[bytes, int]]

# Disks of one node: host paths and claims that are kept beyond a pod, the one longest unused forgotten.
DISKS_MAX = 256
# How old what a ConfigMap's volume shows may be: a kubelet looks about once a minute, nobody waits for that.
REFRESH_SECONDS = 2.0
_MODE = 0o644
# Kinds of files that no simulated machine has.
_DEVICES = {"Socket": "socket file", "CharDevice": "character device", "BlockDevice": "block device"}
HOSTS = "127.0.0.1\tlocalhost\n::1\tlocalhost ip6-localhost ip6-loopback\n"
_TOKEN_SECONDS = 3607


class Disks:
    """What a node keeps whose pods come and go: its own file system, and what claims stand for."""

    def __init__(self) -> None:
        self._disks: OrderedDict[str, Files] = OrderedDict()
        self._host: Files | None = None

    def host(self, now: datetime) -> Files:
        """The node's own files."""
        if self._host is None:
            self._host = Files(now)
            for folder in ("/etc", "/tmp", "/var/lib", "/var/log", "/var/run"):
                self._host.make_directory(folder, now, parents=True)
            self._host.write("/etc/hosts", HOSTS.encode(), now)
            self._host.write("/etc/resolv.conf", b"", now)
        return self._host

    def disk(self, name: str, now: datetime) -> Files:
        found = self._disks.get(name)
        if found is None:
            found = self._disks[name] = Files(now, 0o777)
            while len(self._disks) > DISKS_MAX:
                self._disks.popitem(last=False)
        self._disks.move_to_end(name)
        return found


class Volumes:
    """The volumes of one pod."""

    def __init__(self, client: Client, disks: Disks, pod: Document) -> None:
        self._client, self._disks = client, disks
        self._pod = pod
        self._files: dict[str, Files] = {}
        self._looked: datetime | None = None
        self._group = int((pod["spec"].get("securityContext") or {}).get("fsGroup") or 0)

    async def prepare(self, now: datetime) -> None:
        """Have all of them there; `ConfigurationError` names the one that cannot be had."""
        for volume in self._pod["spec"].get("volumes") or ():
            name = volume["name"]
            if name in self._files:
                continue
            try:
                self._files[name] = await self._made(volume, now)
            except ConfigurationError as error:
                raise _unmountable(name, error) from None
        self._looked = self._looked or now

    async def check(self) -> None:
        """`ConfigurationError` names the first of those that show objects that cannot be had."""
        for volume in self._pod["spec"].get("volumes") or ():
            sources = (volume, *((volume.get("projected") or {}).get("sources") or ()))
            for source in (one for one in sources if any(kind in one for kind in SOURCES)):
                try:
                    await self._content(source, 0)
                except ConfigurationError as error:
                    raise _unmountable(volume["name"], error) from None

    async def refresh(self, pod: Document, now: datetime) -> None:
        """Write what has changed in the objects they show, if that was not looked at lately."""
        self._pod = pod
        if self._looked is None or (now - self._looked).total_seconds() < REFRESH_SECONDS:
            return
        self._looked = now
        for volume in pod["spec"].get("volumes") or ():
            if volume["name"] in self._files and is_shown(volume):
                try:
                    content = await self._content(volume, self._mode(volume))
                except ConfigurationError:
                    continue  # a kubelet leaves what was there
                self._write(self._files[volume["name"]], content, now)

    def mount(self, tree: Tree, container: Document, environment: dict[str, str], now: datetime) -> None:
        """Put a container's mounts into its tree."""
        volumes = {volume["name"]: volume for volume in self._pod["spec"].get("volumes") or ()}
        for mount in container.get("volumeMounts") or ():
            files, volume = self._files.get(mount["name"]), volumes.get(mount["name"]) or {}
            if files is None:
                continue
            inner = _inner(mount, environment)
            if path := (volume.get("hostPath") or {}).get("path"):
                inner = posixpath.normpath(posixpath.join("/", path.lstrip("/"), inner.lstrip("/")))
            if inner != "/" and files.find(inner) is None and not is_shown(volume):
                files.make_directory(inner, now, parents=True)
            kind = "tmpfs" if _is_in_memory(volume) else "ext4"
            path = posixpath.normpath("/" + mount["mountPath"].lstrip("/"))
            is_read_only = bool(mount.get("readOnly")) or is_shown(volume) or "image" in volume
            tree.mount(Mount(path, files, inner, is_read_only, kind), now)

    async def _made(self, volume: Document, now: datetime) -> Files:
        if is_shown(volume):
            files = Files(now, 0o777)
            self._write(files, await self._content(volume, self._mode(volume)), now)
            return files
        if host := volume.get("hostPath"):
            files = self._disks.host(now)
            _check(files, posixpath.normpath(host["path"]), host.get("type") or "", now)
            return files
        if image := volume.get("image"):
            files = Files(now)
            for path, data in image_of({"image": image.get("reference", "")}).files.items():
                files.make_directory(posixpath.dirname(path), now, parents=True)
                files.write(path, data, now)
            return files
        if claim := volume.get("persistentVolumeClaim"):
            return self._disks.disk(f"claim {self._pod['metadata']['namespace']}/{claim['claimName']}", now)
        return Files(now, 0o777, (0, self._group))

    def _write(self, files: Files, content: Content, now: datetime) -> None:
        for path in [path for path in files.below("/") if path.lstrip("/") not in content]:
            node = files.find(path)
            if node is not None and not node.is_directory:
                files.remove(path)
        for name, (data, mode) in content.items():
            path = "/" + name
            old = files.find(path)
            if old is not None and old.data == data:
                continue
            files.make_directory(posixpath.dirname(path), now, parents=True)
            # Whoever is in the pod's group may read, as the volume's owner allows it to.
            files.write(path, data, now, mode=mode | (0o440 if self._group else 0), owner=(0, self._group))

    @staticmethod
    def _mode(volume: Document) -> int:
        kinds = (*SOURCES, "downwardAPI", "projected")
        source: Document = next((volume[kind] for kind in kinds if volume.get(kind)), {})
        return int(source.get("defaultMode", _MODE))

    async def _content(self, volume: Document, mode: int) -> Content:
        """What one volume, or one source of a projection, shows."""
        if projected := volume.get("projected"):
            parts = [await self._content(source, mode) for source in projected.get("sources") or ()]
            return {path: entry for part in parts for path, entry in part.items()}
        if token := volume.get("serviceAccountToken"):
            return {token["path"]: (await self._token(token), mode)}
        if fields := volume.get("downwardAPI"):
            return {
                posixpath.normpath(item["path"]): ((await self._field(item)).encode(), int(item.get("mode", mode)))
                for item in fields.get("items") or ()
            }
        for kind in SOURCES:
            if source := volume.get(kind):
                data = await data_of(self._client, self._pod["metadata"]["namespace"], kind, source)
                return dict(_chosen(data, source, mode))
        return {}

    async def _field(self, item: Document) -> str:
        if reference := item.get("fieldRef"):
            return field_of(self._pod, reference["fieldPath"])
        reference = item["resourceFieldRef"]
        containers = (*(self._pod["spec"].get("initContainers") or ()), *self._pod["spec"]["containers"])
        container: Document = next((one for one in containers if one["name"] == reference.get("containerName")), {})
        return await amount_of(self._client, self._pod, container, reference)

    async def _token(self, source: Document) -> bytes:
        """A token of the pod's service account, bound to the pod."""
        metadata = self._pod["metadata"]
        account = self._pod["spec"].get("serviceAccountName", "default")
        audience = source.get("audience")
        request = {
            "apiVersion": "authentication.k8s.io/v1",
            "kind": "TokenRequest",
            "metadata": {"name": account, "namespace": metadata["namespace"]},
            "spec": {
                "expirationSeconds": int(source.get("expirationSeconds", _TOKEN_SECONDS)),
                **({"audiences": [audience]} if audience else {}),
                "boundObjectRef": {
                    "apiVersion": "v1", "kind": "Pod", "name": metadata["name"], "uid": metadata["uid"],
                },
            },
        }  # fmt: skip
        try:
            answer = await self._client.create("serviceaccounts", request, subresource="token")
        except ApiError:
            # A cluster that issues no tokens still runs pods; who reads the file finds it empty.
            return b""
        return str(answer["status"]["token"]).encode()


def check_mounts(container: Document, environment: dict[str, str]) -> None:
    """`ConfigurationError` for a mount whose path in its volume is none."""
    for mount in container.get("volumeMounts") or ():
        _inner(mount, environment)


def _unmountable(name: str, error: ConfigurationError) -> ConfigurationError:
    return ConfigurationError(f'MountVolume.SetUp failed for volume "{name}" : {error}')


def _check(files: Files, path: str, type: str, now: datetime) -> None:
    """Whether a path of the host is what a pod says it is; some are made when they are not there."""
    node = files.find(path)
    if node is None and type in ("", "DirectoryOrCreate"):
        files.make_directory(path, now, parents=True)
    elif node is None and type == "FileOrCreate":
        files.write(path, b"", now)
    elif type in ("Directory", "DirectoryOrCreate") and (node is None or not node.is_directory):
        raise ConfigurationError(f"hostPath type check failed: {path} is not a directory")
    elif type in ("File", "FileOrCreate") and (node is None or node.is_directory):
        raise ConfigurationError(f"hostPath type check failed: {path} is not a file")
    elif type in _DEVICES:
        raise ConfigurationError(f"hostPath type check failed: {path} is not a {_DEVICES[type]}")


def is_shown(volume: Document) -> bool:
    """Whether a volume shows objects of the cluster."""
    return any(kind in volume for kind in (*SOURCES, "downwardAPI", "projected"))


def _is_in_memory(volume: Document) -> bool:
    return (volume.get("emptyDir") or {}).get("medium") == "Memory" or any(
        kind in volume for kind in ("secret", "projected", "downwardAPI")
    )


def _chosen(data: dict[str, bytes], source: Document, mode: int) -> Iterator[tuple[str, tuple[bytes, int]]]:
    items = source.get("items")
    if not items:
        for key, value in data.items():
            yield key, (value, mode)
        return
    for item in items:
        if item["key"] in data:
            yield posixpath.normpath(item["path"]), (data[item["key"]], int(item.get("mode", mode)))
        elif not source.get("optional"):
            raise ConfigurationError(f"references non-existent config key: {item['key']}")


def _inner(mount: Document, environment: dict[str, str]) -> str:
    """The path in the volume that a mount shows."""
    path = mount.get("subPath") or ""
    if expression := mount.get("subPathExpr"):
        path = filled(expression, environment)
        if "$(" in path:
            raise ConfigurationError(f'failed to expand subPath for volumeMount "{mount["name"]}"')
    if path.startswith("/"):
        raise ConfigurationError(f"subPath should be a relative path: {path}")
    if ".." in path.split("/"):
        raise ConfigurationError(f"subPath contains '..': {path}")
    if "`" in path:
        raise ConfigurationError(f"failed to prepare subPath for volumeMount \"{mount['name']}\" of container")
    return posixpath.normpath("/" + path)
