"""Text in, text out: an embedded Code Llama. Knows no editor, no LSP, no URIs and no positions.

``text`` and ``serving.wire``/``serving.client`` are torch-free and may be used by any client of the engine.
"""

__version__ = "0.1.0"
