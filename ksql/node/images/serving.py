"""Small servers: one that falls ill, one that says its name, one that says what its environment holds…"""

import json
from urllib.parse import parse_qs, urlsplit

from ksql.node.images.certificates import own_context
from ksql.node.images.web import Handler, options_of, port_of, redirect, serve
from ksql.node.responder import Question, Reply
from ksql.node.shell import Run

_HEALTHY_SECONDS = 10.0
_PORTER = ("SERVE_PORT_", "SERVE_TLS_PORT_", "SERVE_TCP_PORT_")
_SECRET = "SERVE_TLS_PORT_"
_BOOK_PORT = 6379
# How long a replica looks for its primary, and how often.
_REGISTER_TRIES = 60
_REGISTER_SECONDS = 2.0


def query_of(question: Question) -> dict[str, str]:
    """The first value of each parameter of a question's path, and of a form in its body."""
    found = parse_qs(urlsplit(question.path).query, keep_blank_values=True)
    if any(name == "content-type" and "form-urlencoded" in value for name, value in question.headers):
        found = {**parse_qs(question.body.decode(errors="replace")), **found}
    return {name: values[0] for name, values in found.items()}


async def liveness(run: Run, arguments: list[str]) -> int:
    """Well for ten seconds, then ill for ever."""
    began = run.place.now()

    async def answer(question: Question) -> Reply:
        path, seconds = urlsplit(question.path).path, (run.place.now() - began).total_seconds()
        if path == "/started":
            return Reply(200, f"{seconds}s".encode())
        if path == "/redirect":
            return redirect(query_of(question).get("loc", ""))
        if path != "/healthz":
            return Reply(404, b"404 page not found\n")
        return Reply(500, f"error: {seconds}".encode()) if seconds > _HEALTHY_SECONDS else Reply(200, b"ok")

    return await serve(run, {8080: answer})


async def serve_hostname(run: Run, arguments: list[str]) -> int:
    async def answer(question: Question) -> Reply:
        return Reply(200, run.place.environment["HOSTNAME"].encode())

    given = options_of(arguments)
    port = port_of(arguments, "port", 9376)

    async def talk(text: str, source: str) -> str:
        return run.place.environment["HOSTNAME"]

    if "udp" in given:
        run.place.datagrams[port] = talk
    return await serve(run, {port: answer})


async def porter(run: Run, arguments: list[str]) -> int:
    """Serve what the environment says on the ports that it names."""
    is_json = "json-response" in options_of(arguments)

    def saying(text: str) -> Handler:
        async def answer(question: Question) -> Reply:
            if is_json:
                body = json.dumps({"Method": question.method, "Body": text}, separators=(",", ":")).encode()
                return Reply(200, body, "application/json")
            # What looks like a page is called one, as Go's servers do.
            is_page = text.lstrip()[:3].lower() in ("<a ", "<ht", "<he", "<bo", "<p>")
            return Reply(200, text.encode(), f"text/{'html' if is_page else 'plain'}; charset=utf-8")

        return answer

    handlers = {
        int(name.removeprefix(prefix)): saying(text)
        for name, text in run.place.environment.items() for prefix in _PORTER
        if name.startswith(prefix) and name.removeprefix(prefix).isdigit()
    }  # fmt: skip
    secret = [int(name.removeprefix(_SECRET)) for name in run.place.environment if name.startswith(_SECRET)]
    context = own_context(run.place.wall or run.place.clock) if secret else None
    return await serve(run, handlers, secrets=dict.fromkeys(secret, context) if context else None)


async def grpc_health_checking(run: Run, arguments: list[str]) -> int:
    """A health service: the simulation's kubelet asks it for /grpc.health.v1.Health/Check over plain HTTP."""
    port, http_port = port_of(arguments, "port", 5000), port_of(arguments, "http-port", 8080)
    delay = port_of(arguments, "delay-unhealthy-sec", -1)
    began, forced = run.place.now(), list[bool]()

    async def check(question: Question) -> Reply:
        is_ill = 0 <= delay < (run.place.now() - began).total_seconds()
        serving = forced[-1] if forced else not is_ill
        return Reply(200, b"SERVING") if serving else Reply(503, b"NOT_SERVING")

    async def make(question: Question) -> Reply:
        forced.append(not urlsplit(question.path).path.endswith("not-serving"))
        return Reply(200, f"{(run.place.now() - began).total_seconds()}s".encode())

    return await serve(run, {port: check, http_port: make})


async def nettest(run: Run, arguments: list[str]) -> int:
    """One that counts who writes to it, and tells."""
    place, received = run.place, dict[str, int]()

    async def answer(question: Question) -> Reply:
        path = urlsplit(question.path).path
        if path == "/write":
            try:
                source = str(json.loads(question.body)["Source"])
            except (ValueError, KeyError, TypeError) as error:
                return Reply(400, f"error decoding request: {error}\n".encode())
            received[source] = received.get(source, 0) + 1
            return Reply(200, json.dumps({"Hostname": place.environment["HOSTNAME"]}).encode(), "application/json")
        if path == "/read":
            state = {
                "Hostname": place.environment["HOSTNAME"], "Sent": {}, "Received": received, "Errors": [], "Log": [],
                "StillContactingPeers": False,
            }  # fmt: skip
            return Reply(200, json.dumps(state).encode(), "application/json")
        if path == "/status":
            return Reply(200, b"pass")
        return Reply(404, b"404 page not found\n")

    return await serve(run, {port_of(arguments, "port", 8080): answer})


async def guestbook(run: Run, arguments: list[str]) -> int:
    """A store of words, its replicas that are told of each, and a front that asks them."""
    given = options_of(arguments)
    backend, book, replicas = port_of(arguments, "backend-port", _BOOK_PORT), dict[str, str](), list[str]()

    async def answer(question: Question) -> Reply:
        path, query = urlsplit(question.path).path, query_of(question)
        key, value = query.get("key", ""), query.get("value", "")
        if path == "/register":
            replicas.append(query.get("host", ""))
            return Reply(200, json.dumps({"data": book}).encode())
        if path == "/get":
            return Reply(200, json.dumps({"data": book.get(key, "") if key else book}, separators=(",", ":")).encode())
        if path == "/set":
            book[key] = value
            for replica in replicas:
                await run.place.reach().ask(replica, backend, Question("GET", question.path, (), b""), run.place)
            return Reply(200, b'{"message":"Updated"}')
        if path == "/guestbook":
            command = query.get("cmd", "").lower()
            host = "agnhost-replica" if command == "get" else "agnhost-primary"
            asked = Question("GET", f"/{command}?key={key}&value={value}", (), b"")
            return await run.place.reach().ask(host, backend, asked, run.place)
        return Reply(404, b"404 page not found\n")

    if primary := given.get("replicaof"):
        await _register(run, primary, backend, book)
    return await serve(run, {port_of(arguments, "http-port", 80): answer})


async def _register(run: Run, primary: str, backend: int, book: dict[str, str]) -> None:
    address = (run.place.pod.get("status") or {}).get("podIP", "")
    for _ in range(_REGISTER_TRIES):
        try:
            asked = Question("GET", f"/register?host={address}", (), b"")
            reply = await run.place.reach().ask(primary, backend, asked, run.place)
            book.update(json.loads(reply.body)["data"])
            return
        except OSError:
            await run.place.clock.sleep(_REGISTER_SECONDS)
