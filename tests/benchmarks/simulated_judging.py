"""Simulated years judged by the real code: verdicts, groups and the lifecycle of alerts, without a store.

python -m tests.benchmarks.simulated_judging quiet --years 8
python -m tests.benchmarks.simulated_judging causes --years 2 --between 0.01   # noisier nights
python -m tests.benchmarks.simulated_judging causes --years 5 --size 0.02 --interleaved

A year takes half a minute or more; the figures so far go to stderr after each.
"""

from __future__ import annotations

import argparse
import sys
from collections import defaultdict
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field, replace
from types import SimpleNamespace

import numpy as np
from scipy.stats import beta

from kswatch.ci.alerts.grouping import VerdictGroup, group_verdicts
from kswatch.ci.alerts.matching import has_new_environment, is_clean_run, split_by_alert
from kswatch.ci.config import CiConfig
from kswatch.ci.confirmation.decision import Decision, decide_interleaved, decide_repeated
from kswatch.ci.regression.families import JudgedSeries, group_series
from kswatch.ci.regression.history import HISTORY_NIGHTS, JudgingInputs, same_code_of
from kswatch.ci.regression.onset import find_onset
from kswatch.ci.regression.threshold import Points
from kswatch.ci.regression.verdicts import SeriesVerdict, judge_series
from kswatch.db.alerts.causes import LEVEL_CAUSES
from kswatch.db.alerts.lifecycle import GOOD_NIGHTS, LIVE
from kswatch.db.queries.basic import AlertRow
from kswatch.db.queries.regression_inputs import PriorNight
from tests.benchmarks.simulated_year import (
    CELLS,
    COUNT,
    IMPLEMENTATIONS,
    PROBLEMS,
    Cause,
    Year,
    YearAssumptions,
    planted,
    year,
)

CONFIG = CiConfig()
SERIES = [JudgedSeries(cell, problem, name, "latency_ms") for cell, (problem, name) in enumerate(CELLS)]
SERIES += [JudgedSeries(cell, problem, "fused", "speedup") for cell, problem in enumerate(PROBLEMS)]
FAMILIES = group_series(SERIES)
HIGHER = np.array([one.metric == "speedup" for one in SERIES])
FIRST_NIGHT = 20


@dataclass
class AlertBook:
    """The alerts of a device, kept in memory as the store keeps them."""

    alerts: list[AlertRow] = field(default_factory=list)
    members: dict[tuple[int, str], set[int]] = field(default_factory=lambda: defaultdict(set))
    nights_of: dict[int, list[tuple[int, int]]] = field(default_factory=lambda: defaultdict(list))
    """By alert, (series, night) of its bad points."""
    confirmations: list[tuple[int, int]] = field(default_factory=list)
    """(night, alert) of each confirmation."""

    def change(self, alert_id: int, **values: object) -> None:
        self.alerts[alert_id] = replace(self.alerts[alert_id], **values)

    def open_alert(self, night: int, part: VerdictGroup) -> int:
        implementation, metric, verdict, cause = part.key
        row = AlertRow(
            len(self.alerts), 1, night, night, "open", False, verdict, cause, metric, implementation, "",
            None, {}, None, None, 0, 1,
        )  # fmt: skip
        self.alerts.append(row)
        return row.id

    def confirm(self, alert_id: int, night: int) -> None:
        alert = self.alerts[alert_id]
        if not alert.confirmed:
            self.confirmations.append((night, alert_id))
        better = alert.verdict == "faster" and alert.cause in LEVEL_CAUSES
        self.change(alert_id, confirmed=True, state="accepted" if better else alert.state)


def judge_year(of: Year, remeasure: bool = True) -> AlertBook:
    """Every night of the year, one after the other."""
    times, low, high = (_with_speedup(part, of.times_ms) for part in (of.times_ms, of.low_ms, of.high_ms))
    book, index = AlertBook(), {(one.cell_id, one.metric): number for number, one in enumerate(SERIES)}
    best = of.times_ms[COUNT:].reshape(-1, COUNT, times.shape[1]).argmin(axis=0)
    any_hot = of.throttled.reshape(-1, COUNT, times.shape[1]).any(axis=0)
    usable = np.where(np.vstack([of.throttled, any_hot]), np.nan, 1.0)
    for night in range(FIRST_NIGHT, times.shape[1]):
        past = slice(max(0, night - HISTORY_NIGHTS), night)
        inputs = _inputs(of, book, night, past, Points(times, low, high), usable, best[:, night])
        if inputs is None:
            continue
        verdicts = judge_series(inputs, CONFIG)
        seen = set(_update_alerts(of, book, inputs, night, verdicts, index, remeasure))
        _recover(book, inputs, night, verdicts, seen)
    return book


def _with_speedup(times: np.ndarray, all_times: np.ndarray) -> np.ndarray:
    """The times, and below them fused's speedup over the best baseline, paired within the run."""
    best = all_times[COUNT:].reshape(-1, COUNT, times.shape[1]).min(axis=0)
    return np.vstack([times, best / times[:COUNT]])


