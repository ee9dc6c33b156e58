"""A store of a million or more simulated measurements, in a minute: nights copied inside SQLite.

One night per device is written through db's public functions and copied, every figure jittering by
up to 1 % (a fixed function of cell and run); the last night is written through them again and holds a
planted regression. Devices, runs and revisions are marked simulated. There are no statistics for SQLite's
planner, since a store that nights filled has none. Run as a script it fills a store:

    python -m tests.benchmarks.simulated_years sqlite:///years.db --patterns 22     # 1,027,840 measurements
    python -m tests.benchmarks.simulated_years sqlite:///years.db --patterns 215    # 10,044,800
"""

from __future__ import annotations

import argparse
import sqlite3
import struct
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from hashlib import sha1

import numpy as np
from sqlalchemy.engine import make_url

from kswatch.db.backend.codecs import split_tail
from kswatch.db.store import Store
from tests.dashboard.data.simulated_queue import fill_queue
from tests.dashboard.simulated_store import NASTY, Plan, fill

DEVICES = ("sim-b200", "sim-h200", "sim-a100", "sim-v100")
KEPT_SAMPLES = 3
"""Newest nights whose raw samples are kept, as after a prune."""

JITTER = "(1 + ((%s * 7919 + n.id * 104729) %% 2001 - 1000) / 100000.0)"

SCALED: dict[str, tuple[str, tuple[str, ...]]] = {
    "measurement": (
        "t.cell_id",
        (
            *("latency_ms", "latency_low_ms", "latency_high_ms", "latency_p25_ms", "latency_p75_ms"),
            *("ratio_to_fused", "ratio_to_fused_low", "ratio_to_fused_high", "floor_ratio"),
            *("energy_mj", "energy_low_mj", "energy_high_mj", "power_w"),
        ),
    ),
    "comparison": ("t.problem_id", ("speedup", "speedup_low", "speedup_high")),
    "run_summary": (
        "t.problems",
        ("median_ratio", "median_speedup", "geomean_speedup", "speedup_p25", "speedup_p75"),
    ),
    "canary": ("length(t.name)", ("latency_ms", "rate")),
    "verdict": ("t.cell_id", ("value", "change")),
    "heuristic_score": ("t.problems", ("accuracy", "balanced_accuracy", "regret")),
    "prediction": ("t.problem_id", ()),
}
"""Tables copied with each night: the seed besides the run's id, and the columns that jitter."""


@dataclass(frozen=True)
class Years:
    """The size of the simulation; the last night is yesterday's or today's."""

    patterns: int = 22
    nights: int = 365
    devices: tuple[str, ...] = DEVICES

    def plan(self, night: int, regressed: bool = False) -> Plan:
        """One night of all devices."""
        last = datetime.now(UTC).replace(hour=2, minute=0, second=0, microsecond=0)
        return Plan(
            devices=self.devices,
            nights=1,
            patterns=self.patterns,
            first_night=last - timedelta(days=self.nights - 1 - night),
            regression_night=0 if regressed else None,
            samples=20,
        )


ShowProgress = Callable[[str], None]

COPYING = ("journal_mode = OFF", "locking_mode = EXCLUSIVE", "synchronous = OFF", "cache_size = -400000")
"""No other process reads the store, and a store left by a crash is deleted: without a journal, every page is
written once."""


def fill_years(url: str, years: Years, show_progress: ShowProgress = lambda _: None) -> int:
    """Fill a new SQLite store and return its number of measurements; `show_progress` receives each step."""
    store = Store.open(url)
    first = fill(store, years.plan(0))
    store.close()
    show_progress("the first night is written")
    path = make_url(url).database
    assert path is not None
    with closing(sqlite3.connect(path)) as connection:
        for pragma in (*COPYING, "temp_store = MEMORY", "threads = 1"):
            connection.execute(f"PRAGMA {pragma}")
        _copy_nights(connection, years, first, show_progress)
        _write_tails(connection, first)
        show_progress("the tails are written")
    store = Store.open(url)
    fill(store, years.plan(years.nights - 1, regressed=True))
    fill_queue(store)
    store.close()
    with closing(sqlite3.connect(path)) as connection:
        return connection.execute("SELECT count(*) FROM measurement").fetchone()[0]


def _copy_nights(
    connection: sqlite3.Connection, years: Years, first: list[int], show_progress: ShowProgress
) -> None:
    """Copy the first night to all others but the last, in the order of time."""
    connection.execute("CREATE TEMP TABLE night (id INTEGER PRIMARY KEY, source INTEGER, place INTEGER)")
    ids = iter(range(max(first) + 1, max(first) + len(first) * years.nights))
    nights = [(next(ids), run_id, place) for place in range(1, years.nights - 1) for run_id in first]
    connection.executemany("INSERT INTO night VALUES (?, ?, ?)", nights)
    _copy_runs(connection, years)
    index = connection.execute(
        "SELECT sql FROM sqlite_master WHERE name = 'measurement_by_series'"
    ).fetchone()[0]
    connection.execute("DROP INDEX measurement_by_series")  # other indices only grow at the end
    for table, (by, scaled) in SCALED.items():
        held = _copy(connection, table, {name: f"t.{name} * {JITTER % by}" for name in scaled})
        show_progress(f"{held:,} rows of {table} are copied")
    connection.execute(f"DELETE FROM sample WHERE run_id <= {max(first)}")
    connection.execute(index)
    connection.commit()
    show_progress("the index of measurement is built")


