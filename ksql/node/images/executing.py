"""The server that suites talk to: it says who it is, who asks, runs commands, dials others, and ends when told."""

import asyncio
import json
from collections.abc import Awaitable, Callable, Mapping
from urllib.parse import quote_plus, urlsplit

from ksql.node.images.serving import query_of
from ksql.node.images.web import port_of, redirect, serve
from ksql.node.responder import Question, Reply
from ksql.node.shell import Gathered, Run

_TRIES_MAX = 500

Answer = Callable[["_Server", Question, dict[str, str]], Awaitable[Reply]]


class _Server:
    """One running netexec."""

    def __init__(self, run: Run, port: int) -> None:
        self.run, self.port = run, port
        self.leave: asyncio.Future[int] = asyncio.get_running_loop().create_future()

    @property
    def name(self) -> str:
        return self.run.place.environment["HOSTNAME"]

    async def log(self, text: str) -> None:
        await self.run.error(f"{self.run.place.now():%Y/%m/%d %H:%M:%S} {text}")

    async def answer(self, question: Question) -> Reply:
        path = urlsplit(question.path).path
        return await _PATHS.get(path, _root)(self, question, query_of(question))

    async def talk(self, text: str, source: str) -> str:
        """Over datagrams: a word, and what it asks for."""
        word = text.strip().lower()
        if word == "hostname":
            return self.name
        if word.startswith("echo "):
            return text.strip().partition(" ")[2]
        return {"clientip": f"{source}:40000", "serverport": str(self.port)}.get(word, "")


async def netexec(run: Run, arguments: list[str]) -> int:
    port, datagrams = port_of(arguments, "http-port", 8080), port_of(arguments, "udp-port", 8081)
    server = _Server(run, port)
    await server.log(f"Started HTTP server on port {port}")
    if datagrams >= 0:
        await server.log(f"Started UDP server on port  {datagrams}")
        run.place.datagrams[datagrams] = server.talk
    return await serve(run, {port: server.answer}, server.leave)


async def _root(server: _Server, question: Question, query: dict[str, str]) -> Reply:
    await server.log("GET /")
    return Reply(200, f"NOW: {server.run.place.now():%Y-%m-%d %H:%M:%S.%f} +0000 UTC".encode())


async def _echo(server: _Server, question: Question, query: dict[str, str]) -> Reply:
    code, text = query.get("code", ""), query.get("msg", "")
    await server.log(f"GET /echo?msg={text}&code={code}")
    if code and not code.isdigit():
        return Reply(200, f"argument 'code' must be an integer or empty, got {json.dumps(code)}\n".encode())
    return Reply(int(code or 200), text.encode())


async def _client(server: _Server, question: Question, query: dict[str, str]) -> Reply:
    await server.log("GET /clientip")
    return Reply(200, f"{question.source or '127.0.0.1'}:40000".encode())


async def _port(server: _Server, question: Question, query: dict[str, str]) -> Reply:
    await server.log("GET /serverport")
    return Reply(200, str(server.port).encode())


async def _header(server: _Server, question: Question, query: dict[str, str]) -> Reply:
    headers = {"-".join(part.capitalize() for part in name.split("-")): value for name, value in question.headers}
    key = query.get("key", "")
    await server.log(f"GET /header?key={key}" if key else "GET /header")
    if key:
        return Reply(200, next((v for k, v in headers.items() if k.lower() == key.lower()), "").encode())
    return Reply(200, json.dumps({name: [value] for name, value in headers.items()}).encode())


async def _well(server: _Server, question: Question, query: dict[str, str]) -> Reply:
    await server.log(f"GET {urlsplit(question.path).path}")
    return Reply(200, b"ok" if question.path.startswith("/readyz") else b"")


async def _name(server: _Server, question: Question, query: dict[str, str]) -> Reply:
    await server.log(f"GET {urlsplit(question.path).path}")
    return Reply(200, server.name.encode())


async def _exit(server: _Server, question: Question, query: dict[str, str]) -> Reply:
    code = query.get("code", "0") or "0"
    if not server.leave.done():
        server.leave.set_result(int(code) if code.isdigit() else 2)
    return Reply(200, b"")


async def _redirect(server: _Server, question: Question, query: dict[str, str]) -> Reply:
    code = query.get("code", "")
    reply = redirect(query.get("location", ""))
    return Reply(int(code) if code.isdigit() else reply.code, reply.body, headers=reply.headers)


async def _shell(server: _Server, question: Question, query: dict[str, str]) -> Reply:
    text = query.get("shellCommand") or query.get("cmd", "")
    await server.log(f"GET /shell?cmd={text}")
    said = Gathered()
    run = server.run
    code = await run.execute(Run(run.place, run.stdin, said, said, run.execute), ["sh", "-c", text])
    found = {"output": said.data().decode(errors="replace")} if said.data() else {}
    if code:
        found["error"] = f"exit status {code}"
    return Reply(200, json.dumps(found, separators=(",", ":")).encode())


async def _dial(server: _Server, question: Question, query: dict[str, str]) -> Reply:
    """Ask another server, as often as wanted; what each said, and what went wrong."""
    host, port, request = query.get("host", ""), query.get("port", "0"), query.get("request", "")
    tries = min(_TRIES_MAX, int(query.get("tries") or 1))
    await server.log(f"GET /dial?host={host}&protocol={query.get('protocol', '')}&port={port}&request={request}")
    if not request or not port.isdigit():
        return Reply(400, b"request parameter not specified. <nil>\n")
    reach, place = server.run.place.reach(), server.run.place
    said, faults = [], []
    for _ in range(tries):
        try:
            if query.get("protocol", "").lower() == "udp":
                said.append(await reach.tell(host, int(port), request, place))
            else:
                asked = Question("GET", f"/{quote_plus(request, safe='/?=&')}", (), b"")
                said.append((await reach.ask(host, int(port), asked, place)).body.decode(errors="replace"))
        except OSError as error:
            faults.append(str(error))
    found = {**({"responses": said} if said else {}), **({"errors": faults} if faults else {})}
    return Reply(200, json.dumps(found, separators=(",", ":")).encode())


async def _upload(server: _Server, question: Question, query: dict[str, str]) -> Reply:
    place = server.run.place
    path = f"/uploads/upload{place.clock.random.getrandbits(32)}"
    place.files.make_directory("/uploads", place.now(), parents=True)
    place.files.write(path, question.body, place.now(), mode=0o700)
    return Reply(201, json.dumps({"output": path}).encode())


_PATHS: Mapping[str, Answer] = {
    "/": _root, "/clientip": _client, "/dial": _dial, "/echo": _echo, "/exit": _exit, "/header": _header,
    "/healthz": _well, "/hostName": _name, "/hostname": _name, "/readyz": _well, "/redirect": _redirect,
    "/serverport": _port, "/shell": _shell, "/shutdown": _exit, "/upload": _upload,
}  # fmt: skip
