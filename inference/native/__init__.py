"""Llama forward pass in C for CPUs with AVX-512 VNNI; compiled on this machine, weights packed in 4 or 8 bits."""
