"""The figures of the last days, as they are read from the file: what ``codellama-ls stats`` and editors are told."""

from __future__ import annotations

import time
from contextlib import closing
from typing import Any

from lsp_server.statistics.figures import figures
from lsp_server.statistics.storage import DAY, Storage
from lsp_server.statistics.writer import midnight

USUAL_DAYS = 30


def collected(days: int) -> dict[str, Any]:
    """``figures``, and of how many ``days``. Raises ``StatisticsError``."""
    with closing(Storage()) as storage:
        return {"days": days, **figures(storage.read(time.time() - days * DAY), midnight())}
