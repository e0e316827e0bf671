"""Teaching a model to infill, and measuring how well it does. Knows no editor and no requests."""
