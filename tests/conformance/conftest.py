"""A cluster for each module of this folder, and shells to talk to it with a real kubectl."""

from collections.abc import Iterator

import pytest

from tests.conformance.shell import Shell, opened
from tests.support import kubectl as kubectls
from tests.support.server import Server, running


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    with running(tmp_path_factory.mktemp("cluster") / "data", "--nodes", "3") as server:
        yield server


@pytest.fixture
def kubectl(server: Server, request: pytest.FixtureRequest) -> Shell:
    """The newest kubectl, in a namespace that is the test's own."""
    newest = kubectls.newest()
    if newest is None:
        pytest.skip(kubectls.WHY_NOT)
    return opened(server, newest, request.node.name)
