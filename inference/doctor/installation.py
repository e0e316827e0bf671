"""Checks of the installation: package versions, permissions of the program's folders, and the files of the models."""

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
from inference.doctor.check import Check, ReportProgress
from inference.models import quantised, store
from inference.models.adapter_store import FOLDER_VARIABLE as ADAPTERS_VARIABLE
from inference.models.adapter_store import adapters_folder
from inference.models.store import FOLDER_VARIABLE as MODELS_VARIABLE
from inference.models.store import StoreError, models_folder
from inference.planning.planner import format_bytes
from inference.system import files
from inference.system.files import APP_NAME
from inference.system.runtime_folder import NotPrivateError, runtime_folder

REPORTED = ("torch", "transformers", "bitsandbytes", "tokenizers", "pygls", "lsprotocol", "httpx", "uvicorn")
"""Packages whose versions a report contains."""


def versions() -> dict[str, str]:
    """Return the versions of this program, Python and the most important packages, by name."""
    found = {APP_NAME: inference.__version__, "Python": platform.python_version()}
    for name in REPORTED:
        with suppress(PackageNotFoundError):
            found[name] = version(name)
    return found


def check_versions(required: Iterable[Requirement] | None = None) -> Iterator[Check]:
    """Check the system and the required packages, by default those of the installed distribution."""
    found = versions()
    system, machine = platform.system(), platform.machine()
    text = f"{APP_NAME} {found[APP_NAME]}, Python {found['Python']}, {system} {machine}"
    if system == "Linux":
        yield Check("versions", "ok", text)
    else:
        yield Check("versions", "warning", text, "Only Linux is tested. On Windows, use WSL.")
    yield _packages(_required() if required is None else list(required))


def _packages(required: list[Requirement]) -> Check:
    if not required:
        text = "this source tree is not installed, so the required versions are unknown"
        return Check("packages", "warning", text, "Run `python -m pip install -e .` in it.")
    unmet = {str(one): reason for one in required if (reason := _unmet(one))}
    if not unmet:
        reported = ", ".join(f"{name} {found}" for name, found in versions().items() if name in REPORTED)
        return Check("packages", "ok", f"all {len(required)} required packages are installed: {reported}")
    missing = any(reason.endswith("missing") for reason in unmet.values())
    wanted = " ".join(f"'{requirement}'" for requirement in unmet)
    advice = f"Run `python -m pip install {wanted}` in the environment of {APP_NAME}."
    return Check("packages", "problem" if missing else "warning", ", ".join(unmet.values()), advice)


def _required() -> list[Requirement]:
    """Return the requirements of the installed distribution without extras; empty if it is not installed."""
    try:
        found = [Requirement(line) for line in requires(APP_NAME) or ()]
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
    """Check that only the user can enter the runtime folder and those of models, adapters, C library and ``others``.

    Looking up the runtime folder, which holds socket, token and log, closes it to others if the user owns it.
    """
    try:
        runtime = runtime_folder()
    except (NotPrivateError, OSError) as error:
        advice = "Fix this folder first: no engine can start without it."
        yield Check("runtime folder", "problem", str(error), advice)
    else:
        yield _runtime(runtime)
    stored = [*files.app_folders(), models_folder(), adapters_folder(), *others]
    yield _stored([path for path in dict.fromkeys(stored) if path.exists()])


def _runtime(folder: Path) -> Check:
    open_ones = [path for path in sorted(folder.iterdir()) if path.exists() and (_others(path) or not _own(path))]
    if not open_ones:
        return Check("runtime folder", "ok", f"only you can access {folder}")
    names = ", ".join(path.name for path in open_ones)
    commands = " ".join(f"`chmod 600 '{path}'`" for path in open_ones)
    return Check("runtime folder", "problem", f"others can access files in {folder}: {names}", f"Run {commands}.")


def _stored(paths: list[Path]) -> Check:
    """Write access lets others plant weights or a library, which is a problem; read access is only a warning."""
    writable = [path for path in paths if _others(path) & 0o022]
    owned_by_root = [path for path in paths if not _own(path) and path.stat().st_uid == 0 and path not in writable]
    foreign = [path for path in paths if not _own(path) and path not in owned_by_root]
    readable = [path for path in paths if _others(path) and path not in writable]
    if foreign or writable:
        unsafe = list(dict.fromkeys([*foreign, *writable]))
        return Check("stored files", "problem", f"others can change files in {_listed(unsafe)}", _fix(unsafe))
    if owned_by_root:
        text = f"root owns these folders, so nothing can be stored there: {_listed(owned_by_root)}"
        return Check("stored files", "warning", text, _fix(owned_by_root))
    if readable:
        return Check("stored files", "warning", f"others can read files in {_listed(readable)}", _fix(readable))
    return Check("stored files", "ok", f"only you can access {_listed(paths)}" if paths else "there are none yet")


def _fix(paths: list[Path]) -> str:
    """Suggest commands that close the user's own folders and take back those of another user, such as after sudo."""
    variables = {models_folder(): MODELS_VARIABLE, adapters_folder(): ADAPTERS_VARIABLE}
    sentences = []
    for path in paths:
        if _own(path):
            sentences.append(f"Run `chmod 700 '{path}'`.")
        else:
            other = f", or set {variables[path]} to a folder that you own" if path in variables else ""
            sentences.append(f"Run `sudo chown -R {os.getuid()} '{path}'`{other}.")
    return " ".join(sentences)


def _others(path: Path) -> int:
    """Return the mode's bits for group and others."""
    return stat.S_IMODE(path.stat().st_mode) & 0o077


def _own(path: Path) -> bool:
    return path.stat().st_uid == os.getuid()


def _listed(paths: list[Path]) -> str:
    return ", ".join(map(str, paths))


def check_models(wanted: Sequence[str], say: ReportProgress, *, full: bool) -> Iterator[Check]:
    """Check that the ``wanted`` models are installed, and the files of all models, with SHA-256 if ``full``."""
    found = store.all_installed()
    for model_id in dict.fromkeys(wanted):
        if model_id not in found:
            advice = f"Run `codellama-ls pull {model_id}`. `codellama-ls models` lists all models."
            yield Check(f"model {model_id}", "problem", "not installed", advice)
    for model_id in found:
        yield _model(model_id, say, full)


def _model(model_id: str, say: ReportProgress, full: bool) -> Check:
    name, started, size = f"model {model_id}", time.perf_counter(), 0

    def progress(done: int, total: int) -> None:
        nonlocal size
        size = total
        say(f"verifying the checksums of {model_id}: {100 * done // max(total, 1)} %")

    try:
        store.verify(model_id, full=full, on_progress=progress)
    except StoreError as error:
        return Check(name, "problem", str(error), f"Run `codellama-ls pull {model_id} --force` to repair it.")
    if damage := _damaged_copy(model_id, say, full):
        advice = f"Run `codellama-ls pull {model_id} --verify` to remove them. The next start makes them again."
        return Check(name, "problem", damage, advice)
    if not full:
        return Check(name, "ok", "all files have the right size; their content was not read")
    text = f"{format_bytes(size)}, SHA-256 checksums match"
    return Check(name, "ok", text, figures={"bytes": size, "seconds": round(time.perf_counter() - started, 2)})


def _damaged_copy(model_id: str, say: ReportProgress, full: bool) -> str:
    """Return a description of damaged quantised weights beside the model, or an empty string."""
    for copy in quantised.copies(store.location(model_id)):
        say(f"verifying the checksums of {copy.name} of {model_id}")
        if reason := quantised.find_damage(copy, full=full):
            return f"the quantised weights in {copy} are damaged ({reason})"
    return ""
