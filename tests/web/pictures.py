"""Draws README's pictures anew: `python -m tests.web.pictures`. Needs Chromium and the built UI, like the tests."""

import shutil
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]
FOLDER = ROOT / "web" / "pictures"
# The first of the three stories, with the bad image as its cause and everything that came of it.
PLACE = "/t?from=2026-11-23T08:03:30Z&to=2026-11-23T08:06:00Z&q=ns:shop"


def main() -> None:
    from playwright.sync_api import sync_playwright

    command = [str(Path(sys.executable).parent / "ksql"), "demo", "bad-image", "--no-browser"]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True, cwd=ROOT)
    try:
        assert process.stdout is not None
        link = next(word for line in process.stdout for word in line.split() if "/login#" in word)
        url = link.partition("/login#")[0]
        with sync_playwright() as playwright:
            browser = playwright.chromium.launch(executable_path=shutil.which("chromium"), args=["--no-sandbox"])
            context = browser.new_context(
                ignore_https_errors=True, viewport={"width": 1280, "height": 720}, color_scheme="dark"
            )
            page = context.new_page()
            page.goto(link)
            page.wait_for_url("**/t?**")
            page.goto(url + "/t?from=2026-11-23T08:00:00Z&sel=deployments.apps/shop/web&tab=suspects")
            page.get_by_role("button", name="Show on the timeline").first.click()
            page.get_by_role("tab", name="Then?").click()
            page.wait_for_load_state("networkidle")
            revision = page.url.partition("ev=")[2].partition("&")[0]
            page.goto(f"{url}{PLACE}&sel=deployments.apps/shop/web&ev={revision}&tab=then")
            page.get_by_role("list", name="What followed").get_by_role("listitem").nth(3).wait_for()
            page.wait_for_load_state("networkidle")
            page.mouse.move(640, 710)
            page.wait_for_timeout(500)
            FOLDER.mkdir(exist_ok=True)
            page.screenshot(path=str(FOLDER / "timeline.png"))
            browser.close()
    finally:
        process.terminate()
        process.wait(20)


if __name__ == "__main__":
    main()
