"""Where the C library can't be had, it is said why, and everything else goes on."""

from __future__ import annotations

import pytest

from inference.native import library
from inference.native.library import NoLibraryError, missing

ALL = "flags\t\t: fpu avx2 fma f16c avx512f avx512dq avx512bw avx512vl avx512_vnni\n"


def test_a_processor_without_the_instructions_is_named(tmp_path):
    cpuinfo = tmp_path / "cpuinfo"
    cpuinfo.write_text(ALL.replace(" avx512_vnni", ""))
    assert missing(cpuinfo) == "the processor has no avx512_vnni"
    cpuinfo.write_text("processor : 0\n")
    assert missing(cpuinfo) == "the processor has no avx512f"
    assert missing(tmp_path / "none") == "the processor's instructions can't be read"


def test_without_a_compiler_it_is_said_what_to_install(tmp_path, monkeypatch):
    (tmp_path / "cpuinfo").write_text(ALL)
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.delenv("CC", raising=False)
    assert missing(tmp_path / "cpuinfo") == "there is no C compiler (install gcc or clang)"


@pytest.mark.skipif(bool(missing()), reason=missing())
def test_a_compiler_that_fails_leaves_nothing_behind(tmp_path, monkeypatch):
    broken = tmp_path / "cc"
    broken.write_text("#!/bin/sh\necho no >&2; exit 1\n")
    broken.chmod(0o755)
    monkeypatch.setenv("CC", str(broken))
    with pytest.raises(NoLibraryError, match="can't compile it"):
        library.library(tmp_path / "cache")
    assert list((tmp_path / "cache").iterdir()) == []


@pytest.mark.skipif(bool(missing()), reason=missing())
def test_it_is_compiled_once(tmp_path):
    library.library(tmp_path)
    [made] = tmp_path.iterdir()
    written = made.stat().st_mtime_ns
    library.library.cache_clear()
    library.library(tmp_path)
    assert made.stat().st_mtime_ns == written
