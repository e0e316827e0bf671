"""Checks of the machine, the installation, the models and the engine. Torch-free: torch runs in a child process."""
