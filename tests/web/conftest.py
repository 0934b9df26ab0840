"""Chromium, and recordings of incidents to look at in it. Both are found or the tests say what is missing."""

import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parents[2]
KSQL = Path(sys.executable).parent / "ksql"
ARTIFACTS = ROOT / "build" / "window"
# How long a recording may take to be played on a busy machine.
READY_SECONDS_MAX = 100.0


class Demo:
    """A recording that is served: where, and the link that lets a browser in."""

    def __init__(self, process: subprocess.Popen[str]) -> None:
        self.process, self.link = process, ""
        assert process.stdout is not None
        ends = time.monotonic() + READY_SECONDS_MAX
        while not self.link and time.monotonic() < ends:
            line = process.stdout.readline()
            assert line, "the demonstration ended before it began"
            self.link = next((word for word in line.split() if "/login#" in word), "")
        self.url = self.link.partition("/login#")[0]


@pytest.fixture(scope="session")
def demos() -> Iterator[Callable[..., Demo]]:
    """Serves incidents, each once for all tests that look at it."""
    served: dict[tuple[str, ...], Demo] = {}

    def serve(*names: str) -> Demo:
        if names not in served:
            process = subprocess.Popen(
                [str(KSQL), "demo", *names, "--no-browser", "--listen", "127.0.0.1:0"],
                stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True, cwd=ROOT,
            )  # fmt: skip
            served[names] = Demo(process)
        return served[names]

    yield serve
    for demo in served.values():
        demo.process.terminate()
        demo.process.wait(20)


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    """Closed with its module: while it runs, this thread's event loop is Playwright's, and other tests have theirs."""
    sync_api = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")
    chromium = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
    if chromium is None:
        pytest.skip("there is no Chromium on the PATH: apt-get install chromium")
    if not (ROOT / "ksql" / "_web" / "index.html").exists():
        pytest.skip("the web UI is not built: make web")
    with sync_api.sync_playwright() as playwright:
        # Root has no sandbox to give away; the pages are our own.
        running = playwright.chromium.launch(executable_path=chromium, args=["--no-sandbox"])
        yield running
        running.close()


class Visit:
    """A window on a served cluster, with what it asked for and what went wrong in it."""

    def __init__(self, context: Any, demo: Demo) -> None:
        self.context, self.demo = context, demo
        self.page = context.new_page()
        self.asked: list[str] = []
        self.faults: list[str] = []
        self.page.on("request", lambda request: self.asked.append(request.url))
        self.page.on("pageerror", lambda error: self.faults.append(str(error)))
        self.page.on("console", self._heard)

    def _heard(self, message: Any) -> None:
        # What the server refuses shows as an error of the network too; screens are what is tested then.
        if message.type == "error" and "Failed to load resource" not in message.text:
            self.faults.append(message.text)

    def go(self, path: str) -> Any:
        self.page.goto(self.demo.url + path)
        return self.page

    def shot(self, name: str) -> None:
        ARTIFACTS.mkdir(parents=True, exist_ok=True)
        self.page.screenshot(path=str(ARTIFACTS / f"{name}.png"))


@pytest.fixture(scope="session")
def states() -> dict[str, Any]:
    """The cookies of each served recording: its link is good once."""
    return {}


@pytest.fixture
def visit(browser: Any, demos: Callable[..., Demo], states: dict[str, Any]) -> Iterator[Callable[..., Visit]]:
    """Opens windows as the administrator of a recording."""
    contexts = []

    def opened(*names: str, **options: Any) -> Visit:
        demo = demos(*names)
        if demo.url not in states:
            context = browser.new_context(ignore_https_errors=True)
            page = context.new_page()
            page.goto(demo.link)
            page.wait_for_url("**/t?**")
            states[demo.url] = context.storage_state()
            context.close()
        size = options.pop("viewport", {"width": 1440, "height": 900})
        context = browser.new_context(
            ignore_https_errors=True, viewport=size, storage_state=states[demo.url], **options
        )
        contexts.append(context)
        context.set_default_timeout(20_000)
        return Visit(context, demo)

    yield opened
    for context in contexts:
        context.close()
