"""Compile the C library once with the machine's own compiler, and load it.

It is compiled for the instruction sets in ``INSTRUCTIONS``. ``-march=native`` is unreliable in virtual machines.

The library is loaded only if it and its folder belong to this user (or root), no other user can write to them, and its
content matches its manifest. Otherwise it is compiled again.
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

from filelock import FileLock

from inference.models import manifest
from inference.models.manifest import MismatchError
from inference.system.child_processes import search_path
from inference.system.files import make_private_folder, why_untrusted

log = logging.getLogger(__name__)

INSTRUCTIONS = ("avx512f", "avx512bw", "avx512dq", "avx512vl", "avx512_vnni", "fma", "f16c")
"""Required CPU flags of /proc/cpuinfo: Intel since Cascade Lake (2019), AMD since Zen 4 (2022)."""

SOURCES = ("llama.c", "products.h")
OPTIONS = ("-O3", "-std=gnu11", "-shared", "-fPIC", "-pthread", "-fno-math-errno")
FILE = "llama.so"

COMPILE_SECONDS = 120
"""Timeout of the compiler, and of waiting for another process that compiles."""


class NoLibraryError(Exception):
    """The library is not available on this machine; the message is the reason."""


def why_unavailable(cpuinfo: Path = Path("/proc/cpuinfo")) -> str:
    """Return the reason why the library is not available on this machine, or ""."""
    try:
        lines = cpuinfo.read_text("utf-8").splitlines()
    except OSError:
        return "the processor's instructions can't be read"
    flags = next((line.split() for line in lines if line.startswith("flags")), [])
    if lacking := [name for name in INSTRUCTIONS if name not in flags]:
        return f"the processor has no {lacking[0]}"
    return "" if compiler() else "there is no C compiler (install gcc or clang)"


def compiler() -> str | None:
    """Return the C compiler: ``$CC``, else cc, gcc or clang; None if there is none."""
    names = filter(None, (os.environ.get("CC"), "cc", "gcc", "clang"))
    return next(filter(None, (shutil.which(name, path=search_path()) for name in names)), None)


@cache
def library(folder: Path) -> ctypes.CDLL:
    """Load the library from ``folder``, compiling it first if needed. Raises NoLibraryError.

    If ``folder`` is not usable, the library is compiled into a temporary folder at every start.
    """
    if why := why_unavailable():
        raise NoLibraryError(why)
    try:
        return _kept(folder)
    except OSError as error:
        log.warning("can't keep the compiled library in %s (%s): every start compiles it", folder, error)
    try:
        with tempfile.TemporaryDirectory(prefix="codellama-ls-") as work:
            _compile(Path(work))
            return ctypes.CDLL(str(Path(work) / FILE))  # stays mapped without its file
    except OSError as error:
        raise NoLibraryError(f"the library can't be compiled or loaded ({error})") from error


def _kept(folder: Path) -> ctypes.CDLL:
    """Load the library from ``folder``. Raises NoLibraryError, or OSError if it can't be stored or loaded there."""
    was_writable = _close(make_private_folder(folder).resolve())
    where = folder / _name()
    with FileLock(folder / f".{where.name}.lock", timeout=COMPILE_SECONDS):
        if why := was_writable or _damage(where):
            if where.exists():
                log.warning("the compiled library in %s is not used (%s): compiling it again", where, why)
                manifest.remove(where)
            manifest.publish(_compile, where)
            log.info("compiled %s", where)
        return ctypes.CDLL(str(where / FILE))


def _name() -> str:
    """Return the name of the library's folder, which is unique for its source and options."""
    sources = Path(__file__).parent
    content = b"".join((sources / name).read_bytes() for name in SOURCES)
    return f"llama-{hashlib.sha256(content + repr((INSTRUCTIONS, OPTIONS)).encode()).hexdigest()[:16]}"


def _close(folder: Path) -> str:
    """Make the folder private. Return the reason if others could write to it; raise OSError if it is another user's."""
    why = why_untrusted(folder)
    if why and folder.stat().st_uid != os.getuid():
        raise PermissionError(f"{why}; remove it")
    if why:
        folder.chmod(0o700)
    return why


def _damage(where: Path) -> str:
    """Return the reason why the library in ``where`` can't be loaded, or ""."""
    try:
        for path in (where, *where.iterdir()):
            if why := why_untrusted(path):
                return why
        manifest.check(where, full=True)
    except (MismatchError, OSError) as error:
        return str(error)
    return ""


def _compile(folder: Path) -> None:
    """Compile the library into ``folder``. Raises NoLibraryError, OSError."""
    chosen = compiler()
    assert chosen is not None
    folder.mkdir(mode=0o700, exist_ok=True)
    instructions = [f"-m{name.replace('_', '')}" for name in INSTRUCTIONS]
    source = Path(__file__).parent / SOURCES[0]
    command = [chosen, *OPTIONS, *instructions, "-o", str(folder / FILE), str(source), "-lm"]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=COMPILE_SECONDS, check=False, cwd=folder)
    except subprocess.TimeoutExpired:
        raise NoLibraryError(f"{chosen} took more than {COMPILE_SECONDS} s") from None
    if done.returncode:
        log.warning("%s failed:\n%s", " ".join(command), done.stderr)
        raise NoLibraryError(f"{chosen} can't compile it; the log says why")
