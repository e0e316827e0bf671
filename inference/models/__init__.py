"""What can be loaded, where it lies, how it is fetched, and the forward pass over it."""
