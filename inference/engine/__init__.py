"""Token generation: prefill, decode, sampling, speculation. Torch-bound; free of sockets and threads."""
