"""Which Python and which packages are here, against what this version asks for. Only metadata is read."""

from __future__ import annotations

import platform
from collections.abc import Iterable, Iterator
from contextlib import suppress
from importlib.metadata import PackageNotFoundError, requires, version

from packaging.requirements import Requirement

import inference
from inference.diagnosis.check import Check
from inference.folders import NAME

NAMED = ("torch", "transformers", "bitsandbytes", "tokenizers", "pygls", "lsprotocol", "httpx", "uvicorn")
"""What a report should name, of all that is installed."""


def versions() -> dict[str, str]:
    """By name, of this program, Python, the system and the packages that matter most."""
    found = {NAME: inference.__version__, "Python": platform.python_version()}
    for name in NAMED:
        with suppress(PackageNotFoundError):
            found[name] = version(name)
    return found


def check_versions(required: Iterable[Requirement] | None = None) -> Iterator[Check]:
    """The system, and every package that is asked for (by default those of the installed distribution)."""
    found = versions()
    system, machine = platform.system(), platform.machine()
    text = f"{NAME} {found[NAME]}, Python {found['Python']}, {system} {machine}"
    if system == "Linux":
        yield Check("versions", "ok", text)
    else:
        yield Check("versions", "warning", text, "Only Linux is tested; on Windows use WSL.")
    yield _packages(_required() if required is None else list(required))


def _packages(required: list[Requirement]) -> Check:
    if not required:
        text = "this is a source tree that was not installed: what it needs is not known"
        return Check("packages", "warning", text, "`pip install -e .` there makes it known.")
    unmet = {str(one): why for one in required if (why := _unmet(one))}
    if not unmet:
        named = ", ".join(f"{name} {found}" for name, found in versions().items() if name in NAMED)
        return Check("packages", "ok", f"all {len(required)} as asked for: {named}")
    missing = any(why.endswith("missing") for why in unmet.values())
    wanted = " ".join(f"'{requirement}'" for requirement in unmet)
    advice = f"In the environment of {NAME}: `python -m pip install {wanted}`."
    return Check("packages", "problem" if missing else "warning", ", ".join(unmet.values()), advice)


def _required() -> list[Requirement]:
    """Of the installed distribution, extras left out; empty where there is none."""
    try:
        found = [Requirement(line) for line in requires(NAME) or ()]
    except PackageNotFoundError:
        return []
    return [one for one in found if one.marker is None or one.marker.evaluate({"extra": ""})]


def _unmet(requirement: Requirement) -> str:
    try:
        found = version(requirement.name)
    except PackageNotFoundError:
        return f"{requirement.name} is missing"
    if requirement.specifier.contains(found, prereleases=True):
        return ""
    return f"{requirement.name} is {found}, not {requirement.specifier}"
