"""Who is measured, each behind the same small interface: our engine, servers by URL, transformers in a process."""
