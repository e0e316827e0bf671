"""The engine process: takes the lock, listens at once, loads the model beside, and leaves after the last lease.

Knows no routes (``service``) and no loading (``loading``); this is where they meet.
"""

from __future__ import annotations

import argparse
import asyncio
import logging
import os
import sys
import threading
from collections.abc import Sequence
from pathlib import Path

import uvicorn
from filelock import FileLock, Timeout
from uvicorn.protocols.http.h11_impl import H11Protocol

import inference
from inference.models.catalog import asked_to_infill, canonical
from inference.models.shape import FORMATS
from inference.serving.leases import Leases
from inference.serving.loading import Wanted, load_models
from inference.serving.private import NotPrivate, bind, is_own_peer, runtime_folder
from inference.serving.scheduler import Scheduler
from inference.serving.service import Service
from inference.serving.state import Status, StatusBoard

log = logging.getLogger(__name__)


class PrivateProtocol(H11Protocol):
    """HTTP for this user's own processes only: the folder keeps others out, and this in case it does not."""

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        if is_own_peer(transport.get_extra_info("socket")):
            super().connection_made(transport)
        else:
            log.warning("refused a connection of another user")
            transport.abort()


def main(argv: Sequence[str] | None = None) -> int:
    """Run the engine until nobody needs it; 0 also when another one runs already.

    Torch's threads are to sleep while they wait for each other, not to spin, unless the environment says otherwise:
    beside a compiler or a second program on the same cores, spinning made a token take four to eight times as long.
    """
    args = _arguments(argv)
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
    logging.basicConfig(stream=sys.stderr, level=logging.INFO, format="%(asctime)s %(levelname)s %(name)s %(message)s")
    try:
        folder = runtime_folder()
        with FileLock(folder / "engine.lock", timeout=0, mode=0o600):
            asyncio.run(_serve(args, folder / "engine.sock"))
    except Timeout:
        log.info("an engine is already running; leaving the work to it")
    except NotPrivate as error:
        print(error, file=sys.stderr)  # noqa: T201
        return 1
    return 0


def _arguments(argv: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="codellama-ls engine", description="Serve a model to this user's editors.")
    parser.add_argument("--model", default="starter", help="which installed model (default: %(default)s)")
    parser.add_argument("--completion-model", metavar="MODEL", help="one for completion alone")
    parser.add_argument("--chat-model", metavar="MODEL", help="one for chat alone")
    parser.add_argument("--format", default="auto", choices=["auto", *FORMATS], help="how to hold weights")
    parser.add_argument("--context", type=int, help="tokens of prompt and answer together")
    parser.add_argument(
        "--grace", type=float, default=60.0, metavar="SECONDS", help="stay this long after the last window has left"
    )
    return parser.parse_args(argv)


async def _serve(args: argparse.Namespace, path: Path) -> None:
    loop = asyncio.get_running_loop()
    completion, chat = (canonical(name or args.model) for name in (args.completion_model, args.chat_model))
    wanted = Wanted(completion, chat, args.format, args.context)
    status = Status(model=completion, chat_model=chat, version=inference.__version__, pid=os.getpid())
    service = Service(StatusBoard(loop, status), Scheduler(), Leases(args.grace))
    server = uvicorn.Server(
        uvicorn.Config(
            service.app(), http=PrivateProtocol, ws="none", lifespan="off", log_config=None, access_log=False,
            timeout_graceful_shutdown=1,
        )
    )  # fmt: skip
    threading.Thread(target=_model_thread, args=(wanted, service), daemon=True, name="model").start()
    leaving = asyncio.ensure_future(_leave(service.leases, server))
    try:
        await server.serve(sockets=[bind(path)])
    finally:
        leaving.cancel()
        service.scheduler.close()
        path.unlink(missing_ok=True)  # noqa: ASYNC240  nothing is waiting any more


async def _leave(leases: Leases, server: uvicorn.Server) -> None:
    await leases.all_ended()
    log.info("nobody needs the engine any more")
    server.should_exit = True


def _model_thread(wanted: Wanted, service: Service) -> None:
    """Load, then serve: torch is imported, and every tensor touched, on this thread only."""
    board = service.board
    try:
        service.answerers = load_models(wanted, lambda message, percent: board.post(message=message, progress=percent))
        limits = asked_to_infill(service.answerers[wanted.completion].row) or ""
    except Exception as error:
        log.exception("the model could not be loaded")
        board.post(phase="failed", message=_in_words(error))
        return
    if limits:
        log.info("%s", limits)
    board.post(phase="ready", message="ready", progress=100, limits=limits)
    service.scheduler.run()


def _in_words(error: Exception) -> str:
    """Errors of ours are sentences already; of others the log has the details."""
    own = type(error).__module__.startswith("inference.")
    return str(error) if own else f"The model could not be loaded ({type(error).__name__}: {error})."


if __name__ == "__main__":
    sys.exit(main())
