"""Stores that are written once for all tests: the one that every test begins with, and some first nights."""

from __future__ import annotations

import copy
import shutil
import sqlite3
from collections.abc import Callable
from contextlib import closing
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TypeVar

from kswatch.db.store import Store
from tests.ci.nights import Nights

Given = TypeVar("Given")


class Shared:
    """Stores of a test session, by what they hold; each is written once and copied from then on."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._known: dict[str, tuple[Path, object]] = {}

    def empty(self, path: Path) -> Path:
        """A store without a run at this path; copying one is faster than making its schema."""
        made, _ = self._made("empty", lambda store: None)
        return Path(shutil.copy(made, path))

    def fill(self, store: Store, key: str, write: Callable[[Store], Given]) -> Given:
        """Have in this store, which is empty, what `write` writes; gives what it gave when it was written."""
        made, given = self._made(key, write)
        with closing(sqlite3.connect(made)) as source, store.engine.connect() as target:
            source.backup(target.connection.driver_connection)
        return copy.deepcopy(given)

    def _made(self, key: str, write: Callable[[Store], Given]) -> tuple[Path, Given]:
        if key not in self._known:
            path = self._folder / f"{len(self._known)}.db"
            with closing(Store.open(f"sqlite:///{path}")) as store:
                self._known[key] = path, write(store)
        return self._known[key]


@dataclass
class SharedNights(Nights):
    """Nights whose first quiet ones are copied where another test wrote the same."""

    shared: Shared | None = None

    def quiet(self, nights: int, **planted) -> list[int]:
        if self.count or self.shared is None:
            return super().quiet(nights, **planted)
        how = (self.noise, self.half_width, self.device, nights, planted)
        self.rng = self.shared.fill(
            self.store, repr(how), lambda store: self._written(store, nights, planted)
        )
        self.count = nights
        return list(range(1, nights + 1))

    def _written(self, store: Store, nights: int, planted: dict) -> object:
        alone = replace(self, store=store, shared=None)
        alone.quiet(nights, **planted)
        return alone.rng
