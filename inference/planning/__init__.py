"""What fits on this machine, before anything is loaded, and whether that was right."""
