"""Ignore rules for one file."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from support.hostile_repository import EVIL_NAME, add_ignore_file

from inference.text import ignore_rules
from inference.text.ignore_rules import IGNORE_FILES, exclusion_reason


@pytest.fixture
def root(tmp_path: Path) -> Path:
    (tmp_path / "src" / "made").mkdir(parents=True)
    return tmp_path


@pytest.mark.parametrize(
    "name",
    [".env", ".env.local", "server.key", "deploy/id_ed25519", "credentials.json", ".ssh/config", "secrets.toml"],
)
def test_key_files_are_secret_in_any_folder(root, name):
    assert exclusion_reason(root / name, root) == "secret"
    assert exclusion_reason(root / name, root / "elsewhere") == "secret"


def test_files_in_a_secret_folder_are_secret(tmp_path):
    """An editor may open such a folder as its workspace."""
    folder = tmp_path / ".ssh"
    assert exclusion_reason(folder / "config.py", folder) == "secret"


@pytest.mark.parametrize("name", [".gitignore", ".codellamaignore"])
def test_both_ignore_files_apply(root, name):
    (root / name).write_text("*.sql\n/src/made/\n")
    paths = [root / "src" / "a.sql", root / "src" / "made" / "a.py", root / "src" / "a.py"]
    assert [exclusion_reason(path, root) for path in paths] == ["ignored", "ignored", None]


def test_nearest_ignore_file_decides(root):
    """But, as in git, not below an ignored folder."""
    (root / ".gitignore").write_text("*.py\n/src/made/\n")
    (root / "src" / ".gitignore").write_text("!*.py\n")
    (root / "src" / "made" / ".gitignore").write_text("!*.py\n")
    assert exclusion_reason(root / "a.py", root) == "ignored"
    assert exclusion_reason(root / "src" / "a.py", root) is None
    assert exclusion_reason(root / "src" / "made" / "a.py", root) == "ignored"


def test_changed_ignore_file_applies_immediately(root):
    rules = root / ".gitignore"
    rules.write_text("b.py\n")
    assert exclusion_reason(root / "a.py", root) is None
    rules.write_text("a.py\n")
    os.utime(rules, ns=(1, 1))
    assert exclusion_reason(root / "a.py", root) == "ignored"


def test_only_the_name_counts_outside_the_root(root):
    (root / ".gitignore").write_text("*\n")
    assert exclusion_reason(root / "a.py", root / "src") is None


UNUSABLE = ["fifo", "device", "stdin", "link", "folder", "huge", "many"]


@pytest.mark.parametrize("name", IGNORE_FILES)
@pytest.mark.parametrize("kind", UNUSABLE)
def test_folder_with_an_unusable_ignore_file_is_unclear(root, kind, name):
    add_ignore_file(root / kind, kind, name)
    problems: list[str] = []
    paths = [root / kind / "a.py", root / kind / "sub" / EVIL_NAME, root / "a.py"]
    assert [exclusion_reason(path, root, problems.append) for path in paths] == ["unclear", "unclear", None]
    assert len(set(problems)) == 1 and f"{root / kind}" in problems[0] and "until you change it" in problems[0]


def test_patterns_with_many_wildcards_are_matched(root):
    add_ignore_file(root / "costly", "costly")
    paths = [root / "costly" / name for name in (EVIL_NAME, "a" * 200 + "b", "sub/" * 100 + EVIL_NAME)]
    assert [exclusion_reason(path, root) for path in paths] == [None, "ignored", None]


def test_usable_file_does_not_override_an_unusable_one(root):
    add_ignore_file(root / "fifo", "fifo")
    (root / "fifo" / ".codellamaignore").write_text("!*\n")
    assert exclusion_reason(root / "fifo" / "a.py", root) == "unclear"


def test_replaced_unusable_ignore_file_is_read(root):
    add_ignore_file(root / "link", "link")
    assert exclusion_reason(root / "link" / "a.py", root) == "unclear"
    (root / "link" / ".gitignore").unlink()
    assert exclusion_reason(root / "link" / "a.py", root) is None
    (root / "link" / ".gitignore").write_text("a.py\n")
    assert exclusion_reason(root / "link" / "a.py", root) == "ignored"


def test_bad_lines_are_skipped_and_reported(root):
    add_ignore_file(root / "bad_lines", "bad_lines")
    problems: list[str] = []
    paths = [root / "bad_lines" / name for name in ("a.py", "hidden.py")]
    assert [exclusion_reason(path, root, problems.append) for path in paths] == [None, "ignored"]
    (problem,) = set(problems)
    assert "they are skipped: line 1 ('!'), and " in problem


def test_unreadable_ignore_file_is_tried_again(root, monkeypatch):
    (root / ".gitignore").write_text("b.py\n")
    with monkeypatch.context() as patched:
        patched.setattr(ignore_rules, "read_regular", lambda *_, **__: exec("raise OSError(24, 'Too many open files')"))
        assert exclusion_reason(root / "a.py", root) == "unclear"
    assert exclusion_reason(root / "a.py", root) is None


def test_time_for_one_path_is_limited(root, monkeypatch):
    folder = root
    for _ in range(50):
        folder /= "d"
        folder.mkdir()
        (folder / ".gitignore").write_text("*.sql\n")
    deepest = folder / "a.py"
    assert exclusion_reason(deepest, root) is None
    monkeypatch.setattr(ignore_rules, "SECONDS", -1.0)
    assert exclusion_reason(deepest, root) == "unclear"


def test_secret_below_a_folder_with_a_line_break_is_secret(root):
    assert exclusion_reason(root / "a\nb" / ".env", root) == "secret"


def test_byte_order_mark_and_invalid_utf8_are_accepted(root):
    (root / ".gitignore").write_bytes(b"\xef\xbb\xbffirst.py\n\xff.py\r\n")
    paths = [root / "first.py", root / os.fsdecode(b"\xff.py"), root / "a.py"]
    assert [exclusion_reason(path, root) for path in paths] == ["ignored", "ignored", None]


def test_only_line_feeds_end_a_line(root):
    """``str.splitlines`` splits at other characters too; git does not."""
    (root / ".gitignore").write_text("a\x0c*.py\n")
    assert exclusion_reason(root / "b.py", root) is None
