"""What git says has changed: only of files that may be seen, and without running what a repository names."""

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


def anything(path: Path) -> str:
    return "private" if path.name.startswith(".env") else ""


def run(folder: Path, *arguments: str) -> None:
    own = {name: value for name, value in os.environ.items() if not name.startswith("GIT_")}
    person = {f"GIT_{who}_{what}": "a@b.c" for who in ("AUTHOR", "COMMITTER") for what in ("NAME", "EMAIL")}
    subprocess.run(["git", *arguments], cwd=folder, check=True, capture_output=True, env={**own, **person})


@pytest.fixture
def repository(tmp_path: Path) -> Path:
    """One with a commit of three files."""
    run(tmp_path, "init", "-q")
    for name in ("a.py", "b.py", ".env"):
        (tmp_path / name).write_text("one\n")
    run(tmp_path, "add", ".")
    run(tmp_path, "commit", "-q", "-m", "first")
    return tmp_path


A = "diff --git a/a.py b/a.py\nindex 5626abf..f719efd 100644\n--- a/a.py\n+++ b/a.py\n@@ -1 +1 @@\n-one\n+two\n"


async def test_what_changed_since_the_commit_whether_staged_or_not(repository: Path) -> None:
    (repository / "a.py").write_text("two\n")
    assert await diff(repository, anything) == Diff(A)
    run(repository, "add", "a.py")
    assert await diff(repository, anything) == Diff(A)


async def test_staged_is_what_is_staged(repository: Path) -> None:
    (repository / "a.py").write_text("two\n")
    run(repository, "add", "a.py")
    (repository / "b.py").write_text("three\n")
    assert await diff(repository, anything, staged=True) == Diff(A)


async def test_of_a_file_that_may_not_be_seen_nothing_is_told_but_its_name(repository: Path) -> None:
    (repository / "a.py").write_text("two\n")
    (repository / ".env").write_text("KEY=secret\n")
    assert await diff(repository, anything) == Diff(A, ((".env", "private"),))
    run(repository, "add", ".")
    run(repository, "mv", ".env", ".env.old")
    assert await diff(repository, anything, staged=True) == Diff(A, ((".env", "private"), (".env.old", "private")))


async def test_nothing_changed(repository: Path) -> None:
    assert await diff(repository, anything) == Diff("")


async def test_only_what_lies_in_the_folder(repository: Path) -> None:
    """A window may show a part of a repository."""
    (repository / "a.py").write_text("two\n")
    (repository / "part").mkdir()
    (repository / "part" / "x y\té.py").write_text("new\n")
    run(repository, "add", ".")
    found = await diff(repository / "part", anything)
    assert found.text.startswith('diff --git "a/x y\\té.py" "b/x y\\té.py"\nnew file') and "a.py" not in found.text


async def test_before_the_first_commit(tmp_path: Path) -> None:
    run(tmp_path, "init", "-q")
    (tmp_path / "a.py").write_text("one\n")
    run(tmp_path, "add", "a.py")
    assert "+one\n" in (await diff(tmp_path, anything, staged=True)).text
    assert await diff(tmp_path, anything) == Diff("")


async def test_what_the_repository_would_run_is_not_run(repository: Path, tmp_path_factory) -> None:
    """External diffs, text conversions, filters, pagers and monitors are commands that a configuration names."""
    marks = tmp_path_factory.mktemp("marks")
    command = marks / "command"
    command.write_text(f'#!/bin/sh\ntouch "{marks}/$1.ran"\nexit 0\n')
    command.chmod(0o755)
    for name, what in {
        "diff.external": "external",
        "diff.x.command": "driver",
        "diff.x.textconv": "textconv",
        "core.fsmonitor": "monitor",
        "filter.f=g.clean": "clean",
        "filter.f=g.process": "process",
        "core.pager": "pager",
        "pager.diff": "pager",
    }.items():
        run(repository, "config", name, f"{command} {what}")
    run(repository, "config", "filter.f=g.required", "true")
    (repository / ".gitattributes").write_text("*.py diff=x filter=f=g\n")
    (repository / "a.py").write_text("two\n")
    assert "+two\n" in (await diff(repository, anything)).text
    assert [one.name for one in marks.iterdir()] == ["command"]


async def test_the_servers_own_variables_name_no_other_repository(repository: Path, monkeypatch) -> None:
    """An editor that git itself has started hands them on."""
    monkeypatch.setenv("GIT_DIR", "/nowhere")
    monkeypatch.setenv("GIT_EXTERNAL_DIFF", "/bin/false")
    (repository / "a.py").write_text("two\n")
    assert await diff(repository, anything) == Diff(A)


async def test_a_name_is_no_pattern_and_no_option(repository: Path) -> None:
    for name in ("*.py", "--output=x", ":(top)"):
        (repository / name).write_text("new\n")
    (repository / ".env").write_text("KEY=secret\n")
    run(repository, "add", ".")
    found = await diff(repository, anything, staged=True)
    assert found.text.count("+new\n") == 3 and "secret" not in found.text
    assert not (repository / "x").exists()


async def test_no_repository(tmp_path: Path) -> None:
    with pytest.raises(GitError, match="git can't tell what has changed in"):
        await diff(tmp_path, anything, staged=True)


async def test_no_git(repository: Path, monkeypatch) -> None:
    monkeypatch.setenv("PATH", "/nowhere")
    with pytest.raises(GitError, match="is it installed"):
        await diff(repository, anything)


