"""How well a model fills holes: asked in batches, scored, compared. Knows no training and no editor."""