def _inputs(
    of: Year, book: AlertBook, night: int, past: slice, points: Points, usable: np.ndarray, best: np.ndarray
) -> JudgingInputs | None:
    nights = np.arange(past.start, past.stop)
    same = of.segment[nights] == of.segment[night]
    if same.sum() < CONFIG.minimum_runs:
        return None  # attributed to the environment
    nights = nights[same]
    history = Points(*(part[:, nights] * usable[:, nights] for part in vars(points).values()))
    in_level, quiet = (np.ones(history.value.shape, dtype=bool) for _ in range(2))
    for alert in book.alerts:
        if alert.cause in LEVEL_CAUSES and alert.state == "accepted":
            rows = {row for row, _ in book.nights_of[alert.id]}
            in_level[np.ix_(sorted(rows), nights < alert.opened_run_id)] = False
        elif alert.cause in LEVEL_CAUSES:
            rows_of = np.array([one.implementation == alert.implementation for one in SERIES])
            for row, bad in book.nights_of[alert.id]:
                in_level[row, nights == bad] = False
                quiet[np.ix_(rows_of, nights == bad)] = False
    hashes = {(int(one), cell): str(of.code[one]) for one in (*nights[-14:], night) for cell in range(COUNT)}
    hot = np.isnan(usable[:, night])
    return JudgingInputs(
        run=SimpleNamespace(id=night, environment_id=int(of.segment[night])),
        series=[
            replace(one, best_baseline=IMPLEMENTATIONS[1 + best[one.cell_id]])
            if one.metric == "speedup"
            else one
            for one in SERIES
        ],
        newest=points.night(night),
        past=history,
        in_level=in_level,
        quiet=quiet,
        higher_is_better=HIGHER,
        families=FAMILIES,
        canaries=np.zeros((0, len(nights) + 1)),
        cycles_change=np.full(len(SERIES), np.nan),
        same_code=same_code_of([one.cell_id for one in SERIES], in_level, hashes, nights.tolist(), night),
        throttled=hot,
        environment_before=None,
        nights=[PriorNight(int(one), int(of.segment[one]), None) for one in nights],
        canary_change=None,
        incorrect=[],
        environment_of={one: int(of.segment[one]) for one in range(night + 1)},
        alerts=list(book.alerts),
        alert_ids_of=book.members,
    )


def _update_alerts(
    of: Year,
    book: AlertBook,
    inputs: JudgingInputs,
    night: int,
    verdicts: list[SeriesVerdict],
    index: dict[tuple[int, str], int],
    remeasure: bool,
) -> Iterator[int]:
    for found in group_verdicts(verdicts):
        for alert_id, part in split_by_alert(inputs, found).items():
            if alert_id is None and not part.worth_an_alert:
                continue
            alert_id = book.open_alert(night, part) if alert_id is None else alert_id
            alert = book.alerts[alert_id]
            if alert.state not in LIVE:
                continue
            for one in part.verdicts:
                book.members[one.key].add(alert_id)
                book.nights_of[alert_id].append((index[one.key], night))
            book.change(alert_id, newest_run_id=night, good_nights=0, state="open")
            if part.confirmed:
                book.confirm(alert_id, night)
            elif remeasure and not alert.confirmed and alert.opened_run_id == night:
                decision = (_measured_interleaved if of.assumptions.interleaved else _measured_alone)(
                    of, inputs, night, part
                )
                if decision == "confirmed":
                    book.confirm(alert_id, night)
                elif decision == "dismissed":
                    book.change(alert_id, state="resolved")
            yield alert_id


def _measured_alone(of: Year, _: JudgingInputs, night: int, part: VerdictGroup) -> Decision:
    """The decision by measuring the night's revision again, alone."""
    flagged = [one for one in part.verdicts if one.metric == "latency_ms"]
    first = np.array([one.change for one in flagged])
    again = np.array([of.again_ms[one.cell_id, night] / one.level - 1 for one in flagged])
    noise = np.array([abs(one.change) / one.noise_units for one in flagged])
    return decide_repeated(first, again, noise)[0]


def _measured_interleaved(of: Year, inputs: JudgingInputs, night: int, part: VerdictGroup) -> Decision:
    """The decision by measuring the night's revision interleaved with the last good one."""
    good, _ = find_onset(inputs, part.verdicts)
    flagged = [one for one in part.verdicts if one.metric == "latency_ms"]
    cells = [one.cell_id for one in flagged]
    if good is None or not cells:
        return "unclear"
    truth = of.planted[cells, night] - of.planted[cells, good.run_id]
    again = np.expm1(truth + of.between_processes[:, cells, night])
    return decide_interleaved(np.array([one.change for one in flagged]), again)[0]


