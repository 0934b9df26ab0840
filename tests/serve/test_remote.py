"""exec, attach and port-forward at the level of their protocols, broken frames and half-closed ends included."""

import asyncio
import base64
import contextlib
import json
import ssl
import struct
from urllib.parse import quote

import pytest
from websockets.asyncio.client import connect
from websockets.exceptions import ConnectionClosed, InvalidStatus

from ksql.serve import remote, spdy
from tests.serve.cluster import BOB, TOKEN, client_context, in_process, listening
from tests.serve.spdy_client import SpdyClient
from tests.serve.talk import talking

PODS = "/api/v1/namespaces/default/pods"
V5, V4, TUNNEL = "v5.channel.k8s.io", "v4.channel.k8s.io", "SPDY/3.1+portforward.k8s.io"


class Line:
    """A server over HTTPS with a pod `web`, and ways to talk to it."""

    def __init__(self, talk, listener, context: ssl.SSLContext) -> None:
        self.talk, self.listener, self.context = talk, listener, context

    def socket(self, path: str, *protocols: str, token: str = TOKEN):
        headers = {"authorization": f"Bearer {token}"}
        url = self.listener.url.replace("https", "wss") + f"{PODS}/{path}"
        return connect(
            url, ssl=self.context, subprotocols=list(protocols) or None, additional_headers=headers,
            compression=None, max_size=None,
        )  # fmt: skip

    @contextlib.asynccontextmanager
    async def raw(self, path: str, *protocols: str, method: str = "POST"):
        """A connection asked to upgrade to SPDY: its reader, its writer and the head of the answer."""
        reader, writer = await asyncio.open_connection("127.0.0.1", self.listener.port, ssl=self.context)
        lines = [
            f"{method} {PODS}/{path} HTTP/1.1", "host: x", f"authorization: Bearer {TOKEN}", "connection: Upgrade",
            "upgrade: SPDY/3.1", "content-length: 0", *(f"x-stream-protocol-version: {name}" for name in protocols),
        ]  # fmt: skip
        writer.write(("\r\n".join(lines) + "\r\n\r\n").encode())
        head = await reader.readuntil(b"\r\n\r\n")
        try:
            yield reader, writer, head.decode()
        finally:
            writer.close()

    @contextlib.asynccontextmanager
    async def tunnel(self, path: str):
        """SPDY in a WebSocket, past the network: the library at hand refuses the name of the protocol."""
        came, went = asyncio.Queue(), asyncio.Queue()
        scope = {
            "type": "websocket", "path": f"{PODS}/{path}", "query_string": b"", "subprotocols": [TUNNEL],
            "headers": [(b"authorization", f"Bearer {TOKEN}".encode())],
        }  # fmt: skip
        came.put_nowait({"type": "websocket.connect"})
        task = asyncio.create_task(self.talk.rooms.door(scope, came.get, went.put))
        assert (await went.get())["subprotocol"] == TUNNEL

        async def send(data: bytes) -> None:
            came.put_nowait({"type": "websocket.receive", "bytes": data})

        async def receive() -> bytes:
            return (await went.get()).get("bytes", b"")

        try:
            yield SpdyClient(send, receive)
        finally:
            came.put_nowait({"type": "websocket.disconnect", "code": 1005})
            await asyncio.wait_for(task, 10)

    @property
    def held(self) -> int:
        return self.talk.rooms.door.rest.streams.count

    async def refused(self, path: str, *protocols: str, token: str = TOKEN) -> dict:
        with pytest.raises(InvalidStatus) as caught:
            async with self.socket(path, *protocols, token=token):
                pass
        status = json.loads(caught.value.response.body)
        assert status["code"] == caught.value.response.status_code
        return status


@pytest.fixture
async def line(tmp_path):
    async with talking() as talk, listening(talk.rooms, tmp_path) as (listener, made):
        await talk.pod("web", {"name": "c", "ports": [{"containerPort": 8080}]})
        yield Line(talk, listener, client_context(made))


async def gathered(socket) -> dict[int, bytes]:
    """Everything by channel until the server closes."""
    found: dict[int, bytes] = {}
    with contextlib.suppress(ConnectionClosed):
        async with asyncio.timeout(10):
            while True:
                message = await socket.recv()
                found[message[0]] = found.get(message[0], b"") + message[1:]
    return found


