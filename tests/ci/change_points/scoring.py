"""Scores of the detector on the published series, and their cross-validation.

`score.py` beside the series has the sets and the matching; here are sums over series, so that series can be
left out. A fold is a tenth of the original series: the two halves of one series are in the same fold.
"""

from __future__ import annotations

import importlib.util
import itertools
import random
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import astuple, dataclass, fields, replace
from functools import reduce
from operator import add
from pathlib import Path
from types import ModuleType

import numpy as np

from kswatch.ci.change_points.detector import graded_changes
from kswatch.ci.change_points.settings import DEFAULTS, DetectorSettings

FOLDS = 10
MOST_QUIET_ALARMS, MOST_FALSE = 0.09, 0.8
"""For a setting to be chosen: share of quiet series with an alarm, and false changes per 1,000 points.

Nine tenths of the goals, since the best of many settings is less good on other series.
"""
LEAST_T = tuple(np.arange(4.25, 6.51, 0.25).tolist())
GRID = tuple(
    replace(DEFAULTS, outlier=outlier, price=price, nearest=nearest)
    for outlier, price, nearest in itertools.product((3.5, 4, 4.5, 5), (6, 7, 8, 9, 10, 12), (15, 20, 25, 30))
)


def load_scorer(reference: Path) -> ModuleType:
    """The module `score.py` of the folder of published data."""
    path = reference / "changepoint" / "score.py"
    spec = importlib.util.spec_from_file_location("changepoint_score", path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@dataclass(frozen=True)
class Tally:
    """Counts over some series, which add up."""

    hits: int = 0
    false: int = 0
    missed: int = 0
    points: int = 0
    quiet: int = 0
    """Series in which most people marked nothing."""
    quiet_alarms: int = 0

    def __add__(self, other: Tally) -> Tally:
        return Tally(*(getattr(self, one.name) + getattr(other, one.name) for one in fields(self)))

    @property
    def f1(self) -> float:
        return 2 * self.hits / max(2 * self.hits + self.false + self.missed, 1)

    @property
    def precision(self) -> float:
        return self.hits / max(self.hits + self.false, 1)

    @property
    def recall(self) -> float:
        return self.hits / max(self.hits + self.missed, 1)

    @property
    def quiet_share(self) -> float:
        return self.quiet_alarms / max(self.quiet, 1)

    @property
    def false_per_1000(self) -> float:
        return 1000 * self.false / max(self.points, 1)

    @property
    def is_admissible(self) -> bool:
        return self.quiet_share <= MOST_QUIET_ALARMS and self.false_per_1000 <= MOST_FALSE


def total(tallies: Iterable[Tally]) -> Tally:
    return reduce(add, tallies, Tally())


def tally(score: ModuleType, points: int, truth: Sequence[int], found: Sequence[int]) -> Tally:
    inside = [index for index in found if 0 < index < points]
    hits = score.match(truth, inside)
    return Tally(
        hits=hits,
        false=len(inside) - hits,
        missed=len(truth) - hits,
        points=points,
        quiet=int(not truth),
        quiet_alarms=int(not truth and bool(inside)),
    )


def tallies(score: ModuleType, set_name: str, detector: Callable) -> dict[str, Tally]:
    """By series of a set."""
    return {
        name: tally(score, len(series), score.consensus(annotators), detector(series))
        for name, series, annotators in score.SETS[set_name]()
    }


def by_threshold(
    score: ModuleType, set_name: str, settings: DetectorSettings
) -> dict[DetectorSettings, dict[str, Tally]]:
    """By setting, with each threshold in LEAST_T, the tallies by series."""
    table: dict[DetectorSettings, dict[str, Tally]] = {
        replace(settings, least_t=least_t): {} for least_t in LEAST_T
    }
    for name, series, annotators in score.SETS[set_name]():
        graded, truth = graded_changes(np.array(series), settings=settings), score.consensus(annotators)
        for setting, by_series in table.items():
            found = [index for index, strength in graded if strength >= setting.least_t]
            by_series[name] = tally(score, len(series), truth, found)
    return table


def folds(names: Iterable[str], seed: int) -> Iterator[set[str]]:
    """The names in FOLDS parts; both halves of one original series are in the same part."""
    originals: dict[str, list[str]] = {}
    for name in names:
        originals.setdefault(name.removesuffix("_split1").removesuffix("_split2"), []).append(name)
    order = sorted(originals)
    random.Random(seed).shuffle(order)
    for fold in range(FOLDS):
        yield {name for original in order[fold::FOLDS] for name in originals[original]}


def cross_validated(table: dict[DetectorSettings, dict[str, Tally]], partitions: int = 40) -> Tally:
    """The sum over all series, each with the setting chosen without its fold, over some random partitions.

    That setting has the best F1 on the other series among those of few enough false alarms.
    """
    names = list(next(iter(table.values())))
    counts = np.array([[astuple(by_series[name]) for name in names] for by_series in table.values()])
    held_out = np.zeros(counts.shape[-1], dtype=int)
    for seed in range(partitions):
        for fold in folds(names, seed):
            inside = np.array([name in fold for name in names])
            chosen = best_setting(counts[:, ~inside].sum(axis=1))
            held_out += counts[chosen, inside].sum(axis=0)
    return Tally(*held_out.tolist())


def best_setting(sums: np.ndarray) -> int:
    """The row of the best F1 among those of few enough false alarms; a row has the fields of a `Tally`."""
    tallies = [Tally(*row) for row in sums.tolist()]
    return max(range(len(tallies)), key=lambda row: tallies[row].f1 if tallies[row].is_admissible else 0.0)
