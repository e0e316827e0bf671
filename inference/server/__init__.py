"""The engine process: HTTP API, scheduler, model manager and listeners."""
