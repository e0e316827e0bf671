"""The C library: whether this machine can have it, and compiling it once. Knows no models; nothing is fetched.

It is compiled where it runs, by the machine's own C compiler, for the instructions that ``INSTRUCTIONS`` lists and no
others; what a compiler makes of ``-march=native`` in a virtual machine can't be trusted.

A library is code of this user: it is loaded only if its folder and it belong to this user (or root), no other user can
write to them, and its content is what the manifest beside it says. Any other one is compiled again.
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
from inference.system.files import make_private, untrusted

log = logging.getLogger(__name__)

INSTRUCTIONS = ("avx512f", "avx512bw", "avx512dq", "avx512vl", "avx512_vnni", "fma", "f16c")
"""As /proc/cpuinfo names them: Intel from Cascade Lake (2019) on, AMD from Zen 4 (2022) on."""
SOURCES = ("llama.c", "products.h")
OPTIONS = ("-O3", "-std=gnu11", "-shared", "-fPIC", "-pthread", "-fno-math-errno")
SECONDS = 120
FILE = "llama.so"


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
    names = filter(None, (os.environ.get("CC"), "cc", "gcc", "clang"))
    return next(filter(None, (shutil.which(name, path=search_path()) for name in names)), None)


@cache
def library(folder: Path) -> ctypes.CDLL:
    """The library, compiled into ``folder`` unless it is there. Raises NoLibraryError.

    Where it can't be kept in ``folder``, it is compiled into a temporary one, at every start.
    """
    if why := missing():
        raise NoLibraryError(why)
    try:
        return _kept(folder)
    except OSError as error:
        log.warning("the compiled library can't be kept in %s (%s): every start compiles it", folder, error)
    try:
        with tempfile.TemporaryDirectory(prefix="codellama-ls-") as work:
            _compile(Path(work))
            return ctypes.CDLL(str(Path(work) / FILE))  # stays mapped without its file
    except OSError as error:
        raise NoLibraryError(f"the library can't be compiled or loaded ({error})") from error


def _kept(folder: Path) -> ctypes.CDLL:
    """The library from ``folder``. Raises OSError where it can't be kept or loaded there, NoLibraryError."""
    open_before = _close(make_private(folder).resolve())
    where = folder / _name()
    with FileLock(folder / f".{where.name}.lock", timeout=SECONDS):
        if why := open_before or _damage(where):
            if where.exists():
                log.warning("the compiled library in %s is not used (%s): compiling it again", where, why)
                manifest.remove(where)
            manifest.publish(_compile, where)
            log.info("compiled %s", where)
        return ctypes.CDLL(str(where / FILE))


def _name() -> str:
    """Name of the library's folder: one for each source and set of options."""
    sources = Path(__file__).parent
    content = b"".join((sources / name).read_bytes() for name in SOURCES)
    return f"llama-{hashlib.sha256(content + repr((INSTRUCTIONS, OPTIONS)).encode()).hexdigest()[:16]}"


def _close(folder: Path) -> str:
    """Close the folder to other users; say so if they could write to it. Raises OSError if it is another user's."""
    why = untrusted(folder)
    if why and folder.stat().st_uid != os.getuid():
        raise PermissionError(f"{why}; remove it")
    if why:
        folder.chmod(0o700)
    return why


def _damage(where: Path) -> str:
    """Say why the library in ``where`` can't be loaded, or nothing. It is small: all of its content is read."""
    try:
        for path in (where, *where.iterdir()):
            if why := untrusted(path):
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
        done = subprocess.run(command, capture_output=True, text=True, timeout=SECONDS, check=False, cwd=folder)
    except subprocess.TimeoutExpired:
        raise NoLibraryError(f"{chosen} took more than {SECONDS} s") from None
    if done.returncode:
        log.warning("%s failed:\n%s", " ".join(command), done.stderr)
        raise NoLibraryError(f"{chosen} can't compile it; the log says why")
