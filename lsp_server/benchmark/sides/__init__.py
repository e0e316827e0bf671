"""Benchmark targets behind one interface: our engine, servers by URL, transformers in a process."""