def run(*words: str, ends: str = "stdout=true&stderr=true") -> str:
    return "web/exec?" + "&".join([*(f"command={quote(word)}" for word in words), ends])


async def test_a_command_over_v5_has_its_outputs_and_its_exit_code(line):
    async with line.socket(run("sh", "-c", "echo out; echo err >&2; exit 7"), V5, V4) as socket:
        assert socket.subprotocol == V5
        assert await socket.recv() == b"\x01"  # the first message says: you are through
        found = await gathered(socket)
        assert (found[1], found[2]) == (b"out\n", b"err\n")
        status = json.loads(found[3])
        assert status["reason"] == "NonZeroExitCode"
        assert status["details"]["causes"] == [{"reason": "ExitCode", "message": "7"}]
        assert socket.close_code == 1000
    assert line.held == 0


async def test_a_command_may_be_as_long_as_a_head(line):
    long = "a" * 60_000
    async with line.socket(run("echo", long), V5) as socket:
        assert (await gathered(socket))[1] == long.encode() + b"\n"


async def test_a_success_is_said_in_two_words(line):
    async with line.socket(run("true"), V4) as socket:
        assert json.loads((await gathered(socket))[3]) == {"metadata": {}, "status": "Success"}


async def test_standard_input_is_ended_by_v5s_close(line):
    async with line.socket(run("wc", "-c", ends="stdin=true&stdout=true"), V5) as socket:
        for _ in range(20):
            await socket.send(b"\x00" + b"x" * 30_000)
        await socket.send(b"\xff\x00")
        assert (await gathered(socket))[1] == b"600000\n"


async def test_the_base64_protocol_says_the_same_in_text(line):
    async with line.socket(run("cat", ends="stdin=true&stdout=true"), "v4.base64.channel.k8s.io") as socket:
        assert await socket.recv() == "1"
        await socket.send("0" + base64.b64encode(b"hi\n").decode())
        message = await socket.recv()
        assert message[0] == "1" and base64.b64decode(message[1:]) == b"hi\n"


async def test_without_a_subprotocol_failures_are_words(line):
    async with line.socket(run("sh", "-c", "exit 3")) as socket:
        found = await gathered(socket)
        assert b"non-zero exit code" in found[3] and b"{" not in found[3]
    async with line.socket(run("true"), "channel.k8s.io") as socket:
        assert 3 not in await gathered(socket)


async def test_refusals_before_the_socket_is_open_are_statuses(line):
    assert (await line.refused("none/exec?stdout=true&command=ls", V5))["message"] == 'pods "none" not found'
    nope = await line.refused(run("ls", ends="stdout=true&container=zz"), V5)
    assert nope["message"] == "container zz is not valid for pod web"
    ends = await line.refused("web/exec?command=ls", V5)
    assert ends["message"] == "you must specify at least 1 of stdin, stdout, stderr"
    spoken = await line.refused(run("ls"), "foo.example.com")
    assert spoken["code"] == 403 and "requested protocol(s) are not supported: [foo.example.com]" in spoken["message"]
    assert (await line.refused(run("ls"), V5, token="wrong"))["code"] == 401
    bob = await line.refused(run("ls"), V5, token=BOB)
    assert bob["code"] == 403 and 'cannot get resource "pods/exec"' in bob["message"]
    await line.talk.pod("early", nodeName="", phase="")
    early = await line.refused("early/exec?stdout=true&command=ls", V5)
    assert early["message"] == "pod early does not have a host assigned"
    assert line.held == 0


async def test_plain_http_is_told_to_upgrade(line):
    async with in_process(line.talk.rooms.door) as http:
        for sub in ("exec?stdout=true", "attach?stdout=true", "portforward"):
            for method in ("GET", "POST"):
                answer = await http.request(method, f"{PODS}/web/{sub}")
                assert (answer.status_code, answer.json()["message"]) == (400, "Upgrade request required")
        assert (await http.put(f"{PODS}/web/exec")).status_code == 405


