"""An embedded Code Llama: text in, text out. Independent of editors and LSP.

``api``, ``client``, ``remote`` and ``text`` are torch-free and may be used by any client of the engine.
"""

__version__ = "0.1.0"
