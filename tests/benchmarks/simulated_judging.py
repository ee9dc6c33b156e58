"""Simulated years judged by what really runs: recorded in a store, judged, confirmed, their alerts kept.

python -m tests.benchmarks.simulated_judging quiet --years 8
python -m tests.benchmarks.simulated_judging causes --years 2 --between 0.01   # noisier nights
python -m tests.benchmarks.simulated_judging causes --years 5 --size 0.02 --interleaved

A year of 365 nights and 208 cells takes a few minutes; the figures so far go to stderr after each.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
from collections import defaultdict
from collections.abc import Iterable, Iterator
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from kswatch.ci.config import CiConfig
from kswatch.ci.simulation.replay_score import Share, exact_share
from kswatch.ci.simulation.season import judge_nights
from kswatch.db.queries.basic import AlertRow, alerts
from kswatch.db.store import Store
from tests.benchmarks.simulation.recorder import YearRecorder
from tests.benchmarks.simulation.year import Cause, Year, YearAssumptions, planted, year

CONFIG = CiConfig()
FIRST_NIGHT = 20
SETTLED = 6
"""Nights after a cause that still count as its own."""
MEMORY = Path("/dev/shm")
SIZES = (0.01, 0.02, 0.05, 0.10)
KINDS = {"quiet": (False, False), "causes": (True, False), "drift": (False, True)}


@dataclass(frozen=True)
class JudgedAlert:
    """An alert of a year, with the nights of its life."""

    alert: AlertRow
    opened: int
    confirmed: int | None


def judge_year(of: Year, config: CiConfig = CONFIG) -> list[JudgedAlert]:
    """Every night of the year, recorded and judged one after the other in a store of its own."""
    place = MEMORY if MEMORY.is_dir() else None
    confirmed: dict[int, int] = {}
    with (
        tempfile.TemporaryDirectory(dir=place) as folder,
        closing(Store.open(f"sqlite:///{folder}/year.db")) as store,
    ):
        recorder = YearRecorder(store, of)
        for change in judge_nights(store, recorder, of.times_ms.shape[1], config):
            if change.confirmed and change.news in ("opened", "confirmed"):
                confirmed.setdefault(change.alert, change.night)
        found = [one for one in reversed(alerts(store)) if one.cause not in ("environment", "canary")]
        return [JudgedAlert(one, recorder.nights[one.opened_run_id], confirmed.get(one.id)) for one in found]


@dataclass
class Tally:
    """The true and false positives of some years."""

    quiet_nights: int = 0
    false_alerts: int = 0
    provisional: int = 0
    delays: dict[float, list[int | None]] = field(default_factory=lambda: defaultdict(list))
    """By size: nights until each cause was confirmed; None for never."""
    alerts_per_cause: list[int] = field(default_factory=list)
    by_kind: dict[tuple[float, str], list[int | None]] = field(default_factory=lambda: defaultdict(list))
    drift_delays: list[int | None] = field(default_factory=list)

    def add(self, of: Year, found: list[JudgedAlert]) -> None:
        """Add a year."""
        quiet = set(range(FIRST_NIGHT, of.times_ms.shape[1]))
        for cause in of.causes:
            quiet -= set(range(cause.first, cause.end + SETTLED))
        if of.drift:
            quiet -= set(range(of.drift[0], of.drift[1] + 20))
        self.quiet_nights += len(quiet)
        self.provisional += sum(one.opened in quiet and one.confirmed is None for one in found)
        confirmed = [one for one in found if one.confirmed is not None and one.confirmed >= FIRST_NIGHT]
        owned = {one.alert.id for cause in of.causes for one in self._add_cause(cause, confirmed)}
        owned |= {one.alert.id for one in self._add_drift(of, confirmed)}
        self.false_alerts += sum(one.alert.id not in owned for one in confirmed)

    def _add_cause(self, cause: Cause, confirmed: list[JudgedAlert]) -> list[JudgedAlert]:
        own = [one for one in confirmed if _is_of(cause, one)]
        during = [one.confirmed for one in own if one.confirmed < cause.end and one.alert.verdict == "slower"]
        delay = min(during) - cause.first if during else None
        self.delays[cause.size].append(delay)
        self.by_kind[cause.size, cause.kind].append(delay)
        if during:
            self.alerts_per_cause.append(len(during))
        return own

    def _add_drift(self, of: Year, confirmed: list[JudgedAlert]) -> list[JudgedAlert]:
        if not of.drift:
            return []
        first, end = of.drift
        own = [
            one
            for one in confirmed
            if one.alert.implementation == "fused" and first <= one.confirmed < end + 25
        ]
        self.drift_delays.append(min((one.confirmed - first for one in own), default=None))
        return own

    @property
    def false_per_night(self) -> Share:
        """False alerts per quiet night."""
        return exact_share(self.false_alerts, self.quiet_nights)

    def within(self, size: float, nights: int) -> Share:
        """The share of the causes of this size that were confirmed within so many nights."""
        delays = self.delays[size]
        return exact_share(sum(one is not None and one < nights for one in delays), len(delays))

    def lines(self) -> Iterator[str]:
        """The figures with their exact 95 % intervals."""
        rate = self.false_per_night
        yield (
            f"{self.quiet_nights} quiet nights: {self.false_alerts} false alerts, "
            f"{1000 * (rate.share or 0):.2f} per 1,000 ({1000 * rate.low:.2f} to {1000 * rate.high:.2f})"
        )
        yield f"  opened and never confirmed on quiet nights: {self.provisional}"
        for size, delays in sorted(self.delays.items()):
            shares = (f"{nights}: {_shown(self.within(size, nights))}" for nights in (1, 3, 5))
            yield f"{size:.0%}: {len(delays)} causes, confirmed within nights {', '.join(shares)}"
        if self.alerts_per_cause:
            yield f"alerts per confirmed cause: {np.mean(self.alerts_per_cause):.3f}"
        for (size, kind), delays in sorted(self.by_kind.items()):
            found = exact_share(sum(one is not None and one < 3 for one in delays), len(delays))
            yield f"    {size:.0%} on {kind}: within 3 nights {_shown(found)}"
        if self.drift_delays:
            yield f"nights to report a drift of 0.1 % a night: {self.drift_delays}"


def _shown(share: Share) -> str:
    return f"{share.found} of {share.of} ({share.low:.1%} to {share.high:.1%})"


def _is_of(cause: Cause, one: JudgedAlert) -> bool:
    """Whether an alert may have this cause: by time, and by implementation or its comparisons."""
    if one.confirmed is None or not cause.first <= one.confirmed < cause.end + SETTLED:
        return False
    return one.alert.implementation in (cause.implementation, "fused")


def tally(
    seeds: Iterable[int],
    with_causes: bool,
    drift: bool = False,
    sizes: tuple[float, ...] = SIZES,
    **changed: float,
) -> Tally:
    """Simulate and judge the years of these seeds."""
    total = Tally()
    for seed in seeds:
        started = time.process_time()
        causes = planted(seed, tuple(np.roll(sizes, seed))) if with_causes else ()
        of = year(seed, causes, (270, 330) if drift else None, **changed)
        total.add(of, judge_year(of))
        seconds = time.process_time() - started
        print(f"year {seed}, {seconds:.0f} s:", " | ".join(total.lines()), file=sys.stderr, flush=True)
    return total


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("kind", choices=KINDS)
    parser.add_argument("--years", type=int, default=4)
    parser.add_argument("--first-seed", type=int, default=200, help="limits were chosen on years before 200")
    parser.add_argument(
        "--size", type=float, action="append", help="of the causes, repeatable; 1, 2, 5, 10 %%"
    )
    parser.add_argument("--between", type=float, default=YearAssumptions.between)
    parser.add_argument("--new-code", type=float, default=YearAssumptions.new_code)
    parser.add_argument(
        "--interleaved",
        action="store_true",
        help="measure flagged cells interleaved with the last good revision",
    )
    given = parser.parse_args()
    seeds = range(given.first_seed, given.first_seed + given.years)
    overrides = {"between": given.between, "new_code": given.new_code, "interleaved": given.interleaved}
    found = tally(seeds, *KINDS[given.kind], sizes=tuple(given.size or SIZES), **overrides)
    print(f"{given.years} simulated years ({given.kind}), {given.between:.1%} between nights")
    for line in found.lines():
        print(f"  {line}")


if __name__ == "__main__":
    main()
