"""Privacy and write checks of files: which ignore files apply, links, read-only files."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from inference.text.ignore_rules import MAX_PATTERNS
from lsp_server.disk import is_read_only, privacy


@pytest.fixture
def project(tmp_path: Path) -> Path:
    (tmp_path / "project" / "src").mkdir(parents=True)
    return tmp_path / "project"


def test_workspace_rules_apply_to_subfolders(project):
    (project / ".codellamaignore").write_text("src/private.py\n")
    asked = [project / "src" / name for name in ("private.py", "a.py")]
    assert [privacy(path, [project]) for path in asked] == ["ignored", None]


def test_rules_of_the_repository_around_a_workspace_apply(project):
    """The editor may have opened only a part of the repository."""
    (project / ".git").mkdir()
    (project / ".gitignore").write_text("private.py\n")
    assert privacy(project / "src" / "private.py", [project / "src"]) == "ignored"


def test_rules_of_the_workspace_around_a_repository_apply(project):
    (project / "src" / ".git").mkdir()
    (project / ".codellamaignore").write_text("*.sql\n")
    assert privacy(project / "src" / "a.sql", [project]) == "ignored"


def test_file_outside_workspaces_uses_its_folders_rules(project):
    (project / ".gitignore").write_text("a.py\n")
    (project / "src" / ".gitignore").write_text("b.py\n")
    assert [privacy(project / "src" / name, []) for name in ("a.py", "b.py")] == [None, "ignored"]


def test_link_to_a_secret_file_is_secret(project):
    (project / ".env").write_text("PASSWORD=1")
    (project / "settings.txt").symlink_to(project / ".env")
    assert privacy(project / "settings.txt", [project]) == "secret"


def test_excluded_patterns_of_the_settings_apply(project):
    patterns = ("*.sql", "/src/generated/")
    asked = [project / "src" / name for name in ("a.sql", "generated/a.py", "a.py")]
    assert [privacy(path, [project], patterns) for path in asked] == ["excluded", "excluded", None]


def test_invalid_excluded_pattern_is_ignored(project):
    patterns = ("!", "build\\", "[z-a]", "*.sql")
    assert [privacy(project / name, [project], patterns) for name in ("a.py", "a.sql")] == [None, "excluded"]


def test_too_many_patterns_exclude_every_file(project):
    assert privacy(project / "a.py", [project], tuple(f"{n}.sql" for n in range(MAX_PATTERNS + 1))) == "unclear"


def test_impossible_file_name_is_unclear(project):
    assert privacy(project / "a\0.py", [project]) == "unclear"


def test_unwritable_file_is_read_only_and_new_file_is_not(project, monkeypatch):
    """The test may run as root, who can write every file."""
    file = project / "a.py"
    file.write_text("x = 1\n")
    assert (is_read_only(file), is_read_only(project / "new.py")) == (False, False)
    monkeypatch.setattr(os, "access", lambda path, mode: not (path == file and mode == os.W_OK))
    assert (is_read_only(file), is_read_only(project / "new.py")) == (True, False)
