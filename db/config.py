"""The `[db]` table of kswatch.toml."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from kswatch.db.request_queue.requests import RequestLimits


@dataclass(frozen=True)
class DbConfig:
    """The store that commands open unless KSWATCH_DATABASE_URL names another, and limits of requests."""

    url: str = ""
    """sqlite:///path or postgresql://user@host/name (passwords belong in the environment); kswatch.db
    beside kswatch.toml where it is empty."""

    request_cells: int = 30_000
    """Most cells of one request."""

    request_minutes: float = 240.0
    """Longest estimated duration of one request, in minutes."""

    requests_per_hour: int = 30
    """Most requests of one user within an hour."""

    @property
    def limits(self) -> RequestLimits:
        """Limits of one request."""
        from kswatch.db.request_queue.requests import RequestLimits

        return RequestLimits(self.request_cells, self.request_minutes, self.requests_per_hour)
