"""The UI's own checks: types, lint and unit tests, as `npm run check` runs them."""

import shutil
import subprocess
from pathlib import Path

import pytest

WEB = Path(__file__).parents[2] / "web"


@pytest.mark.timeout(300)
def test_the_uis_types_lint_and_unit_tests_hold() -> None:
    if shutil.which("npm") is None:
        pytest.skip("npm is not installed")
    if not (WEB / "node_modules").exists():
        pytest.skip("the UI's packages are not installed: make web")
    done = subprocess.run(["npm", "run", "--silent", "check"], cwd=WEB, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout[-4000:] + done.stderr[-4000:]


def test_the_lock_file_names_no_address() -> None:
    assert "resolved" not in (WEB / "package-lock.json").read_text()