def _recover(
    book: AlertBook, inputs: JudgingInputs, night: int, verdicts: list[SeriesVerdict], seen: set[int]
) -> None:
    for alert in list(book.alerts):
        if alert.state in LIVE and has_new_environment(inputs, alert):
            book.change(alert.id, state="resolved")
        if (
            alert.id in seen
            or book.alerts[alert.id].state not in LIVE
            or not is_clean_run(inputs, alert, verdicts)
        ):
            continue
        done = alert.good_nights + 1 >= GOOD_NIGHTS or not alert.confirmed
        book.change(
            alert.id,
            good_nights=alert.good_nights + 1,
            state="resolved" if done else "recovering",
            newest_run_id=night,
        )


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

    def add(self, of: Year, book: AlertBook) -> None:
        nights = of.times_ms.shape[1]
        quiet = set(range(FIRST_NIGHT, nights))
        for cause in of.causes:
            quiet -= set(range(cause.first, cause.end + 6))
        if of.drift:
            quiet -= set(range(*of.drift)) | set(range(of.drift[1], of.drift[1] + 20))
        self.quiet_nights += len(quiet)
        confirmations = dict((alert_id, night) for night, alert_id in book.confirmations)
        self.provisional += sum(one.opened_run_id in quiet for one in book.alerts)
        owned: set[int] = set()
        for cause in of.causes:
            own = [i for i, night in confirmations.items() if _is_of(cause, book.alerts[i], night)]
            owned |= set(own)
            during = [
                confirmations[i]
                for i in own
                if confirmations[i] < cause.end and book.alerts[i].verdict == "slower"
            ]
            delay = min(during) - cause.first if during else None
            self.delays[cause.size].append(delay)
            self.by_kind[cause.size, cause.kind].append(delay)
            if delay is not None:
                self.alerts_per_cause.append(len(during))
        if of.drift:
            own = {
                i
                for i in confirmations
                if book.alerts[i].implementation == "fused"
                and of.drift[0] <= confirmations[i] < of.drift[1] + 25
            }
            owned |= own
            nights_to = [confirmations[i] - of.drift[0] for i in own]
            self.drift_delays.append(min(nights_to, default=None))
        self.false_alerts += sum(i not in owned for i in confirmations)

    def lines(self) -> Iterator[str]:
        rate, low, high = (1000 * one for one in share_of(self.false_alerts, max(self.quiet_nights, 1)))
        yield (
            f"{self.quiet_nights} quiet nights: {self.false_alerts} false alerts, {rate:.2f} per 1,000 "
            f"({low:.2f} to {high:.2f})"
        )
        yield f"  opened and never confirmed on quiet nights: {self.provisional}"
        for size, delays in sorted(self.delays.items()):
            same, three = _share_within(delays, 0), _share_within(delays, 2)
            yield f"{size:.0%}: {len(delays)} causes, same night {same}, within 3 nights {three}"
        if self.alerts_per_cause:
            yield f"alerts per confirmed cause: {np.mean(self.alerts_per_cause):.3f}"
        for (size, kind), delays in sorted(self.by_kind.items()):
            three = _share_within(delays, 2)
            yield f"    {size:.0%} on {kind}: {len(delays)} causes, within 3 nights {three}"
        if self.drift_delays:
            yield f"nights to report a drift of 0.1 % a night: {self.drift_delays}"


def share_of(found: int, of: int) -> tuple[float, float, float]:
    """The share, and its exact 95 % interval (Clopper and Pearson 1934)."""
    low = beta.ppf(0.025, found, of - found + 1) if found else 0.0
    high = beta.ppf(0.975, found + 1, of - found) if found < of else 1.0
    return found / of, float(low), float(high)


def _share_within(delays: list[int | None], within: int) -> str:
    found = sum(one is not None and one <= within for one in delays)
    share, low, high = share_of(found, len(delays))
    return f"{share:.1%} ({low:.1%} to {high:.1%})"


def _is_of(cause: Cause, alert: AlertRow, night: int) -> bool:
    """Whether an alert may have this cause: by time, and by implementation or its comparisons."""
    if not cause.first <= night < cause.end + 6:
        return False
    return alert.implementation in (cause.implementation, "fused") or alert.cause in ("environment", "canary")


SIZES = (0.01, 0.02, 0.05, 0.10)


KINDS = {"quiet": (False, False), "causes": (True, False), "drift": (False, True)}


def tally(
    seeds: Iterable[int],
    with_causes: bool,
    drift: bool = False,
    sizes: tuple[float, ...] = SIZES,
    **changed: float,
) -> Tally:
    total = Tally()
    for seed in seeds:
        causes = planted(seed, tuple(np.roll(sizes, seed))) if with_causes else ()
        span = (270, 330) if drift else None
        of = year(seed, causes, span, **changed)
        total.add(of, judge_year(of))
        print(f"year {seed}:", " | ".join(total.lines()), file=sys.stderr, flush=True)
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
