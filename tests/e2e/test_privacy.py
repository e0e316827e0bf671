"""Nothing leaves the machine: all features work without a network, and only the private socket is opened."""

from __future__ import annotations

import asyncio
import shutil
import socket
import subprocess
from collections import defaultdict
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, closing, suppress
from pathlib import Path

import psutil
import pytest
from support.editor_session import SERVER, EditorSession, editor_session

from inference.api.events import Sampling, TextChunk
from inference.api.requests import ChatRequest
from inference.client.engine_client import EngineClient
from inference.text.prompts import Message

pytestmark = [pytest.mark.starter, pytest.mark.slow]

CODE = "def add(a, b):\n    return "
SETTINGS = {"engine": {"graceSeconds": 1}, "completion": {"deadlineMs": 60_000}}
ALONE = ("unshare", "--map-root-user", "--net")
TABLES = ("tcp", "tcp6", "udp", "udp6", "udplite", "udplite6", "raw", "raw6", "icmp", "icmp6", "packet", "netlink")


@pytest.fixture(autouse=True)
def _starter(starter_folder: Path, runtime: Path) -> None:
    """Real weights and a runtime folder for one test."""


def namespaces_refused() -> str:
    """Return the reason for unavailable network namespaces, or an empty string."""
    if not shutil.which(ALONE[0]):
        return "there is no unshare (util-linux)"
    done = subprocess.run([*ALONE, "true"], capture_output=True, text=True)
    return done.stderr.strip() if done.returncode else ""


@asynccontextmanager
async def opened(**options) -> AsyncIterator[tuple[EditorSession, psutil.Process]]:
    """Yield a session; wait for the exit of its engine afterwards."""
    async with editor_session(settings=SETTINGS, **options) as editor:
        engine = psutil.Process(next(status.pid for status in reversed(editor.statuses) if status.pid))
        yield editor, engine
    with suppress(psutil.NoSuchProcess):
        await asyncio.to_thread(engine.wait, 30)


async def complete(editor: EditorSession) -> str:
    editor.open(CODE)
    ((text, _),) = await editor.inline(1, 11)
    return text


async def chat(runtime: Path) -> str:
    client = EngineClient(runtime / "engine.sock")
    request = ChatRequest((Message("user", "What is a compiler?"),), sampling=Sampling(max_tokens=24))
    try:
        return "".join([event.text async for event in client.chat(request) if isinstance(event, TextChunk)])
    finally:
        await client.aclose()


@pytest.mark.skipif(bool(namespaces_refused()), reason=namespaces_refused() or "allowed")
async def test_completion_and_chat_work_without_a_network(runtime: Path):
    """Server and engine run in a separate network namespace, in which even loopback is down."""
    async with opened(command=[*ALONE, *SERVER]) as (editor, engine):
        assert await complete(editor) == "    return a + b"
        assert await chat(runtime)
        for pid in (editor.pid, engine.pid):
            assert network(pid) != network(psutil.Process().pid)
            assert interfaces(pid) == {"lo"}
            assert addresses(pid) == set(), "lo is down"


async def test_only_the_private_socket_is_opened(runtime: Path, tmp_path: Path, monkeypatch):
    """Every Python socket is recorded from the start to the exit of both processes. The kernel's tables of their open
    sockets are read repeatedly while they respond.
    """
    audit = Path(__file__).parent.parent / "socket_audit"
    env = {"PYTHONPATH": str(audit), "SOCKET_AUDIT": str(tmp_path)}
    async with opened(env=env) as (editor, engine):
        pids = (editor.pid, engine.pid)
        answering = asyncio.gather(complete(editor), chat(runtime))
        seen: dict[int, set[str]] = defaultdict(set)
        while not answering.done():
            for pid in pids:
                seen[pid] |= set(open_sockets(pid))
            await asyncio.sleep(0.01)
        text, said = await answering
    assert (text, bool(said)) == ("    return a + b", True)
    private = str(runtime / "engine.sock")
    assert {pid: seen[pid] - {"unix", f"unix {private}"} for pid in pids} == {pid: set() for pid in pids}
    for pid in pids:
        noted = set((tmp_path / str(pid)).read_text().splitlines())
        assert noted == {f"family {int(socket.AF_UNIX)}", f"address {private}"}


def test_audit_detects_an_internet_socket(tmp_path: Path):
    """Otherwise the test above could not fail."""
    with closing(socket.create_server(("127.0.0.1", 0))), closing(socket.socket(type=socket.SOCK_DGRAM)) as datagrams:
        datagrams.bind(("127.0.0.1", 0))
        assert {"tcp", "udp"} <= set(open_sockets(psutil.Process().pid))


def network(pid: int) -> str:
    """Return the network namespace of a process."""
    return str(Path(f"/proc/{pid}/ns/net").readlink())


def addresses(pid: int) -> set[str]:
    """Return the loopback IPv4 addresses of a process' routing table, and all its IPv6 addresses."""
    routed = Path(f"/proc/{pid}/net/fib_trie").read_text().split()
    return {word for word in routed if word.startswith("127.")} | set(
        Path(f"/proc/{pid}/net/if_inet6").read_text().splitlines()
    )


def interfaces(pid: int) -> set[str]:
    lines = Path(f"/proc/{pid}/net/dev").read_text().splitlines()[2:]
    return {line.partition(":")[0].strip() for line in lines}


def open_sockets(pid: int) -> Iterator[str]:
    """Yield the kind of each open socket of a process, for named Unix sockets with the path (proc_net(5))."""
    before = inodes(pid)
    kinds = {inode: name for name in TABLES for inode in table(pid, name)} | dict(unix_sockets(pid))
    for inode in before & inodes(pid):  # a socket opened or closed meanwhile is in no table
        yield kinds.get(inode, "unknown")


def inodes(pid: int) -> set[str]:
    found = set()
    for file in Path(f"/proc/{pid}/fd").iterdir():
        with suppress(OSError):
            kind, _, inode = str(file.readlink()).partition(":")
            found |= {inode.strip("[]")} if kind == "socket" else set()
    return found


def table(pid: int, name: str) -> list[str]:
    """Return the inodes in one of the kernel's socket tables, from the column with that heading or else the tenth."""
    path = Path(f"/proc/{pid}/net/{name}")
    if not path.exists():
        return []
    head, *rows = path.read_text().splitlines()
    column = -1 if name in ("packet", "netlink") else 9
    assert "inode" in head.lower()
    return [row.split()[column] for row in rows]


def unix_sockets(pid: int) -> Iterator[tuple[str, str]]:
    for row in Path(f"/proc/{pid}/net/unix").read_text().splitlines()[1:]:
        _, _, _, _, _, _, inode, *path = row.split(maxsplit=7)
        yield inode, f"unix {path[0]}" if path else "unix"
