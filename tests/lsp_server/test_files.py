"""What the disk says of a file: whose rules count, behind which links, and whether it can be written."""

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


def test_rules_of_the_workspace_count_for_all_below_it(project):
    (project / ".codellamaignore").write_text("src/private.py\n")
    asked = [project / "src" / name for name in ("private.py", "a.py")]
    assert [privacy(path, [project]) for path in asked] == ["ignored", None]


def test_rules_of_the_repository_around_a_workspace_count_too(project):
    """A window may be opened on a part of it."""
    (project / ".git").mkdir()
    (project / ".gitignore").write_text("private.py\n")
    assert privacy(project / "src" / "private.py", [project / "src"]) == "ignored"


def test_rules_of_the_workspace_around_a_repository_count_too(project):
    (project / "src" / ".git").mkdir()
    (project / ".codellamaignore").write_text("*.sql\n")
    assert privacy(project / "src" / "a.sql", [project]) == "ignored"


def test_file_of_no_workspace_obeys_its_own_folder(project):
    (project / ".gitignore").write_text("a.py\n")
    (project / "src" / ".gitignore").write_text("b.py\n")
    assert [privacy(project / "src" / name, []) for name in ("a.py", "b.py")] == [None, "ignored"]


def test_secret_behind_a_harmless_name_is_secret(project):
    (project / ".env").write_text("PASSWORD=1")
    (project / "settings.txt").symlink_to(project / ".env")
    assert privacy(project / "settings.txt", [project]) == "secret"


def test_a_persons_own_patterns(project):
    patterns = ("*.sql", "/src/generated/")
    asked = [project / "src" / name for name in ("a.sql", "generated/a.py", "a.py")]
    assert [privacy(path, [project], patterns) for path in asked] == ["excluded", "excluded", None]


def test_bad_pattern_of_a_person_is_skipped(project):
    patterns = ("!", "build\\", "[z-a]", "*.sql")
    assert [privacy(project / name, [project], patterns) for name in ("a.py", "a.sql")] == [None, "excluded"]


def test_more_patterns_than_are_used_hide_every_file(project):
    assert privacy(project / "a.py", [project], tuple(f"{n}.sql" for n in range(MAX_PATTERNS + 1))) == "unclear"


def test_name_that_no_file_can_have_is_unclear(project):
    assert privacy(project / "a\0.py", [project]) == "unclear"


def test_file_that_cannot_be_written_is_read_only_and_a_new_one_is_not(project, monkeypatch):
    """The test may run as root, who can write everything."""
    file = project / "a.py"
    file.write_text("x = 1\n")
    assert (is_read_only(file), is_read_only(project / "new.py")) == (False, False)
    monkeypatch.setattr(os, "access", lambda path, mode: not (path == file and mode == os.W_OK))
    assert (is_read_only(file), is_read_only(project / "new.py")) == (True, False)
