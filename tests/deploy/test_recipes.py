"""How ksql is run: unprivileged, shut in, and with commands and options that it really has."""

import configparser
import inspect
import re
from pathlib import Path

from ksql.cli import up

DEPLOY = Path(__file__).parents[2] / "deploy"


def _options(command: str) -> set[str]:
    return set(re.findall(r"--([a-z-]+)", command))


def _known() -> set[str]:
    return {name.replace("_", "-") for name in inspect.signature(up).parameters}


def test_the_unit_runs_an_unprivileged_user_shut_in() -> None:
    unit = configparser.ConfigParser(strict=False, interpolation=None)
    unit.optionxform = str  # type: ignore[assignment, method-assign]
    unit.read_string((DEPLOY / "ksql.service").read_text())
    service = unit["Service"]
    assert service["User"] not in ("", "root", "0") and service["CapabilityBoundingSet"] == ""
    yes = (
        "NoNewPrivileges", "ProtectHome", "PrivateTmp", "PrivateDevices", "ProtectKernelModules", "RestrictNamespaces",
        "MemoryDenyWriteExecute", "RestrictSUIDSGID", "LockPersonality",
    )  # fmt: skip
    assert [service[name] for name in yes] == ["true"] * len(yes)
    assert service["ProtectSystem"] == "strict" and service["UMask"] == "0077"
    assert service["StateDirectory"] == "ksql" and "/var/lib/ksql" in service["ExecStart"]
    assert _options(service["ExecStart"]) <= _known()


def test_the_image_is_run_by_a_number_that_is_not_root_and_installs_what_is_locked() -> None:
    text = (DEPLOY / "Containerfile").read_text()
    (user,) = re.findall(r"^USER (\d+):(\d+)$", text, re.M)
    assert "0" not in user
    assert text.count("--require-hashes") == 2
    (command,) = re.findall(r"^CMD (.+)$", text, re.M)
    assert _options(command) <= _known()
    assert "USER" in text.partition("AS build")[2], "the last stage is not root's"
