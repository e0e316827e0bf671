"""JSON-RPC on top of pygls: framing, tolerant parsing, one answer per request."""
