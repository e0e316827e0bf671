"""What a person can set, checked: a bad value is reported and its default used, never a crash.

Knows no LSP: it takes the JSON of ``initializationOptions`` or ``workspace/didChangeConfiguration``.

The settings that a window used last, as far as the doctor needs them, in a file beside the journal. Knows no LSP.

Kept are the choice of the engine's model and what was wrong with the settings; nothing that may be a secret of its own.
"""

from __future__ import annotations

import json
import logging
import os
import re
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass, field, fields, is_dataclass, replace
from pathlib import Path
from typing import Any

from inference.system.runtime_folder import NotPrivateError, runtime_folder
from inference.text.ignore_rules import Patterns, TooCostlyError


def _within(default: Any, low: float | None = None, high: float | None = None, choices: tuple[str, ...] = ()) -> Any:
    return field(default=default, metadata={"low": low, "high": high, "choices": choices})


@dataclass(frozen=True, slots=True)
class CompletionSettings:
    """Grey text while typing.

    Attributes:
        enabled: whether to answer at all.
        disabled_languages: language ids in which not to.
        excluded_files: patterns, as in a .gitignore, of files that no model may see.
        max_file_chars: in longer documents nothing is suggested.
        debounce_ms: the longest that typing must pause before the model is asked; often less does, see ``timing``.
        max_tokens: the longest answer.
        prefix_chars: how much text before the cursor the model sees.
        suffix_chars: how much after it.
        alternatives: how many suggestions are offered where the person asked by hand.
        prefetch: whether to ask, when something is shown, for what follows once it is accepted.
        context_chars: how much of other files; 0 for none.
        min_confidence: how sure the model must be of a text for it to be shown to who merely types, from 0 to 1.
        deadline_ms: after this long, what there is is shown; four times as long where the person asked by hand.
    """

    enabled: bool = True
    disabled_languages: tuple[str, ...] = ()
    excluded_files: tuple[str, ...] = ()
    max_file_chars: int = _within(4_000_000, 1_000, 100_000_000)
    debounce_ms: int = _within(150, 0, 5_000)
    max_tokens: int = _within(64, 1, 1_024)
    prefix_chars: int = _within(2_000, 100, 400_000)
    suffix_chars: int = _within(1_000, 0, 400_000)
    alternatives: int = _within(3, 1, 5)
    prefetch: bool = True
    context_chars: int = _within(0, 0, 100_000)
    min_confidence: float = _within(0.2, 0, 1)
    deadline_ms: int = _within(5_000, 100, 120_000)


@dataclass(frozen=True, slots=True)
class EngineSettings:
    """The engine that this window starts if none is there, and what it is asked for.

    Attributes:
        model: a model's id, as ``codellama-ls pull`` takes it.
        chat_model: another one for chat; empty for the same.
        adapter: which of the person's own adapters completes; ``auto`` for the one enabled for the workspace, empty for
            none.
        format: how its weights are held.
        idle_minutes: after so long without a request the engine unloads the weights; 0 for never.
        grace_seconds: how long the engine stays after the last window has closed.
        context: tokens of prompt and answer together; 0 for what fits.
        url: the address of a server elsewhere; counts only where the person has allowed it (``remote.allowed``).
    """

    model: str = "starter"
    chat_model: str = ""
    adapter: str = "auto"
    format: str = _within("auto", choices=("auto", "fp32", "bf16", "int8", "int4", "nf4", "nf4-double"))
    idle_minutes: float = _within(10.0, 0, 10_080)
    grace_seconds: float = _within(60.0, 0, 86_400)
    context: int = _within(0, 0, 131_072)
    url: str = ""


@dataclass(frozen=True, slots=True)
class ChatSettings:
    """Conversations.

    Attributes:
        max_tokens: the longest answer.
        context_chars: how much of files goes with one message at most.
    """

    max_tokens: int = _within(512, 1, 8_192)
    context_chars: int = _within(8_000, 0, 400_000)


@dataclass(frozen=True, slots=True)
class ActionSettings:
    """Code actions.

    Attributes:
        prompts: instructions of the person's own, each of which is offered as an action.
        context_chars: how much of the document around what is to be changed the model sees; 0 for none.
    """

    prompts: tuple[str, ...] = ()
    context_chars: int = _within(0, 0, 100_000)


@dataclass(frozen=True, slots=True)
class StatisticsSettings:
    """What becomes of suggestions.

    Attributes:
        enabled: whether to keep numbers about it, on this machine.
    """

    enabled: bool = True


