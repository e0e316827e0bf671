"""The Llama forward pass in C for CPUs with AVX-512 VNNI, compiled on the user's machine; 4 or 8 bit weights."""
