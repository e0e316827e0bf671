"""Fine-tune a LoRA adapter on a user's own code."""
