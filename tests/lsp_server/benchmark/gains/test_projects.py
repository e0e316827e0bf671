"""The projects of ``gains`` are pinned and were not used for training."""

from __future__ import annotations

import re
import tomllib

import pytest

from inference.training.packages import PACKAGE_LIST as CARD
from lsp_server.benchmark.gains.projects import fetched, pinned, project_name
from lsp_server.commands import gains_command

PINNED = {"pypi": r"[\w.-]+==[\w.]+", "npm": r"(@[\w-]+/)?[\w.-]+@[\d.]+"}


def bare(package: str) -> str:
    return re.split(r"==|(?<=.)@", package)[0].lower()


def test_five_projects_are_pinned_by_version_and_content():
    projects = pinned()
    assert len(projects) == 5
    assert all(re.fullmatch(PINNED[project.registry], project.package) for project in projects)
    assert all(re.fullmatch(r"[0-9a-f]{64}", project.sha256) for project in projects)


def test_no_pinned_project_was_used_for_the_adapter():
    parts = tomllib.loads(CARD.read_text("utf-8"))
    card = {bare(name) for registries in parts.values() for names in registries.values() for name in names}
    assert {bare(project.package) for project in pinned()} & card == set()


def test_projects_not_fetched_are_an_error(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(gains_command, "projects_folder", lambda: tmp_path)
    assert gains_command.main([]) == 2
    assert "Run `codellama-ls gains --fetch`" in capsys.readouterr().err
    with pytest.raises(FileNotFoundError):
        fetched(tmp_path)


def test_folders_without_code_are_refused(tmp_path, capsys):
    assert gains_command.main([str(tmp_path)]) == 2
    assert capsys.readouterr().err == "codellama-ls: There is no source code in these folders. Choose others.\n"


def test_project_is_named_by_its_folder(tmp_path):
    assert project_name(tmp_path / "mine") == "mine"