async def test_a_command_that_is_not_there_and_a_container_that_does_not_run_are_told_at_the_end(line):
    async with line.socket(run("nope"), V5) as socket:
        status = json.loads((await gathered(socket))[3])
        assert status["reason"] == "InternalError" and '"nope": executable file not found' in status["message"]
    await line.talk.pod("done", restartPolicy="Never", phase="Succeeded", annotations={"run-seconds": "0"})
    async with line.socket("done/exec?stdout=true&command=ls", V5) as socket:
        assert 'container not found ("c")' in json.loads((await gathered(socket))[3])["message"]


@pytest.mark.parametrize(
    "message", [b"\x09hello", "text", b"\x04no json", b"\x04[]", b"\x04" + b"9" * 5000, b"\xff\x07", b""]
)
async def test_broken_messages_harm_nobody(line, message):
    """An unknown channel ends the conversation; what a channel cannot make sense of is passed over."""
    async with line.socket(run("cat", ends="stdin=true&stdout=true&tty=true"), V5) as socket:
        await socket.recv()
        await socket.send(message)
        with contextlib.suppress(ConnectionClosed):
            await socket.send(b"\x00still here\n")
            await socket.send(b"\xff\x00")
            found = await gathered(socket)
            assert b"still here" in found.get(1, b"") or socket.close_code == 1002
    await line.talk.until(lambda: line.held == 0)


async def test_a_client_that_leaves_ends_the_process(line):
    async with line.socket(run("sleep", "3600"), V5) as socket:
        await socket.recv()
        assert line.held == 1
    await line.talk.until(lambda: line.held == 0)
    async with line.socket(run("sleep", "3600"), V5) as socket:
        await socket.recv()
        socket.transport.abort()
    await line.talk.until(lambda: line.held == 0)


async def test_a_reader_that_stops_holds_up_its_process_and_no_memory(line):
    await line.talk.pod("loud")
    async with line.socket("loud/exec?stdout=true&command=seq&command=1&command=3000000", V5) as socket:
        await socket.recv()
        # The process cannot run ahead of what the network takes; were it gathered, it would be done by now.
        await line.talk.rooms.clock.sleep(0.3)
        assert line.held == 1
        socket.transport.abort()
    await line.talk.until(lambda: line.held == 0)


async def test_a_conversation_in_which_nothing_happens_ends(line, monkeypatch):
    monkeypatch.setattr(remote, "IDLE_SECONDS", 0.1)
    async with line.socket(run("sleep", "3600"), V5) as socket:
        assert 3 not in await gathered(socket)
    await line.talk.until(lambda: line.held == 0)


async def test_nobody_holds_more_conversations_than_they_may(line, monkeypatch):
    monkeypatch.setattr("ksql.serve.reach.STREAMS_PER_USER_MAX", 1)
    async with line.socket(run("sleep", "3600"), V5) as socket:
        await socket.recv()
        assert (await line.refused(run("true"), V5))["code"] == 429


async def test_a_terminal_echoes_prompts_and_is_interrupted(line):
    async with line.socket("web/exec?command=sh&stdin=true&stdout=true&tty=true", V5) as socket, asyncio.timeout(10):
        shown = b""

        async def until(text: bytes) -> None:
            nonlocal shown
            while text not in shown:
                shown += (await socket.recv())[1:]
            shown = shown.partition(text)[2]

        await until(b"/ # ")
        await socket.send(b'\x04{"Width":80,"Height":24}')
        await socket.send(b"\x00echp\x7fo hi\r")
        await until(b"echp\b \bo hi\r\nhi\r\n/ # ")
        await socket.send(b"\x00sleep 1000\r")
        await until(b"sleep 1000\r\n")
        await socket.send(b"\x00\x03")
        await until(b"^C\r\n/ # ")
        await socket.send(b"\x00exit 5\r")
        found = await gathered(socket)
        assert json.loads(found[3])["details"]["causes"][0]["message"] == "5"


async def test_attaching_shows_what_is_said_from_now_on(line):
    await line.talk.pod("says", annotations={"log": "word {n}", "log-seconds": "0.05"})
    async with line.socket("says/attach?stdout=true", V5) as socket:
        assert (await socket.recv(), (await socket.recv())[:6]) == (b"\x01", b"\x01word ")


