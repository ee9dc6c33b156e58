"""The `[db]` table of kswatch.toml."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class RequestLimits:
    """Limits of one request by a user; scheduled ones have none."""

    request_cells: int = 30_000
    """Most cells of one request."""

    request_minutes: float = 240.0
    """Longest estimated duration of one request, in minutes."""

    requests_per_hour: int = 30
    """Most requests of one user within an hour."""

    def refusal(self, cells: int | None, seconds: float | None) -> str | None:
        """The reason why a run of this size is refused, with the cure; None where it is accepted."""
        cure = "choose fewer patterns, batches or precisions, or give a budget"
        if cells is not None and cells > self.request_cells:
            return f"{cells:,} cells are more than one request may have ({self.request_cells:,}); {cure}"
        if seconds is not None and seconds > 60 * self.request_minutes:
            limit = f"one request may take {self.request_minutes:g}"
            return f"it would take about {seconds / 60:,.0f} minutes; {limit}; {cure}"
        return None


@dataclass(frozen=True)
class DbConfig(RequestLimits):
    """The store that commands open unless KSWATCH_DATABASE_URL names another, and limits of requests."""

    url: str = ""
    """sqlite:///path or postgresql://user@host/name (passwords belong in the environment); kswatch.db
    beside kswatch.toml where it is empty."""
