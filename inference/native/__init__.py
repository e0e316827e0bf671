"""The forward pass in C for CPUs that have the instructions: compiled here, weights packed in 4 or 8 bits."""
