"""What users install: the wheel carries the migrations, the SDL and the operations, and no test."""

import subprocess
import sys
import zipfile
from pathlib import Path

ROOT = Path(__file__).parents[2]


def test_the_wheel_is_whole(tmp_path: Path) -> None:
    subprocess.run(
        [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(tmp_path)],
        cwd=ROOT, check=True, capture_output=True, text=True,
    )  # fmt: skip
    (wheel,) = tmp_path.glob("*.whl")
    names = zipfile.ZipFile(wheel).namelist()
    sources = {str(p.relative_to(ROOT)) for p in (ROOT / "ksql").rglob("*.py")}
    assert sources <= set(names)
    for folder, place in (("migrations", "ksql/_migrations"), ("graphql", "ksql/_graphql")):
        wanted = {
            f"{place}/{p.relative_to(ROOT / folder)}"
            for p in (ROOT / folder).rglob("*")
            if p.is_file() and "__pycache__" not in p.parts
        }
        assert wanted and wanted <= set(names), wanted - set(names)
    assert not [name for name in names if name.startswith("tests") or "__pycache__" in name]
