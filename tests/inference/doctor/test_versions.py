"""Checks of installed against required package versions."""

from __future__ import annotations

from importlib.metadata import version

from packaging.requirements import Requirement

from inference.doctor.installation import check_versions


def packages(*required: str):
    return list(check_versions([Requirement(one) for one in required]))[1]


def test_installed_packages_are_ok_and_listed():
    found = packages("pytest>=1")
    assert (found.verdict, found.advice) == ("ok", "")
    assert found.text.startswith("all 1 required packages are installed: torch ")


def test_missing_package_is_a_problem_with_a_command():
    found = packages("pytest>=1", "no-such-package>=3,<4")
    assert (found.verdict, found.text) == ("problem", "no-such-package is missing")
    assert "`python -m pip install 'no-such-package<4,>=3'`" in found.advice


def test_package_of_another_version_is_a_warning():
    found = packages("pytest<1")
    assert (found.verdict, found.text) == ("warning", f"pytest is {version('pytest')}, not <1")


def test_uninstalled_source_tree_is_a_warning():
    found = packages()
    assert (found.verdict, found.advice) == ("warning", "Run `python -m pip install -e .` in it.")
