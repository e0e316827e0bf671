"""Fixtures every test may use; each topic's own lie in its ``fixtures_*.py``."""

import os

os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")  # as the engine does, before anything imports torch

pytest_plugins = ["fixtures_hub", "fixtures_starter", "fixtures_vocabulary", "fixtures_engine", "fixtures_remote"]
