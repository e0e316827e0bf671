"""Fixtures every test may use; each topic's own lie in its ``fixtures_*.py``."""

import os
from contextlib import suppress

os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")  # as the engine does, before anything imports torch

pytest_plugins = [
    "support.fixtures_hub",
    "support.fixtures_starter",
    "support.fixtures_vocabulary",
    "support.fixtures_engine",
    "support.fixtures_remote",
]

with suppress(ImportError):  # the tests of `make gpu PYTHON=...` need no hypothesis
    from hypothesis import settings

    # the same examples in each run, and no time limit for one: `--hypothesis-profile=default` draws others
    settings.load_profile("ci")
