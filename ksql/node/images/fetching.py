"""Programs that ask others over the simulated network: curl, wget, nc, and those that look names up."""

import posixpath
from urllib.parse import urlsplit

from ksql.node.responder import Question, Reply
from ksql.node.shell import Run

# curl's own exit codes.
_UNRESOLVED, _REFUSED, _FAILED, _TIMED_OUT = 6, 7, 22, 28
_REDIRECTS_MAX = 10
# Options of curl and wget that take a value, and what is done with it.
_VALUED = (
    "--connect-timeout", "--max-time", "-m", "--retry", "-T", "-t", "-H", "--header", "-X", "--request", "-d", "--data",
    "-o", "-O", "-w", "--interface", "--resolve", "-A", "--retry-delay",
    "--post-data",
)  # fmt: skip


async def curl(run: Run, arguments: list[str]) -> int:
    given, flags, urls = _read(arguments, {"-O"})
    if not urls:
        await run.error("curl: try 'curl --help' for more information")
        return 2
    method = given.get("-X", given.get("--request", ["POST" if "-d" in given or "--data" in given else "GET"]))[-1]
    body = "&".join([*given.get("-d", ()), *given.get("--data", ())]).encode()
    headers = [tuple(line.split(": ", 1)) for key in ("-H", "--header") for line in given.get(key, ())]
    try:
        reply = await _fetched(run, method, urls[0], headers, body, "L" in flags or "--location" in flags)
    except OSError as error:
        code = _UNRESOLVED if "no such host" in str(error) else _REFUSED if "refused" in str(error) else _TIMED_OUT
        if "s" not in flags or "S" in flags:
            await run.error(f"curl: ({code}) {error}")
        return code
    if "f" in flags and reply.code >= 400:
        await run.error(f"curl: ({_FAILED}) The requested URL returned error: {reply.code}")
        return _FAILED
    if "i" in flags or "I" in flags:
        await run.say(f"HTTP/1.1 {reply.code}\r\ncontent-type: {reply.content_type}\r\n\r\n")
    target = given.get("-o", [""])[-1]
    if target and target != "/dev/null":
        run.place.files.write(run.place.path(target), reply.body, run.place.now())
    elif not target and "I" not in flags:
        await run.write(reply.body)
    if "-w" in given:
        await run.say(given["-w"][-1].replace("%{http_code}", str(reply.code)).replace("\\n", "\n"))
    return 0


async def wget(run: Run, arguments: list[str]) -> int:
    given, _, urls = _read(arguments, set())
    if not urls:
        await run.error("wget: missing URL")
        return 1
    try:
        url = urls[0] if "://" in urls[0] else f"http://{urls[0]}"
        body = given.get("--post-data", [""])[-1]
        reply = await _fetched(run, "POST" if body else "GET", url, [], body.encode(), True)
    except OSError as error:
        await run.error(f"wget: can't connect to remote host: {error}")
        return 1
    if reply.code >= 400:
        await run.error(f"wget: server returned error: HTTP/1.1 {reply.code}")
        return 1
    joined = next((flag[2:] for flag in arguments if flag.startswith("-O") and len(flag) > 2), "")
    target = given.get("-O", [joined])[-1] or ("-" if "O-" in arguments else "")
    if "spider" in "".join(arguments):
        return 0
    if target == "-" or any(flag.endswith("O-") for flag in arguments):
        await run.write(reply.body)
    elif target != "/dev/null":
        name = target or posixpath.basename(urlsplit(urls[0]).path) or "index.html"
        run.place.files.write(run.place.path(name), reply.body, run.place.now())
    return 0


async def nc(run: Run, arguments: list[str]) -> int:
    """Whether a port answers (`-z`), one line over datagrams (`-u`), one question over a stream."""
    values = ("-w", "-p", "-s", "-q")
    flags = "".join(a[1:] for a in arguments if a.startswith("-") and a not in values)
    words, rest = [], list(arguments)
    while rest:
        word = rest.pop(0)
        if word in values:
            rest[:1] = []
        elif not word.startswith("-"):
            words.append(word)
    if len(words) != 2 or not words[1].isdigit():
        await run.error("nc: bad address or port")
        return 1
    host, port = words[0], int(words[1])
    try:
        if "u" in flags:
            text = (await run.stdin.all()).decode(errors="replace")
            await run.say(await run.place.reach().tell(host, port, text, run.place))
            return 0
        await run.place.reach().knock(host, port, run.place)
        if "z" not in flags:
            # Whoever speaks no HTTP is told so and cut off, as by any server here.
            asked = Question("GET", "/", (), await run.stdin.all())
            await run.write((await run.place.reach().ask(host, port, asked, run.place)).body)
    except OSError as error:
        await run.error(f"nc: connect to {host} port {port} failed: {error}")
        return 1
    if "v" in flags:
        await run.error(f"Connection to {host} {port} port [tcp/*] succeeded!")
    return 0


