"""Who may enter the folders and open the files of this program: nobody but their user. Opens none of them."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterable, Iterator
from pathlib import Path

from inference import folders
from inference.diagnosis.check import Check
from inference.models.adapters import FOLDER_VARIABLE as ADAPTERS_VARIABLE
from inference.models.adapters import adapters_folder
from inference.models.store import FOLDER_VARIABLE as MODELS_VARIABLE
from inference.models.store import models_folder
from inference.serving.private import NotPrivate, runtime_folder


def check_places(others: Iterable[Path] = ()) -> Iterator[Check]:
    """The runtime folder with socket, token, log and records; those of models, adapters, the C library; and ``others``.

    The runtime folder, if it is the user's, is closed by looking for it.
    """
    try:
        runtime = runtime_folder()
    except (NotPrivate, OSError) as error:
        yield Check("socket's folder", "problem", str(error), "Do as it says; without it no engine can be started.")
    else:
        yield _runtime(runtime)
    own = [*folders.roots(), models_folder(), adapters_folder(), *others]
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
