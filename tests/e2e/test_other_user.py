"""Another user of the machine can neither read our files nor use our sockets."""

from __future__ import annotations

import asyncio
import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import psutil
import pytest
from fakes.scripted_model import ScriptedModel
from fakes.tiny_llama import save_checkpoint
from support.editor_session import editor_session
from support.fixtures_engine import serving

from inference.commands import pull_command
from inference.models import adapter_store, store
from inference.system.runtime_folder import read_or_create_token, runtime_folder
from lsp_server.usage_statistics import storage
from lsp_server.usage_statistics.storage import StatisticsStore, SuggestionRow

pytestmark = pytest.mark.skipif(os.getuid() != 0, reason="only root can act as another user")

NOBODY = 65534

INTRUDER = """
import json, os, socket, sys
os.setgroups([]); os.setgid({nobody}); os.setuid({nobody})

def reached(path):
    try:
        if os.path.isdir(path):
            return bool(os.listdir(path)) or True
        with open(path, "rb") as file:
            return True
    except PermissionError:
        pass
    except OSError:
        pass
    try:
        with socket.socket(socket.AF_UNIX) as peer:
            peer.connect(path)
            peer.settimeout(10)
            peer.sendall(b"GET /stats HTTP/1.1\\r\\nhost: engine\\r\\n\\r\\n")
            return bool(peer.recv(1))
    except OSError:
        return False

print(json.dumps([path for path in json.load(sys.stdin) if reached(path)]))
"""
"""Read paths, drop privileges, and print the paths that could be listed, read or connected to."""


def reached(paths: list[Path]) -> list[Path]:
    program = INTRUDER.format(nobody=NOBODY)
    asked = json.dumps([str(path) for path in paths])
    done = subprocess.run([sys.executable, "-c", program], input=asked, capture_output=True, text=True, check=True)
    return [Path(path) for path in json.loads(done.stdout)]


@pytest.fixture
def open_house(monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A home folder that all users may enter, and a umask that makes new files readable by all."""
    folder = Path(tempfile.mkdtemp(prefix="cls-"))
    folder.chmod(0o755)
    for name in ("CACHE_HOME", "DATA_HOME", "STATE_HOME", "RUNTIME_DIR"):
        (folder / name).mkdir(mode=0o755)
        monkeypatch.setenv(f"XDG_{name}", str(folder / name))
    monkeypatch.delenv(store.FOLDER_VARIABLE, raising=False)
    monkeypatch.delenv(adapter_store.FOLDER_VARIABLE, raising=False)
    monkeypatch.delenv(storage.FOLDER_VARIABLE, raising=False)
    old = os.umask(0)
    yield folder
    os.umask(old)
    shutil.rmtree(folder, ignore_errors=True)


def everything(folder: Path) -> list[Path]:
    """Return every file and folder created by the program."""
    return [path for own in folder.glob("*/codellama-ls") for path in (own, *own.rglob("*"))]


@pytest.mark.slow
async def test_other_user_can_read_no_file_and_use_no_socket(open_house: Path, tmp_path: Path):
    """A real editor session creates everything: socket, token, lock, log, records, settings, models, packed weights,
    the compiled library, adapters, their workspaces and the statistics.
    """
    assert (
        pull_command.main([str(save_checkpoint(tmp_path / "tiny", sentinels=True)), "--as", "tiny"]) == pull_command.OK
    )
    added = tmp_path / "adapter"
    added.mkdir()
    (added / "adapter_config.json").write_text('{"peft_type": "LORA"}')
    (added / "adapter_model.safetensors").touch()
    adapter_store.add(added, "mine")
    adapter_store.enable("mine", tmp_path)
    settings = {"engine": {"model": "tiny", "graceSeconds": 1}}
    async with editor_session(settings=settings) as editor:
        engine = psutil.Process(next(status.pid for status in reversed(editor.statuses) if status.pid))
        editor.open("x = ")
        await editor.inline(0, 4)
        read_or_create_token(runtime_folder() / "engine.token")
        statistics = StatisticsStore()
        statistics.write(
            [(SuggestionRow(1, time.time(), "python", "tiny", True, 1.0, 2), True)]
        )  # still open, so its write-ahead log exists
        made = everything(open_house)
        control = open_house / "control"
        control.write_text("for everybody")
        found = await asyncio.to_thread(reached, [*made, control])
    with suppress(psutil.NoSuchProcess):
        await asyncio.to_thread(engine.wait, 30)
    statistics.close()
    assert found == [control]
    names = {path.name for path in made}
    assert {"engine.sock", "engine.token", "engine.lock", "engine.log", "requests.jsonl", "settings.json"} <= names
    assert {"statistics.sqlite3", "statistics.sqlite3-wal"} <= names
    assert {"models", "tiny", "config.json", "mine", "adapter_config.json", ".enabled.json"} <= names


async def test_engine_refuses_other_users_on_a_world_writable_socket(runtime: Path):
    """A second line of defence: the kernel reports the peer's user."""
    async with serving(runtime, ScriptedModel()) as engine:
        for path, mode in ((runtime.parent, 0o755), (runtime, 0o755), (engine.socket, 0o666)):
            path.chmod(mode)
        assert await asyncio.to_thread(reached, [engine.socket, runtime]) == [runtime]
