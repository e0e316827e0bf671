"""Without the C library the reason is reported and everything else works."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from inference.native import library
from inference.native.library import NoLibraryError, why_unavailable

ROOT = Path(__file__).parents[3]
ALL = "flags\t\t: fpu avx2 fma f16c avx512f avx512dq avx512bw avx512vl avx512_vnni\n"


def test_missing_instruction_set_is_named(tmp_path):
    cpuinfo = tmp_path / "cpuinfo"
    cpuinfo.write_text(ALL.replace(" avx512_vnni", ""))
    assert why_unavailable(cpuinfo) == "the processor has no avx512_vnni"
    cpuinfo.write_text("processor : 0\n")
    assert why_unavailable(cpuinfo) == "the processor has no avx512f"
    assert why_unavailable(tmp_path / "none") == "the processor's instructions can't be read"


def test_missing_compiler_is_reported_with_advice(tmp_path, monkeypatch):
    (tmp_path / "cpuinfo").write_text(ALL)
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.delenv("CC", raising=False)
    assert why_unavailable(tmp_path / "cpuinfo") == "there is no C compiler (install gcc or clang)"


@pytest.mark.skipif(bool(why_unavailable()), reason=why_unavailable())
def test_failed_compilation_leaves_nothing_behind(tmp_path, monkeypatch):
    broken = tmp_path / "cc"
    broken.write_text("#!/bin/sh\necho no >&2; exit 1\n")
    broken.chmod(0o755)
    monkeypatch.setenv("CC", str(broken))
    with pytest.raises(NoLibraryError, match="can't compile it"):
        library.library(tmp_path / "cache")
    assert [path.name for path in (tmp_path / "cache").iterdir() if not path.name.endswith(".lock")] == []


@pytest.fixture(scope="module")
def fresh(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the compiled library."""
    if why := why_unavailable():
        pytest.skip(why)
    folder = tmp_path_factory.mktemp("native")
    library.library(folder)
    return folder


@pytest.fixture
def folder(fresh: Path, tmp_path: Path) -> Path:
    """A copy of it, for one test to damage."""
    return Path(shutil.copytree(fresh, tmp_path / "native"))


def compiled(folder: Path) -> Path:
    [made] = folder.glob("llama-*/llama.so")
    return made


def in_a_new_process(folder: Path) -> subprocess.CompletedProcess[str]:
    """Load the library in a process whose exit status shows a crash; ``stderr`` has its log."""
    code = (
        "import logging, sys; from pathlib import Path; from inference.native.library import library\n"
        "logging.basicConfig(); library(Path(sys.argv[1])).llama_forward"
    )
    return subprocess.run([sys.executable, "-c", code, str(folder)], capture_output=True, text=True, cwd=ROOT)


def test_library_is_compiled_once(folder):
    made = compiled(folder)
    written = made.stat().st_mtime_ns
    done = in_a_new_process(folder)
    assert (done.returncode, done.stderr) == (0, "")
    assert made.stat().st_mtime_ns == written


def test_compiled_files_are_private_whatever_the_umask(tmp_path):
    if why := why_unavailable():
        pytest.skip(why)
    library.library.cache_clear()
    old = os.umask(0)
    try:
        library.library(tmp_path / "native")
    finally:
        os.umask(old)
        library.library.cache_clear()
    made = compiled(tmp_path / "native")
    assert all(path.stat().st_mode & 0o022 == 0 for path in (made, made.parent, made.parent.parent))


def cut(made: Path) -> None:
    os.truncate(made, made.stat().st_size // 2)


def overwrite(made: Path) -> None:
    content = bytearray(made.read_bytes())
    content[len(content) // 2] ^= 255
    made.write_bytes(content)


@pytest.mark.parametrize(
    ("damage", "why"),
    [
        (lambda made: os.truncate(made, 0), "llama.so has 0 bytes instead of "),
        (cut, " bytes instead of "),
        (overwrite, "the content of llama.so has changed"),
        (Path.unlink, "its files are not those of its manifest.json"),
        (lambda made: (made.parent / "manifest.json").unlink(), "its manifest.json can't be read"),
        (lambda made: (made.parent / "manifest.json").write_text("{"), "its manifest.json can't be read"),
        (lambda made: made.chmod(0o722), "other users can write to llama.so"),
        (lambda made: made.parent.chmod(0o777), "other users can write to llama-"),
        (lambda made: made.parent.parent.chmod(0o777), "other users can write to "),
    ],
)
def test_changed_library_is_compiled_again(folder, damage, why):
    damage(compiled(folder))
    done = in_a_new_process(folder)
    assert done.returncode == 0
    [line] = done.stderr.splitlines()
    assert why in line
    assert line.endswith("): compiling it again")
    again = in_a_new_process(folder)
    assert (again.returncode, again.stderr) == (0, "")


def test_link_in_place_of_the_library_is_not_followed(folder, tmp_path):
    made = compiled(folder)
    made.rename(tmp_path / "elsewhere.so")
    made.symlink_to(tmp_path / "elsewhere.so")
    assert "llama.so is a link" in in_a_new_process(folder).stderr
    assert not compiled(folder).is_symlink()


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give files away")
@pytest.mark.parametrize("depth", [0, 1], ids=["file", "its folder"])
def test_library_of_another_user_is_compiled_again(folder, depth):
    made = compiled(folder)
    os.chown([made, made.parent][depth], 4711, 4711)
    done = in_a_new_process(folder)
    assert done.returncode == 0
    assert "belongs to another user): compiling it again" in done.stderr
    assert compiled(folder).stat().st_uid == 0


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give files away")
def test_folder_of_another_user_is_not_used(folder):
    made = compiled(folder)
    before = made.stat().st_mtime_ns
    os.chown(folder, 4711, 4711)
    done = in_a_new_process(folder)
    assert done.returncode == 0
    assert "belongs to another user; remove it): every start compiles it" in done.stderr
    assert made.stat().st_mtime_ns == before
