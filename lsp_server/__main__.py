"""``python -m lsp_server`` runs the ``codellama-ls`` command."""

import sys

from lsp_server.cli import main

sys.exit(main())
