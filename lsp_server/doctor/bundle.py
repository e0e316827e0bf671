"""``doctor --bundle``: a report to share, as JSON that the user can read before sharing it.

It contains only text that cannot be the user's: checks that quote nothing, numbers, strings from this program's own
source, and log lines reduced to their templates. Names, addresses, tokens and paths are then replaced throughout.
"""

from __future__ import annotations

import getpass
import json
import os
import re
import socket
import tempfile
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import fields
from datetime import UTC, datetime
from pathlib import Path, PurePosixPath
from typing import Any
from urllib.parse import urlsplit

import inference
import lsp_server
from inference.client.crash_report import likely_cause_in, tail
from inference.doctor.check import Check, healthy
from inference.doctor.engine_checks import engine_stats, last_engine_crashed
from inference.doctor.installation import versions
from inference.doctor.redaction import LEFT_OUT, KnownStrings, Redact, known_strings, redact_log, redactor
from inference.models.adapter_store import adapters_folder
from inference.models.adapter_store import installed as all_adapters
from inference.models.catalog import CATALOG
from inference.models.store import StoreError, all_installed, models_folder
from inference.system.files import app_folders, open_private
from inference.system.runtime_folder import NotPrivateError, runtime_folder
from lsp_server import settings
from lsp_server.backend import allowed_servers
from lsp_server.completion import trace
from lsp_server.completion.trace import TraceRecord
from lsp_server.settings import EngineSettings

FORMAT = 1
REQUESTS = 50
LOG_BYTES = 64 * 1024
SECRET_VARIABLE = re.compile(r"TOKEN|SECRET|PASSW|KEY|CREDENTIAL", re.IGNORECASE)

PRIVATE_FIELDS = frozenset({"uri", "line", "adapter", "limits"})
"""Fields of a request that are left out: its position, and names that the user chose."""


def default_name() -> Path:
    """Return a new file name in the current folder."""
    return Path(f"codellama-ls-report-{datetime.now(UTC):%Y%m%d-%H%M%S}.json")


def write(path: Path, checks: Sequence[Check], tried: Sequence[EngineSettings] = ()) -> Path:
    """Write the report to a new private file. Raises OSError, also if the file exists."""
    text = json.dumps(report(checks, tried), indent=1, ensure_ascii=False) + "\n"
    with open_private(path, "x") as file:
        file.write(text)
    return path


def report(checks: Sequence[Check], tried: Sequence[EngineSettings] = ()) -> dict[str, Any]:
    """Return the report: the checks made with the settings ``tried``, the last requests and the engine's log."""
    known = known_strings(tuple(Path(package.__path__[0]) for package in (inference, lsp_server)))
    logged = redact_log(_log(), known)
    stats = engine_stats()
    content = {
        "format": FORMAT,
        "made": datetime.now(UTC).isoformat(timespec="seconds"),
        "healthy": healthy(checks),
        "versions": versions(),
        "checks": [_check(check) for check in checks],
        "engine": known.value(stats),
        "last_end": likely_cause_in(logged) if stats is None and last_engine_crashed() else "",
        "requests": [_request(record, known) for record in _requests()],
        "log": logged,
    }
    models = _models(tried)
    return _redacted(content, redactor(_secrets(), {**_folders(), **_paths(models)}, _names(models)))


def _check(check: Check) -> dict[str, Any]:
    """Return a check for the report. If it may quote others, its text is left out."""
    content = check.to_json()
    del content["quotes"]
    return {**content, "text": LEFT_OUT} if check.quotes else content


def _request(record: Mapping[str, Any], known: KnownStrings) -> dict[str, Any]:
    """Return a request without its position and file, except for a file ending that is usual for its language."""
    public = {field.name for field in fields(TraceRecord)} - PRIVATE_FIELDS
    content = {name: known.value(record[name]) for name in record if name in public}
    rules = str(record.get("filter", "")).split(", ")
    ending = PurePosixPath(str(record.get("uri", ""))).suffix
    return {**content, "filter": known.value(rules), "file": known.value(ending)}


def _redacted(value: Any, redact: Redact) -> Any:
    if isinstance(value, Mapping):
        return {key: _redacted(item, redact) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_redacted(item, redact) for item in value]
    return redact(value) if isinstance(value, str) else value


def _log() -> list[str]:
    with suppress(NotPrivateError, OSError):
        return tail(runtime_folder() / "engine.log", LOG_BYTES).splitlines()
    return []


def _requests() -> list[dict[str, Any]]:
    with suppress(NotPrivateError, OSError):
        return trace.last_requests(REQUESTS)
    return []


def _secrets() -> list[str]:
    """Return the tokens of the engine and of the remote server, and secrets in environment variables."""
    secrets = [value for name, value in os.environ.items() if SECRET_VARIABLE.search(name)]
    secrets.append(allowed_servers.file_contents()[1])
    with suppress(NotPrivateError, OSError):
        secrets.append((runtime_folder() / "engine.token").read_text("ascii", "replace").strip())
    return secrets


def _folders() -> dict[str, str]:
    """Return folders whose paths may reveal something, with their placeholders."""
    named = {models_folder(): "<models>", adapters_folder(): "<adapters>", Path.cwd(): "<folder>"}
    named |= dict(zip(app_folders(), ("<cache>", "<data>", "<state>"), strict=True))
    named |= {Path(inference.__path__[0]).parent: "<program>", Path(tempfile.gettempdir()): "<temporary>"}
    with suppress(NotPrivateError, OSError):
        named[runtime_folder()] = "<runtime>"
    home = {Path.home(): "~"}
    return {str(form): name for path, name in {**named, **home}.items() for form in (path, path.resolve())}


def _models(tried: Sequence[EngineSettings]) -> list[str]:
    """Return names that the user gave as models, for this report or in the last saved settings, valid or not."""
    kept = settings.last_saved()
    chosen = [*tried, *([kept.engine] if kept else [])]
    named = [name for engine in chosen for name in (engine.model, engine.chat_model)]
    return [name for name in named if name not in CATALOG]


def _paths(models: Sequence[str]) -> dict[str, str]:
    """Return the models given as a path or a hub id; they are replaced as a whole."""
    return {name: "[name]" for name in models if "/" in name}


def _names(models: Sequence[str]) -> dict[str, str]:
    """Return the user's and hosts' names, and names the user chose for models and adapters."""
    chosen = [*models, *(PurePosixPath(name).name for name in models)]
    with suppress(StoreError, OSError):
        chosen += [*all_installed(), *all_adapters()]
    named = {name: "[name]" for name in chosen if name not in CATALOG}
    host = socket.gethostname()
    with suppress(ValueError):
        named[urlsplit(allowed_servers.file_contents()[0]).hostname or ""] = "[host]"
    return {**named, **_user_names(), host: "[host]", host.partition(".")[0]: "[host]", Path.home().name: "[user]"}


def _user_names() -> dict[str, str]:
    """Return the login name and the full name, as far as the system knows them."""
    names = {}
    with suppress(OSError, KeyError, ImportError):
        names[getpass.getuser()] = "[user]"
    with suppress(KeyError, ImportError):
        import pwd

        entry = pwd.getpwuid(os.getuid())
        full = entry.pw_gecos.partition(",")[0]
        names |= dict.fromkeys((entry.pw_name, full, *full.split()), "[user]")
    return names
