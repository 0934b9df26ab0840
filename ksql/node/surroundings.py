"""What a container finds around it: the files that are there before it starts, and who it is.

A bare system with the files that a kubelet manages (hosts, hostname, resolv.conf), those that its image is
known to bring, and the pod's volumes on top. Made when the container's process starts, or, for one that only
lives as data, when somebody first looks inside.
"""

import posixpath
from collections.abc import Iterator
from datetime import datetime

from ksql.base.clock import Clock
from ksql.base.documents import Document
from ksql.client import Client
from ksql.node.files import Files
from ksql.node.images.catalogue import image_of
from ksql.node.limits import group_files
from ksql.node.mounts import Mount, Tree
from ksql.node.variables import DOMAIN, domain_name_of, hostname_of
from ksql.node.volumes import HOSTS, Volumes
from ksql.schema.errors import ApiError

_FOLDERS = (
    "/bin", "/dev/shm", "/etc", "/home", "/mnt", "/proc", "/root", "/tmp", "/usr/bin", "/var/log", "/var/run",
    "/var/tmp",
)  # fmt: skip
_RELEASE = 'NAME="ksql simulated container"\nID=simulated\n'
_PASSWORDS = "root:x:0:0:root:/root:/bin/sh\nnobody:x:65534:65534:nobody:/:/sbin/nologin\n"

_LOOPBACK = (
    "127.0.0.1\tlocalhost\n::1\tlocalhost ip6-localhost ip6-loopback\nfe00::0\tip6-localnet\n"
    "fe00::0\tip6-mcastprefix\nfe00::1\tip6-allnodes\nfe00::2\tip6-allrouters\n"
)
TERMINATION_LOG = "/dev/termination-log"


async def tree_of(
    client: Client, pod: Document, container: Document, volumes: Volumes, environment: dict[str, str], clock: Clock
) -> Tree:
    """The files of a container."""
    now, root = clock.now(), Files(clock.now())
    for folder in _FOLDERS:
        root.make_directory(folder, now, parents=True)
    for device in ("/dev/null", "/dev/zero"):
        root.write(device, b"", now, mode=0o666)
    for folder in ("/tmp", "/var/tmp"):
        root.node(folder).mode = 0o1777
    image = image_of(container)
    for path, data in image.files.items():
        root.make_directory(posixpath.dirname(path), now, parents=True)
        root.write(path, data, now)
    root.write("/etc/hostname", f"{hostname_of(pod)}\n".encode(), now)
    root.write("/etc/hosts", hosts_of(pod).encode(), now)
    root.write("/etc/resolv.conf", (await resolver_of(client, pod)).encode(), now)
    if root.find("/etc/os-release") is None:
        root.write("/etc/os-release", _RELEASE.encode(), now)
    root.write("/etc/passwd", _PASSWORDS.encode(), now)
    if container.get("workingDir"):
        root.make_directory(posixpath.normpath(container["workingDir"]), now, parents=True)
    tree = Tree(root, identity_of(pod, container))
    volumes.mount(tree, container, environment, now)
    message = container.get("terminationMessagePath") or TERMINATION_LOG
    if tree.find(message) is None:
        _make_message(tree, message, clock)
    if (container.get("securityContext") or {}).get("readOnlyRootFilesystem"):
        tree.protect()
    return tree


def _make_message(tree: Tree, path: str, clock: Clock) -> None:
    """The file for a last word is a mount of its own: it can be written whatever the root is."""
    files = Files(clock.now())
    files.write("/message", b"", clock.now(), mode=0o666)
    tree.mount(Mount(posixpath.normpath(path), files, "/message"), clock.now())


def show_limits(tree: Tree, pod: Document, container: Document, memory_bytes: int, now: datetime) -> None:
    """Write what a kernel would show of the container's resources."""
    for path, data in group_files(pod, container, memory_bytes).items():
        tree.show(path, data, now)


def identity_of(pod: Document, container: Document) -> tuple[int, int]:
    """User and group of a container's processes: its own, its pod's, or those of its image."""
    own, shared = container.get("securityContext") or {}, pod["spec"].get("securityContext") or {}
    user = own.get("runAsUser", shared.get("runAsUser", image_of(container).user))
    group = own.get("runAsGroup", shared.get("runAsGroup", 0))
    return int(user), int(group)


def hosts_of(pod: Document) -> str:
    """/etc/hosts as a kubelet manages it; a pod on its node's network sees the node's own."""
    given = pod["spec"].get("hostAliases") or ()
    aliases = "".join("\t".join((entry["ip"], *(entry.get("hostnames") or ()))) + "\n" for entry in given)
    added = f"\n# Entries added by HostAliases.\n{aliases}" if aliases else ""
    if pod["spec"].get("hostNetwork"):
        return f"{HOSTS}{added}"
    name, address = hostname_of(pod), (pod.get("status") or {}).get("podIP", "")
    names = f"{domain_name_of(pod)}\t{name}" if pod["spec"].get("subdomain") else name
    return f"# Kubernetes-managed hosts file.\n{_LOOPBACK}{address}\t{names}\n{added}"


async def resolver_of(client: Client, pod: Document) -> str:
    """How names are looked up: by the cluster's DNS where there is one, and as the pod asks."""
    spec, namespace = pod["spec"], pod["metadata"]["namespace"]
    servers: list[str] = []
    searches: list[str] = []
    options: list[str] = []
    if spec.get("dnsPolicy", "ClusterFirst") in ("ClusterFirst", "ClusterFirstWithHostNet"):
        try:
            service = await client.get("services", "kube-system", "kube-dns")
        except ApiError:
            return ""
        servers = [service["spec"]["clusterIP"]]
        searches = [f"{namespace}.svc.{DOMAIN}", f"svc.{DOMAIN}", DOMAIN]
        options = ["ndots:5"]
    config = spec.get("dnsConfig") or {}
    servers += [one for one in config.get("nameservers") or () if one not in servers]
    searches += [one for one in config.get("searches") or () if one not in searches]
    options += [
        f"{one['name']}:{one['value']}" if one.get("value") else one["name"] for one in config.get("options") or ()
    ]
    lines = [f"search {' '.join(searches)}"] if searches else []
    lines += [f"nameserver {server}" for server in servers]
    lines += [f"options {' '.join(options)}"] if options else []
    return "".join(f"{line}\n" for line in lines)


def containers_of(pod: Document) -> Iterator[Document]:
    """Every container of a pod, whatever its role."""
    spec = pod["spec"]
    for key in ("initContainers", "containers", "ephemeralContainers"):
        yield from spec.get(key) or ()
