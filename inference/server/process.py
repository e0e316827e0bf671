"""The engine process: take the lock, listen, load the models in the background, end after the last lease."""

from __future__ import annotations

import argparse
import asyncio
import faulthandler
import logging
import math
import os
import socket
import sys
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from pathlib import Path

import uvicorn
from filelock import FileLock, Timeout

import inference
from inference.api.status import Status, StatusBoard
from inference.client import crash_report
from inference.client.engine_process import IDLE_SECONDS, log_path
from inference.models.catalog import canonical
from inference.models.shape import FORMATS
from inference.server.app import EngineApp
from inference.server.leases import Leases
from inference.server.model_manager import ModelChoice, ModelManager, load_models
from inference.server.scheduler import Scheduler
from inference.server.transport import ListenerServer, PrivateProtocol, listen
from inference.system.files import close_app_folders
from inference.system.runtime_folder import (
    NotPrivateError,
    bind_socket,
    read_or_create_token,
    report_os_errors,
    runtime_folder,
)

log = logging.getLogger(__name__)

FIRST_LEASE_SECONDS = 10.0
"""Minimum time that an engine waits for its first editor session."""


class EngineServer(ListenerServer):
    """uvicorn with callbacks for a graceful shutdown, whether by a signal, the user or the last lease.

    Args:
        before_shutdown: called while clients can still be answered.
        after_shutdown: called when all connections are closed.
    """

    def __init__(
        self,
        config: uvicorn.Config,
        before_shutdown: Callable[[], object],
        after_shutdown: Callable[[], object],
        tcp: socket.socket | None = None,
        token: str = "",
    ) -> None:
        super().__init__(config, tcp, token)
        self._before_shutdown, self._after_shutdown = before_shutdown, after_shutdown

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """Shut down, with the callbacks. They can't run after ``serve``, which ends the process after a signal."""
        self._before_shutdown()
        await super().shutdown(sockets)
        self._after_shutdown()


def main(argv: Sequence[str] | None = None) -> int:
    """Run the engine until it is not needed any more. Return 0, also if another engine is already running.

    Torch's threads sleep while they wait for each other instead of spinning, unless the environment says otherwise.
    With a compiler or another program on the same cores, spinning made a token take four to eight times as long.
    """
    args = _arguments(argv)
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
    logging.basicConfig(stream=sys.stderr, level=logging.INFO, format="%(asctime)s %(levelname)s %(name)s %(message)s")
    faulthandler.enable()  # logs the stack of a crash in a kernel
    try:
        folder = runtime_folder()
        close_app_folders()
        with _sole_engine(folder) as crash:
            log.info("%s: version %s, process %d", crash_report.STARTED, inference.__version__, os.getpid())
            _run(args, folder, crash)
    except Timeout:
        if args.tcp is not None:
            return _fail("An engine is already running. Run `codellama-ls engine stop`, then try again.")
        log.info("an engine is already running")
    except NotPrivateError as error:
        return _fail(str(error))
    return 0


@contextmanager
def _sole_engine(folder: Path) -> Iterator[str]:
    """Hold the engine's lock. Yield how the previous engine crashed, or "". Raises Timeout, NotPrivateError."""
    lock = FileLock(folder / "engine.lock", timeout=0, mode=0o600)
    with report_os_errors():
        lock.acquire()
    try:
        with report_os_errors():
            crash = crash_report.mark_running(folder, log_path())
        yield crash
    finally:
        lock.release()


def _run(args: argparse.Namespace, folder: Path, crash: str) -> None:
    """Serve. Raises NotPrivateError if it cannot listen; that is not recorded as a crash."""
    try:
        asyncio.run(_serve(args, folder, crash))
    except NotPrivateError:
        crash_report.mark_ended(folder)
        raise


