"""Resolve a document's imports to files of its project, by name. No file is read.

Imports resolve to files beside the document, and to files in the project's root and its source folders.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

MAX_FILES = 8
_SCRIPT = re.compile(r"""(?:\bfrom|\bimport|\brequire\()\s*['"](\.[^'"\n]+)['"]""")
_SCRIPT_ENDS = ("", ".ts", ".tsx", ".js", ".jsx", ".mjs", "/index.ts", "/index.js")
_PYTHON = re.compile(r"^[ \t]*(?:from[ \t]+(\.*[\w.]*)[ \t]+import[ \t]+\(?([\w, \t]*)|import[ \t]+([\w., \t]+))", re.M)
_INCLUDE = re.compile(r'^[ \t]*#[ \t]*include[ \t]+"([^"\n]+)"', re.M)
_JAVA = re.compile(r"^import[ \t]+(?:static[ \t]+)?([\w.]+);", re.M)
_RUST = re.compile(r"^[ \t]*(?:pub[ \t]+)?(?:use[ \t]+(?:crate|super|self)::([\w:]+)|mod[ \t]+(\w+);)", re.M)


def imported(language: str, text: str, path: Path, root: Path) -> list[Path]:
    """Return the imported files that exist, at most ``MAX_FILES``, in the order of the imports."""
    found: dict[Path, None] = {}
    for folder, names in _candidates(language, text, path):
        for name in names:
            candidate = _find(folder, name, root)
            if candidate is not None and candidate != path:
                found[candidate] = None
                break
        if len(found) == MAX_FILES:
            break
    return list(found)


def _candidates(language: str, text: str, path: Path) -> Iterator[tuple[Path | None, list[str]]]:
    """Yield (folder, relative names) of each import, the likeliest name first.

    Without a folder the names are relative to the root or to a source folder.
    """
    beside = path.parent
    if language == "python":
        yield from _python(text, beside)
    elif language.startswith(("javascript", "typescript")):
        yield from ((beside, [name + end for end in _SCRIPT_ENDS]) for name in _SCRIPT.findall(text))
    elif language in ("c", "cpp"):
        yield from ((None, [name, f"include/{name}"]) for name in _INCLUDE.findall(text))
        yield from ((beside, [f"{path.stem}{end}"]) for end in (".h", ".hpp"))
    elif language == "java":
        yield from ((None, [name.replace(".", "/") + ".java"]) for name in _JAVA.findall(text))
    elif language == "rust":
        yield from ((None, _rust(used or declared)) for used, declared in _RUST.findall(text))


def _python(text: str, beside: Path) -> Iterator[tuple[Path | None, list[str]]]:
    for module, names, plain in _PYTHON.findall(text):
        if plain:
            yield from ((None, _modules(name.split(" as ")[0].strip())) for name in plain.split(","))
            continue
        dots = len(module) - len(module.lstrip("."))
        base_folder = beside if dots else None
        up = "../" * (dots - 1)
        base = module.lstrip(".")
        for name in (name.split(" as ")[0].strip() for name in names.split(",")):
            yield base_folder, [up + one for one in (*_modules(f"{base}.{name}".strip(".")), *_modules(base))]


def _modules(name: str) -> list[str]:
    path = name.replace(".", "/")
    return [f"{path}.py", f"{path}/__init__.py"] if path else []


def _rust(name: str) -> list[str]:
    """Return the possible files of a path. Its last names may be items of a module."""
    parts = name.strip(":").split("::")
    return [f"{'/'.join(parts[:n])}{end}" for n in range(len(parts), 0, -1) for end in (".rs", "/mod.rs")]


def _find(base: Path | None, name: str, root: Path) -> Path | None:
    """Return the file ``name`` in ``base``, or in the root or a source folder if ``base`` is None."""
    for folder in [base] if base else [root, root / "src", root / "lib", root / "src/main/java"]:
        candidate = (folder / name).resolve()
        if candidate.is_relative_to(root) and candidate.is_file():
            return candidate
    return None
