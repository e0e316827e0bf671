"""Latency benchmarks: an editing trace replayed against the engine and its rivals."""