async def test_a_containers_own_shell_is_held_by_whoever_attaches_and_its_end_is_the_pods(line):
    await line.talk.pod("talk", {"name": "c", "stdin": True, "command": ["sh"]}, restartPolicy="Never")
    async with line.socket("talk/attach?stdin=true&stdout=true&stderr=true", V5) as socket:
        await socket.recv()
        await socket.send(b"\x00echo $HOSTNAME; exit 4\n")
        found = await gathered(socket)
        assert found[1] == b"talk\n" and json.loads(found[3])["status"] == "Success"
    await line.talk.until(lambda: line.talk.status("talk")["phase"] == "Failed")
    ended = line.talk.status("talk")["containerStatuses"][0]["state"]["terminated"]
    assert ended["exitCode"] == 4
    async with in_process(line.talk.rooms.door) as http:
        assert (await http.get(f"{PODS}/talk/log")).text.startswith("talk\n")


async def test_a_log_is_read_over_a_websocket_too(line):
    await line.talk.pod("says", annotations={"log": "one\ntwo", "log-seconds": "never"})
    async with line.socket("says/log") as socket:
        assert await socket.recv() == b"one\ntwo\n"
        assert await gathered(socket) == {} and socket.close_code == 1000
    async with line.socket("says/log?follow=true", "base64.binary.k8s.io") as socket:
        assert base64.b64decode(await socket.recv()) == b"one\ntwo\n"
    await line.talk.until(lambda: line.held == 0)
    assert (await line.refused("says/log?container=x", "binary.k8s.io"))["message"] == (
        "container x is not valid for pod says"
    )


# Port-forward.


async def test_ports_over_channels_begin_with_their_number(line):
    async with line.socket("web/portforward?ports=8080&ports=81", V5, V4) as socket:
        assert socket.subprotocol == V4
        for channel, port in ((0, 8080), (1, 8080), (2, 81), (3, 81)):
            assert await socket.recv() == bytes((channel,)) + struct.pack("<H", port)
        assert b"connection refused" in await socket.recv()
        await socket.send(b"\x00GET /hostname HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n")
        found = await gathered(socket)
        assert found[0].endswith(b"\r\n\r\nweb")
    await line.talk.until(lambda: line.held == 0)


@pytest.mark.parametrize(
    ("query", "message"),
    [
        ("", 'query parameter "ports" is required'),
        ("?ports=x", 'unable to parse "x" as a port'),
        ("?ports=0", 'port "0" must be > 0'),
        ("?ports=70000", 'unable to parse "70000" as a port'),
        ("?" + "&".join(["ports=1"] * 65), "at most 64 ports can be forwarded by one request"),
    ],
)
async def test_ports_that_are_none_are_refused(line, query, message):
    assert (await line.refused(f"web/portforward{query}", V4))["message"] == message


async def test_spdy_in_a_tunnel_carries_many_connections(line):
    async with line.tunnel("web/portforward") as client, asyncio.timeout(10):
        for number in range(3):
            error = await client.open(streamtype="error", port="8080", requestid=str(number))
            await client.end(error)
            data = await client.open(streamtype="data", port="8080", requestid=str(number))
            await client.write(data, b"GET /n%d HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n" % number)
            await client.until(lambda data=data, error=error: {data, error} <= client.ended)
            assert client.data[data].endswith(b"web: GET /n%d\n" % number) and not client.data.get(error)
        error = await client.open(streamtype="error", port="81", requestid="9")
        data = await client.open(streamtype="data", port="81", requestid="9")
        await client.until(lambda: {data, error} <= client.ended)
        assert b"error forwarding port 81 to pod web" in client.data[error]
        await client.control(spdy.PING, struct.pack(">I", 7))
        await client.until(lambda: client.pongs)
        assert client.pongs == [struct.pack(">I", 7)]
    await line.talk.until(lambda: line.held == 0)


# SPDY over a raw connection, as clients before WebSockets speak it.


