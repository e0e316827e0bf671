"""``python -m lsp_server``: the same as the command ``codellama-ls``."""

import sys

from lsp_server.cli import main

sys.exit(main())
