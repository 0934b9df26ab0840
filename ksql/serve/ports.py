"""A socket to listen on, and who has it when it is taken.

A bind that fails should say what to do about it: Linux tells, for sockets of processes one may look
into, which process listens on a port.
"""

import contextlib
import errno
import ipaddress
import socket
from pathlib import Path

# Connections the kernel holds for the server while it is busy.
BACKLOG = 2048

_LISTENING = "0A"  # TCP_LISTEN in /proc/net/tcp


class BindError(OSError):
    """The address cannot be listened on; the message says why and, where it is known, who has it."""


# An address that stands for "elsewhere" (TEST-NET-1): nothing is sent to it, the kernel only says by which of
# its own addresses it would go there.
_ELSEWHERE = ("192.0.2.1", 9)


def advertised(host: str) -> str:
    """The address by which others would find a server that listens on `host`; empty when there is none.

    A loopback or unspecified address tells nobody anything: the machine's own stands for it, as with
    kube-apiserver.
    """
    try:
        address = ipaddress.ip_address(host)
    except ValueError:
        return ""
    if not (address.is_loopback or address.is_unspecified):
        return host
    with contextlib.suppress(OSError), socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as found:
        found.connect(_ELSEWHERE)
        own = str(found.getsockname()[0])
        return "" if ipaddress.ip_address(own).is_loopback else own
    return ""


def bound(host: str, port: int) -> socket.socket:
    """A socket bound to `host` and `port` (0: any free one), not yet listening."""
    try:
        family, kind, protocol, _, address = socket.getaddrinfo(
            host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )[0]
    except socket.gaierror as error:
        raise BindError(f"cannot listen on {host}: {error.strerror}") from None
    found = socket.socket(family, kind, protocol)
    try:
        # A server that was just stopped leaves connections behind that must not keep its successor out.
        found.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        found.bind(address)
        # Binding succeeds beside another socket that only waits to listen; listening tells.
        found.listen(BACKLOG)
    except OSError as error:
        found.close()
        raise BindError(_reason(host, port, error)) from None
    found.setblocking(False)
    return found


def _reason(host: str, port: int, error: OSError) -> str:
    said = f"cannot listen on {host}:{port}: {error.strerror}"
    if error.errno == errno.EADDRINUSE and (who := holder(port)):
        said += f" (by {who})"
    return said


def holder(port: int) -> str:
    """`python (process 4711)` for the process that listens on a port, empty when it cannot be known."""
    inodes = _listening_inodes(port)
    if not inodes:
        return ""
    for process in Path("/proc").glob("[0-9]*"):
        # It may end while it is looked at, or be another user's.
        with contextlib.suppress(OSError):
            links = [_target(entry) for entry in (process / "fd").iterdir()]
            if any(f"socket:[{inode}]" in links for inode in inodes):
                return f"{(process / 'comm').read_text().strip()}, process {process.name}"
    return ""


def _target(entry: Path) -> str:
    try:
        return str(entry.readlink())
    except OSError:
        # Closed since the folder was read; the folder's own descriptor always is.
        return ""


def _listening_inodes(port: int) -> list[str]:
    inodes = []
    for table in ("/proc/net/tcp", "/proc/net/tcp6"):
        try:
            rows = Path(table).read_text().splitlines()[1:]
        except OSError:
            continue
        for row in rows:
            columns = row.split()
            if columns[3] == _LISTENING and int(columns[1].rpartition(":")[2], 16) == port:
                inodes.append(columns[9])
    return inodes
