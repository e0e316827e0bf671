"""What is installed against what is asked for."""

from __future__ import annotations

from importlib.metadata import version

from packaging.requirements import Requirement

from inference.doctor.installation import check_versions


def packages(*required: str):
    return list(check_versions([Requirement(one) for one in required]))[1]


def test_all_there_is_well_and_names_what_matters():
    found = packages("pytest>=1")
    assert (found.verdict, found.advice) == ("ok", "")
    assert found.text.startswith("all 1 as asked for: torch ")


def test_missing_package_is_a_problem_and_said_how_to_install():
    found = packages("pytest>=1", "no-such-package>=3,<4")
    assert (found.verdict, found.text) == ("problem", "no-such-package is missing")
    assert "`python -m pip install 'no-such-package<4,>=3'`" in found.advice


def test_package_of_another_version_is_a_warning():
    """It may work; nobody has tried."""
    found = packages("pytest<1")
    assert (found.verdict, found.text) == ("warning", f"pytest is {version('pytest')}, not <1")


def test_source_tree_that_was_not_installed_is_said_to_be_one():
    found = packages()
    assert (found.verdict, found.advice) == ("warning", "`pip install -e .` there makes it known.")
