"""JSON-RPC on top of pygls: framing, tolerant parsing, one response per request."""
