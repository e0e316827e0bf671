"""One file: is it a person's wish that it be read? The same rules as for whole folders."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from inference.text.ignored import why_private


@pytest.fixture
def root(tmp_path: Path) -> Path:
    (tmp_path / "src" / "made").mkdir(parents=True)
    return tmp_path


@pytest.mark.parametrize(
    "name",
    [".env", ".env.local", "server.key", "deploy/id_ed25519", "credentials.json", ".ssh/config", "secrets.toml"],
)
def test_what_may_hold_keys_is_secret_wherever_it_lies(root, name):
    assert why_private(root / name, root) == "secret"
    assert why_private(root / name, root / "elsewhere") == "secret"


def test_folder_around_the_workspace_may_say_that_all_of_it_is_secret(tmp_path):
    """A window may be opened on such a folder itself."""
    folder = tmp_path / ".ssh"
    assert why_private(folder / "config.py", folder) == "secret"


@pytest.mark.parametrize("name", [".gitignore", ".codellamaignore"])
def test_ignored_by_either_file(root, name):
    (root / name).write_text("*.sql\n/src/made/\n")
    asked = [root / "src" / "a.sql", root / "src" / "made" / "a.py", root / "src" / "a.py"]
    assert [why_private(path, root) for path in asked] == ["ignored", "ignored", None]


def test_nearest_ignore_file_decides_but_not_below_an_ignored_folder(root):
    """As git does: a folder that is ignored is not looked into."""
    (root / ".gitignore").write_text("*.py\n/src/made/\n")
    (root / "src" / ".gitignore").write_text("!*.py\n")
    (root / "src" / "made" / ".gitignore").write_text("!*.py\n")
    assert why_private(root / "a.py", root) == "ignored"
    assert why_private(root / "src" / "a.py", root) is None
    assert why_private(root / "src" / "made" / "a.py", root) == "ignored"


def test_changed_rules_count_at_once(root):
    """A person who has just ignored a file must not have to start the server again."""
    rules = root / ".gitignore"
    rules.write_text("b.py\n")
    assert why_private(root / "a.py", root) is None
    rules.write_text("a.py\n")
    os.utime(rules, ns=(1, 1))
    assert why_private(root / "a.py", root) == "ignored"


def test_file_outside_the_root_is_asked_only_for_its_name(root):
    (root / ".gitignore").write_text("*\n")
    assert why_private(root / "a.py", root / "src") is None
