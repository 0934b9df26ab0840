"""A KMS v2 plugin over gRPC as the root: asked at starts and rotations, and never for a write."""

import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from ksql.base.clock import SystemClock
from ksql.log import encryptionconfig, migrate
from ksql.log.objectkeys import wrapping_keys
from ksql.log.roots import RootError
from ksql.log.rotating import rotate
from ksql.log.vault import Vault
from tests.log.drafts import deciding, draft, stream
from tests.log.test_vault import MARKER, all_bytes, everything, opened, rows_of, values
from tests.support.kmsplugin import Plugin, serving


@pytest.fixture
def folder() -> Iterator[Path]:
    # A socket's path has room for some hundred characters.
    made = Path(tempfile.mkdtemp(prefix="ksql-kms-", dir="/tmp"))
    yield made
    shutil.rmtree(made)


@pytest.fixture
def plugin(folder: Path) -> Iterator[Plugin]:
    with serving(folder / "s") as plugin:
        yield plugin


def vault(folder: Path) -> Vault:
    kms: dict[str, Any] = {"apiVersion": "v2", "name": "own", "endpoint": f"unix://{folder / 's'}", "timeout": "500ms"}
    document = {
        "apiVersion": "apiserver.config.k8s.io/v1", "kind": "EncryptionConfiguration",
        "resources": [{"resources": ["secrets"], "providers": [{"kms": kms}]}],
    }  # fmt: skip
    return encryptionconfig.vault(encryptionconfig.read(yaml.safe_dump(document)))


async def test_writes_never_ask_the_plugin_and_a_start_asks_it_once(
    folder: Path, plugin: Plugin, tmp_path: Path
) -> None:
    url = f"sqlite:///{tmp_path}/ksql.db"
    migrate.migrate(url)
    async with opened(url, vault(folder)) as log:
        await log.append(deciding(draft(stream("a", "secrets"), value=MARKER)))
        plugin.asked.clear()
        await log.append(
            deciding(draft(stream("b", "secrets"), value=MARKER), draft(stream("c", "secrets"), value=MARKER))
        )
        assert plugin.asked == []
        assert MARKER.encode() not in await all_bytes(log)
    async with opened(url, vault(folder)) as log:
        plugin.asked.clear()
        assert values(await everything(log)) == [MARKER] * 3
        assert plugin.asked == ["Decrypt"]


async def test_another_key_of_the_plugin_asks_for_rotation(folder: Path, plugin: Plugin, tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path}/ksql.db"
    migrate.migrate(url)
    async with opened(url, vault(folder)) as log:
        await log.append(deciding(draft(stream("a", "secrets"), value=MARKER)))
        assert await rotate(log, SystemClock()) == 0
        plugin.rotate()
        assert await rotate(log, SystemClock()) == 1
        assert [row.root for row in await rows_of(log, wrapping_keys)] == ["kms:own:key-2"]
    del plugin.keys["key-1"]
    async with opened(url, vault(folder)) as log:
        assert values(await everything(log)) == [MARKER]


async def test_a_plugin_that_is_ill_or_away_is_named(folder: Path, plugin: Plugin, tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path}/ksql.db"
    migrate.migrate(url)
    plugin.health = "the HSM is on fire"
    with pytest.raises(RootError, match="'kms:own' is not well: the HSM is on fire"):
        async with opened(url, vault(folder)):
            pass
    plugin.health = "ok"
    async with opened(url, vault(folder)) as log:
        await log.append(deciding(draft(stream("a", "secrets"), value=MARKER)))
    plugin.keys = {"key-9": plugin.keys["key-1"]}
    async with opened(url, vault(folder)) as log:
        with pytest.raises(RootError, match="does not answer: no key key-1"):
            await everything(log)


async def test_nobody_at_the_socket_is_told_within_the_timeout(folder: Path, tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path}/ksql.db"
    migrate.migrate(url)
    with pytest.raises(RootError, match=r"'kms:own' at unix://.* does not answer"):
        async with opened(url, vault(folder)):
            pass
