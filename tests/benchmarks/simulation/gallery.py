"""A static page of labelled series: marks of people, levels of the detector, alerts of the nightly rule.

    python -m tests.benchmarks.simulation.gallery FOLDER/changepoint/sap_human_dev gallery

Twenty series, evenly spread by name; replaying them takes some minutes. The page needs neither network nor
script.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator, Sequence
from html import escape
from pathlib import Path

import numpy as np

from kswatch.ci.change_points.level import Level, levels
from kswatch.ci.config import CiConfig
from kswatch.ci.simulation.labelled_series import LabelledSeries, read_labelled_series
from kswatch.ci.simulation.replay import ACCEPTED_AFTER, ReplayedSeries
from kswatch.ci.simulation.replay_jobs import replay_all
from kswatch.ci.simulation.replay_score import LARGE, marked_changes, nearest_change, score

COUNT = 20
WIDTH, HEIGHT, MARGIN = 960.0, 150.0, 8.0
OUTER = (0.5, 99.5)
"""Percentiles between which points are drawn; those beyond are drawn at the edge."""

STYLE = """
body { font: 15px/1.45 system-ui, sans-serif; color: #1c2430; }
body { max-width: 62rem; margin: 2rem auto; padding: 0 1rem; }
svg { width: 100%; height: auto; background: #f7f8fa; border: 1px solid #d9dde3; }
h2 { font-size: 1.05rem; margin: 2rem 0 .3rem; } p { margin: .2rem 0 .5rem; }
.point { fill: #8a94a3; } .level { stroke: #1f5fbf; stroke-width: 2; fill: none; }
.mark { stroke: #2e7d32; stroke-width: 1.5; stroke-dasharray: 5 3; }
.true { fill: #2e7d32; } .false { fill: #b3261e; }
"""


def chosen(series: Sequence[LabelledSeries], count: int = COUNT) -> list[LabelledSeries]:
    """So many series, evenly spread over the list."""
    places = np.linspace(0, len(series) - 1, min(count, len(series))).round().astype(int)
    return [series[place] for place in dict.fromkeys(places.tolist())]


class Picture:
    """One series as SVG: the place of each night and value."""

    def __init__(self, of: ReplayedSeries) -> None:
        self._of = of
        known = np.array([value for value in of.series.values if np.isfinite(value)])
        self._low, self._high = np.percentile(known, OUTER)

    def x(self, night: float) -> float:
        """The horizontal place of a night."""
        return MARGIN + (WIDTH - 2 * MARGIN) * night / max(len(self._of.series.values) - 1, 1)

    def y(self, value: float) -> float:
        """The vertical place of a value; values beyond the drawn range lie on its edge."""
        share = (np.clip(value, self._low, self._high) - self._low) / max(self._high - self._low, 1e-300)
        return HEIGHT - MARGIN - (HEIGHT - 2 * MARGIN - 14) * float(share)

    def svg(self) -> str:
        """The picture."""
        parts = [*self._points(), *self._levels(), *self._marks(), *self._alerts()]
        label = escape(f"{self._of.series.name}: values by night")
        return (
            f'<svg viewBox="0 0 {WIDTH:g} {HEIGHT:g}" role="img" aria-label="{label}">{"".join(parts)}</svg>'
        )

    def _points(self) -> Iterator[str]:
        for night, value in enumerate(self._of.series.values):
            if np.isfinite(value):
                yield f'<circle class="point" cx="{self.x(night):.1f}" cy="{self.y(value):.1f}" r="1.4"/>'

    def _levels(self) -> Iterator[str]:
        for one in found_levels(self._of.series):
            begin, end, height = self.x(one.start), self.x(one.stop - 1), self.y(one.median)
            yield f'<path class="level" d="M{begin:.1f} {height:.1f}H{end:.1f}"/>'

    def _marks(self) -> Iterator[str]:
        for night in self._of.series.changes:
            place = self.x(night - 0.5)
            title = f"<title>marked: night {night}</title>"
            yield f'<path class="mark" d="M{place:.1f} 0V{HEIGHT:g}">{title}</path>'

    def _alerts(self) -> Iterator[str]:
        for one in self._of.alerts:
            if one.alerted is None:
                continue
            kind = "false" if nearest_change(self._of, one.onset) is None else "true"
            place = self.x(one.alerted)
            text = f"{kind} alert, {one.verdict}: onset night {one.onset}, alerted night {one.alerted}"
            yield (
                f'<path class="{kind}" d="M{place - 5:.1f} 1h10l-5 9z"><title>{escape(text)}</title></path>'
            )


def found_levels(of: LabelledSeries) -> tuple[Level, ...]:
    """The levels that the detector finds in the whole series."""
    return levels(list(of.values))


def section(of: ReplayedSeries) -> str:
    """A series with its picture and its figures."""
    alerted = [one for one in of.alerts if one.alerted is not None]
    false = sum(nearest_change(of, one.onset) is None for one in alerted)
    changes = list(marked_changes(of))
    soon = sum(one.within(5) for one in changes)
    facts = (
        f"{len(of.series.values)} nights; {len(of.series.changes)} marked changes, {soon} of {len(changes)} "
        f"that count alerted within 5 nights; {len(found_levels(of.series)) - 1} found by the detector; "
        f"{len(alerted)} alerts, {false} of them false"
    )
    return f"<h2>{escape(of.series.name)}</h2><p>{facts}</p>{Picture(of).svg()}"


def page(replayed: Sequence[ReplayedSeries]) -> str:
    """The whole page."""
    found = score(replayed)
    large = found.share_within(5, LARGE)
    figures = (
        f"{len(replayed)} series of SAP HANA: {large.found} of {large.of} changes of {LARGE:g} noise units "
        f"or more alerted within 5 nights, {found.false_alerts} false alerts in {found.nights} nights."
    )
    legend = (
        "Grey: one measurement a night. Green dashes: where people marked a change. Blue: the levels "
        "that the change-point detector finds in the whole series. Triangles: alerts of the nightly rule, "
        "which sees only the nights before: green within 5 nights of a mark, red elsewhere."
    )
    source = (
        "Data: SAP/performance-regression-data-set, hana/large_2022, Copyright SAP SE or an SAP affiliate "
        "company, CC-BY-4.0; drawn, and values beyond the outer half percent put on the edge."
    )
    return (
        '<!doctype html><html lang="en"><meta charset="utf-8"><title>Labelled series</title>'
        f"<style>{STYLE}</style><h1>Labelled series</h1><p>{figures}</p><p>{legend}</p><p>{source}</p>"
        + "".join(map(section, replayed))
        + "</html>\n"
    )


def main() -> None:
    if len(sys.argv) != 3:
        sys.exit("usage: python -m tests.benchmarks.simulation.gallery FOLDER OUTPUT_FOLDER")
    series, folder = chosen(read_labelled_series(Path(sys.argv[1]))), Path(sys.argv[2])
    folder.mkdir(parents=True, exist_ok=True)

    def progress(done: int, of: int, name: str) -> None:
        print(f"{done} of {of} series, {name}", file=sys.stderr, flush=True)

    replayed = replay_all(series, CiConfig(), ACCEPTED_AFTER, 2, progress)
    (folder / "index.html").write_text(page(replayed), encoding="utf-8")
    print(f"wrote {folder / 'index.html'}")


if __name__ == "__main__":
    main()
