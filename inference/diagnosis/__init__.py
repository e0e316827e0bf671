"""What ``codellama-ls doctor`` looks at in the engine and below it. Torch-free; what needs torch is a child process."""
