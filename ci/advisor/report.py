"""The tables of kernels/heuristics/README.md, from the store."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path

from kswatch.ci.advisor.scoring import HeuristicReport, format_percent, format_share, score_held_out
from kswatch.db.queries.headline import DeviceComparison, outcomes
from kswatch.db.store import Store
from kswatch.errors import UsageError


def report_tables(store: Store, device: str | None, metric: str) -> str:
    """For each precision and layout that the device has: every heuristic, held out by (b, c).

    Raises:
        UsageError: no or several such devices, nothing compared, or scikit-learn is not installed.
    """
    everything = outcomes(store, device, metric=metric)
    sets = sorted(
        {(one.problem.precision, one.problem.layout) for one in everything.problems if one.outcome.speedup}
    )
    if not sets:
        raise UsageError(
            f"no {metric} was compared on {everything.device.model}; run `kswatch nightly` first"
        )
    parts = []
    for precision, layout in sets:
        found = outcomes(store, everything.device.uuid, metric=metric, precision=precision, layout=layout)
        parts.append(_section(found, metric, f"{precision} {layout}", score_held_out(found, metric)))
    return "\n\n".join(parts)


def _section(found: DeviceComparison, metric: str, name: str, rows: Sequence[HeuristicReport]) -> str:
    problems, majority, last = rows[0].problems, format_share(rows[0].majority), rows[-1]
    scores = (
        f"| {row.heuristic} | {format_share(row.accuracy)} | {format_share(row.balanced_accuracy)} "
        f"| {format_percent(row.regret)} | {row.tp} / {row.fp} / {row.fn} / {row.tn} "
        f"| {format_percent(row.speedup_error)} |"
        for row in rows
    )
    errors = (
        f"| {name} | {'-' if one.r2_log is None else f'{one.r2_log:.4f}'} | {one.median_error:.1%} |"
        for name, one in last.cost_errors.items()
    )
    bins = (f"| {one.confidence:.3f} | {one.accuracy:.3f} | {one.problems} |" for one in last.calibration)
    return "\n\n".join(
        [
            f"#### {found.device.model}, {metric}, {name}",
            f"{problems} problems, majority {majority}, baselines {', '.join(found.baselines)}.",
            _table(
                "| heuristic | accuracy | balanced | mean regret | tp / fp / fn / tn | speedup error |",
                scores,
            ),
            _table(f"| predicted by {last.heuristic} | R² of the logarithm | median error |", errors),
            _table(f"| {last.heuristic}'s confidence | right | problems |", bins),
        ]
    )


def _table(header: str, rows: Iterable[str]) -> str:
    return "\n".join([header, "|" + "---|" * (header.count("|") - 1), *rows])


def write_between_marks(path: Path, text: str, marks: str = "tables") -> None:
    """Put the text between the marks of this name in a Markdown file.

    Raises:
        UsageError: the file cannot be read or written, or lacks the marks.
    """
    begin, end = f"<!-- {marks} -->", f"<!-- end of {marks} -->"
    try:
        if path.exists() and not path.is_file():
            raise UsageError(f"{path} is no file; name a Markdown file with the lines {begin} and {end}")
        page = path.read_text(encoding="utf-8")
        before, rest = page.split(begin, 1)
        _, after = rest.split(end, 1)
        path.write_text(f"{before}{begin}\n{text}\n{end}{after}", encoding="utf-8")
    except ValueError as error:
        raise UsageError(f"{path} lacks the lines {begin} and {end}; add them") from error
    except OSError as error:
        raise UsageError(f"{path} cannot be written ({error}); name another file") from error
