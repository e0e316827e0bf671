"""The user's settings: parse and validate them, and save some of them for ``codellama-ls doctor``.

An invalid value is reported and replaced by its default. The input is the JSON of ``initializationOptions`` or
``workspace/didChangeConfiguration``. The saved file holds the choice of the model and the problems found, no secrets.
"""

from __future__ import annotations

import json
import logging
import re
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass, field, fields, is_dataclass, replace
from pathlib import Path
from typing import Any

from inference.system.files import write_private
from inference.system.runtime_folder import NotPrivateError, runtime_folder
from inference.text.ignore_rules import Patterns, TooCostlyError

log = logging.getLogger(__name__)

FILE = "settings.json"
SAVED = ("model", "chat_model", "format", "context")
"""The engine settings that are saved."""


def _within(default: Any, low: float | None = None, high: float | None = None, choices: tuple[str, ...] = ()) -> Any:
    return field(default=default, metadata={"low": low, "high": high, "choices": choices})


@dataclass(frozen=True, slots=True)
class CompletionSettings:
    """Inline completion.

    Attributes:
        enabled: show completions.
        disabled_languages: ids of languages without completions.
        excluded_files: patterns, as in a .gitignore, of files that must not reach a model.
        max_file_chars: longer documents, in characters, get no completions.
        debounce_ms: longest pause in typing, in milliseconds, before a completion is requested (``debounce``).
        max_tokens: longest completion, in tokens.
        prefix_chars: characters before the cursor that the model sees.
        suffix_chars: characters after the cursor that the model sees.
        alternatives: number of completions offered when the user invokes completion explicitly.
        prefetch: generate the completion that follows a displayed one before it is accepted.
        context_chars: characters of other files in the prompt; 0 for none.
        min_confidence: completions with a lower confidence, 0 to 1, are not shown automatically.
        deadline_ms: milliseconds after which the partial result is shown; four times as long when invoked explicitly.
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
    """The engine that this editor session connects to, or starts if none is running.

    Attributes:
        model: id of the completion model, as in ``codellama-ls pull``.
        chat_model: id of the chat model; empty for the completion model.
        adapter: name of the user's adapter for completion; ``auto`` for the one enabled for the workspace, empty for
            none.
        format: number format of the weights in memory.
        idle_minutes: minutes without a request after which the engine unloads the weights; 0 for never.
        grace_seconds: seconds that the engine keeps running after the last editor session has ended.
        context: tokens of prompt and output together; 0 for as many as fit.
        url: address of a remote server; used only if the user has allowed it (``backend.allowed_servers``).
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
    """Chat.

    Attributes:
        max_tokens: longest response, in tokens.
        context_chars: characters of files attached to one message at most.
    """

    max_tokens: int = _within(512, 1, 8_192)
    context_chars: int = _within(8_000, 0, 400_000)


@dataclass(frozen=True, slots=True)
class ActionSettings:
    """Code actions.

    Attributes:
        prompts: the user's own instructions, each offered as a code action.
        context_chars: characters of the document around the edited code that the model sees; 0 for none.
    """

    prompts: tuple[str, ...] = ()
    context_chars: int = _within(0, 0, 100_000)


@dataclass(frozen=True, slots=True)
class StatisticsSettings:
    """Usage statistics.

    Attributes:
        enabled: store local statistics of shown and accepted completions.
    """

    enabled: bool = True


@dataclass(frozen=True, slots=True)
class Settings:
    """All settings. In JSON their names are in camelCase: ``{"completion": {"maxTokens": 64}}``."""

    completion: CompletionSettings = field(default_factory=CompletionSettings)
    engine: EngineSettings = field(default_factory=EngineSettings)
    chat: ChatSettings = field(default_factory=ChatSettings)
    actions: ActionSettings = field(default_factory=ActionSettings)
    statistics: StatisticsSettings = field(default_factory=StatisticsSettings)


def parse_settings(raw: Any) -> tuple[Settings, list[str]]:
    """Return the settings, and one sentence for each problem. ``{"codellama": {...}}`` is unwrapped."""
    problems: list[str] = []
    if isinstance(raw, Mapping) and isinstance(raw.get("codellama"), Mapping):
        raw = raw["codellama"]
    settings = _section(Settings, raw, "", problems)
    return settings, problems + _bad_patterns(settings.completion.excluded_files)


def _bad_patterns(patterns: tuple[str, ...]) -> list[str]:
    try:
        bad = Patterns.parse(patterns).bad
    except TooCostlyError as error:
        return [f"Setting 'completion.excludedFiles' {error}: no file is sent to the model. Shorten the list."]
    return [
        f"Setting 'completion.excludedFiles' contains {line[:40]!r}, which is not a valid pattern and is ignored."
        for _, line in bad
    ]


def _section(kind: type[Any], raw: Any, where: str, problems: list[str]) -> Any:
    if raw is None:
        return kind()
    if not isinstance(raw, Mapping):
        problems.append(f"Setting '{where or 'codellama'}' must be an object. Its defaults are used.")
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
    valid = type(value) is type(default)
    if valid and limits.get("choices"):
        valid = value in limits["choices"]
    if valid and limits.get("low") is not None:
        valid = limits["low"] <= value <= limits["high"]
    if valid:
        return value
    given, used = (json.dumps(one, default=str, ensure_ascii=False) for one in (value, default))
    problems.append(f"Setting '{where}' must be {_expected(default, limits)}, not {given}. The default {used} is used.")
    return default


def _expected(default: Any, limits: Mapping[str, Any]) -> str:
    if limits.get("choices"):
        return "one of " + ", ".join(limits["choices"])
    if isinstance(default, bool):
        return "true or false"
    if isinstance(default, int | float):
        return f"a number from {limits['low']} to {limits['high']}"
    if isinstance(default, tuple):
        return "a list of strings"
    return "a string"


def _camel(name: str) -> str:
    return re.sub(r"_(\w)", lambda m: m[1].upper(), name)


def _join(where: str, name: str) -> str:
    return f"{where}.{name}" if where else name


@dataclass(frozen=True, slots=True)
class SavedSettings:
    """The saved settings of an editor session, and one sentence for each invalid setting."""

    engine: EngineSettings
    problems: tuple[str, ...] = ()


def save(engine: EngineSettings, problems: Sequence[str]) -> None:
    """Write the settings for ``last_saved``. An error is only logged."""
    known = asdict(engine)
    content = {"engine": {name: known[name] for name in SAVED}, "problems": list(problems)}
    try:
        write_private(_path(), json.dumps(content))
    except (OSError, NotPrivateError) as error:
        log.warning("The settings are not saved for `codellama-ls doctor`: %s", error)


def last_saved() -> SavedSettings | None:
    """Return the settings of the last editor session; None if there are none or they cannot be read."""
    with suppress(OSError, NotPrivateError, ValueError, TypeError, KeyError):
        content = json.loads(_path().read_text("utf-8"))
        known: dict[str, Any] = {name: content["engine"][name] for name in SAVED}
        return SavedSettings(replace(EngineSettings(), **known), tuple(map(str, content["problems"])))
    return None


def _path() -> Path:
    return runtime_folder() / FILE
