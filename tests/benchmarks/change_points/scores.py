"""The detector and Perfherder's rule on the published series that people labelled, as a table.

    KSWATCH_REFERENCE=FOLDER python -m tests.benchmarks.change_points.scores           # some two minutes
    KSWATCH_REFERENCE=FOLDER python -m tests.benchmarks.change_points.scores --json

Fitted: the settings as they are, on the series that they were chosen on. Cross-validated: each tenth of the
series with the settings, out of 960, of the best F1 on the other nine tenths, over 40 partitions.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
from pathlib import Path

from kswatch.ci.change_points import change_points
from tests.ci.change_points import scoring

SETS = {"sap_human_dev": "222 SAP series", "sap_small": "25 SAP series", "tcpd": "31 TCPD series"}


def row(score, set_name: str, name: str, tally: scoring.Tally, detector=None) -> dict:
    """A row of the table; the TCPD paper's F1 where a detector is given."""
    annotated = [(series, annotators) for _, series, annotators in score.SETS[set_name]()] if detector else []
    f1 = [score.tcpd_f1(annotators, detector(series)) for series, annotators in annotated]
    return {
        "set": SETS[set_name],
        "detector": name,
        "F1": tally.f1,
        "precision": tally.precision,
        "recall": tally.recall,
        "quiet series with an alarm": tally.quiet_share,
        "false per 1,000": tally.false_per_1000,
        "TCPD-F1": sum(f1) / len(f1) if f1 else None,
    }


def cross_validated(score) -> scoring.Tally:
    """On the 222 series, over all settings of the grid; progress on stderr."""
    table = {}
    for done, settings in enumerate(scoring.GRID, 1):
        table |= scoring.by_threshold(score, "sap_human_dev", settings)
        print(f"\r{done} of {len(scoring.GRID)} settings", end="", file=sys.stderr, flush=True)
    print(file=sys.stderr)
    return scoring.cross_validated(table)


def rows(score) -> list[dict]:
    """Of both detectors on each set, and ours cross-validated."""
    found = []
    for set_name in SETS:
        for name, detector in (("Perfherder, t > 7", score.perfherder), ("ours, fitted", change_points)):
            tally = scoring.total(scoring.tallies(score, set_name, detector).values())
            found.append(row(score, set_name, name, tally, detector))
    return [*found, row(score, "sap_human_dev", "ours, cross-validated", cross_validated(score))]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--json", action="store_true", help="print the rows as a JSON list")
    arguments = parser.parse_args()
    reference = os.environ.get("KSWATCH_REFERENCE")
    if not reference:
        raise SystemExit("KSWATCH_REFERENCE is unset: it names the folder of published data")
    table = rows(scoring.load_scorer(Path(reference)))
    if arguments.json:
        print(json.dumps(table))
        return
    print(f"| {' | '.join(table[0])} |")
    print("|---" * len(table[0]) + "|")
    for one in table:
        cells = ["" if v is None else v if isinstance(v, str) else f"{v:.3f}" for v in one.values()]
        print(f"| {' | '.join(cells)} |")


if __name__ == "__main__":
    main()
