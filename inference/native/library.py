"""The C library: whether this machine can have it, and compiling it once. Knows no models; nothing is fetched.

It is compiled where it runs, by the machine's own C compiler, for the instructions that ``INSTRUCTIONS`` lists and no
others; what a compiler makes of ``-march=native`` in a virtual machine can't be trusted.
"""

from __future__ import annotations

import ctypes
import hashlib
import logging
import os
import shutil
import subprocess
import tempfile
from functools import cache
from pathlib import Path

from inference.folders import make_private

log = logging.getLogger(__name__)

INSTRUCTIONS = ("avx512f", "avx512bw", "avx512dq", "avx512vl", "avx512_vnni", "fma", "f16c")
"""As /proc/cpuinfo names them: Intel from Cascade Lake (2019) on, AMD from Zen 4 (2022) on."""
SOURCES = ("llama.c", "products.h")
OPTIONS = ("-O3", "-std=gnu11", "-shared", "-fPIC", "-pthread", "-fno-math-errno")
SECONDS = 120


class NoLibraryError(Exception):
    """The library can't be had here; the text says why."""


def missing(cpuinfo: Path = Path("/proc/cpuinfo")) -> str:
    """Why the library can't be had on this machine, or nothing where it can."""
    try:
        lines = cpuinfo.read_text("utf-8").splitlines()
    except OSError:
        return "the processor's instructions can't be read"
    known = next((line.split() for line in lines if line.startswith("flags")), [])
    if lacking := [name for name in INSTRUCTIONS if name not in known]:
        return f"the processor has no {lacking[0]}"
    return "" if compiler() else "there is no C compiler (install gcc or clang)"


def compiler() -> str | None:
    """The C compiler: ``$CC``, or the first of the usual ones."""
    return next(filter(None, map(shutil.which, filter(None, (os.environ.get("CC"), "cc", "gcc", "clang")))), None)


@cache
def library(folder: Path) -> ctypes.CDLL:
    """The library, compiled into ``folder`` unless it is there. Raises NoLibraryError."""
    if why := missing():
        raise NoLibraryError(why)
    sources = Path(__file__).parent
    content = b"".join((sources / name).read_bytes() for name in SOURCES)
    path = folder / f"llama-{hashlib.sha256(content + repr((INSTRUCTIONS, OPTIONS)).encode()).hexdigest()[:16]}.so"
    try:
        if not path.exists():
            _compile(sources / SOURCES[0], path)
        return ctypes.CDLL(str(path))
    except OSError as error:
        raise NoLibraryError(f"the library can't be compiled or loaded ({error})") from error


def _compile(source: Path, path: Path) -> None:
    """Raises NoLibraryError, OSError."""
    chosen = compiler()
    assert chosen is not None
    make_private(path.parent)
    instructions = [f"-m{name.replace('_', '')}" for name in INSTRUCTIONS]
    with tempfile.TemporaryDirectory(dir=path.parent) as work:
        made = Path(work) / path.name
        command = [chosen, *OPTIONS, *instructions, "-o", str(made), str(source), "-lm"]
        try:
            done = subprocess.run(command, capture_output=True, text=True, timeout=SECONDS, check=False)
        except subprocess.TimeoutExpired:
            raise NoLibraryError(f"{chosen} took more than {SECONDS} s") from None
        if done.returncode:
            log.warning("%s failed:\n%s", " ".join(command), done.stderr)
            raise NoLibraryError(f"{chosen} can't compile it; the log says why")
        made.replace(path)
    log.info("compiled %s", path)
