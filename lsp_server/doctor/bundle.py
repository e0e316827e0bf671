"""``doctor --bundle``: a report that can be shared, as JSON that a person can read before sharing it.

It is made of what is known to hold nobody's text: the checks that quote nothing, numbers, words from this program's own
source, log lines by their templates. Names, addresses, tokens and paths are then replaced in all of it.
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
from inference.client.crash_report import cause_in, tail
from inference.doctor.check import Check, healthy
from inference.doctor.engine_checks import died, look
from inference.doctor.installation import versions
from inference.doctor.redaction import ELSE, KnownStrings, Redact, known_strings, redactor, shareable
from inference.models.adapter_store import adapters_folder
from inference.models.adapter_store import installed as all_adapters
from inference.models.catalog import CATALOG
from inference.models.store import StoreError, all_installed, models_folder
from inference.system.files import roots
from inference.system.runtime_folder import NotPrivateError, runtime_folder
from lsp_server import settings
from lsp_server.backend import allowed_servers
from lsp_server.completion import trace
from lsp_server.completion.trace import Record
from lsp_server.settings import EngineSettings

FORMAT = 1
REQUESTS = 50
LOG_BYTES = 64 * 1024
SECRET_VARIABLE = re.compile(r"TOKEN|SECRET|PASSW|KEY|CREDENTIAL", re.IGNORECASE)

PRIVATE_FIELDS = frozenset({"uri", "line", "adapter", "limits"})
"""Of a request: where it was, and under which name."""


def usual_name() -> Path:
    """A new file in the current folder."""
    return Path(f"codellama-ls-report-{datetime.now(UTC):%Y%m%d-%H%M%S}.json")


def write(path: Path, checks: Sequence[Check], tried: Sequence[EngineSettings] = ()) -> Path:
    """Write the report for this user's eyes first; raises OSError, rather than replace a file too."""
    text = json.dumps(report(checks, tried), indent=1, ensure_ascii=False) + "\n"
    file = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with open(file, "w", encoding="utf-8") as stream:  # noqa: PTH123  a descriptor
        stream.write(text)
    return path


def report(checks: Sequence[Check], tried: Sequence[EngineSettings] = ()) -> dict[str, Any]:
    """What may be shared, of the checks (of ``tried``) and of what this user's processes left."""
    own = known_strings(tuple(Path(package.__path__[0]) for package in (inference, lsp_server)))
    logged = shareable(_log(), own)
    stats = look()
    found = {
        "format": FORMAT,
        "made": datetime.now(UTC).isoformat(timespec="seconds"),
        "healthy": healthy(checks),
        "versions": versions(),
        "checks": [_check(check) for check in checks],
        "engine": own.value(stats),
        "last_end": cause_in(logged) if stats is None and died() else "",
        "requests": [_request(record, own) for record in _requests()],
        "log": logged,
    }
    models = _models(tried)
    return _redacted(found, redactor(_secrets(), {**_places(), **_paths(models)}, _names(models)))


def _check(check: Check) -> dict[str, Any]:
    """A check that may quote others keeps its name, verdict and numbers."""
    told = check.to_json()
    del told["quotes"]
    return {**told, "text": ELSE} if check.quotes else told


def _request(record: Mapping[str, Any], own: KnownStrings) -> dict[str, Any]:
    """One request without where it was; of its file, the ending that its language usually has."""
    known = {field.name for field in fields(Record)} - PRIVATE_FIELDS
    told = {name: own.value(record[name]) for name in record if name in known}
    rules = str(record.get("filter", "")).split(", ")
    ending = PurePosixPath(str(record.get("uri", ""))).suffix
    return {**told, "filter": own.value(rules), "file": own.value(ending)}


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
    """The engine's token, that of a server elsewhere, and what the environment calls a secret."""
    found = [value for name, value in os.environ.items() if SECRET_VARIABLE.search(name)]
    found.append(allowed_servers.kept()[1])
    with suppress(NotPrivateError, OSError):
        found.append((runtime_folder() / "engine.token").read_text("ascii", "replace").strip())
    return found


def _places() -> dict[str, str]:
    """Folders whose paths tell something, by what they are called in a report."""
    named = {models_folder(): "<models>", adapters_folder(): "<adapters>", Path.cwd(): "<folder>"}
    named |= dict(zip(roots(), ("<cache>", "<data>", "<state>"), strict=True))
    named |= {Path(inference.__path__[0]).parent: "<program>", Path(tempfile.gettempdir()): "<temporary>"}
    with suppress(NotPrivateError, OSError):
        named[runtime_folder()] = "<runtime>"
    home = {Path.home(): "~"}
    return {str(form): name for path, name in {**named, **home}.items() for form in (path, path.resolve())}


def _models(tried: Sequence[EngineSettings]) -> list[str]:
    """What the person named as a model, for this report or in their last window's settings; also what is none."""
    kept = settings.last_saved()
    chosen = [*tried, *([kept.engine] if kept else [])]
    named = [name for engine in chosen for name in (engine.model, engine.chat_model)]
    return [name for name in named if name not in CATALOG]


def _paths(models: Sequence[str]) -> dict[str, str]:
    """Those of them that are paths, or ids on the hub: to be replaced whole, and by their last part."""
    return {name: "[name]" for name in models if "/" in name}


def _names(models: Sequence[str]) -> dict[str, str]:
    """The person, the machines, and what the person named: models, adapters, workspaces' folders."""
    own = [*models, *(PurePosixPath(name).name for name in models)]
    with suppress(StoreError, OSError):
        own += [*all_installed(), *all_adapters()]
    named = {name: "[name]" for name in own if name not in CATALOG}
    host = socket.gethostname()
    with suppress(ValueError):
        named[urlsplit(allowed_servers.kept()[0]).hostname or ""] = "[host]"
    return {**named, **_person(), host: "[host]", host.partition(".")[0]: "[host]", Path.home().name: "[user]"}


def _person() -> dict[str, str]:
    """The names of this user: of the login, and in full where the system knows it."""
    found = {}
    with suppress(OSError, KeyError, ImportError):
        found[getpass.getuser()] = "[user]"
    with suppress(KeyError, ImportError):
        import pwd

        entry = pwd.getpwuid(os.getuid())
        full = entry.pw_gecos.partition(",")[0]
        found |= dict.fromkeys((entry.pw_name, full, *full.split()), "[user]")
    return found
