"""Python imports this first of all: it notes each socket that the process makes, where it goes, and names asked for.

Source: Python's audit events table, ``socket.*``. What C libraries do by themselves the kernel's tables show.
"""

import os
import sys

EVENTS = {
    "socket.__new__": lambda args: f"family {int(args[1])}",
    "socket.bind": lambda args: f"address {args[1]}",
    "socket.connect": lambda args: f"address {args[1]}",
    "socket.sendto": lambda args: f"address {args[1]}",
    "socket.sendmsg": lambda args: f"address {args[1]}",
    "socket.getaddrinfo": lambda args: f"name {args[0]}",
    "socket.gethostbyname": lambda args: f"name {args[0]}",
    "socket.gethostbyaddr": lambda args: f"name {args[0]}",
}

if folder := os.environ.get("SOCKET_AUDIT"):
    notes = os.open(os.path.join(folder, str(os.getpid())), os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)  # noqa: PTH118

    def note(event: str, args: tuple) -> None:
        if event in EVENTS:
            os.write(notes, f"{EVENTS[event](args)}\n".encode())

    sys.addaudithook(note)