def _arguments(argv: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="codellama-ls engine",
        description="Serve a model to this user's editors.",
        epilog="See also `codellama-ls engine status`, `stop` and `logs`.",
    )
    parser.add_argument("--model", default="starter", help="installed model to serve (default: %(default)s)")
    parser.add_argument("--completion-model", metavar="MODEL", help="another model for completion")
    parser.add_argument("--chat-model", metavar="MODEL", help="another model for chat")
    parser.add_argument("--format", default="auto", choices=["auto", *FORMATS], help="format of the weights in memory")
    parser.add_argument("--context", type=int, help="context length in tokens, prompt and output together")
    parser.add_argument(
        "--grace",
        type=float,
        default=60.0,
        metavar="SECONDS",
        help="end this long after the last editor has disconnected (default: %(default).0f)",
    )
    parser.add_argument(
        "--idle",
        type=float,
        default=IDLE_SECONDS,
        metavar="SECONDS",
        help="unload the weights after this long without a request; 0: never (default: %(default).0f)",
    )
    parser.add_argument(
        "--tcp",
        type=int,
        metavar="PORT",
        help="also listen on 127.0.0.1:PORT (token required), and run until stopped",
    )
    parser.add_argument("--token-file", type=Path, help="file with the token (default: engine.token beside the socket)")
    return parser.parse_args(argv)


async def _serve(args: argparse.Namespace, folder: Path, crash: str) -> None:
    completion, chat = (canonical(name or args.model) for name in (args.completion_model, args.chat_model))
    wanted = ModelChoice(completion, chat, args.format, args.context)
    status = Status(model=completion, chat_model=chat, crash=crash, version=inference.__version__, pid=os.getpid())
    board, scheduler = StatusBoard(asyncio.get_running_loop(), status), Scheduler()
    models = ModelManager(partial(load_models, wanted), board, scheduler)
    grace = math.inf if args.tcp is not None else args.grace
    engine = EngineApp(board, scheduler, models, Leases(grace, FIRST_LEASE_SECONDS), Leases(args.idle or math.inf))
    path, tcp, secret = folder / "engine.sock", None, ""
    if args.tcp is not None:
        file = args.token_file or folder / "engine.token"
        secret, tcp = read_or_create_token(file), listen(args.tcp)
        log.info("listening on http://%s:%d with the token in %s", *tcp.getsockname(), file)
    server = EngineServer(
        uvicorn.Config(
            engine.app(), http=PrivateProtocol, ws="none", lifespan="off", log_config=None, access_log=False,
            timeout_graceful_shutdown=1,
        ),
        lambda: _close(scheduler, board),
        lambda: _clean_up(folder, path),
        tcp,
        secret,
    )  # fmt: skip
    listener = bind_socket(path)  # first, as it may fail: a process that is importing torch takes long to exit
    # torch is imported and tensors are used on this thread only
    threading.Thread(target=scheduler.run, daemon=True, name="model").start()
    models.load()
    coroutines = (_exit_when_unneeded(engine, server), engine.sleep_when_idle(), _clear_failed_starts(board, folder))
    tasks = [asyncio.ensure_future(coroutine) for coroutine in coroutines]
    try:
        await server.serve(sockets=[listener])
    finally:
        for task in tasks:
            task.cancel()


def _fail(text: str) -> int:
    print(text, file=sys.stderr)  # noqa: T201
    return 1


async def _exit_when_unneeded(engine: EngineApp, server: uvicorn.Server) -> None:
    await engine.unneeded()
    log.info("nobody needs the engine any more")
    server.should_exit = True


async def _clear_failed_starts(board: StatusBoard, folder: Path) -> None:
    """Clear the record of crashes during loading when this engine has survived it."""
    async for status in board.watch():
        if status.phase != "loading":
            return crash_report.forget_failed_starts(folder)
    return None


def _close(scheduler: Scheduler, board: StatusBoard) -> None:
    """End all streams, so that their connections close."""
    scheduler.close()
    board.close()


def _clean_up(folder: Path, path: Path) -> None:
    path.unlink(missing_ok=True)
    crash_report.mark_ended(folder)


if __name__ == "__main__":
    sys.exit(main())
