"""The command ``codellama-ls``: alone or with ``--stdio`` the language server, else a subcommand.

Knows no subcommand but its name, and imports it only when it is called: the server must not pay for torch.
"""

from __future__ import annotations

import importlib
import sys
from collections.abc import Sequence

import inference
from inference.system.child_processes import forget_working_directory, leave_working_directory

COMMANDS = {
    "demo": ("lsp_server.commands.demo_command", "show ghost text in a real file, without an editor"),
    "complete": ("lsp_server.commands.complete_command", "print what would be suggested at FILE:LINE:COL"),
    "pull": ("inference.commands.pull_command", "fetch a model and make it ready"),
    "models": ("inference.commands.models_command", "list the models and what fits here, or remove one"),
    "adapters": ("inference.commands.adapters_command", "list your own adapters; enable, disable, add or remove one"),
    "infer": ("inference.commands.infer_command", "answer a model card's sample request, from stdin to stdout"),
    "eval": ("inference.commands.eval_command", "measure how well a model fills holes in code"),
    "memory": (
        "inference.commands.memory_command",
        "print the memory a model is planned to take, load it, and measure",
    ),
    "tune": ("inference.commands.tune_command", "teach a model your own code"),
    "bench": ("lsp_server.commands.bench_command", "measure what editors ask, against other servers too"),
    "typist": ("lsp_server.commands.typist_command", "measure what suggestions save a person who types real files"),
    "gains": ("lsp_server.commands.gains_command", "measure what each part of a completion adds, on real projects"),
    "doctor": (
        "lsp_server.commands.doctor_command",
        "say what is well, what is not and what to do; `--last`: why nothing was shown",
    ),
    "stats": ("lsp_server.commands.stats_command", "tell how many suggestions were accepted and kept"),
    "engine": (
        "inference.commands.engine_command",
        "serve the model to your editors (they start it themselves); `engine status`, `stop`, `logs`",
    ),
}


INTERRUPTED = 130


def main(argv: Sequence[str] | None = None) -> int:
    """Exit status: 0 well, 1 failed, 2 used wrongly, 130 interrupted (1 of those that can go on)."""
    arguments = list(sys.argv[1:] if argv is None else argv)
    forget_working_directory()
    if (url := _serving(arguments)) is not None:
        return serve(url)
    name, *rest = arguments
    if name in ("-h", "--help"):
        return _say(usage())
    if name in ("-V", "--version"):
        return _say(f"codellama-ls {inference.__version__}")
    if name not in COMMANDS:
        print(f"codellama-ls: there is no command '{name}'.\n\n{usage()}", file=sys.stderr)  # noqa: T201
        return 2
    try:
        return importlib.import_module(COMMANDS[name][0]).main(rest)
    except KeyboardInterrupt:  # commands that leave something behind say so themselves
        print("codellama-ls: interrupted", file=sys.stderr)  # noqa: T201
        return INTERRUPTED


def _serving(arguments: Sequence[str]) -> str | None:
    """The address of a server elsewhere, or an empty text, where these are the language server's own arguments.

    Of these a person, or an editor in a person's name, decides; see ``remote.allowed``.
    """
    left, url = [one for one in arguments if one != "--stdio"], ""
    if left[:1] == ["--engine-url"] and len(left) > 1:
        left, url = left[2:], left[1]
    elif left and left[0].startswith("--engine-url="):
        left, url = left[1:], left[0].partition("=")[2]
    return url if not left else None


def serve(engine_url: str = "") -> int:
    """Speak LSP on stdin and stdout until told to exit; the log goes to stderr. ``engine_url``: a server elsewhere."""
    leave_working_directory()
    from lsp_server.server import create_server
    from lsp_server.server_log import write_to_stderr

    write_to_stderr()
    create_server(engine_url).start_io()
    return 0


def usage() -> str:
    """What ``--help`` prints."""
    width = max(map(len, COMMANDS))
    lines = [f"  {name:<{width}}  {does}" for name, (_, does) in COMMANDS.items()]
    return "\n".join(
        [
            "usage: codellama-ls [--stdio] [--engine-url URL]",
            "                                     the language server, on stdin and stdout; URL: a server elsewhere",
            "       codellama-ls COMMAND [...]    see `codellama-ls COMMAND --help`",
            "",
            *lines,
        ]
    )


def _say(text: str) -> int:
    print(text)  # noqa: T201  not the language server: stdout is a person's here
    return 0
