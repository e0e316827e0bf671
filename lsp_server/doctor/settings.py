"""Which settings there are to judge by: those of the last window, or of a file; and what is wrong with them."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

from inference.diagnosis.check import Check
from inference.serving.private import NotPrivate
from lsp_server import journal, settings_kept
from lsp_server.settings import EngineSettings, parse_settings
from lsp_server.settings_kept import Kept

FILE_ADVICE = 'It must hold one JSON object, as `initializationOptions` would: {"completion": {"maxTokens": 64}}.'


class UnusableError(Exception):
    """A file that was named can't be used; the text says why."""


def settings_of(file: Path | None) -> Kept | None:
    """Those in ``file``, else the last window's; None where there was none. Raises UnusableError."""
    if file is None:
        return settings_kept.last()
    try:
        settings, problems = parse_settings(json.loads(file.read_text("utf-8")))
    except (OSError, ValueError) as error:
        raise UnusableError(f"{file} can't be read ({error}). {FILE_ADVICE}") from error
    return Kept(settings.engine, tuple(problems))


def with_model(kept: Kept | None, model: str) -> EngineSettings:
    """What to try: the model asked for, else that of the settings, else the default."""
    engine = kept.engine if kept else EngineSettings()
    return replace(engine, model=model, chat_model="") if model else engine


def check_settings(kept: Kept | None) -> Iterator[Check]:
    """Whether a window was there at all, and what was wrong with its settings."""
    if kept is None:
        text = "no editor has started the language server since this machine was started"
        yield Check(
            "editor", "warning", text, "Set `codellama-ls --stdio` up as a server of your editor: see the README."
        )
        return
    yield _asked()
    if kept.problems:
        advice = "Correct them in your editor's settings; their defaults are used meanwhile."
        yield Check("settings", "warning", " ".join(kept.problems), advice, quotes=True)
    else:
        engine = kept.engine
        chat = f", chat {engine.chat_model}" if engine.chat_model else ""
        yield Check("settings", "ok", f"nothing wrong; model {engine.model}{chat}, format {engine.format}")


def _asked() -> Check:
    """Whether editors ask, and what became of it."""
    try:
        records = journal.last(100)
    except (NotPrivate, OSError) as error:
        return Check("editor", "warning", f"the last requests can't be read ({error})", quotes=True)
    if not records:
        advice = "Switch inline completion on in your editor, and type in the middle of some code."
        return Check("editor", "warning", "the language server was started and never asked for a completion", advice)
    shown = sum(record["result"] == "shown" for record in records)
    text = f"of the last {len(records)} requests {shown} were shown"
    advice = "`codellama-ls doctor --last` says of each why." if shown < len(records) else ""
    return Check("editor", "ok", text, advice, {"requests": len(records), "shown": shown})
