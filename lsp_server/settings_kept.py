"""The settings that a window used last, as far as the doctor needs them, in a file beside the journal. Knows no LSP.

Kept are the choice of the engine's model and what was wrong with the settings; nothing that may be a secret of its own.
"""

from __future__ import annotations

import json
import logging
import os
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from inference.serving.private import NotPrivate, runtime_folder
from lsp_server.settings import EngineSettings

log = logging.getLogger(__name__)

FILE = "settings.json"
KEPT = ("model", "chat_model", "format", "context")


@dataclass(frozen=True, slots=True)
class Kept:
    """What a window was set to, and a sentence for each setting that was wrong."""

    engine: EngineSettings
    problems: tuple[str, ...] = ()


def keep(engine: EngineSettings, problems: Sequence[str]) -> None:
    """Write them down for ``last``; what can't be written is missing there, and nowhere else."""
    known = asdict(engine)
    content = {"engine": {name: known[name] for name in KEPT}, "problems": list(problems)}
    try:
        path = _path()
        new = path.with_name(f"{FILE}.{os.getpid()}")
        file = os.open(new, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW, 0o600)
        with open(file, "w", encoding="utf-8") as stream:  # noqa: PTH123  a descriptor
            stream.write(json.dumps(content))
        new.replace(path)
    except (OSError, NotPrivate) as error:
        log.warning("the settings are not kept for `codellama-ls doctor`: %s", error)


def last() -> Kept | None:
    """What the last window was set to; None where none was, or nothing can be read."""
    with suppress(OSError, NotPrivate, ValueError, TypeError, KeyError):
        content = json.loads(_path().read_text("utf-8"))
        known: dict[str, Any] = {name: content["engine"][name] for name in KEPT}
        return Kept(replace(EngineSettings(), **known), tuple(map(str, content["problems"])))
    return None


def _path() -> Path:
    return runtime_folder() / FILE
