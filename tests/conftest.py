"""Fixtures every test may use; each topic's own lie in its ``fixtures_*.py``."""

import os

os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")  # as the engine does, before anything imports torch

pytest_plugins = [
    "support.fixtures_hub",
    "support.fixtures_starter",
    "support.fixtures_vocabulary",
    "support.fixtures_engine",
    "support.fixtures_remote",
]
