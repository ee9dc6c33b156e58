"""Comparisons of two revisions for the bisection after a night, in this process and without a terminal."""

from __future__ import annotations

import threading
from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import Protocol

from kswatch.db.records import AD_HOC
from kswatch.db.store import Store
from kswatch.profiler.ab_runs.session import ComparisonRequest, GateSession, open_gate
from kswatch.profiler.config import ProfilerConfig
from kswatch.profiler.revisions.git import CommitHistory, repository_of
from kswatch.profiler.runs.progress import LogProgress
from kswatch.profiler.runs.session import RunContext


class OpenComparison(Protocol):
    """Opens the measurement of two revisions, base and head, of the cells that the filters name."""

    def __call__(
        self, base: str, head: str, device: str, filters: Mapping[str, object]
    ) -> AbstractContextManager[GateSession]:
        """Open it; it holds the device and records its runs until it is closed."""


def comparisons(
    store: Store, config: ProfilerConfig, stop: threading.Event, repository: Path = Path(__file__).parent
) -> tuple[CommitHistory, OpenComparison]:
    """The history of the repository that this package is in, and comparisons of its commits.

    Raises:
        UsageError: the package is installed without a repository.
    """
    top = repository_of(repository)

    @contextmanager
    def open_comparison(
        base: str, head: str, device: str, filters: Mapping[str, object]
    ) -> Iterator[GateSession]:
        request = ComparisonRequest(top, base, head, device, AD_HOC, filters, kind="bisect")
        with open_gate(request, RunContext(config, LogProgress(), stop), store) as session:
            yield session

    return CommitHistory(top), open_comparison
