"""The kubectls on this machine: the one on the PATH, and those of other minors that lie beside it."""

import functools
import json
import os
import re
import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path

OLDEST = 27
# Where distributions keep kubectls of several minors.
FOLDERS = (Path("/usr/lib/google-cloud-sdk/bin"), Path("/usr/local/bin"), Path("/usr/bin"))
SECONDS = 60.0
WHY_NOT = f"no kubectl of 1.{OLDEST} or newer on this machine"


@dataclass(frozen=True)
class Kubectl:
    """One kubectl and the configuration it uses."""

    path: Path
    minor: int
    kubeconfig: Path | None = None

    def __str__(self) -> str:
        return f"1.{self.minor}"

    def at(self, kubeconfig: Path) -> "Kubectl":
        return Kubectl(self.path, self.minor, kubeconfig)

    def environment(self, **more: str) -> dict[str, str]:
        assert self.kubeconfig is not None
        # A home of its own: kubectl keeps discovery there, and that of another server would confuse it.
        home = str(self.kubeconfig.parent / f"home-{self.minor}")
        return {"PATH": os.environ["PATH"], "HOME": home, "KUBECONFIG": str(self.kubeconfig), **more}

    def run(
        self, *arguments: str, input: str = "", check: bool = True, **env: str
    ) -> subprocess.CompletedProcess[str]:
        """Run it to its end; what it said on stderr is shown when it fails."""
        done = subprocess.run(
            [str(self.path), *arguments], input=input, capture_output=True, text=True, timeout=SECONDS,
            env=self.environment(**env),
        )  # fmt: skip
        if check:
            assert done.returncode == 0, f"kubectl {' '.join(arguments)}: {done.stdout}{done.stderr}"
        return done

    def start(self, *arguments: str) -> "subprocess.Popen[str]":
        """Run it beside the test; the caller ends it."""
        return subprocess.Popen(
            [str(self.path), *arguments], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
            env=self.environment(),
        )  # fmt: skip


@functools.cache
def found() -> tuple[Kubectl, ...]:
    """Every kubectl of a new enough minor, oldest first; of several with one minor the first."""
    paths = [path for folder in FOLDERS if folder.is_dir() for path in sorted(folder.glob("kubectl.1.*"))]
    if on_path := shutil.which("kubectl"):
        paths.append(Path(on_path))
    known: dict[int, Kubectl] = {}
    for path in paths:
        minor = _minor(path)
        if minor >= OLDEST:
            known.setdefault(minor, Kubectl(path, minor))
    return tuple(known[minor] for minor in sorted(known))


def newest() -> Kubectl | None:
    return found()[-1] if found() else None


def _minor(path: Path) -> int:
    try:
        done = subprocess.run(
            [str(path), "version", "--client", "-o", "json"], capture_output=True, timeout=SECONDS, check=True
        )
        minor = json.loads(done.stdout)["clientVersion"]["minor"]
        return int(re.match(r"\d+", minor).group())  # type: ignore[union-attr]
    except (OSError, subprocess.SubprocessError, ValueError, KeyError, AttributeError):
        return 0
