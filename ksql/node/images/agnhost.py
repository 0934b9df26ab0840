"""The many-in-one test program that suites run: `agnhost` and its subcommands, over simulated files and ports.

Those named in `SUBCOMMANDS` do what their namesakes do as far as a cluster's clients can tell; any other is
refused by name with exit code 1, as the program refuses what it does not know.
"""

from collections.abc import Mapping

from ksql.node.images.executing import netexec
from ksql.node.images.mounting import mounttest
from ksql.node.images.reviewing import conversion, webhook
from ksql.node.images.serving import grpc_health_checking, guestbook, liveness, nettest, porter, serve_hostname
from ksql.node.images.web import options_of, serve, test_webserver
from ksql.node.shell import Command, Run

_METHODS = ("GET", "POST", "PUT")
_KINDS = ("default", "kube-system", "ns")


async def agnhost(run: Run, arguments: list[str]) -> int:
    name, *rest = arguments or ["help"]
    command = SUBCOMMANDS.get(name)
    if command is None:
        await run.error(f'Error: unknown command "{name}" for "app"')
        return 1
    return await command(run, rest)


async def _pause(run: Run, arguments: list[str]) -> int:
    await run.say("Paused\n")
    return await serve(run, {})


async def _entrypoint_tester(run: Run, arguments: list[str]) -> int:
    """Print every word it was started with."""
    await run.say(f"[{' '.join([run.called, 'entrypoint-tester', *arguments])}]\n")
    return 0


async def _nonewprivs(run: Run, arguments: list[str]) -> int:
    await run.say(f"Effective uid: {run.place.identity[0]}\n")
    return 0


async def _resolver_line(run: Run, word: str) -> list[str]:
    lines = run.place.files.read("/etc/resolv.conf").decode().splitlines()
    return [piece for line in lines if line.startswith(word) for piece in line.split()[1:]]


async def _dns_suffix(run: Run, arguments: list[str]) -> int:
    await run.say(",".join(await _resolver_line(run, "search")) + "\n")
    return 0


async def _dns_server_list(run: Run, arguments: list[str]) -> int:
    await run.say(",".join(await _resolver_line(run, "nameserver")) + "\n")
    return 0


async def _etc_hosts(run: Run, arguments: list[str]) -> int:
    await run.say(run.place.files.read("/etc/hosts").decode() + "\n")
    return 0


async def _logs_generator(run: Run, arguments: list[str]) -> int:
    """So many lines, evenly over so long."""
    given = options_of(arguments)
    count = int(given.get("log-lines-total") or given.get("t") or 0)
    seconds = _seconds(given.get("run-duration") or given.get("d") or "0")
    if count <= 0:
        await run.error(f"Invalid total number of lines: {count}")
        return 255
    random = run.place.clock.random
    for number in range(count):
        path = f"/api/v1/namespaces/{random.choice(_KINDS)}/pods/{random.getrandbits(16):x}"
        now = run.place.clock.now()
        stamp = f"I{now:%m%d %H:%M:%S.%f}       1 logs_generator.go:76]"
        await run.error(f"{stamp} {number} {random.choice(_METHODS)} {path} {200 + random.randrange(400)}")
        await run.place.clock.sleep(seconds / count)
    return 0


async def _connect(run: Run, arguments: list[str]) -> int:
    """Whether a port can be reached."""
    target = next((word for word in arguments if ":" in word and not word.startswith("-")), "")
    host, _, port = target.rpartition(":")
    try:
        await run.place.reach().knock(host.strip("[]"), int(port or 0), run.place)
    except OSError as error:
        await run.error(str(error).upper().replace(" ", "") if "refused" in str(error) else "TIMEOUT")
        return 1
    return 0


def _seconds(text: str) -> float:
    """A duration as Go writes it: 10s, 1m, 500ms."""
    units = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0}
    for unit, factor in units.items():
        if text.endswith(unit) and text[: -len(unit)].replace(".", "", 1).isdigit():
            return float(text[: -len(unit)]) * factor
    return 0.0


SUBCOMMANDS: Mapping[str, Command] = {
    "connect": _connect, "crd-conversion-webhook": conversion, "dns-server-list": _dns_server_list,
    "dns-suffix": _dns_suffix,
    "entrypoint-tester": _entrypoint_tester, "etc-hosts": _etc_hosts, "grpc-health-checking": grpc_health_checking,
    "guestbook": guestbook, "liveness": liveness, "logs-generator": _logs_generator, "mounttest": mounttest,
    "nettest": nettest,    "netexec": netexec, "nonewprivs": _nonewprivs, "pause": _pause, "porter": porter,
    "serve-hostname": serve_hostname, "test-webserver": test_webserver,
    "webhook": webhook,
}  # fmt: skip
