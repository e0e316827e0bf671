"""The settings saved for the doctor: in a private file, and never blocking an editor session."""

from __future__ import annotations

import json
import stat

import pytest

from lsp_server import settings
from lsp_server.settings import EngineSettings, SavedSettings


def test_saved_settings_are_private_and_can_be_read(runtime):
    engine = EngineSettings(model="codellama-7b", chat_model="codellama-7b-instruct", format="nf4", context=4096)
    settings.save(engine, ["Setting 'x' is unknown."])
    assert settings.last_saved() == SavedSettings(engine, ("Setting 'x' is unknown.",))
    (file,) = runtime.iterdir()
    assert stat.S_IMODE(file.stat().st_mode) == 0o600


@pytest.mark.parametrize("content", ["", "[]", "{}", json.dumps({"engine": {"model": "a"}, "problems": []})])
def test_invalid_file_is_ignored(runtime, content):
    assert settings.last_saved() is None
    (runtime / settings.FILE).write_text(content)
    assert settings.last_saved() is None


def test_unwritable_folder_is_ignored(tmp_path, monkeypatch):
    (tmp_path / "codellama-ls").write_text("a file, not a folder")
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(tmp_path))
    settings.save(EngineSettings(), [])
    assert settings.last_saved() is None
