"""What the last window was set to, for the doctor: in a file of the user's own, and never in the way of a window."""

from __future__ import annotations

import json
import stat

import pytest

from lsp_server import settings_kept
from lsp_server.settings import EngineSettings
from lsp_server.settings_kept import Kept


def test_what_is_kept_comes_back_and_is_the_users_alone(runtime):
    engine = EngineSettings(model="codellama-7b", chat_model="codellama-7b-instruct", format="nf4", context=4096)
    settings_kept.keep(engine, ["Setting 'x' is unknown."])
    assert settings_kept.last() == Kept(engine, ("Setting 'x' is unknown.",))
    (file,) = runtime.iterdir()
    assert stat.S_IMODE(file.stat().st_mode) == 0o600


@pytest.mark.parametrize("content", ["", "[]", "{}", json.dumps({"engine": {"model": "a"}, "problems": []})])
def test_file_that_is_no_such_file_is_none(runtime, content):
    assert settings_kept.last() is None
    (runtime / settings_kept.FILE).write_text(content)
    assert settings_kept.last() is None


def test_place_that_cannot_be_written_disturbs_nobody(tmp_path, monkeypatch):
    (tmp_path / "codellama-ls").write_text("a file, not a folder")
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(tmp_path))
    settings_kept.keep(EngineSettings(), [])
    assert settings_kept.last() is None