@dataclass(frozen=True, slots=True)
class Settings:
    """All settings; in JSON their names are in camelCase: ``{"completion": {"maxTokens": 64}}``."""

    completion: CompletionSettings = field(default_factory=CompletionSettings)
    engine: EngineSettings = field(default_factory=EngineSettings)
    chat: ChatSettings = field(default_factory=ChatSettings)
    actions: ActionSettings = field(default_factory=ActionSettings)
    statistics: StatisticsSettings = field(default_factory=StatisticsSettings)


def parse_settings(raw: Any) -> tuple[Settings, list[str]]:
    """Settings and what was wrong with them, one sentence each. ``{"codellama": {...}}`` is unwrapped."""
    problems: list[str] = []
    if isinstance(raw, Mapping) and isinstance(raw.get("codellama"), Mapping):
        raw = raw["codellama"]
    settings = _section(Settings, raw, "", problems)
    return settings, problems + _bad_patterns(settings.completion.excluded_files)


def _bad_patterns(patterns: tuple[str, ...]) -> list[str]:
    try:
        bad = Patterns.parse(patterns).bad
    except TooCostlyError as error:
        return [f"Setting 'completion.excludedFiles' {error}: no file is shown to the model. Shorten it."]
    return [
        f"Setting 'completion.excludedFiles' has {line[:40]!r}, which is no pattern; it is skipped." for _, line in bad
    ]


def _section(kind: type[Any], raw: Any, where: str, problems: list[str]) -> Any:
    if raw is None:
        return kind()
    if not isinstance(raw, Mapping):
        problems.append(f"Setting '{where or 'codellama'}' must be an object; its defaults are used.")
        return kind()
    known = {_camel(f.name): f for f in fields(kind)}
    problems += [f"Unknown setting '{_join(where, name)}' is ignored." for name in raw if name not in known]
    values = {}
    for name, spec in known.items():
        default = spec.default_factory() if callable(spec.default_factory) else spec.default
        if is_dataclass(default):
            values[spec.name] = _section(type(default), raw.get(name), _join(where, name), problems)
        elif raw.get(name) is not None:
            values[spec.name] = _value(raw[name], default, spec.metadata, _join(where, name), problems)
    return kind(**values)


def _value(value: Any, default: Any, limits: Mapping[str, Any], where: str, problems: list[str]) -> Any:
    if isinstance(default, float) and type(value) is int:
        value = float(value)
    if isinstance(default, tuple) and isinstance(value, list) and all(isinstance(item, str) for item in value):
        value = tuple(value)
    wanted = _wanted(default, limits)
    right = type(value) is type(default)
    if right and limits.get("choices"):
        right = value in limits["choices"]
    if right and limits.get("low") is not None:
        right = limits["low"] <= value <= limits["high"]
    if right:
        return value
    problems.append(f"Setting '{where}' must be {wanted}, not {value!r}; {_plain(default)!r} is used.")
    return default


def _wanted(default: Any, limits: Mapping[str, Any]) -> str:
    if limits.get("choices"):
        return "one of " + ", ".join(limits["choices"])
    if isinstance(default, bool):
        return "true or false"
    if isinstance(default, int | float):
        return f"a number from {limits['low']} to {limits['high']}"
    if isinstance(default, tuple):
        return "a list of strings"
    return "a string"


def _plain(value: Any) -> Any:
    return list(value) if isinstance(value, tuple) else value


def _camel(name: str) -> str:
    return re.sub(r"_(\w)", lambda m: m[1].upper(), name)


def _join(where: str, name: str) -> str:
    return f"{where}.{name}" if where else name


log = logging.getLogger(__name__)

FILE = "settings.json"
KEPT = ("model", "chat_model", "format", "context")


@dataclass(frozen=True, slots=True)
class SavedSettings:
    """What a window was set to, and a sentence for each setting that was wrong."""

    engine: EngineSettings
    problems: tuple[str, ...] = ()


def save(engine: EngineSettings, problems: Sequence[str]) -> None:
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
    except (OSError, NotPrivateError) as error:
        log.warning("the settings are not kept for `codellama-ls doctor`: %s", error)


def last_saved() -> SavedSettings | None:
    """What the last window was set to; None where none was, or nothing can be read."""
    with suppress(OSError, NotPrivateError, ValueError, TypeError, KeyError):
        content = json.loads(_path().read_text("utf-8"))
        known: dict[str, Any] = {name: content["engine"][name] for name in KEPT}
        return SavedSettings(replace(EngineSettings(), **known), tuple(map(str, content["problems"])))
    return None


def _path() -> Path:
    return runtime_folder() / FILE
