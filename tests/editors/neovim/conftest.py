"""Neovims for tests: one of each version for a module's tests, on one engine."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

pytest.importorskip("pynvim", reason="`make test-editors` installs what these tests need")

from editors.neovim.editor import VERSIONS, Editor, executable, neovim  # noqa: E402
from editors.neovim.engines import Engine, engine_in_a_thread  # noqa: E402


@pytest.fixture(params=VERSIONS, scope="module")
def version(request: pytest.FixtureRequest) -> str:
    if executable(request.param) is None:
        pytest.skip(f"Neovim {request.param} is not installed; `make test-editors` does it")
    return request.param


@pytest.fixture(scope="module")
def engine(version: str) -> Iterator[Engine]:
    with engine_in_a_thread() as running:
        yield running


@pytest.fixture(scope="module")
def shared(version: str, engine: Engine, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Editor]:
    with neovim(version, tmp_path_factory.mktemp("project")) as opened:
        yield opened


@pytest.fixture
def editor(shared: Editor, engine: Engine) -> Iterator[Editor]:
    """As if it had just been started."""
    engine.model.says({})
    yield shared
    shared.reset()
