"""The door under load: `python -m tests.bench.http [--tls] [--profile FILE] [get create pods patch watch fan list]`.

The server runs in a process of its own on a SQLite file; the load comes from this one, by a client that
does nothing but send prepared bytes and count what comes back, so that what is measured is the server.
"""

import argparse
import asyncio
import contextlib
import cProfile
import gc
import json
import os
import ssl
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path

import uvloop

from ksql.config import COLLECTOR_THRESHOLDS, SWITCH_SECONDS
from ksql.log.migrate import migrate
from ksql.schema.protobuf import writing as protobuf_write
from tests.serve.cluster import TOKEN, listening, rooms

PODS = 10_000
WATCHERS = int(os.environ.get("BENCH_WATCHERS", "200"))
SECONDS = 4.0
AUTHORIZATION = f"Authorization: Bearer {TOKEN}\r\n"
MAPS = "/api/v1/namespaces/default/configmaps"
# Not where the listed ones are.
PODS_PATH = "/api/v1/namespaces/kube-system/pods"
DEPLOYMENTS = "/apis/apps/v1/namespaces/default/deployments"
FAN_WATCHERS, FAN_CHANGES, FAN_SECONDS, FAN_WRITERS = 1_000, 200, 5.0, 16


async def serve(directory: Path, tls: bool) -> None:
    """The server's side: says its address, ends when its input does."""
    url = f"sqlite:///{directory / 'bench.db'}"
    migrate(url)
    async with rooms(url=url) as found, listening(found, directory) as (listener, _):
        if not tls:
            from ksql.serve.listen import Listener

            listener = Listener(found.door, "127.0.0.1", 0, None, found.door.close)
            await listener.start()
        gc.collect()
        gc.freeze()
        # As `ksql up` runs.
        gc.set_threshold(*COLLECTOR_THRESHOLDS)
        sys.setswitchinterval(SWITCH_SECONDS)
        print(listener.port, flush=True)
        profile = cProfile.Profile()
        if os.environ.get("BENCH_PROFILE"):
            profile.enable()
        await asyncio.get_running_loop().run_in_executor(None, sys.stdin.read)
        if os.environ.get("BENCH_PROFILE"):
            profile.disable()
            profile.dump_stats(os.environ["BENCH_PROFILE"])
        if not tls:
            await listener.aclose()


# Set by `main`: the process whose time is measured, and what the last load cost it.
server_pid, spent = 0, 0.0


Asking = Callable[[], bytes | None]


class Closed(asyncio.Protocol):
    """One client that asks again as soon as it is answered. `request` makes each request's bytes."""

    def __init__(self, request: Asking, took: list[float]) -> None:
        self._request, self._took = request, took
        self._head, self._missing = b"", 0
        self.done = asyncio.get_running_loop().create_future()
        self.bytes = 0
        self.bad = 0

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = transport
        self._ask()

    def _ask(self) -> None:
        data = self._request()
        if data is None:
            self._transport.close()
            self.done.done() or self.done.set_result(None)
            return
        self._at = time.perf_counter()
        self._transport.write(data)

    def connection_lost(self, error: Exception | None) -> None:
        self.done.done() or self.done.set_exception(error or ConnectionError("closed"))

    def data_received(self, data: bytes) -> None:
        self.bytes += len(data)
        if self._missing:
            self._missing -= len(data)
        else:
            data = self._head + data
            end = data.find(b"\r\n\r\n")
            if end < 0:
                self._head = data
                return
            self._head = b""
            self.bad += data[9:10] != b"2"
            at = data.index(b"content-length: ", 0, end) + 16
            self._missing = int(data[at : data.index(b"\r", at)]) - (len(data) - end - 4)
        if self._missing <= 0:
            self._took.append(time.perf_counter() - self._at)
            self._ask()


async def closed_loop(
    port: int, tls: ssl.SSLContext | None, clients: int, request: Asking, seconds: float = SECONDS
) -> tuple[list[float], int, float]:
    """Latencies, bytes received and how long it took."""
    took: list[float] = []
    loop = asyncio.get_running_loop()
    busy = cpu(server_pid)
    begun = time.perf_counter()
    end = begun + seconds

    def within() -> bytes | None:
        return request() if time.perf_counter() < end else None

    made = [(await loop.create_connection(lambda: Closed(within, took), "127.0.0.1", port, ssl=tls))[1]
            for _ in range(clients)]  # fmt: skip
    await asyncio.gather(*(client.done for client in made))
    assert not any(client.bad for client in made), "refused"
    global spent
    spent = cpu(server_pid) - busy
    return took, sum(client.bytes for client in made), time.perf_counter() - begun


