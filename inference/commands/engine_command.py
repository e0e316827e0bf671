"""``codellama-ls engine``: serve; and ``engine status | stop | logs`` for the engine that runs.

Torch-free, and so quick, unless it is to serve. Knows the engine by its socket and its log only.
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

from inference.api.errors import EngineError, EngineSilent
from inference.api.status import LEAVING
from inference.client import crash_report, hung_engine
from inference.client.engine_client import EngineClient
from inference.client.engine_process import listens, log_path, socket_path
from inference.system.runtime_folder import NotPrivateError

OK, FAILED = 0, 1

NOW_SECONDS = 5.0
"""Seconds that an engine asked to stop now may be silent, and may take in all, before it is killed."""

NONE_RUNS = "No engine is running; editors start one themselves."


def main(argv: Sequence[str] | None = None) -> int:
    """Exit status 0 where it went well, 1 where no engine runs or it does not answer."""
    arguments = list(sys.argv[1:] if argv is None else argv)
    if not arguments or arguments[0] not in ("status", "stop", "logs"):
        from inference.server.process import main as serve

        return serve(arguments)
    args = _parse(arguments)
    try:
        return asyncio.run(args.run(args))
    except (EngineError, NotPrivateError) as error:
        print(f"codellama-ls: {error}", file=sys.stderr)  # noqa: T201
        return FAILED


def _parse(arguments: Sequence[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="codellama-ls engine", description="The engine that runs for your editors.")
    commands = parser.add_subparsers(required=True)
    status = commands.add_parser("status", help="what it serves, to how many windows, and what it has done")
    status.add_argument("--json", action="store_true", help="all of it, for programs")
    status.set_defaults(run=_status)
    stop = commands.add_parser("stop", help="let it answer what it has begun, and leave")
    stop.add_argument("--now", action="store_true", help="wait for nothing")
    stop.set_defaults(run=_stop)
    logs = commands.add_parser("logs", help="the end of its log, which holds no line of your code")
    logs.add_argument("-n", type=int, default=50, metavar="LINES", help="how many lines (default: %(default)d)")
    logs.set_defaults(run=_logs)
    return parser.parse_args(arguments)


async def _status(args: argparse.Namespace) -> int:
    if not await listens(socket_path()):
        return _say(NONE_RUNS, FAILED)
    client = EngineClient(socket_path())
    try:
        stats = await client.stats()
    finally:
        await client.aclose()
    if args.json:
        return _say(json.dumps(stats, indent=2))
    Console(highlight=False).print(table(stats))
    return OK


async def _stop(args: argparse.Namespace) -> int:
    if not await listens(socket_path()):
        return _say(NONE_RUNS)
    if not args.now:
        await _leave(EngineClient(socket_path()))
        return _say("The engine has stopped.")
    try:
        async with asyncio.timeout(NOW_SECONDS):
            await _leave(EngineClient(socket_path()), now=True)
    except (TimeoutError, EngineSilent):
        if await hung_engine.end(socket_path()):
            return _say("The engine did not stop by itself and was killed.")
    return _say("The engine has stopped.")


async def _leave(client: EngineClient, *, now: bool = False) -> None:
    """Ask the engine to leave, and return when it has gone. Raises ``EngineError``; closes the client."""
    told = now
    try:
        async with aclosing(client.lease()) as statuses:  # which ends when the engine has gone
            async for status in statuses:
                if status.phase not in LEAVING:
                    await client.retire(stop=True, now=now)
                elif not told:
                    told = True
                    print("It answers what it has begun; Ctrl-C stops waiting for it.", file=sys.stderr)  # noqa: T201
    except EngineError:
        if await listens(socket_path()):
            raise
    finally:
        await client.aclose()


async def _logs(args: argparse.Namespace) -> int:
    log = log_path()
    if not log.exists():
        return _say("There is no log: no engine has been started by an editor.", FAILED)
    lines = crash_report.tail(log, size=1 << 20).splitlines()
    return _say("\n".join(lines[-args.n :] if args.n > 0 else []))


def table(stats: Mapping[str, Any]) -> Table:
    """``GET /stats`` for a person."""
    shown = Table(show_header=False, box=None, pad_edge=False)
    engine, tokens = stats["engine"], stats["tokens"]
    ends = {end: sum(count[end] for count in stats["answers"].values()) for end in ("failed", "cancelled")}
    answered = [f"{count['finished']:,} {kind}" for kind, count in stats["answers"].items()]
    rows = {
        "engine": f"version {engine['version']}, process {engine['pid']}, for {_time(stats['uptime_seconds'])}",
        "state": f"{engine['phase']}: {engine['message']}",
        "models": _models(stats),
        "memory": _memory(stats["memory"]),
        "windows": str(stats["windows"]),
        "requests": f"{stats['requests']['open']} open, {stats['requests']['waiting']} queued or under way",
        "answered": f"{', '.join(answered)}; {ends['cancelled']:,} cancelled, {ends['failed']:,} failed, "
        f"{stats['refused']:,} refused",
        "tokens": f"{tokens['prompt']:,} read, {_share(tokens['reused'], tokens['prompt'])} of them reused; "
        f"{tokens['completion']:,} written",
        "last crash": engine["crash"] or "none",
        "socket": str(socket_path()),
        "log": str(log_path()),
    }
    for name, value in rows.items():
        shown.add_row(Text(name, "bold"), Text(value))
    return shown


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


def _size(amount: int) -> str:
    return f"{amount / 2**30:.1f} GiB" if amount >= 2**30 else f"{amount / 2**20:.0f} MiB"


def _share(part: int, whole: int) -> str:
    return f"{100 * part // whole} %" if whole else "none"


def _time(seconds: float) -> str:
    minutes = int(seconds // 60)
    return f"{minutes // 60} h {minutes % 60} min" if minutes >= 60 else f"{minutes} min {int(seconds % 60)} s"


def _say(text: str, status: int = OK) -> int:
    print(text)  # noqa: T201
    return status
