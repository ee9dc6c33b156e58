"""Replaying many series in several processes, each series in a store of its own."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from contextlib import closing
from functools import partial
from multiprocessing import get_context
from pathlib import Path

from kswatch.ci.config import CiConfig
from kswatch.ci.simulation.labelled_series import LabelledSeries
from kswatch.ci.simulation.replay import ReplayedSeries, replay
from kswatch.db.config import file_url
from kswatch.db.store import Store

MEMORY = Path("/dev/shm")
"""Where stores are fastest; a temporary folder, where it does not exist."""


def replay_all(
    series: Sequence[LabelledSeries],
    config: CiConfig,
    accepted_after: int,
    jobs: int = 1,
    progress: Callable[[int, int, str], None] = lambda done, of, name: None,
) -> list[ReplayedSeries]:
    """Replay these series; the result is in their order, whatever the number of processes.

    Args:
        series: the series.
        config: the limits of judging.
        accepted_after: nights after which an open alert is accepted.
        jobs: processes.
        progress: receives the number of series that are done, of all, and the name of the newest.
    """
    replay_one = partial(replay_alone, config=config, accepted_after=accepted_after)
    if jobs == 1 or len(series) == 1:
        found = []
        for one in series:
            found.append(replay_one(one))
            progress(len(found), len(series), one.name)
        return found
    with ProcessPoolExecutor(min(jobs, len(series)), mp_context=get_context("spawn")) as pool:
        futures = {pool.submit(replay_one, one): one for one in series}
        for done, future in enumerate(as_completed(futures), 1):
            future.result()
            progress(done, len(series), futures[future].name)
    return [future.result() for future in futures]


def replay_alone(series: LabelledSeries, config: CiConfig, accepted_after: int) -> ReplayedSeries:
    """Replay one series in a temporary store."""
    place = MEMORY if MEMORY.is_dir() else None
    with (
        tempfile.TemporaryDirectory(prefix="kswatch-replay-", dir=place) as folder,
        closing(Store.open(file_url(Path(folder) / "replay.db"))) as store,
    ):
        return replay(store, series, config, accepted_after)