def _copy(connection: sqlite3.Connection, table: str, changed: dict[str, str]) -> int:
    names = [row[1] for row in connection.execute(f"PRAGMA table_info({table})")]
    values = ["n.id" if name == "run_id" else changed.get(name, f"t.{name}") for name in names]
    return connection.execute(
        f"INSERT INTO {table} ({', '.join(names)}) SELECT {', '.join(values)} "
        f"FROM night n CROSS JOIN {table} t ON t.run_id = n.source ORDER BY n.id"
    ).rowcount


def _copy_runs(connection: sqlite3.Connection, years: Years) -> None:
    names = [row[1] for row in connection.execute("PRAGMA table_info(run)")]
    sources = {row[0]: dict(zip(names, row, strict=True)) for row in connection.execute("SELECT * FROM run")}
    start = years.plan(0).first_night.replace(tzinfo=None)
    revision_id = connection.execute("SELECT max(id) FROM revision").fetchone()[0]
    rows = []
    for run_id, source, place in connection.execute("SELECT * FROM night ORDER BY id").fetchall():
        night = start + timedelta(days=place)
        times = {"started_at": str(night), "finished_at": str(night + timedelta(minutes=15))}
        identity = sha1(f"simulated years {run_id}".encode()).hexdigest()[:32]
        own = {"id": run_id, "identity": identity, "revision_id": revision_id + place}
        rows.append(sources[source] | {k: f"{v}.000000" for k, v in times.items()} | own)
    revisions = [
        (
            revision_id + place,
            sha1(f"simulated {place}".encode()).hexdigest(),
            0,
            f"simulated change {place} {NASTY}",
        )
        for place in range(1, years.nights - 1)
    ]
    connection.executemany(
        'INSERT INTO revision (id, "commit", dirty, subject) VALUES (?, ?, ?, ?)', revisions
    )
    marks = ", ".join(f":{name}" for name in names)
    connection.executemany(f"INSERT INTO run ({', '.join(names)}) VALUES ({marks})", rows)


def _write_tails(connection: sqlite3.Connection, first: list[int]) -> None:
    """The tails of the copied nights: each first point, jittered as its measurements were."""
    runs = dict.fromkeys(first)
    for source in first:
        copied = connection.execute("SELECT id FROM night WHERE source = ? ORDER BY id", (source,))
        runs[source] = np.array([row[0] for row in copied], dtype=np.int64)
    point = np.dtype([("run", "<u4"), ("value", "<f4"), ("low", "<f4"), ("high", "<f4")])
    written = []
    problems = dict(connection.execute("SELECT id, problem_id FROM cell"))
    for device_id, cell_id, metric, source, packed in _first_tails(connection):
        own = runs[source]
        by = problems[cell_id] if metric in ("speedup", "energy_ratio") else cell_id
        factor = 1 + ((by * 7919 + own * 104729) % 2001 - 1000) / 100000.0
        _, value, low, high = struct.unpack("<Ifff", packed)
        points = np.zeros(len(own), dtype=point)
        points["run"] = own
        for name, base in (("value", value), ("low", low), ("high", high)):
            points[name] = base * factor
        written.append((device_id, cell_id, metric, int(own[-1]), *split_tail(packed + points.tobytes())))
    connection.execute("DELETE FROM series_tail")  # rather than letting each row grow out of its page
    connection.executemany(
        "INSERT INTO series_tail (device_id, cell_id, metric, newest_run_id, points, older) "
        "VALUES (?, ?, ?, ?, ?, ?)",
        written,
    )
    connection.commit()


def _first_tails(connection: sqlite3.Connection) -> Iterator[tuple[int, int, str, int, bytes]]:
    query = "SELECT device_id, cell_id, metric, newest_run_id, points FROM series_tail ORDER BY 1, 2, 3"
    yield from connection.execute(query).fetchall()


def main() -> None:
    parser = argparse.ArgumentParser(description="Fill a store with years of simulated nights.")
    parser.add_argument("url")
    parser.add_argument("--patterns", type=int, default=22)
    parser.add_argument("--nights", type=int, default=365)
    given = parser.parse_args()
    started = time.perf_counter()

    def show_progress(step: str) -> None:
        print(f"{time.perf_counter() - started:>6.0f} s: {step}", file=sys.stderr, flush=True)

    held = fill_years(given.url, Years(given.patterns, given.nights), show_progress)
    print(f"{held:,} measurements in {time.perf_counter() - started:.0f} s")


if __name__ == "__main__":
    main()
