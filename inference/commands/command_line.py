"""Helpers of the subcommands: run one and print errors meant for the user, ask before something is deleted."""

from __future__ import annotations

import sys
from collections.abc import Callable

from inference.errors import CodeLlamaError

OK, FAILED = 0, 1


def run_command(command: Callable[[], int], *errors: type[Exception]) -> int:
    """Run ``command`` and return its exit status.

    A CodeLlamaError, or one of ``errors``, is printed without a traceback; the status is then 1.
    """
    try:
        return command()
    except (CodeLlamaError, *errors) as error:
        return print_error(error)


def print_error(message: object, status: int = FAILED) -> int:
    """Print ``codellama-ls: message`` to stderr and return ``status``."""
    sys.stderr.write(f"codellama-ls: {message}\n")
    return status


def confirm(question: str, consequence: str, declined: str) -> None:
    """Ask ``question`` on the terminal. Raise CodeLlamaError unless the user answers yes.

    Args:
        question: a yes-or-no question.
        consequence: the message if there is no terminal; the advice to add --yes is appended.
        declined: the message if the answer is no.
    """
    if not sys.stdin.isatty():
        raise CodeLlamaError(f"{consequence} Add --yes to confirm.")
    if input(f"{question} [y/N] ").strip().lower() not in ("y", "yes"):
        raise CodeLlamaError(declined)
