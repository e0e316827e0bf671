"""Fixtures every test may use; each topic's own lie in its ``fixtures_*.py``."""

pytest_plugins = ["fixtures_hub", "fixtures_starter", "fixtures_vocabulary", "fixtures_engine"]
