"""One file: is it a person's wish that it be read? The same rules as for whole folders."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from support.hostile_repository import EVIL_NAME, add_ignore_file

from inference.text import ignore_rules
from inference.text.ignore_rules import IGNORE_FILES, why_private


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


UNUSABLE = ["fifo", "device", "stdin", "link", "folder", "huge", "many"]


@pytest.mark.parametrize("name", IGNORE_FILES)
@pytest.mark.parametrize("kind", UNUSABLE)
def test_folder_with_an_unusable_ignore_file_is_unclear(root, kind, name):
    add_ignore_file(root / kind, kind, name)
    problems: list[str] = []
    asked = [root / kind / "a.py", root / kind / "sub" / EVIL_NAME, root / "a.py"]
    assert [why_private(path, root, problems.append) for path in asked] == ["unclear", "unclear", None]
    assert len(set(problems)) == 1 and f"{root / kind}" in problems[0] and "until you change it" in problems[0]


def test_patterns_with_many_wildcards_are_matched_like_any(root):
    add_ignore_file(root / "costly", "costly")
    asked = [root / "costly" / name for name in (EVIL_NAME, "a" * 200 + "b", "sub/" * 100 + EVIL_NAME)]
    assert [why_private(path, root) for path in asked] == [None, "ignored", None]


def test_one_unusable_ignore_file_is_not_made_good_by_the_other(root):
    add_ignore_file(root / "fifo", "fifo")
    (root / "fifo" / ".codellamaignore").write_text("!*\n")
    assert why_private(root / "fifo" / "a.py", root) == "unclear"


def test_unusable_ignore_file_is_read_once_it_is_replaced(root):
    add_ignore_file(root / "link", "link")
    assert why_private(root / "link" / "a.py", root) == "unclear"
    (root / "link" / ".gitignore").unlink()
    assert why_private(root / "link" / "a.py", root) is None
    (root / "link" / ".gitignore").write_text("a.py\n")
    assert why_private(root / "link" / "a.py", root) == "ignored"


def test_bad_lines_are_skipped_and_reported(root):
    add_ignore_file(root / "bad_lines", "bad_lines")
    problems: list[str] = []
    asked = [root / "bad_lines" / name for name in ("a.py", "hidden.py")]
    assert [why_private(path, root, problems.append) for path in asked] == [None, "ignored"]
    (problem,) = set(problems)
    assert "they are skipped: line 1 ('!'), and " in problem


def test_ignore_file_that_cannot_be_read_now_may_be_later(root, monkeypatch):
    (root / ".gitignore").write_text("b.py\n")
    with monkeypatch.context() as patched:
        patched.setattr(ignore_rules, "read_regular", lambda *_, **__: exec("raise OSError(24, 'Too many open files')"))
        assert why_private(root / "a.py", root) == "unclear"
    assert why_private(root / "a.py", root) is None


def test_time_for_one_path_is_limited(root, monkeypatch):
    folder = root
    for _ in range(50):
        folder /= "d"
        folder.mkdir()
        (folder / ".gitignore").write_text("*.sql\n")
    deepest = folder / "a.py"
    assert why_private(deepest, root) is None
    monkeypatch.setattr(ignore_rules, "SECONDS", -1.0)
    assert why_private(deepest, root) == "unclear"


def test_secret_below_a_folder_with_a_line_break_is_secret(root):
    assert why_private(root / "a\nb" / ".env", root) == "secret"


def test_byte_order_mark_and_bytes_that_are_no_utf8(root):
    (root / ".gitignore").write_bytes(b"\xef\xbb\xbffirst.py\n\xff.py\r\n")
    asked = [root / "first.py", root / os.fsdecode(b"\xff.py"), root / "a.py"]
    assert [why_private(path, root) for path in asked] == ["ignored", "ignored", None]


def test_line_ends_only_at_a_line_feed(root):
    """Python knows more line ends than git."""
    (root / ".gitignore").write_text("a\x0c*.py\n")
    assert why_private(root / "b.py", root) is None
