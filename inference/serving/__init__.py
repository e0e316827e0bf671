"""One engine for every window: the wire, the service behind it and the client in front of it."""
