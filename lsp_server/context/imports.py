"""Which files of a project a document imports, found by the names in its imports. Reads no file; knows no LSP.

Only what lies beside the document or in a folder around it, up to the project's root.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

MOST = 8
_SCRIPT = re.compile(r"""(?:\bfrom|\bimport|\brequire\()\s*['"](\.[^'"\n]+)['"]""")
_SCRIPT_ENDS = ("", ".ts", ".tsx", ".js", ".jsx", ".mjs", "/index.ts", "/index.js")
_PYTHON = re.compile(r"^[ \t]*(?:from[ \t]+(\.*[\w.]*)[ \t]+import[ \t]+\(?([\w, \t]*)|import[ \t]+([\w., \t]+))", re.M)
_INCLUDE = re.compile(r'^[ \t]*#[ \t]*include[ \t]+"([^"\n]+)"', re.M)
_JAVA = re.compile(r"^import[ \t]+(?:static[ \t]+)?([\w.]+);", re.M)
_RUST = re.compile(r"^[ \t]*(?:pub[ \t]+)?(?:use[ \t]+(?:crate|super|self)::([\w:]+)|mod[ \t]+(\w+);)", re.M)


def imported(language: str, text: str, path: Path, root: Path) -> list[Path]:
    """Files that are there, at most ``MOST``, in the order of the imports."""
    found: dict[Path, None] = {}
    for start, names in _wanted(language, text, path):
        for name in names:
            candidate = _find(start, name, root)
            if candidate is not None and candidate != path:
                found[candidate] = None
                break
        if len(found) == MOST:
            break
    return list(found)


def _wanted(language: str, text: str, path: Path) -> Iterator[tuple[Path | None, list[str]]]:
    """(folder, relative names) of each import, the likeliest name first; without a folder, any around will do."""
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
        start = beside if dots else None
        up = "../" * (dots - 1)
        base = module.lstrip(".")
        for name in (name.split(" as ")[0].strip() for name in names.split(",")):
            yield start, [up + one for one in (*_modules(f"{base}.{name}".strip(".")), *_modules(base))]


def _modules(name: str) -> list[str]:
    path = name.replace(".", "/")
    return [f"{path}.py", f"{path}/__init__.py"] if path else []


def _rust(name: str) -> list[str]:
    """The last names of a path may be items of a module."""
    parts = name.strip(":").split("::")
    return [f"{'/'.join(parts[:n])}{end}" for n in range(len(parts), 0, -1) for end in (".rs", "/mod.rs")]


def _find(start: Path | None, name: str, root: Path) -> Path | None:
    """The file ``name`` beside ``start``; without one, in the root or one of its source folders."""
    for folder in [start] if start else [root, root / "src", root / "lib", root / "src/main/java"]:
        candidate = (folder / name).resolve()
        if candidate.is_relative_to(root) and candidate.is_file():
            return candidate
    return None
