"""The engine process: takes the lock, listens at once, loads the model beside, and leaves after the last lease.

Knows no routes (``service``) and no loading (``loading``); this is where they meet.
"""

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
from inference.system.files import close_roots
from inference.system.runtime_folder import NotPrivateError, bind, in_words, runtime_folder, token

log = logging.getLogger(__name__)


FIRST_SECONDS = 10.0
"""How long an engine stays at least for its first window to come."""


class EngineServer(ListenerServer):
    """uvicorn, told how an engine ends in order, whoever ends it: a signal, a person, or its last lease."""

    def __init__(
        self,
        config: uvicorn.Config,
        ending: Callable[[], object],
        ended: Callable[[], object],
        tcp: socket.socket | None = None,
        token: str = "",
    ) -> None:
        """``ending`` is called while clients can still be answered, ``ended`` when nobody is connected any more."""
        super().__init__(config, tcp, token)
        self._ending, self._ended = ending, ended

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """Here and not after ``serve``, which ends the process where a signal has come."""
        self._ending()
        await super().shutdown(sockets)
        self._ended()


def main(argv: Sequence[str] | None = None) -> int:
    """Run the engine until nobody needs it; 0 also when another one runs already.

    Torch's threads are to sleep while they wait for each other, not to spin, unless the environment says otherwise:
    beside a compiler or a second program on the same cores, spinning made a token take four to eight times as long.
    """
    args = _arguments(argv)
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
    logging.basicConfig(stream=sys.stderr, level=logging.INFO, format="%(asctime)s %(levelname)s %(name)s %(message)s")
    faulthandler.enable()  # a crash in a kernel then says where, in the log
    try:
        folder = runtime_folder()
        close_roots()
        with _sole_engine(folder) as crash:
            log.info("%s: version %s, process %d", crash_report.STARTED, inference.__version__, os.getpid())
            _run(args, folder, crash)
    except Timeout:
        if args.tcp is not None:
            return _fail("An engine is already running: `codellama-ls engine stop` ends it, then try again.")
        log.info("an engine is already running; leaving the work to it")
    except NotPrivateError as error:
        return _fail(str(error))
    return 0


@contextmanager
def _sole_engine(folder: Path) -> Iterator[str]:
    """Hold the engine's lock; yields how the engine before ended. Raises ``Timeout``, ``NotPrivate``."""
    lock = FileLock(folder / "engine.lock", timeout=0, mode=0o600)
    with in_words():
        lock.acquire()
    try:
        with in_words():
            crash = crash_report.begin(folder, log_path())
        yield crash
    finally:
        lock.release()


def _run(args: argparse.Namespace, folder: Path, crash: str) -> None:
    """Raises ``NotPrivate``: who is told why there is no engine need not be told of a crash later."""
    try:
        asyncio.run(_serve(args, folder, crash))
    except NotPrivateError:
        crash_report.end(folder)
        raise


def _arguments(argv: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="codellama-ls engine",
        description="Serve a model to this user's editors.",
        epilog="`codellama-ls engine status`, `stop` and `logs` are about the one that runs.",
    )
    parser.add_argument("--model", default="starter", help="which installed model (default: %(default)s)")
    parser.add_argument("--completion-model", metavar="MODEL", help="one for completion alone")
    parser.add_argument("--chat-model", metavar="MODEL", help="one for chat alone")
    parser.add_argument("--format", default="auto", choices=["auto", *FORMATS], help="how to hold weights")
    parser.add_argument("--context", type=int, help="tokens of prompt and answer together")
    parser.add_argument(
        "--grace", type=float, default=60.0, metavar="SECONDS", help="stay this long after the last window has left"
    )
    parser.add_argument(
        "--idle",
        type=float,
        default=IDLE_SECONDS,
        metavar="SECONDS",
        help="unload the weights after so long without a request; 0 for never (default: %(default).0f)",
    )
    parser.add_argument(
        "--tcp", type=int, metavar="PORT", help="also listen on 127.0.0.1, for who shows the token; stay until stopped"
    )
    parser.add_argument("--token-file", type=Path, help="where the token is (default: beside the socket)")
    return parser.parse_args(argv)


async def _serve(args: argparse.Namespace, folder: Path, crash: str) -> None:
    completion, chat = (canonical(name or args.model) for name in (args.completion_model, args.chat_model))
    wanted = ModelChoice(completion, chat, args.format, args.context)
    status = Status(model=completion, chat_model=chat, crash=crash, version=inference.__version__, pid=os.getpid())
    board, scheduler = StatusBoard(asyncio.get_running_loop(), status), Scheduler()
    weights = ModelManager(partial(load_models, wanted), board, scheduler)
    grace = math.inf if args.tcp is not None else args.grace
    service = EngineApp(board, scheduler, weights, Leases(grace, FIRST_SECONDS), Leases(args.idle or math.inf))
    path, tcp, known = folder / "engine.sock", None, ""
    if args.tcp is not None:
        file = args.token_file or folder / "engine.token"
        known, tcp = token(file), listen(args.tcp)
        log.info("listening on http://%s:%d with the token in %s", *tcp.getsockname(), file)
    server = EngineServer(
        uvicorn.Config(
            service.app(), http=PrivateProtocol, ws="none", lifespan="off", log_config=None, access_log=False,
            timeout_graceful_shutdown=1,
        ),
        lambda: _close(scheduler, board),
        lambda: _gone(folder, path),
        tcp,
        known,
    )  # fmt: skip
    # torch is imported, and every tensor touched, on this thread only
    threading.Thread(target=scheduler.run, daemon=True, name="model").start()
    weights.load()
    tasks = (_leave(service, server), service.sleep_when_idle(), _forget_deaths(board, folder))
    beside = [asyncio.ensure_future(task) for task in tasks]
    try:
        await server.serve(sockets=[bind(path)])
    finally:
        for task in beside:
            task.cancel()


def _fail(text: str) -> int:
    print(text, file=sys.stderr)  # noqa: T201
    return 1


async def _leave(service: EngineApp, server: uvicorn.Server) -> None:
    await service.unneeded()
    log.info("nobody needs the engine any more")
    server.should_exit = True


async def _forget_deaths(board: StatusBoard, folder: Path) -> None:
    """Loading has ended, whichever way: this engine did not die of it."""
    async for status in board.watch():
        if status.phase != "loading":
            return crash_report.clear(folder)
    return None


def _close(scheduler: Scheduler, board: StatusBoard) -> None:
    """Every stream ends by itself, and with it the last connections."""
    scheduler.close()
    board.close()


def _gone(folder: Path, path: Path) -> None:
    path.unlink(missing_ok=True)
    crash_report.end(folder)


if __name__ == "__main__":
    sys.exit(main())
