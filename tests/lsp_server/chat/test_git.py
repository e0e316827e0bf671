"""Diffs show only permitted files and run no command that a repository names."""

from __future__ import annotations

import asyncio
import os
import re
import subprocess
import threading
from collections.abc import Callable
from pathlib import Path

import pytest
from support.hostile_repository import SECRET, HostileRepository, commit, hostile_repository, working_in

from lsp_server.chat import git
from lsp_server.chat.git import Diff, GitError, diff


def only_env_is_private(path: Path) -> str:
    return "private" if path.name.startswith(".env") else ""


def run(folder: Path, *arguments: str) -> None:
    own = {name: value for name, value in os.environ.items() if not name.startswith("GIT_")}
    identity = {f"GIT_{role}_{field}": "a@b.c" for role in ("AUTHOR", "COMMITTER") for field in ("NAME", "EMAIL")}
    subprocess.run(["git", *arguments], cwd=folder, check=True, capture_output=True, env={**own, **identity})


@pytest.fixture
def repository(tmp_path: Path) -> Path:
    """A repository with one commit of three files."""
    run(tmp_path, "init", "-q")
    for name in ("a.py", "b.py", ".env"):
        (tmp_path / name).write_text("one\n")
    run(tmp_path, "add", ".")
    run(tmp_path, "commit", "-q", "-m", "first")
    return tmp_path


A = "diff --git a/a.py b/a.py\nindex 5626abf..f719efd 100644\n--- a/a.py\n+++ b/a.py\n@@ -1 +1 @@\n-one\n+two\n"


async def test_diff_since_the_commit_includes_staged_changes(repository: Path) -> None:
    (repository / "a.py").write_text("two\n")
    assert await diff(repository, only_env_is_private) == Diff(A)
    run(repository, "add", "a.py")
    assert await diff(repository, only_env_is_private) == Diff(A)


async def test_staged_diff_has_only_staged_changes(repository: Path) -> None:
    (repository / "a.py").write_text("two\n")
    run(repository, "add", "a.py")
    (repository / "b.py").write_text("three\n")
    assert await diff(repository, only_env_is_private, staged=True) == Diff(A)


async def test_private_file_is_named_but_not_shown(repository: Path) -> None:
    (repository / "a.py").write_text("two\n")
    (repository / ".env").write_text("KEY=secret\n")
    assert await diff(repository, only_env_is_private) == Diff(A, ((".env", "private"),))
    run(repository, "add", ".")
    run(repository, "mv", ".env", ".env.old")
    assert await diff(repository, only_env_is_private, staged=True) == Diff(
        A, ((".env", "private"), (".env.old", "private"))
    )


async def test_unchanged_repository_has_an_empty_diff(repository: Path) -> None:
    assert await diff(repository, only_env_is_private) == Diff("")


async def test_only_files_below_the_folder_are_shown(repository: Path) -> None:
    """A workspace folder may be part of a repository."""
    (repository / "a.py").write_text("two\n")
    (repository / "part").mkdir()
    (repository / "part" / "x y\té.py").write_text("new\n")
    run(repository, "add", ".")
    found = await diff(repository / "part", only_env_is_private)
    assert found.text.startswith('diff --git "a/x y\\té.py" "b/x y\\té.py"\nnew file') and "a.py" not in found.text


async def test_repository_without_a_commit_has_a_diff(tmp_path: Path) -> None:
    run(tmp_path, "init", "-q")
    (tmp_path / "a.py").write_text("one\n")
    run(tmp_path, "add", "a.py")
    assert "+one\n" in (await diff(tmp_path, only_env_is_private, staged=True)).text
    assert await diff(tmp_path, only_env_is_private) == Diff("")


