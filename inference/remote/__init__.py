"""A server elsewhere in place of an engine of one's own: any that speaks OpenAI's API. Torch-free."""