def get(path: str, accept: str = "application/json") -> bytes:
    return f"GET {path} HTTP/1.1\r\nHost: bench\r\n{AUTHORIZATION}Accept: {accept}\r\n\r\n".encode()


def post(path: str, document: dict) -> bytes:
    return send("POST", path, json.dumps(document).encode())


def send(method: str, path: str, body: bytes, media: str = "application/json") -> bytes:
    head = (
        f"{method} {path} HTTP/1.1\r\nHost: bench\r\n{AUTHORIZATION}User-Agent: bench/1\r\n"
        f"Content-Type: {media}\r\nContent-Length: {len(body)}\r\n\r\n"
    )
    return head.encode() + body


def config_map(name: str, size: int = 2000) -> dict:
    text = (name * (size // len(name) + 1))[: size - 180]
    return {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": name}, "data": {"text": text}}


def pod(number: int) -> dict:
    container = {
        "name": "web", "image": "registry.example/web:1.2.3",
        "env": [{"name": f"VARIABLE_{n}", "value": f"value-{number}-{n}"} for n in range(10)],
        "resources": {"requests": {"cpu": "100m", "memory": "64Mi"}, "limits": {"memory": "128Mi"}},
        "volumeMounts": [{"name": "data", "mountPath": "/data"}],
    }  # fmt: skip
    labels = {"app": "web", "tier": "front", "shard": str(number % 50)}
    metadata = {"name": f"web-{number:05}", "labels": labels}
    spec = {"containers": [container], "volumes": [{"name": "data", "emptyDir": {}}]}
    return {"apiVersion": "v1", "kind": "Pod", "metadata": metadata, "spec": spec}


def typical_pod(name: str) -> dict:
    """What a workload's pod asks for: two containers, probes, resources, variables, volumes. 2.2 KB of JSON."""
    probe = {"httpGet": {"path": "/healthz", "port": 8080}, "periodSeconds": 10, "failureThreshold": 3}
    main = {
        "name": "web", "image": "registry.example/shop/web:1.2.3", "ports": [{"name": "http", "containerPort": 8080}],
        "env": [{"name": f"VARIABLE_{n}", "value": f"value-{n}"} for n in range(6)],
        "resources": {"requests": {"cpu": "100m", "memory": "64Mi"}, "limits": {"memory": "128Mi"}},
        "livenessProbe": probe, "readinessProbe": probe,
        "volumeMounts": [{"name": "data", "mountPath": "/data"}, {"name": "conf", "mountPath": "/etc/web"}],
        "securityContext": {"runAsNonRoot": True, "allowPrivilegeEscalation": False},
    }  # fmt: skip
    side = {"name": "proxy", "image": "registry.example/proxy:2.0", "args": ["--upstream", "127.0.0.1:8080"]}
    spec = {
        "containers": [main, side], "serviceAccountName": "default", "terminationGracePeriodSeconds": 30,
        "volumes": [{"name": "data", "emptyDir": {}}, {"name": "conf", "configMap": {"name": "web"}}],
        "nodeSelector": {"kubernetes.io/os": "linux"},
    }  # fmt: skip
    labels = {"app": "web", "tier": "front", "pod-template-hash": "6d4b75cb6d"}
    metadata = {"name": name, "labels": labels, "annotations": {"prometheus.io/scrape": "true"}}
    return {"apiVersion": "v1", "kind": "Pod", "metadata": metadata, "spec": spec}


def workload(name: str) -> dict:
    pod = typical_pod("x")
    template = {"metadata": {"labels": {"app": name}}, "spec": pod["spec"]}
    spec = {"replicas": 0, "selector": {"matchLabels": {"app": name}}, "template": template}
    return {"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": name}, "spec": spec}


def told(name: str, took: list[float], seconds: float) -> None:
    ordered = sorted(took)
    p50, p99 = statistics.median(ordered) * 1000, ordered[int(len(ordered) * 0.99)] * 1000
    print(f"{name:34} {len(took) / seconds:10,.0f}/s   p50 {p50:7.2f} ms   p99 {p99:7.2f} ms"
          f"   server {spent / len(took) * 1e6:7.0f} µs each", flush=True)  # fmt: skip


class Fill:
    """Prepared requests, each once."""

    def __init__(self, requests: list[bytes]) -> None:
        self._rest = iter(requests)

    def __call__(self) -> bytes | None:
        return next(self._rest, None)


async def bench_get(port: int, tls: ssl.SSLContext | None) -> None:
    await closed_loop(port, tls, 1, Fill([post(MAPS, config_map("one"))]), 60)
    asked = get(f"{MAPS}/one")
    for clients in (1, 64):
        took, _, seconds = await closed_loop(port, tls, clients, lambda: asked)
        told(f"GET, {clients} clients", took, seconds)


async def bench_create(port: int, tls: ssl.SSLContext | None) -> None:
    numbers = iter(range(10**9))
    for clients in (1, 64):
        took, _, seconds = await closed_loop(
            port, tls, clients, lambda: post(MAPS, config_map(f"map-{next(numbers):08}"))
        )
        told(f"durable create of 2 KB, {clients} clients", took, seconds)


async def bench_pods(port: int, tls: ssl.SSLContext | None) -> None:
    """Creates of a typical pod, full admission and managed fields; the two forms in turns."""
    numbers = iter(range(10**9))
    # Made beforehand, since encoding protobuf would be this process's time; each name in a fixed width.
    raw = protobuf_write.encode_body({"metadata": {}, **typical_pod("pod-00000000")})
    bodies = {
        "application/json": json.dumps(typical_pod("pod-00000000")).encode(),
        "application/vnd.kubernetes.protobuf": raw,
    }

    def asked(media: str) -> bytes:
        body = bodies[media].replace(b"pod-00000000", b"pod-%08d" % next(numbers))
        return send("POST", PODS_PATH, body, media)

    for _ in range(2):
        for media in bodies:
            took, _, seconds = await closed_loop(port, tls, 64, partial(asked, media))
            told(f"create a pod, {media.rpartition('.')[2].rpartition('/')[2]}, 64 clients", took, seconds)


async def bench_patch(port: int, tls: ssl.SSLContext | None) -> None:
    """Patches of 64 Deployments by 64 clients: an apply that changes nothing, a strategic patch that does."""
    names = [f"web-{number:02}" for number in range(64)]
    await closed_loop(port, tls, 8, Fill([post(DEPLOYMENTS, workload(name)) for name in names]), 60)
    applying = {name: json.dumps(workload(name)).encode() for name in names}
    turns = iter(range(10**9))

    def applied() -> bytes:
        name = names[next(turns) % len(names)]
        path = f"{DEPLOYMENTS}/{name}?fieldManager=bench&force=true"
        return send("PATCH", path, applying[name], "application/apply-patch+yaml")

    def patched() -> bytes:
        number = next(turns)
        containers = [{"name": "web", "image": f"registry.example/shop/web:{number}"}]
        body = json.dumps({"spec": {"template": {"spec": {"containers": containers}}}}).encode()
        path = f"{DEPLOYMENTS}/{names[number % len(names)]}"
        return send("PATCH", path, body, "application/strategic-merge-patch+json")

    await closed_loop(port, tls, 1, Fill([applied() for _ in names]), 60)
    head = await _revision(port, tls)
    took, _, seconds = await closed_loop(port, tls, 64, applied)
    told("apply without a change, 64 clients", took, seconds)
    assert await _revision(port, tls) == head, "an apply without a change was written"
    took, _, seconds = await closed_loop(port, tls, 64, patched)
    told("strategic patch, 64 clients", took, seconds)


async def _revision(port: int, tls: ssl.SSLContext | None) -> str:
    """The log's head, as a list says it."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port, ssl=tls)
    writer.write(get("/api/v1/namespaces/default/endpoints"))
    data = await reader.readuntil(b'"items"')
    writer.close()
    return data.partition(b'"resourceVersion":"')[2].partition(b'"')[0].decode()


class Counting(asyncio.BufferedProtocol):
    """A watcher as cheap as can be: counts the mark that each change has once, in a buffer that all share."""

    shared = bytearray(1 << 20)

    def __init__(self, request: bytes) -> None:
        self._sent, self.lines = request, 0
        self.ready = asyncio.get_running_loop().create_future()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = transport
        transport.write(self._sent)

    def get_buffer(self, hint: int) -> bytearray:
        return self.shared

    def buffer_updated(self, size: int) -> None:
        self.ready.done() or self.ready.set_result(None)
        self.lines += self.shared.count(b"~", 0, size)


class Lagging(asyncio.Protocol):
    """A watcher that notes how long after its sending each change arrived."""

    def __init__(self, request: bytes, lags: list[float]) -> None:
        self._sent, self._lags = request, lags
        self.lines, self._rest = 0, b""
        self.ready = asyncio.get_running_loop().create_future()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = transport
        transport.write(self._sent)

    def data_received(self, data: bytes) -> None:
        self.ready.done() or self.ready.set_result(None)
        now, data = time.perf_counter(), self._rest + data
        at = data.find(b"sent-at-")
        while at >= 0 and len(data) >= at + 28:
            self._lags.append(now - int(data[at + 8 : at + 28]) / 1e9)
            self.lines += 1
            at = data.find(b"sent-at-", at + 28)
        self._rest = data[at:] if at >= 0 else data[-7:]


async def bench_fan(port: int, tls: ssl.SSLContext | None, pid: int) -> None:
    """1,000 watchers of one kind, 200 changes a second of 2 KB: how late each change arrives."""
    loop, lags = asyncio.get_running_loop(), list[float]()
    # A collection in this process would be measured as lateness of the server.
    gc.collect()
    gc.disable()
    asked = get(f"{MAPS}?watch=true&resourceVersion={await _revision(port, tls)}")
    followers: list[Counting | Lagging] = []
    for number in range(FAN_WATCHERS):
        # A few note how late they are told: were it all of them, the noting would be what is measured.
        made = partial(Lagging, asked, lags) if number % 50 == 0 else partial(Counting, asked)
        followers.append((await loop.create_connection(made, "127.0.0.1", port, ssl=tls))[1])
    await asyncio.gather(*(follower.ready for follower in followers))
    # Writers take turns: one connection's requests wait for each other.
    opened = [await asyncio.open_connection("127.0.0.1", port, ssl=tls) for _ in range(FAN_WRITERS)]
    drained = [asyncio.create_task(reader.read(-1)) for reader, _ in opened]
    busy, begun = cpu(pid), time.perf_counter()
    count = int(FAN_SECONDS * FAN_CHANGES)
    for number in range(count):
        await asyncio.sleep(max(0.0, begun + number / FAN_CHANGES - time.perf_counter()))
        stamp = f"sent-at-{time.perf_counter_ns():020}"
        document = config_map(f"fan-{number:08}")
        document["metadata"]["labels"] = {"stamp": stamp}
        document["data"]["mark"] = "~"
        opened[number % FAN_WRITERS][1].write(post(MAPS, document))
    lasted = time.perf_counter() - begun
    deadline = time.perf_counter() + 20
    while sum(f.lines for f in followers) < count * FAN_WATCHERS and time.perf_counter() < deadline:  # noqa: ASYNC110
        await asyncio.sleep(0.01)
    delivered, core = sum(f.lines for f in followers), 100 * (cpu(pid) - busy) / (time.perf_counter() - begun)
    ordered = sorted(lags)
    p50, p99 = ordered[len(ordered) // 2] * 1000, ordered[int(len(ordered) * 0.99)] * 1000
    print(f"{FAN_WATCHERS} watchers, {count / lasted:.0f} changes/s: {delivered:,} of {count * FAN_WATCHERS:,} frames, "
          f"lag p50 {p50:.0f} ms p99 {p99:.0f} ms, server {core:.0f} % of a core", flush=True)  # fmt: skip
    for (_, writer), task in zip(opened, drained, strict=True):
        writer.close()
        task.cancel()
    for follower in followers:
        follower.transport.abort()


async def bench_list(port: int, tls: ssl.SSLContext | None) -> None:
    path = "/api/v1/namespaces/default/pods"
    await closed_loop(port, tls, 64, Fill([post(path, pod(n)) for n in range(PODS)]), 600)
    for name, accept, seconds in (
        ("LIST of 10,000 pods", "application/json", SECONDS),
        ("LIST as a table", "application/json;as=Table;v=v1;g=meta.k8s.io", SECONDS),
    ):
        asked = get(path, accept)
        took, size, lasted = await closed_loop(port, tls, 1, lambda asked=asked: asked, seconds)
        told(name, took, lasted)
        print(f"{'':34} {size / lasted / 1e6:10,.0f} MB/s   {size / len(took) / 1e6:.1f} MB each")


class Follower(asyncio.Protocol):
    """A watcher that counts what it is sent."""

    def __init__(self, request: bytes) -> None:
        self._sent = request
        self.bytes, self.lines = 0, 0
        self.ready = asyncio.get_running_loop().create_future()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = transport
        transport.write(self._sent)

    def data_received(self, data: bytes) -> None:
        self.ready.done() or self.ready.set_result(None)
        self.bytes += len(data)
        self.lines += data.count(b'{"type":')


async def bench_watch(port: int, tls: ssl.SSLContext | None, pid: int) -> None:
    loop = asyncio.get_running_loop()
    followers = []
    for _ in range(WATCHERS):
        asked = get("/api/v1/namespaces/default/secrets?watch=true&resourceVersion=1")
        made = partial(Follower, asked)
        _, follower = await loop.create_connection(made, "127.0.0.1", port, ssl=tls)
        followers.append(follower)
    await asyncio.gather(*(follower.ready for follower in followers))
    numbers = iter(range(10**9))

    def secret() -> bytes:
        document = config_map(f"secret-{next(numbers):08}")
        document |= {"kind": "Secret", "data": {}, "stringData": document["data"]}
        return post("/api/v1/namespaces/default/secrets", document)

    for clients in (1, 16):
        before, busy = sum(f.lines for f in followers), cpu(pid)
        took, _, seconds = await closed_loop(port, tls, clients, secret)
        wanted = before + len(took) * WATCHERS
        deadline = time.perf_counter() + 20
        while sum(f.lines for f in followers) < wanted and time.perf_counter() < deadline:  # noqa: ASYNC110
            await asyncio.sleep(0.01)
        lasted = seconds
        delivered = sum(f.lines for f in followers) - before
        told(f"create beside {WATCHERS} watchers, {clients} cl.", took, lasted)
        wanted_rate, core = len(took) * WATCHERS / lasted, 100 * (cpu(pid) - busy) / lasted
        print(f"{'':34} {delivered / lasted:10,.0f} frames delivered/s of {wanted_rate:,.0f}, "
              f"server {core:.0f} % of a core")  # fmt: skip
    for follower in followers:
        follower.transport.abort()


def cpu(pid: int) -> float:
    """Processor seconds a process has used."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


async def main(names: list[str], tls: bool, port: int, pid: int) -> None:
    global server_pid
    server_pid, context = pid, None
    if tls:
        context = ssl.create_default_context()
        context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    if "get" in names:
        await bench_get(port, context)
    if "create" in names:
        await bench_create(port, context)
    if "pods" in names:
        await bench_pods(port, context)
    if "patch" in names:
        await bench_patch(port, context)
    if "fan" in names:
        await bench_fan(port, context, pid)
    if "watch" in names:
        await bench_watch(port, context, pid)
    if "list" in names:
        await bench_list(port, context)


def run() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("names", nargs="*", default=["get", "create", "pods", "patch", "fan", "watch", "list"])
    parser.add_argument("--tls", action="store_true")
    parser.add_argument("--profile", default="", metavar="FILE", help="where the server leaves a cProfile")
    parser.add_argument("--serve", default="", help=argparse.SUPPRESS)
    given = parser.parse_args()
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        if given.serve:
            runner.run(serve(Path(given.serve), given.tls))
            return
        with tempfile.TemporaryDirectory(prefix="ksql-bench-") as directory:
            server = subprocess.Popen(
                [sys.executable, "-m", "tests.bench.http", "--serve", directory, *["--tls"] * given.tls],
                stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
                env={**os.environ, "BENCH_PROFILE": given.profile},
            )  # fmt: skip
            try:
                port = int(server.stdout.readline())
                runner.run(main(given.names, given.tls, port, server.pid))
            finally:
                with contextlib.suppress(BrokenPipeError):
                    server.stdin.close()
                server.wait(timeout=30)


if __name__ == "__main__":
    run()