async def dig(run: Run, arguments: list[str]) -> int:
    """The answer section alone: addresses, or the name that a name stands for."""
    words = [word for word in arguments if not word.startswith(("+", "-", "@"))]
    kinds = {"A", "AAAA", "CNAME", "SRV", "PTR"}
    name = next((word for word in words if word not in kinds), "")
    kind = next((word for word in words if word in kinds), "A")
    if "-x" in arguments or kind == "PTR":
        parts = name.rstrip(".").removesuffix(".in-addr.arpa").split(".")
        return await _reverse(run, ".".join(parts if "-x" in arguments else reversed(parts)))
    alias = await run.place.reach().alias(name, run.place.pod["metadata"]["namespace"])
    lines = [f"{name}.\t5\tIN\tCNAME\t{alias}."] if alias else []
    if kind == "SRV":
        lines += await _services(run, name)
    elif kind == "A":
        lines += [f"{alias or name}.\t5\tIN\tA\t{a}" for a in await run.place.reach().addresses(name, run.place)]
    if "+short" in arguments:
        lines = [line.rpartition("\t")[2] for line in lines]
    await run.say("".join(f"{line}\n" for line in lines))
    return 0


async def _reverse(run: Run, address: str) -> int:
    name = await run.place.reach().name_of(address)
    reverse = ".".join(reversed(address.split("."))) + ".in-addr.arpa."
    await run.say(f"{reverse}\t5\tIN\tPTR\t{name}.\n" if name else "")
    return 0


async def _services(run: Run, name: str) -> list[str]:
    return [
        f"{name}\t5\tIN\tSRV\t0 100 {port} {target}."
        for port, target in await run.place.reach().ports(name, run.place.pod["metadata"]["namespace"])
    ]


async def getent(run: Run, arguments: list[str]) -> int:
    """`getent hosts NAME`."""
    name = arguments[-1] if len(arguments) > 1 else ""
    found = await run.place.reach().addresses(name, run.place)
    await run.say("".join(f"{address}\t{name}\n" for address in found[:1]))
    return 0 if found else 2


async def nslookup(run: Run, arguments: list[str]) -> int:
    name = next((word for word in arguments if not word.startswith("-")), "")
    found = await run.place.reach().addresses(name, run.place)
    if not found:
        await run.say(f"** server can't find {name}: NXDOMAIN\n")
        return 1
    await run.say("".join(f"Name:\t{name}\nAddress: {address}\n" for address in found))
    return 0


def _read(arguments: list[str], bare: set[str]) -> tuple[dict[str, list[str]], set[str], list[str]]:
    """Options with their values, letters and long words without one, and the rest."""
    given, flags, words, rest = dict[str, list[str]](), set[str](), list[str](), list(arguments)
    while rest:
        word = rest.pop(0)
        name, equals, value = word.partition("=")
        if equals and name in _VALUED:
            given.setdefault(name, []).append(value)
        elif word in _VALUED and word not in bare and rest:
            given.setdefault(word, []).append(rest.pop(0))
        elif word.startswith("--"):
            flags.add(word)
        elif word.startswith("-") and len(word) > 1:
            flags |= set(word[1:])
        else:
            words.append(word)
    return given, flags, words


async def _fetched(
    run: Run, method: str, url: str, headers: list[tuple[str, ...]], body: bytes, is_led_on: bool
) -> Reply:
    for _ in range(_REDIRECTS_MAX):
        parts = urlsplit(url if "://" in url else f"http://{url}")
        port = parts.port or (443 if parts.scheme == "https" else 80)
        path = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
        pairs = [(pair[0].lower(), pair[1]) for pair in headers if len(pair) == 2]
        asked = Question(method, path, [("host", parts.netloc), *pairs], body)
        reply = await run.place.reach().ask(parts.hostname or "", port, asked, run.place)
        target = next((value for name, value in reply.headers if name.lower() == "location"), "")
        if not is_led_on or not target or not 300 <= reply.code < 400:
            return reply
        url = target if "://" in target else f"{parts.scheme}://{parts.netloc}{target}"
    raise OSError("too many redirects")
