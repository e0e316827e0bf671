"""Trying it without an editor: the real stdio server, driven as an editor drives it."""
