"""Images that the simulation knows, as data; and what a container's own process is. Pure."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from ksql.base.documents import Document


@dataclass(frozen=True, slots=True)
class Image:
    """`entrypoint` and `command` as in its configuration; `ports` where it listens without being told."""

    entrypoint: Sequence[str] = ()
    command: Sequence[str] = ()
    ports: Sequence[int] = ()
    files: Mapping[str, bytes] = field(default_factory=dict)
    user: int = 0
    # A server whose own process is worth performing only when somebody asks it (probes, hooks): there are
    # thousands of its kind in a cluster, and until then it does nothing.
    is_quiet: bool = False


_PAGE = b"<html><body><h1>It works!</h1></body></html>\n"
_WELCOME = b"<html><head><title>Welcome to nginx!</title></head><body><h1>Welcome to nginx!</h1></body></html>\n"
_SHELL = Image(command=("sh",))
_ALPINE = {"/etc/os-release": b'NAME="Alpine Linux"\nID=alpine\nVERSION_ID=3.12.0\nPRETTY_NAME="Alpine Linux v3.12"\n'}

IMAGES: Mapping[str, Image] = {
    **dict.fromkeys(("busybox", "alpine", "debian", "ubuntu", "bash", "fedora"), _SHELL),
    # Suites take its certificate's file for a page that is there or not; nothing is served with it.
    "agnhost": Image(("/agnhost",), ("pause",), files=dict.fromkeys(("/localhost.crt", "/localhost.key"), b"-\n")),
    "caddy": Image(ports=(80,)),
    "echoserver": Image(ports=(8080,)),
    "http-echo": Image(ports=(5678,)),
    "httpd": Image(
        (), ("httpd-foreground",), (80,), {"/usr/local/apache2/htdocs/index.html": _PAGE}, is_quiet=True
    ),
    "kitten": Image(("/test-webserver",), (), (80,), {"/data.json": b'{"image": "kitten.jpg"}\n', **_ALPINE}),
    "nautilus": Image(("/test-webserver",), (), (80,), {"/data.json": b'{"image": "nautilus.jpg"}\n', **_ALPINE}),
    "nginx": Image((), ("nginx",), (80,), {"/usr/share/nginx/html/index.html": _WELCOME}, is_quiet=True),
    "nonewprivs": Image(("/nonewprivs",), user=1000),
    "pause": Image(("/pause",), is_quiet=True),
    "perl": _SHELL,
    "traefik": Image(ports=(80,)),
    "jessie-dnsutils": _SHELL,
}  # fmt: skip

_NONE = Image()


def name_of(container: Document) -> str:
    """The last part of an image's name, without its tag."""
    name: str = container.get("image", "").rpartition("/")[2]
    return name.partition("@")[0].partition(":")[0]


def image_of(container: Document) -> Image:
    """What is known of a container's image; nothing but a name for most."""
    return IMAGES.get(name_of(container), _NONE)


def words_of(container: Document) -> list[str]:
    """The words of a container's own process, as given: its command and arguments before its image's."""
    image = image_of(container)
    command, arguments = container.get("command") or (), container.get("args") or ()
    if command:
        return [*command, *arguments]
    return [*image.entrypoint, *(arguments or image.command)]
