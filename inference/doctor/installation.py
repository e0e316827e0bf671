"""Which Python and which packages are here, against what this version asks for. Only metadata is read.

Who may enter the folders and open the files of this program: nobody but their user. Opens none of them.

The installed models, byte for byte against their manifests. Knows not what is in them.
"""

from __future__ import annotations

import os
import platform
import stat
import time
from collections.abc import Iterable, Iterator, Sequence
from contextlib import suppress
from importlib.metadata import PackageNotFoundError, requires, version
from pathlib import Path

from packaging.requirements import Requirement

import inference
from inference.doctor.check import Check, Say
from inference.models import quantised, store
from inference.models.adapter_store import FOLDER_VARIABLE as ADAPTERS_VARIABLE
from inference.models.adapter_store import adapters_folder
from inference.models.store import FOLDER_VARIABLE as MODELS_VARIABLE
from inference.models.store import StoreError, models_folder
from inference.planning.planner import amount
from inference.system import files
from inference.system.files import NAME
from inference.system.runtime_folder import NotPrivateError, runtime_folder

NAMED = ("torch", "transformers", "bitsandbytes", "tokenizers", "pygls", "lsprotocol", "httpx", "uvicorn")
"""What a report should name, of all that is installed."""


def versions() -> dict[str, str]:
    """By name, of this program, Python, the system and the packages that matter most."""
    found = {NAME: inference.__version__, "Python": platform.python_version()}
    for name in NAMED:
        with suppress(PackageNotFoundError):
            found[name] = version(name)
    return found


def check_versions(required: Iterable[Requirement] | None = None) -> Iterator[Check]:
    """The system, and every package that is asked for (by default those of the installed distribution)."""
    found = versions()
    system, machine = platform.system(), platform.machine()
    text = f"{NAME} {found[NAME]}, Python {found['Python']}, {system} {machine}"
    if system == "Linux":
        yield Check("versions", "ok", text)
    else:
        yield Check("versions", "warning", text, "Only Linux is tested; on Windows use WSL.")
    yield _packages(_required() if required is None else list(required))


def _packages(required: list[Requirement]) -> Check:
    if not required:
        text = "this is a source tree that was not installed: what it needs is not known"
        return Check("packages", "warning", text, "`pip install -e .` there makes it known.")
    unmet = {str(one): why for one in required if (why := _unmet(one))}
    if not unmet:
        named = ", ".join(f"{name} {found}" for name, found in versions().items() if name in NAMED)
        return Check("packages", "ok", f"all {len(required)} as asked for: {named}")
    missing = any(why.endswith("missing") for why in unmet.values())
    wanted = " ".join(f"'{requirement}'" for requirement in unmet)
    advice = f"In the environment of {NAME}: `python -m pip install {wanted}`."
    return Check("packages", "problem" if missing else "warning", ", ".join(unmet.values()), advice)


def _required() -> list[Requirement]:
    """Of the installed distribution, extras left out; empty where there is none."""
    try:
        found = [Requirement(line) for line in requires(NAME) or ()]
    except PackageNotFoundError:
        return []
    return [one for one in found if one.marker is None or one.marker.evaluate({"extra": ""})]


def _unmet(requirement: Requirement) -> str:
    try:
        found = version(requirement.name)
    except PackageNotFoundError:
        return f"{requirement.name} is missing"
    if requirement.specifier.contains(found, prereleases=True):
        return ""
    return f"{requirement.name} is {found}, not {requirement.specifier}"


def check_permissions(others: Iterable[Path] = ()) -> Iterator[Check]:
    """The runtime folder with socket, token, log and records; those of models, adapters, the C library; and ``others``.

    The runtime folder, if it is the user's, is closed by looking for it.
    """
    try:
        runtime = runtime_folder()
    except (NotPrivateError, OSError) as error:
        yield Check("socket's folder", "problem", str(error), "Do as it says; without it no engine can be started.")
    else:
        yield _runtime(runtime)
    own = [*files.roots(), models_folder(), adapters_folder(), *others]
    yield _kept([path for path in dict.fromkeys(own) if path.exists()])


