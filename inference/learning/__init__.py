"""Teaching a model to infill a person's own code. Knows no editor and no requests."""
