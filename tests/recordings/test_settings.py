"""Settings, recorded: what the server accepts and what VS Code offers.

That both have the same names, defaults and limits is held in ``tests/editor_clients/test_vscode_package.py``.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from recordings.recording import compare

from lsp_server.settings import Settings, parse_settings

PACKAGE = json.loads((Path(__file__).parents[2] / "editor_clients/vscode/package.json").read_text("utf-8"))
SECTIONS = PACKAGE["contributes"]["configuration"]
FIELDS = ("type", "items", "enum", "default", "minimum", "maximum", "scope", "order")
"""Members of a setting's schema, apart from its prose."""


def properties() -> dict[str, dict[str, Any]]:
    return {name: spec for section in SECTIONS for name, spec in section["properties"].items()}


def test_settings_that_vscode_offers_are_recorded():
    """One line a setting, and its prose below."""
    lines = []
    for section in SECTIONS:
        lines += ["", f"== «{section['title']}»"]
        for name, spec in section["properties"].items():
            schema = [f"{field}={json.dumps(spec[field])}" for field in FIELDS if field in spec]
            lines.append(f"{name}: {' '.join(schema)}")
            prose = [spec.get("markdownDescription", spec.get("description", "")), *spec.get("enumDescriptions", ())]
            prose += spec.get("markdownEnumDescriptions", ())
            lines += [f"    «{text}»" for part in prose for text in part.split("\n")]
            assert set(spec) <= {*FIELDS, "markdownDescription", "enumDescriptions", "markdownEnumDescriptions"}, name
    compare("settings/vscode.txt", "\n".join(lines[1:]) + "\n")


def test_restrictions_and_commands_of_vscode_are_recorded():
    contributes = PACKAGE["contributes"]
    lines = ["== restricted in workspaces that are not trusted"]
    lines += sorted(PACKAGE["capabilities"]["untrustedWorkspaces"]["restrictedConfigurations"])
    lines += ["", "== commands"]
    lines += [
        f"{one['command']} «{one['title']}» {one.get('enablement', '')}".rstrip() for one in contributes["commands"]
    ]
    lines += ["", "== keys"]
    lines += [
        f"{one['command']} {one['key']} {one.get('when', '')}".rstrip() for one in contributes.get("keybindings", ())
    ]
    lines += ["", "== places of commands"]
    for menu, items in contributes.get("menus", {}).items():
        lines += [f"{menu}: {one.get('command', one.get('submenu'))} {one.get('when', '')}".rstrip() for one in items]
    compare("settings/vscode_commands.txt", "\n".join(lines) + "\n")


def taken(name: str, value: Any) -> list[str]:
    """Return the server's message about one setting; empty if valid."""
    section, _, rest = name.removeprefix("codellama.").partition(".")
    return parse_settings({"codellama": {section: {rest: value}}})[1]


def test_what_the_server_takes_is_recorded():
    """For each setting: a wrong type, and values around its limits."""
    lines = []
    for name, spec in properties().items():
        if name.startswith("codellama.server."):
            continue
        assert taken(name, spec["default"]) == []
        tried = [None, {}, *spec.get("enum", ()), *([not spec["default"]] if spec["type"] == "boolean" else [])]
        if "minimum" in spec:
            low, high = spec["minimum"], spec["maximum"]
            tried += [low, low - 1, high, high + 1, 1.5, True]
        tried += ["", "x"] if spec["type"] == "string" else []
        tried += [[], ["x"], [1], "x"] if spec["type"] == "array" else []
        lines.append(name)
        for value in tried:
            problems = taken(name, value)
            lines.append(
                f"    {json.dumps(value)}: {'taken' if not problems else ''}{' '.join(f'«{p}»' for p in problems)}"
            )
    compare("settings/server.txt", "\n".join(lines) + "\n")


def test_all_defaults_are_the_servers():
    """All defaults of VS Code together equal the server's defaults."""
    given: dict[str, dict[str, Any]] = {}
    for name, spec in properties().items():
        _, section, rest = name.split(".", 2)
        if section != "server":
            given.setdefault(section, {})[rest] = spec["default"]
    assert parse_settings(given) == (Settings(), [])
