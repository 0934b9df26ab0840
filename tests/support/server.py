"""`ksql up` as a process of its own, as a user would start it, and the ways to talk to it."""

import contextlib
import json
import os
import re
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx

from ksql.kubeconfig import load

KSQL = Path(sys.executable).with_name("ksql")
READY_SECONDS = 60.0
STOP_SECONDS = 30.0


def until(claim: Callable[[], Any], within: float = 60.0, every: float = 0.1) -> Any:
    """Ask until the answer is truthy, and give it; the last answer or error is shown when it never is."""
    deadline, last = time.monotonic() + within, None
    while time.monotonic() < deadline:
        try:
            if last := claim():
                return last
        except (AssertionError, KeyError, IndexError, httpx.HTTPError, subprocess.CalledProcessError) as error:
            last = error
        time.sleep(every)
    raise AssertionError(f"not within {within} s; last: {last!r} {getattr(last, 'stderr', '')}")


@dataclass
class Server:
    """A running server. `output` is what it printed so far."""

    data: Path
    process: subprocess.Popen[str]
    started: float
    output: list[str] = field(default_factory=list)
    seconds_to_ready: float = 0.0

    @property
    def kubeconfig(self) -> Path:
        return self.data / "kubeconfig"

    def http(self) -> httpx.Client:
        """An HTTPS client as the administrator."""
        config = load(self.kubeconfig)
        return httpx.Client(base_url=config.server, verify=config.ssl_context(), timeout=30)

    def graphql(self, query: str, **variables: Any) -> Any:
        with self.http() as client:
            answer = client.post("/graphql", json={"query": query, "variables": variables}).json()
        assert "errors" not in answer, answer
        return answer["data"]

    def ksql(self, *arguments: str, check: bool = True) -> subprocess.CompletedProcess[str]:
        """The command line against this server."""
        return subprocess.run(
            [KSQL, *arguments], capture_output=True, text=True, check=check, timeout=60,
            env={**os.environ, "KUBECONFIG": str(self.kubeconfig), "NO_COLOR": "1", "COLUMNS": "200"},
        )  # fmt: skip

    def text(self) -> str:
        return "".join(self.output)

    def stop(self, how: signal.Signals = signal.SIGTERM) -> int:
        """Ask it to end and wait; its exit code."""
        if self.process.poll() is None:
            self.process.send_signal(how)
        return self.process.wait(timeout=STOP_SECONDS)


def start(data: Path, *arguments: str, env: dict[str, str] | None = None) -> Server:
    """Start `ksql up` on a free port and wait until it says it is ready."""
    started = time.monotonic()
    process = subprocess.Popen(
        [KSQL, "up", "--data", str(data), "--listen", "127.0.0.1:0", *arguments],
        stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, env={**os.environ, **(env or {})},
    )  # fmt: skip
    server = Server(data, process, started)
    ready = threading.Event()

    def collect() -> None:
        assert process.stdout is not None
        for line in process.stdout:
            server.output.append(line)
            if re.search(r"\bis ready\b", line):
                server.seconds_to_ready = time.monotonic() - started
                ready.set()
        ready.set()

    threading.Thread(target=collect, daemon=True).start()
    if not ready.wait(READY_SECONDS) or not server.seconds_to_ready:
        process.kill()
        process.wait()
        raise AssertionError(f"ksql up was not ready: {server.text()}")
    return server


@contextlib.contextmanager
def running(data: Path, *arguments: str) -> Iterator[Server]:
    """A server for the length of a test, ended whatever happens."""
    server = start(data, *arguments)
    try:
        yield server
    finally:
        if server.process.poll() is None:
            with contextlib.suppress(subprocess.TimeoutExpired):
                server.stop()
        if server.process.poll() is None:
            server.process.kill()
            server.process.wait()


def parsed(text: str) -> Any:
    return json.loads(text)