async def test_a_command_over_raw_spdy(line):
    path = run("sh", "-c", "cat; echo err >&2; exit 7", ends="stdin=true&stdout=true&stderr=true")
    async with line.raw(path, V5, V4) as (reader, writer, head), asyncio.timeout(10):
        assert head.startswith("HTTP/1.1 101 ") and "x-stream-protocol-version: v4.channel.k8s.io" in head.lower()

        async def send(data: bytes) -> None:
            writer.write(data)

        client = SpdyClient(send, lambda: reader.read(65536))
        ids = {name: await client.open(streamtype=name) for name in ("error", "stdin", "stdout", "stderr")}
        await client.write(ids["stdin"], b"hi" * 50_000)
        await client.end(ids["stdin"])
        await client.until(lambda: ids["error"] in client.ended)
        assert client.data[ids["stdout"]] == b"hi" * 50_000 and client.data[ids["stderr"]] == b"err\n"
        assert json.loads(client.data[ids["error"]])["details"]["causes"][0]["message"] == "7"
        assert client.replied == set(ids.values())
    await line.talk.until(lambda: line.held == 0)


async def test_a_refused_upgrade_is_a_status_and_the_end_of_its_connection(line):
    async with line.raw("none/exec?stdout=true&command=ls", V4) as (reader, _, head), asyncio.timeout(10):
        assert "404" in head.partition("\r\n")[0]
        assert b'pods \\"none\\" not found' in await reader.read()
    async with line.raw(run("ls"), "v9.channel.k8s.io") as (reader, _, head), asyncio.timeout(10):
        assert "403" in head.partition("\r\n")[0] and b"unable to negotiate protocol" in await reader.read()


@pytest.mark.parametrize(
    "garbage",
    [
        b"\x00" * 8, b"\xff" * 64, b"\x80\x02\x00\x01\x00\x00\x00\x0a" + b"x" * 10,
        b"\x80\x03\x00\x01\x00\xff\xff\xff", b"\x80\x03\x00\x01\x00\x00\x00\x0c" + b"x" * 12,
        b"\x80\x03\x00\x01\x00\x00\x00\x02xx", b"GET / HTTP/1.1\r\n\r\n",
    ],
)  # fmt: skip
async def test_what_is_no_spdy_ends_the_connection(line, garbage, monkeypatch):
    monkeypatch.setattr(remote, "OPENING_SECONDS", 0.2)
    async with line.raw(run("ls"), V4) as (reader, writer, _), asyncio.timeout(10):
        writer.write(garbage)
        assert await reader.read() == b""
    await line.talk.until(lambda: line.held == 0)


async def test_streams_that_nobody_asked_for_end_the_connection(line):
    async with line.raw(run("ls"), V4) as (reader, writer, _), asyncio.timeout(10):

        async def send(data: bytes) -> None:
            writer.write(data)

        client = SpdyClient(send, lambda: reader.read(65536))
        await client.open(streamtype="nonsense")
        await client.until(lambda: False)
    await line.talk.until(lambda: line.held == 0)


async def test_a_policy_may_forbid_commands_by_what_they_are(line):
    group = "admissionregistration.k8s.io"
    rules = [{"operations": ["CONNECT"], "apiGroups": [""], "apiVersions": ["v1"], "resources": ["pods/exec"]}]
    expression = "request.operation == 'CONNECT' && object.kind == 'PodExecOptions' && !('rm' in object.command)"
    spec = {"matchConstraints": {"resourceRules": rules}, "validations": [{"expression": expression}]}
    rooms = line.talk.rooms
    await rooms.make(f"validatingadmissionpolicies.{group}", {"metadata": {"name": "no-rm"}, "spec": spec})
    bound = {"metadata": {"name": "no-rm"}, "spec": {"policyName": "no-rm", "validationActions": ["Deny"]}}
    await rooms.make(f"validatingadmissionpolicybindings.{group}", bound)
    async with line.socket(run("echo", "fine"), V5) as socket:
        assert (await gathered(socket))[1] == b"fine\n"
    with pytest.raises(InvalidStatus) as refused:
        async with line.socket(run("rm", "-r", "x"), V5):
            pass
    assert refused.value.response.status_code == 422
    async with line.raw(run("rm", "x"), "v4.channel.k8s.io") as (_, _, head):
        assert head.startswith("HTTP/1.1 422 ")
