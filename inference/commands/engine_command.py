"""``codellama-ls engine``: run the engine; ``engine status | stop | logs`` control a running one.

Only running the engine imports torch.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import sys
from collections.abc import Mapping, Sequence
from contextlib import aclosing
from typing import Any

from rich.console import Console
from rich.table import Table
from rich.text import Text

from inference.api.engine_errors import EngineError, EngineSilent
from inference.api.status import LEAVING
from inference.client import crash_report, hung_engine
from inference.client.engine_client import EngineClient
from inference.client.engine_process import listens, log_path, socket_path
from inference.commands.command_line import FAILED, OK, run_command

STOP_NOW_SECONDS = 5.0
"""Time that ``stop --now`` gives an engine to end by itself before it is killed."""

NONE_RUNS = "No engine is running. Editors start one when they need it."


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command. Exit status 1: no engine runs, or it does not respond."""
    arguments = list(sys.argv[1:] if argv is None else argv)
    if not arguments or arguments[0] not in ("status", "stop", "logs"):
        from inference.server.process import main as serve

        return serve(arguments)
    args = _parse(arguments)
    return run_command(lambda: asyncio.run(args.run(args)))


def _parse(arguments: Sequence[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="codellama-ls engine", description="Control the engine that is running.")
    commands = parser.add_subparsers(required=True)
    status = commands.add_parser("status", help="print the engine's state, models and counters")
    status.add_argument("--json", action="store_true", help="print everything as JSON")
    status.set_defaults(run=_status)
    stop = commands.add_parser("stop", help="finish the running requests, then stop the engine")
    stop.add_argument("--now", action="store_true", help="cancel the running requests")
    stop.set_defaults(run=_stop)
    logs = commands.add_parser("logs", help="print the end of the engine's log, which contains none of your code")
    logs.add_argument("-n", type=int, default=50, metavar="LINES", help="number of lines (default: %(default)d)")
    logs.set_defaults(run=_logs)
    return parser.parse_args(arguments)


async def _status(args: argparse.Namespace) -> int:
    if not await listens(socket_path()):
        return _print(NONE_RUNS, FAILED)
    client = EngineClient(socket_path())
    try:
        stats = await client.stats()
    finally:
        await client.aclose()
    if args.json:
        return _print(json.dumps(stats, indent=2))
    Console(highlight=False).print(status_table(stats))
    return OK


async def _stop(args: argparse.Namespace) -> int:
    if not await listens(socket_path()):
        return _print(NONE_RUNS)
    if not args.now:
        await _shut_down(EngineClient(socket_path()))
        return _print("The engine has stopped.")
    try:
        async with asyncio.timeout(STOP_NOW_SECONDS):
            await _shut_down(EngineClient(socket_path()), now=True)
    except (TimeoutError, EngineSilent):
        if await hung_engine.kill_engine(socket_path()):
            return _print("The engine did not stop by itself and was killed.")
    return _print("The engine has stopped.")


async def _shut_down(client: EngineClient, *, now: bool = False) -> None:
    """Ask the engine to shut down, wait until it has ended, and close the client. Raises EngineError."""
    announced = now
    try:
        async with aclosing(client.lease()) as statuses:  # ends when the engine ends
            async for status in statuses:
                if status.phase not in LEAVING:
                    await client.retire(stop=True, now=now)
                elif not announced:
                    announced = True
                    text = "The engine is finishing its running requests. Press Ctrl-C to stop waiting."
                    print(text, file=sys.stderr)  # noqa: T201
    except EngineError:
        if await listens(socket_path()):
            raise
    finally:
        await client.aclose()


async def _logs(args: argparse.Namespace) -> int:
    log = log_path()
    if not log.exists():
        return _print("There is no log. No editor has started an engine yet.", FAILED)
    lines = crash_report.tail(log, size=1 << 20).splitlines()
    return _print("\n".join(lines[-args.n :] if args.n > 0 else []))


def status_table(stats: Mapping[str, Any]) -> Table:
    """Return the response of ``GET /stats`` as a table."""
    table = Table(show_header=False, box=None, pad_edge=False)
    engine, tokens = stats["engine"], stats["tokens"]
    ends = {end: sum(count[end] for count in stats["answers"].values()) for end in ("failed", "cancelled")}
    finished = [f"{count['finished']:,} {kind}" for kind, count in stats["answers"].items()]
    rows = {
        "engine": f"version {engine['version']}, process {engine['pid']}, up {_time(stats['uptime_seconds'])}",
        "state": f"{engine['phase']}: {engine['message']}",
        "models": _models(stats),
        "memory": _memory(stats["memory"]),
        "editors": str(stats["windows"]),
        "requests": f"{stats['requests']['open']} open, {stats['requests']['waiting']} queued or running",
        "finished": f"{', '.join(finished)}; {ends['cancelled']:,} cancelled, {ends['failed']:,} failed, "
        f"{stats['refused']:,} refused",
        "tokens": f"{tokens['prompt']:,} in prompts, {_share(tokens['reused'], tokens['prompt'])} of them reused; "
        f"{tokens['completion']:,} generated",
        "last crash": engine["crash"] or "none",
        "socket": str(socket_path()),
        "log": str(log_path()),
    }
    for name, value in rows.items():
        table.add_row(Text(name, "bold"), Text(value))
    return table


def _models(stats: Mapping[str, Any]) -> str:
    if not stats["models"]:
        return "none in memory"
    parts = (
        f"{name} ({', '.join(f'{role} {tokens:,} tokens' for role, tokens in contexts.items())})"
        for name, contexts in stats["models"].items()
    )
    return ", ".join(parts)


def _memory(memory: Mapping[str, int]) -> str:
    gpu = f", GPU {_size(memory['gpu_bytes'])}" if memory["gpu_bytes"] else ""
    return _size(memory["resident_bytes"]) + gpu


def _size(count: int) -> str:
    return f"{count / 2**30:.1f} GiB" if count >= 2**30 else f"{count / 2**20:.0f} MiB"


def _share(part: int, whole: int) -> str:
    return f"{100 * part // whole} %" if whole else "none"


def _time(seconds: float) -> str:
    minutes = int(seconds // 60)
    return f"{minutes // 60} h {minutes % 60} min" if minutes >= 60 else f"{minutes} min {int(seconds % 60)} s"


def _print(text: str, status: int = OK) -> int:
    print(text)  # noqa: T201
    return status
