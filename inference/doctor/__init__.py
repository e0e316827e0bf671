"""Checks of the machine, the installation, the models and the engine. Torch-free; torch is asked in a child process."""