def _runtime(folder: Path) -> Check:
    open_ones = [path for path in sorted(folder.iterdir()) if path.exists() and (_others(path) or not _own(path))]
    if not open_ones:
        return Check("socket's folder", "ok", f"{folder} and all in it are yours alone")
    names = ", ".join(path.name for path in open_ones)
    advice = " ".join(f"`chmod 600 '{path}'`" for path in open_ones)
    return Check("socket's folder", "problem", f"not yours alone in {folder}: {names}", advice)


def _kept(paths: list[Path]) -> Check:
    """Others who may write can have their own weights loaded, or library; who may read learns at most what is there."""
    writable = [path for path in paths if _others(path) & 0o022]
    roots_own = [path for path in paths if not _own(path) and path.stat().st_uid == 0 and path not in writable]
    foreign = [path for path in paths if not _own(path) and path not in roots_own]
    readable = [path for path in paths if _others(path) and path not in writable]
    if foreign or writable:
        bad = list(dict.fromkeys([*foreign, *writable]))
        advice = " ".join(f"`chmod 700 '{path}'`" if _own(path) else _taken_back(path) for path in bad)
        return Check("kept files", "problem", f"others can change what is in {_listed(bad)}", advice)
    if roots_own:
        advice = " ".join(map(_taken_back, roots_own))
        text = f"root's, so that you can keep nothing there: {_listed(roots_own)}"
        return Check("kept files", "warning", text, advice)
    if readable:
        advice = " ".join(f"`chmod 700 '{path}'`" for path in readable)
        return Check("kept files", "warning", f"others can look into {_listed(readable)}", advice)
    return Check("kept files", "ok", f"yours alone: {_listed(paths)}" if paths else "there are none yet")


def _taken_back(path: Path) -> str:
    """What to do about a folder of somebody else's: one of root's, say, that was left by a run under sudo."""
    variables = {models_folder(): MODELS_VARIABLE, adapters_folder(): ADAPTERS_VARIABLE}
    elsewhere = f", or set {variables[path]} to a folder of yours" if path in variables else ""
    return f"`sudo chown -R {os.getuid()} '{path}'`{elsewhere}."


def _others(path: Path) -> int:
    """The mode's bits for group and others."""
    return stat.S_IMODE(path.stat().st_mode) & 0o077


def _own(path: Path) -> bool:
    return path.stat().st_uid == os.getuid()


def _listed(paths: list[Path]) -> str:
    return ", ".join(map(str, paths))


def check_models(wanted: Sequence[str], say: Say, *, full: bool) -> Iterator[Check]:
    """Every installed model, with ``full`` its content too (SHA-256), and those of ``wanted`` that are missing."""
    found = store.all_installed()
    for model_id in dict.fromkeys(wanted):
        if model_id not in found:
            advice = f"`codellama-ls pull {model_id}` fetches it; `codellama-ls models` lists them all."
            yield Check(f"model {model_id}", "problem", "it is what editors ask for, and is not installed", advice)
    for model_id in found:
        yield _model(model_id, say, full)


def _model(model_id: str, say: Say, full: bool) -> Check:
    name, started, size = f"model {model_id}", time.perf_counter(), 0

    def progress(done: int, of: int) -> None:
        nonlocal size
        size = of
        say(f"comparing {model_id} with its checksums: {100 * done // max(of, 1)} %")

    try:
        store.verify(model_id, full=full, on_progress=progress)
    except StoreError as error:
        return Check(name, "problem", str(error), f"`codellama-ls pull {model_id} --force` repairs it.")
    if why := _damaged_copy(model_id, say, full):
        advice = f"`codellama-ls pull {model_id} --verify` removes them; the next start makes them again."
        return Check(name, "problem", why, advice)
    if not full:
        return Check(name, "ok", "all files there in full length; their content was not read")
    text = f"{amount(size)} as its checksums (SHA-256) say"
    return Check(name, "ok", text, figures={"bytes": size, "seconds": round(time.perf_counter() - started, 2)})


def _damaged_copy(model_id: str, say: Say, full: bool) -> str:
    """Say which quantised weights beside the model are damaged, or nothing."""
    for where in quantised.copies(store.location(model_id)):
        say(f"comparing {where.name} of {model_id} with its checksums")
        if why := quantised.damage(where, full=full):
            return f"the quantised weights in {where} are damaged ({why})"
    return ""