async def test_commands_named_by_the_repository_are_not_run(repository: Path, tmp_path_factory) -> None:
    """External diffs, text conversions, filters, pagers and monitors come from the configuration."""
    marks = tmp_path_factory.mktemp("marks")
    command = marks / "command"
    command.write_text(f'#!/bin/sh\ntouch "{marks}/$1.ran"\nexit 0\n')
    command.chmod(0o755)
    for name, argument in {
        "diff.external": "external",
        "diff.x.command": "driver",
        "diff.x.textconv": "textconv",
        "core.fsmonitor": "monitor",
        "filter.f=g.clean": "clean",
        "filter.f=g.process": "process",
        "core.pager": "pager",
        "pager.diff": "pager",
    }.items():
        run(repository, "config", name, f"{command} {argument}")
    run(repository, "config", "filter.f=g.required", "true")
    (repository / ".gitattributes").write_text("*.py diff=x filter=f=g\n")
    (repository / "a.py").write_text("two\n")
    assert "+two\n" in (await diff(repository, only_env_is_private)).text
    assert [one.name for one in marks.iterdir()] == ["command"]


async def test_git_variables_of_the_server_are_ignored(repository: Path, monkeypatch) -> None:
    """An editor started by git inherits them."""
    monkeypatch.setenv("GIT_DIR", "/nowhere")
    monkeypatch.setenv("GIT_EXTERNAL_DIFF", "/bin/false")
    (repository / "a.py").write_text("two\n")
    assert await diff(repository, only_env_is_private) == Diff(A)


async def test_file_names_are_neither_patterns_nor_options(repository: Path) -> None:
    for name in ("*.py", "--output=x", ":(top)"):
        (repository / name).write_text("new\n")
    (repository / ".env").write_text("KEY=secret\n")
    run(repository, "add", ".")
    found = await diff(repository, only_env_is_private, staged=True)
    assert found.text.count("+new\n") == 3 and "secret" not in found.text
    assert not (repository / "x").exists()


async def test_missing_repository_raises(tmp_path: Path) -> None:
    with pytest.raises(GitError, match="git can't tell what has changed in"):
        await diff(tmp_path, only_env_is_private, staged=True)


async def test_missing_git_raises(repository: Path, monkeypatch) -> None:
    monkeypatch.setenv("PATH", "/nowhere")
    with pytest.raises(GitError, match="is it installed"):
        await diff(repository, only_env_is_private)


async def test_huge_diff_is_cut(repository: Path, monkeypatch) -> None:
    monkeypatch.setattr(git, "MOST_BYTES", 5000)  # more than the paths that git lists
    (repository / "a.py").write_text("line\n" * 100_000)
    assert len((await diff(repository, only_env_is_private)).text) == 5000


async def test_files_over_the_limit_are_left_out(repository: Path, monkeypatch) -> None:
    monkeypatch.setattr(git, "MOST_FILES", 1)
    for name in ("a.py", "b.py"):
        (repository / name).write_text("two\n")
    assert await diff(repository, only_env_is_private) == Diff(A, (("b.py", "more than 1 files have changed"),))


async def test_hanging_git_is_killed(repository: Path, tmp_path_factory, monkeypatch) -> None:
    folder = tmp_path_factory.mktemp("bin")
    fifo = folder / "forever"
    os.mkfifo(fifo)
    (folder / "git").write_text(f'#!/bin/sh\nread line < "{fifo}"\n')
    (folder / "git").chmod(0o755)
    monkeypatch.setenv("PATH", f"{folder}:{os.environ['PATH']}")
    monkeypatch.setattr(git, "SECONDS", 0.05)
    with pytest.raises(GitError, match="git took longer than"):
        await asyncio.wait_for(diff(repository, only_env_is_private), 10)


@pytest.fixture
def hostile(tmp_path: Path) -> HostileRepository:
    return hostile_repository(tmp_path)


async def refusal(folder: Path, *, staged: bool = False) -> str:
    with pytest.raises(GitError) as refused:
        await diff(folder, only_env_is_private, staged=staged)
    return str(refused.value)


@pytest.mark.parametrize("staged", [False, True])
async def test_hostile_repository_runs_and_leaks_nothing(hostile, staged):
    with working_in(hostile):
        found = await diff(hostile.root, only_env_is_private, staged=staged)
    assert "one = 2" in found.text or staged
    assert ("was_file/.env", "private") in found.left_out and ("was_file", "private") in found.left_out
    hostile.assert_untouched(found.text)


@pytest.mark.parametrize("staged", [False, True])
@pytest.mark.parametrize(
    ("name", "why"),
    [
        ("hidden_filter", "more .* than can be checked"),
        ("elsewhere", "files in another folder"),
        ("borrowed", "history in another folder"),
        ("buried", "exit status 128"),
    ],
)
async def test_nested_hostile_repository_is_refused(hostile, name, why, staged):
    assert re.search(why, await refusal(hostile.root / name, staged=staged))
    hostile.assert_untouched()


