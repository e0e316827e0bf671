"""The whole road measured: an editing trace replayed against our engine and against what one would use instead."""
