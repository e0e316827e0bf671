"""Neovim fixtures: one instance of each version per module, on one engine."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:  # without pynvim, these tests are skipped
    from editors.neovim.editor import Editor
    from editors.neovim.engines import Engine


@pytest.fixture(params=["0.11", "0.12"], scope="module")
def version(request: pytest.FixtureRequest) -> str:
    from editors.neovim.editor import executable

    if executable(request.param) is None:
        pytest.skip(f"Neovim {request.param} is not installed; `make test-editors` does it")
    return request.param


@pytest.fixture(scope="module")
def engine(version: str) -> Iterator[Engine]:
    from editors.neovim.engines import engine_in_a_thread

    with engine_in_a_thread() as running:
        yield running


@pytest.fixture(scope="module")
def shared(version: str, engine: Engine, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Editor]:
    from editors.neovim.editor import neovim

    with neovim(version, tmp_path_factory.mktemp("project")) as opened:
        yield opened


@pytest.fixture
def editor(shared: Editor, engine: Engine) -> Iterator[Editor]:
    """Reset Neovim to its state after start-up."""
    engine.model.says({})
    yield shared
    shared.reset()