async def test_a_huge_diff_is_read_no_further_than_it_may_be(repository: Path, monkeypatch) -> None:
    monkeypatch.setattr(git, "MOST_BYTES", 200)
    (repository / "a.py").write_text("line\n" * 100_000)
    assert len((await diff(repository, anything)).text) == 200


async def test_too_many_files(repository: Path, monkeypatch) -> None:
    monkeypatch.setattr(git, "MOST_FILES", 1)
    for name in ("a.py", "b.py"):
        (repository / name).write_text("two\n")
    assert await diff(repository, anything) == Diff(A, (("b.py", "more than 1 files have changed"),))


async def test_a_git_that_hangs_is_ended(repository: Path, tmp_path_factory, monkeypatch) -> None:
    folder = tmp_path_factory.mktemp("bin")
    fifo = folder / "forever"
    os.mkfifo(fifo)
    (folder / "git").write_text(f'#!/bin/sh\nread line < "{fifo}"\n')
    (folder / "git").chmod(0o755)
    monkeypatch.setenv("PATH", f"{folder}:{os.environ['PATH']}")
    monkeypatch.setattr(git, "SECONDS", 0.05)
    with pytest.raises(GitError, match="git took longer than"):
        await asyncio.wait_for(diff(repository, anything), 10)


@pytest.fixture
def hostile(tmp_path: Path) -> HostileRepository:
    return hostile_repository(tmp_path)


async def refusal(folder: Path, *, staged: bool = False) -> str:
    with pytest.raises(GitError) as refused:
        await diff(folder, anything, staged=staged)
    return str(refused.value)


@pytest.mark.parametrize("staged", [False, True])
async def test_hostile_repository_runs_nothing_and_shows_nothing_from_outside(hostile, staged):
    with working_in(hostile):
        found = await diff(hostile.root, anything, staged=staged)
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
async def test_hostile_repository_within_another_is_refused(hostile, name, why, staged):
    assert re.search(why, await refusal(hostile.root / name, staged=staged))
    hostile.assert_untouched()


async def test_partial_clone_does_not_fetch_what_it_lacks(hostile):
    assert "exit status 128" in await refusal(hostile.root / "fetching")
    hostile.assert_untouched()


async def test_buried_repository_is_refused_by_a_git_without_the_setting(hostile, monkeypatch):
    monkeypatch.setattr(git, "_SAFE", {**git._SAFE, "safe.bareRepository": "all"})
    assert "files in another folder" in await refusal(hostile.root / "buried")
    hostile.assert_untouched()


def fake_git(folder: Path, script: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """A git that runs ``script`` for ``git config`` and is the real one for all else."""
    folder.mkdir()
    real = next(Path(one, "git") for one in os.environ["PATH"].split(":") if Path(one, "git").exists())
    asked = f'for one in "$@"; do [ "$one" = config ] && {{ {script}; }}; done'
    (folder / "git").write_text(f'#!/bin/sh\n{asked}\nexec {real} "$@"\n')
    (folder / "git").chmod(0o755)
    monkeypatch.setenv("PATH", f"{folder}:{os.environ['PATH']}")


@pytest.mark.parametrize(
    ("script", "why"), [("exit 3", "exit status 3"), ("kill -9 $$", "exit status -9"), ("exec cat", "took longer")]
)
async def test_filters_that_cannot_be_listed_are_not_taken_for_none(
    repository, tmp_path_factory, monkeypatch, script, why
):
    folder = tmp_path_factory.mktemp("bin")
    os.mkfifo(folder / "forever")
    fake_git(folder / "bin", script.replace("cat", f"cat {folder}/forever"), monkeypatch)
    monkeypatch.setattr(git, "SECONDS", 1)
    (repository / "a.py").write_text("two\n")
    assert why in await asyncio.wait_for(refusal(repository), 30)


async def test_more_filters_than_git_can_be_told_of_are_refused(repository):
    with (repository / ".git" / "config").open("a") as file:
        file.writelines(f'[filter "f{n}"]\n\tclean = cat\n' for n in range(git.MOST_FILTERS + 1))
    assert "too many filters" in await refusal(repository)


async def test_more_names_than_can_be_checked_are_refused(repository, monkeypatch):
    """The last of them would be cut, and what a cut name stands for may be private."""
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
async def test_linked_work_trees_and_submodules_have_diffs(tmp_path, make: Callable[[Path], Path]):
    commit(tmp_path / "main", {"a.py": "one\n"})
    folder = make(tmp_path / "main")
    (folder / "a.py").write_text("two\n")
    assert "+two" in (await diff(folder, anything)).text


@pytest.mark.parametrize("name", ["objects", "refs", "packed-refs"])
async def test_history_behind_a_link_is_refused(tmp_path, name):
    commit(tmp_path / "private", {"a.py": f"{SECRET}\n"})
    run(tmp_path / "private", "pack-refs", "--all")
    commit(tmp_path / "main", {"a.py": "one\n"})
    there, here = tmp_path / "private" / ".git" / name, tmp_path / "main" / ".git" / name
    if here.exists():
        here.rename(tmp_path / "old")
    here.symlink_to(there)
    assert "history in another folder" in await refusal(tmp_path / "main")


async def test_files_are_checked_off_the_event_loop(repository):
    (repository / "a.py").write_text("two\n")
    threads = []
    await diff(repository, lambda path: threads.append(threading.current_thread()) or "")
    assert threads != [] and threading.main_thread() not in threads
