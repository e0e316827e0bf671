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
    """Compute the ``figures`` of the last ``days``. Raises ``StatisticsError``.

    Rows from the future, which a wrong clock wrote, are left out.
    """
    now = time.time()
    with closing(Storage()) as storage:
        return {"days": days, **figures(storage.read(now - days * DAY, now + DAY), midnight())}
