"""The ``codellama-ls`` command: the language server, or a subcommand.

A subcommand is imported only when it runs, so that the language server never imports torch.
"""

from __future__ import annotations

import importlib
import sys
from collections.abc import Sequence

import inference
from inference.system.child_processes import forget_working_directory, leave_working_directory

COMMANDS = {
    "demo": ("lsp_server.commands.demo_command", "show inline completions in a real file, without an editor"),
    "complete": ("lsp_server.commands.complete_command", "print the completion at FILE:LINE:COL"),
    "pull": ("inference.commands.pull_command", "download and install a model"),
    "models": ("inference.commands.models_command", "list the models and those that fit this machine, or remove one"),
    "adapters": ("inference.commands.adapters_command", "list, enable, disable, add or remove your own adapters"),
    "infer": ("inference.commands.infer_command", "complete a sample request of a model card, from stdin to stdout"),
    "eval": ("inference.commands.eval_command", "evaluate a model on infilling benchmarks"),
    "memory": (
        "inference.commands.memory_command",
        "print the planned memory of a model, load it, and measure the memory",
    ),
    "tune": ("inference.commands.tune_command", "fine-tune an adapter on your own code"),
    "bench": ("lsp_server.commands.bench_command", "measure latency and throughput, also of other servers"),
    "typist": (
        "lsp_server.commands.typist_command",
        "measure the keystrokes that completions save while typing real files",
    ),
    "gains": (
        "lsp_server.commands.gains_command",
        "measure the effect of each stage of the completion pipeline on real projects",
    ),
    "doctor": (
        "lsp_server.commands.doctor_command",
        "check the installation and suggest fixes; `--last`: why nothing was shown",
    ),
    "stats": ("lsp_server.commands.stats_command", "show how many completions were accepted and kept"),
    "engine": (
        "inference.commands.engine_command",
        "run the engine that serves all editors (they start it); `engine status`, `stop`, `logs`",
    ),
}
"""The module and the summary of each subcommand."""

INTERRUPTED = 130


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command and return its exit status.

    0: success; 1: failure; 2: usage error; 130: interrupted. Commands that can be resumed return 1 if interrupted.
    """
    arguments = list(sys.argv[1:] if argv is None else argv)
    forget_working_directory()
    if (url := _server_url(arguments)) is not None:
        return serve(url)
    name, *rest = arguments
    if name in ("-h", "--help"):
        return _print(usage())
    if name in ("-V", "--version"):
        return _print(f"codellama-ls {inference.__version__}")
    if name not in COMMANDS:
        print(f"codellama-ls: there is no command '{name}'.\n\n{usage()}", file=sys.stderr)  # noqa: T201
        return 2
    try:
        return importlib.import_module(COMMANDS[name][0]).main(rest)
    except KeyboardInterrupt:  # commands that leave partial results handle it themselves
        print("codellama-ls: interrupted", file=sys.stderr)  # noqa: T201
        return INTERRUPTED


def _server_url(arguments: Sequence[str]) -> str | None:
    """Return ``--engine-url``, or an empty string without it; None if the arguments are not the language server's.

    The command line is trusted: only the user or the user's editor sets it (``backend.allowed_servers``).
    """
    left, url = [one for one in arguments if one != "--stdio"], ""
    if left[:1] == ["--engine-url"] and len(left) > 1:
        left, url = left[2:], left[1]
    elif left and left[0].startswith("--engine-url="):
        left, url = left[1:], left[0].partition("=")[2]
    return url if not left else None


def serve(engine_url: str = "") -> int:
    """Run the language server on stdin and stdout; log to stderr. ``engine_url``: address of a remote server."""
    leave_working_directory()
    from lsp_server.server import create_server
    from lsp_server.server_log import write_to_stderr

    write_to_stderr()
    create_server(engine_url).start_io()
    return 0


def usage() -> str:
    """Return the text of ``--help``."""
    width = max(map(len, COMMANDS))
    lines = [f"  {name:<{width}}  {summary}" for name, (_, summary) in COMMANDS.items()]
    return "\n".join(
        [
            "usage: codellama-ls [--stdio] [--engine-url URL]",
            "                                     run the language server on stdin and stdout; URL: a remote server",
            "       codellama-ls COMMAND [...]    see `codellama-ls COMMAND --help`",
            "",
            *lines,
        ]
    )


def _print(text: str) -> int:
    print(text)  # noqa: T201  not the language server: stdout is free
    return 0
