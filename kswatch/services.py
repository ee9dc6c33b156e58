"""The values and services that the command line composes for every command.

Part of the floor, like `kswatch.errors`: it imports no folder, and every folder may import it.
`kswatch.composition` fills in `Services`; a command reads them by `services(ctx)`.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any, Generic, Protocol, TypeVar
from urllib.parse import urlencode

StoreType = TypeVar("StoreType")
"""The store's class, `kswatch.db.store.Store`, which the floor does not import."""
Table = TypeVar("Table")


@dataclass(frozen=True)
class JudgementLimits:
    """Limits of the judgement that pages and reports show too."""

    silent_hours: float = 60.0
    """A device without a nightly run for longer than this is overdue."""
    canary_floor: float = 0.05
    """A canary that differs by more than this share from its history means that the machine changed."""
    floor: float = 0.02
    """The smallest relative change that is called faster or slower."""

    def is_overdue(self, newest: datetime, now: datetime) -> bool:
        """Whether a device whose newest nightly run began at `newest` has stopped reporting.

        A run that is dated in the future proves nothing: the clock that dated it was ahead.
        """
        return is_in_future(newest, now) or now - newest > timedelta(hours=self.silent_hours)

    def has_machine_moved(self, canary_shares: Iterable[float]) -> bool:
        """Whether any canary differs too far from its own median; 1.0 is the median."""
        return any(abs(share - 1) > self.canary_floor for share in canary_shares)

    def as_text(self) -> str:
        """The limits for an environment variable."""
        return f"{self.silent_hours!r},{self.canary_floor!r},{self.floor!r}"

    @classmethod
    def from_text(cls, text: str) -> JudgementLimits:
        """The limits that `as_text` wrote; the defaults for an empty text."""
        return cls(*map(float, text.split(","))) if text else cls()


@dataclass(frozen=True)
class TimingLimits:
    """Limits of timing a cell that estimates of a run's duration need too."""

    too_slow_ms: float = 500.0
    """The latency above which a product is not timed."""
    cell_cap_ms: float = 2000.0
    """Time in launches of one cell after which it is finished."""

    def as_text(self) -> str:
        """The limits for an environment variable."""
        return f"{self.too_slow_ms!r},{self.cell_cap_ms!r}"

    @classmethod
    def from_text(cls, text: str) -> TimingLimits:
        """The limits that `as_text` wrote; the defaults for an empty text."""
        return cls(*map(float, text.split(","))) if text else cls()


class Judged(Protocol):
    """The judgement of a run."""

    @property
    def exit_code(self) -> int:
        """1 for a confirmed regression or an incorrect result, else 0."""


class RevisionHistory(Protocol):
    """The commits of one repository."""

    def commit(self, name: str) -> str:
        """Full hash of a revision."""

    def subject(self, name: str) -> str:
        """First line of a commit's message."""

    def author(self, name: str) -> str:
        """The name of a commit's author."""

    def branch(self) -> str | None:
        """The branch that is checked out; None for a detached head."""

    def suspects(self, good: Sequence[str], bad: str) -> tuple[str, list[str]]:
        """The newest commit that may be the culprit, and all others, between good revisions and a bad one."""

    def merges(self, good: str, bad: str) -> list[str]:
        """The commits with several parents between a good revision and a bad one."""

    def reverted(self, good: str, bad: str) -> dict[str, str]:
        """By commit, the one that takes it back, of pairs between a good revision and a bad one."""


class OpenGate(Protocol):
    """Opens the interleaved measurement of two revisions on one device."""

    def __call__(
        self,
        *,
        store: Any,  # noqa: ANN401  (a store, or None to record nothing)
        repository: Path,
        base: str,
        head: str,
        device: str | None,
        suite: str | None,
        filters: Mapping[str, object],
        budget: str,
        force: bool = False,
        kind: str = "gate",
    ) -> AbstractContextManager[Any]:
        """Open it; the context gives a `kswatch.ci.gate.sequential.PairedSession`."""


@dataclass(frozen=True)
class Services(Generic[StoreType]):
    """Configuration, addresses, and the callables that cross folders."""

    tables: tuple[object, ...]
    """The tables of the configuration file, one frozen dataclass per folder."""
    config_path: Path
    database_url: str
    judgement_limits: JudgementLimits
    timing_limits: TimingLimits
    dashboard_url: str
    """The address under which people open the dashboard; empty where none is configured."""
    judge: Callable[[StoreType, int], Judged]
    """Judges a finished run and updates the alerts, those of missing data included."""
    request_confirmation: Callable[[StoreType, int], int | None]
    """Queues a measurement to confirm a run's provisional alerts; returns the request, or None."""
    bisect_alerts: Callable[[StoreType, Collection[str], threading.Event, Callable[[], bool]], None]
    """Continues the searches for the commits behind confirmed regressions on these devices, until their time
    limit, the event, or the predicate that is asked before each commit."""
    check_missing_data: Callable[[StoreType], None]
    """Opens and ends the alerts of devices, cells and runs that are no longer measured."""
    predict: Callable[[StoreType, int], None]
    """Records every heuristic's predictions for a run."""
    request_size: Callable[[str, dict[str, Any]], tuple[int, float | None]]
    """Returns the cells of a suite with arguments, and its budget in seconds where it has one."""
    notify: Callable[[StoreType], list[str]]
    """Sends the notifications that are due; returns a sentence for each fault."""
    notification_worker: Callable[[str], AbstractContextManager[None]]
    """Sends the notifications of the store at a URL from a thread of its own while the context is open."""
    write_overview: Callable[[StoreType, Path], int]
    """Writes the overview of a store as one HTML page; returns its size in bytes."""
    plan_exported: Callable[[Path, int | None, str | None, StoreType | None], Any]
    """Plans the linear layers of a file by `torch.export.save`: its path, rows, device and store."""
    open_gate: OpenGate
    compile_revisions: Callable[[Path, str, str | None], tuple[Any, Any]]
    """Compiles a repository's head and base; returns each revision with its figures, None without a base."""
    machine_code: Callable[[Collection[str]], dict[str, str]]
    """The machine code of compiled kernels as text, by hash, without those that are not cached here."""
    open_history: Callable[[Path], RevisionHistory]
    """Opens the history of the repository that holds a folder."""
    repository_url: Callable[[], str | None]
    """Returns the web address of the measured repository, as configured or else by its git remote."""

    def page_url(self, page: str, **choices: object) -> str:
        """The address of a page of the dashboard with these choices; empty where it has none itself."""
        if not self.dashboard_url:
            return ""
        query = urlencode(choices)
        return f"{self.dashboard_url.rstrip('/')}/{page}" + (f"?{query}" if query else "")

    def table(self, kind: type[Table]) -> Table:
        """The configuration table of a class, such as `DbConfig`."""
        return next(table for table in self.tables if isinstance(table, kind))


class CommandContext(Protocol):
    """The part of a `typer.Context` that carries the services."""

    obj: Any


def services(ctx: CommandContext) -> Services[Any]:
    """The services that were composed for a command."""
    found: Services[Any] = ctx.obj
    return found


def is_in_future(moment: datetime, now: datetime) -> bool:
    """Whether only a wrong clock can have dated something so: clocks of hosts differ by seconds."""
    return moment - now > timedelta(hours=1)