async def test_partial_clone_fetches_nothing(hostile):
    assert "exit status 128" in await refusal(hostile.root / "fetching")
    hostile.assert_untouched()


async def test_bare_repository_is_refused_without_the_git_setting(hostile, monkeypatch):
    monkeypatch.setattr(git, "_SAFE", {**git._SAFE, "safe.bareRepository": "all"})
    assert "files in another folder" in await refusal(hostile.root / "buried")
    hostile.assert_untouched()


def fake_git(folder: Path, script: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Put a git on PATH that runs ``script`` for ``git config`` and the real git otherwise."""
    folder.mkdir()
    real = next(Path(one, "git") for one in os.environ["PATH"].split(":") if Path(one, "git").exists())
    hook = f'for one in "$@"; do [ "$one" = config ] && {{ {script}; }}; done'
    (folder / "git").write_text(f'#!/bin/sh\n{hook}\nexec {real} "$@"\n')
    (folder / "git").chmod(0o755)
    monkeypatch.setenv("PATH", f"{folder}:{os.environ['PATH']}")


@pytest.mark.parametrize(
    ("script", "why"), [("exit 3", "exit status 3"), ("kill -9 $$", "exit status -9"), ("exec cat", "took longer")]
)
async def test_failure_to_list_filters_is_an_error(repository, tmp_path_factory, monkeypatch, script, why):
    folder = tmp_path_factory.mktemp("bin")
    os.mkfifo(folder / "forever")
    fake_git(folder / "bin", script.replace("cat", f"cat {folder}/forever"), monkeypatch)
    monkeypatch.setattr(git, "SECONDS", 1)
    (repository / "a.py").write_text("two\n")
    assert why in await asyncio.wait_for(refusal(repository), 30)


async def test_too_many_filters_are_refused(repository):
    with (repository / ".git" / "config").open("a") as file:
        file.writelines(f'[filter "f{n}"]\n\tclean = cat\n' for n in range(git.MOST_FILTERS + 1))
    assert "too many filters" in await refusal(repository)


async def test_too_many_file_names_are_refused(repository, monkeypatch):
    """The last name would be cut, and a cut name cannot be checked for privacy."""
    for name in ("a.py", "b.py"):
        (repository / name).write_text("two\n")
    run(repository, "config", "filter.x.clean", "cat")
    monkeypatch.setattr(git, "MOST_BYTES", 9)
    assert "more" in await refusal(repository)


def linked(folder: Path) -> Path:
    run(folder, "worktree", "add", "-q", str(folder.parent / "linked"))
    return folder.parent / "linked"


def submodule(folder: Path) -> Path:
    run(folder, "-c", "protocol.file.allow=always", "submodule", "add", "-q", f"file://{folder}", "sub")
    return folder / "sub"


@pytest.mark.parametrize("make", [linked, submodule])
async def test_linked_work_tree_and_submodule_have_a_diff(tmp_path, make: Callable[[Path], Path]):
    commit(tmp_path / "main", {"a.py": "one\n"})
    folder = make(tmp_path / "main")
    (folder / "a.py").write_text("two\n")
    assert "+two" in (await diff(folder, only_env_is_private)).text


@pytest.mark.parametrize("name", ["objects", "refs", "packed-refs"])
async def test_history_behind_a_symbolic_link_is_refused(tmp_path, name):
    commit(tmp_path / "private", {"a.py": f"{SECRET}\n"})
    run(tmp_path / "private", "pack-refs", "--all")
    commit(tmp_path / "main", {"a.py": "one\n"})
    target, link = tmp_path / "private" / ".git" / name, tmp_path / "main" / ".git" / name
    if link.exists():
        link.rename(tmp_path / "old")
    link.symlink_to(target)
    assert "history in another folder" in await refusal(tmp_path / "main")


async def test_files_are_checked_off_the_event_loop(repository):
    (repository / "a.py").write_text("two\n")
    threads = []
    await diff(repository, lambda path: threads.append(threading.current_thread()) or "")
    assert threads != [] and threading.main_thread() not in threads
