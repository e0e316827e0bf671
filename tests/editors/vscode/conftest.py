"""VS Code fixtures: one VS Code with one window for all tests, and a scripted engine."""

from __future__ import annotations

import os
import shutil
import tempfile
import threading
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest
import pytest_asyncio
from fakes.scripted_model import ScriptedModel
from support.code_server import Vscode, missing, program, vscode
from support.fixtures_engine import RunningService, serving
from support.vscode_window import START, VscodeWindow

from inference.models.adapter_store import FOLDER_VARIABLE
from inference.system.runtime_folder import runtime_folder
from lsp_server.backend.allowed_servers import LOCAL, URL_VARIABLE
from lsp_server.prompts import templates
from lsp_server.usage_statistics import storage

SETTINGS = {"codellama.completion.prefetch": False, "codellama.completion.alternatives": 1}


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Skip all tests of this folder without VS Code."""
    here, why = Path(__file__).parent, missing()
    for item in items:
        if why and item.path.is_relative_to(here):
            item.add_marker(pytest.mark.skip(reason=why))


@pytest.fixture(scope="session")
def home() -> Iterator[Path]:
    """A home folder with a path short enough for sockets."""
    folder = Path(tempfile.mkdtemp(prefix="vsc-"))
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("XDG_RUNTIME_DIR", str(folder))
        patch.setenv(FOLDER_VARIABLE, f"{folder}/adapters")
        patch.setenv(storage.FOLDER_VARIABLE, f"{folder}/statistics")
        patch.setenv(URL_VARIABLE, LOCAL)
        patch.setenv(templates.FOLDER_VARIABLE, f"{folder}/prompts")
        yield folder
    shutil.rmtree(folder, ignore_errors=True)


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def service(home: Path) -> AsyncIterator[RunningService]:
    async with serving(runtime_folder(), ScriptedModel(chat_name="chat")) as running:
        yield running


def without_ours(path: str) -> str:
    """Return PATH without folders that hold an installed language server."""
    return ":".join(folder for folder in path.split(":") if not Path(folder, "codellama-ls").exists())


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def code(home: Path, service: RunningService) -> AsyncIterator[Vscode]:
    settings = {**SETTINGS, "codellama.server.path": str(program(home))}
    async with vscode(home, settings, {"PATH": without_ours(os.environ["PATH"])}) as running:
        yield running


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def window(home: Path, code: Vscode) -> VscodeWindow:
    """A window on ``folder`` with a language server connected to the engine."""
    (home / "project").mkdir()
    opened = await code.window(home / "project")
    await opened.see('.statusbar-item[aria-label*="Code Llama"] .codicon-sparkle', START)
    return opened


@pytest.fixture(scope="session")
def folder(home: Path) -> Path:
    """The folder of the window."""
    return home / "project"


@pytest.fixture
def engine(service: RunningService) -> Iterator[ScriptedModel]:
    """The scripted model, reset for one test."""
    said = service.answerer
    assert isinstance(said, ScriptedModel)
    said.pieces, said.answers, said.by_seed, said.hold = ["a", "b"], [], {}, False
    said.go, said.began, said.closed = threading.Event(), threading.Event(), threading.Event()
    said.log.clear()
    said.asked.clear()
    yield said
    said.go.set()
