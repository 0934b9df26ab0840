"""Programs that answer HTTP: they listen on ports of their container until they are told to end.

A port is an entry in the container's `listeners`; whoever dials it (the API server's proxy, port-forward,
a probe, another pod) is answered by the handler.
"""

import asyncio
import posixpath
import ssl
from collections.abc import Awaitable, Callable, Mapping

from ksql.node.responder import Question, Reply
from ksql.node.shell import Run

Handler = Callable[[Question], Awaitable[Reply]]

# Longer than any container runs.
_FOREVER_SECONDS = 10 * 365 * 86400.0
_LOCATION = "location"


async def serve(
    run: Run, handlers: Mapping[int, Handler], leave: "asyncio.Future[int] | None" = None,
    secrets: Mapping[int, ssl.SSLContext] | None = None,
) -> int:  # fmt: skip
    """Listen until the process is ended, or until `leave` says with which code it ends by itself.

    `secrets` names the ports that speak TLS, and with which certificate.
    """
    listeners = run.place.listeners
    if taken := [port for port in handlers if port in listeners]:
        await run.error(f"listen tcp :{taken[0]}: bind: address already in use")
        return 1
    listeners.update(handlers)
    run.place.secrets.update(secrets or {})
    loop = asyncio.get_running_loop()
    over = leave if leave is not None else loop.create_future()
    pause = loop.create_task(run.place.clock.sleep(_FOREVER_SECONDS), name="server's pause")
    try:
        await asyncio.wait((over, pause), return_when=asyncio.FIRST_COMPLETED)
        return over.result() if over.done() else 0
    finally:
        pause.cancel()
        for port in handlers:
            listeners.pop(port, None)
            run.place.secrets.pop(port, None)


def folder(run: Run, root: str) -> Handler:
    """Files below a folder; a folder's own index.html."""

    async def answer(question: Question) -> Reply:
        path = posixpath.normpath(posixpath.join(root, question.path.partition("?")[0].lstrip("/")))
        node = run.place.files.find(path)
        if node is not None and node.is_directory:
            path = posixpath.join(path, "index.html")
            if run.place.files.find(path) is None and root == "/":
                names = run.place.files.children(posixpath.dirname(path))
                links = "".join(f'<a href="{name}">{name}</a>\n' for name in names)
                return Reply(200, f"<pre>\n{links}</pre>\n".encode(), "text/html; charset=utf-8")
        try:
            data = run.place.files.read(path)
        except OSError:
            return Reply(404, b"404 page not found\n")
        kinds = {".html": "text/html; charset=utf-8", ".json": "application/json"}
        return Reply(200, data, kinds.get(posixpath.splitext(path)[1], "text/plain; charset=utf-8"))

    return answer


def redirect(target: str) -> Reply:
    return Reply(302, b"", headers=((_LOCATION, target),))


async def httpd(run: Run, arguments: list[str]) -> int:
    await run.error("AH00558: httpd: Could not reliably determine the server's fully qualified domain name")
    return await serve(run, {80: folder(run, "/usr/local/apache2/htdocs")})


async def nginx(run: Run, arguments: list[str]) -> int:
    return await serve(run, {80: folder(run, "/usr/share/nginx/html")})


async def test_webserver(run: Run, arguments: list[str]) -> int:
    """The whole file system on one port."""
    return await serve(run, {port_of(arguments, "port", 80): folder(run, "/")})


def options_of(arguments: list[str]) -> dict[str, str]:
    """--name=value, --name value and --name alone, as the last was given."""
    found: dict[str, str] = {}
    rest = list(arguments)
    while rest:
        word = rest.pop(0)
        if not word.startswith("-"):
            continue
        name, equals, value = word.lstrip("-").partition("=")
        if not equals and rest and not rest[0].startswith("-"):
            value = rest.pop(0)
        found[name] = value
    return found


def port_of(arguments: list[str], name: str, default: int) -> int:
    text = options_of(arguments).get(name, "")
    return int(text) if text.lstrip("-").isdigit() else default
