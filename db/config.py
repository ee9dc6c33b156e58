"""Where the store is: the `[db]` table of kswatch.toml."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from kswatch.db.request_queue.requests import Limits


@dataclass(frozen=True)
class DbConfig:
    """The store that every command opens, unless KSWATCH_DATABASE_URL names another."""

    url: str = ""
    """sqlite:///path or postgresql://user@host/name (passwords belong in the environment); kswatch.db
    beside kswatch.toml where it is empty."""

    request_cells: int = 30_000
    """Cells that one request may ask for."""

    request_minutes: float = 240.0
    """Minutes that one request may take, as estimated from the device's last night."""

    requests_per_hour: int = 30
    """Requests of one person within an hour."""

    @property
    def limits(self) -> Limits:
        """What one request may cost."""
        from kswatch.db.request_queue.requests import Limits

        return Limits(self.request_cells, self.request_minutes, self.requests_per_hour)
