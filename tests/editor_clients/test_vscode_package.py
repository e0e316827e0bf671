"""The VS Code extension's ``package.json`` agrees with the language server. Needs no VS Code."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from dataclasses import fields, is_dataclass
from pathlib import Path
from typing import Any

import pytest

from lsp_server.chat.attachments import TASKS
from lsp_server.features.code_actions import EDIT
from lsp_server.features.explain import CHAT
from lsp_server.settings import Settings, parse_settings

CLIENT = Path(__file__).parents[2] / "editor_clients/vscode"
PACKAGE = json.loads((CLIENT / "package.json").read_text())
CONTRIBUTES = PACKAGE["contributes"]
PROPERTIES: dict[str, Any] = {
    name: spec for section in CONTRIBUTES["configuration"] for name, spec in section["properties"].items()
}
OWN = "codellama.server."
"""Settings of the extension's own, which the server does not know."""


def served(kind: type[Any] = Settings, where: str = "codellama") -> Iterator[tuple[str, Any, Any]]:
    """Return name, default and limits of each server setting."""
    for spec in fields(kind):
        default: Any = spec.default_factory() if callable(spec.default_factory) else spec.default
        name = f"{where}.{re.sub(r'_(.)', lambda m: m[1].upper(), spec.name)}"
        if is_dataclass(default):
            yield from served(type(default), name)
        else:
            yield name, list(default) if isinstance(default, tuple) else default, spec.metadata


def test_extension_has_exactly_the_servers_settings():
    assert sorted(name for name in PROPERTIES if not name.startswith(OWN)) == sorted(name for name, _, _ in served())


@pytest.mark.parametrize(
    ("name", "default", "limits"), list(served()), ids=lambda value: value if type(value) is str else ""
)
def test_defaults_and_limits_are_the_servers(name, default, limits):
    shown = PROPERTIES[name]
    assert shown["default"] == default
    assert [shown.get("minimum"), shown.get("maximum")] == [limits.get("low"), limits.get("high")]
    assert shown.get("enum") == (list(limits["choices"]) if limits.get("choices") else None)
    kinds = {bool: "boolean", int: "integer", float: "number", str: "string", list: "array"}
    assert shown["type"] == kinds[type(default)]
    assert shown["markdownDescription"].endswith(".")


def test_client_sends_exactly_the_known_sections():
    """The sections of ``src/settings.ts`` are all known, and none is missing."""
    sections = re.findall(r"'(\w+)'", re.search(r"SECTIONS = \[(.*?)\]", (CLIENT / "src/settings.ts").read_text())[1])  # type: ignore[index]
    defaults = {
        section: {name.split(".")[2]: value for name, value, _ in served() if name.split(".")[1] == section}
        for section in sections
    }
    assert parse_settings(defaults) == (Settings(), [])
    assert sorted(sections) == sorted({name.split(".")[1] for name, _, _ in served()})


def test_workspaces_cannot_choose_program_server_or_model():
    """Settings that a repository could bring along: neither of the machine's alone, nor of the trusted ones."""
    restricted = set(PACKAGE["capabilities"]["untrustedWorkspaces"]["restrictedConfigurations"])
    for name, spec in PROPERTIES.items():
        if name.startswith((OWN, "codellama.engine.")):
            assert spec["scope"] == "machine" and name in restricted
    assert "codellama.completion.excludedFiles" in restricted
    assert restricted <= set(PROPERTIES)


def test_client_has_the_servers_commands_and_tasks():
    assert {EDIT, CHAT} <= {command["command"] for command in CONTRIBUTES["commands"]}
    (participant,) = CONTRIBUTES["chatParticipants"]
    assert [command["name"] for command in participant["commands"]] == list(TASKS)


def test_every_listed_command_is_registered():
    source = "".join(path.read_text() for path in (CLIENT / "src").rglob("*.ts"))
    for command in CONTRIBUTES["commands"]:
        name = command["command"].removeprefix("codellama.")
        assert re.search(rf"^    '?{re.escape(name)}'?(,|:)", source, re.MULTILINE), name


def test_extension_runs_beside_the_files_only():
    assert PACKAGE["extensionKind"] == ["workspace"]
    assert "browser" not in PACKAGE
    assert PACKAGE["capabilities"]["virtualWorkspaces"]["supported"] is False
    assert "dependencies" not in PACKAGE, "everything is in the bundle"
