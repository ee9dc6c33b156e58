"""Quiet nights that are written once for all tests, and the store that every test begins with."""

from __future__ import annotations

import copy
import shutil
import sqlite3
from contextlib import closing
from dataclasses import dataclass, replace
from pathlib import Path

from db.store import Store
from tests.ci.nights import Nights


class Shared:
    """Stores of a test session, by what they hold; each is written once and copied from then on."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._known: dict[str, tuple[Path, Nights | None]] = {}

    def empty(self, path: Path) -> Path:
        """A store without a run at this path; copying one is faster than making its schema."""
        made, _ = self._made("empty", lambda store: None)
        return Path(shutil.copy(made, path))

    def quiet(self, nights: SharedNights, count: int, **planted) -> None:
        """Fill the empty store of `nights` with so many, and leave it as if they had been written there."""
        plain = Nights(**{name: getattr(nights, name) for name in ("store", "noise", "half_width", "device")})
        key = repr((plain.noise, plain.half_width, plain.device, count, planted))

        def write(store: Store) -> Nights:
            written = replace(plain, store=store)
            Nights.quiet(written, count, **planted)
            return written

        made, written = self._made(key, write)
        with closing(sqlite3.connect(made)) as source, nights.store.engine.connect() as target:
            source.backup(target.connection.driver_connection)
        nights.count, nights.rng = written.count, copy.deepcopy(written.rng)

    def _made(self, key: str, write) -> tuple[Path, Nights | None]:
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
        self.shared.quiet(self, nights, **planted)
        return list(range(1, nights + 1))
