"""Model catalogue, installed checkpoints, loading, the Llama forward pass and adapters."""
