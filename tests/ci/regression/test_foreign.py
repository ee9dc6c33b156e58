"""Foreign series are judged when they are named, by their own direction."""

from __future__ import annotations

import json

import pytest
from typer.testing import CliRunner

from kswatch.ci.cli.check import app
from kswatch.ci.config import CiConfig
from kswatch.ci.regression.foreign import judge_foreign
from kswatch.db.foreign_series.reports import ForeignReport, ForeignValue
from kswatch.db.foreign_series.stored import record_report
from kswatch.errors import UsageError
from tests.kswatch.sample_services import sample_services

QUIET = [100.0, 100.5, 99.6, 100.2, 99.9, 100.1]


def record(store, values, direction="lower"):
    for number, value in enumerate(values):
        one = ForeignValue("saxpy time", "ns", direction, value, labels={"n": "8"})
        record_report(store, ForeignReport("bmf", f"{number}", None, None, (one,), ()))


@pytest.mark.parametrize(
    ("newest", "direction", "verdict", "confirmed"),
    [
        ([100.2, 99.9], "lower", "same", False),
        ([100.1, 110.0], "lower", "worse", False),
        ([109.0, 110.0], "lower", "worse", True),
        ([91.0, 90.0], "lower", "better", True),
        ([109.0, 110.0], "higher", "better", True),
        ([109.0, 110.0], None, "changed", True),
        ([90.0, 110.0], "lower", "worse", False),
        ([101.0, 101.2], "lower", "same", False),  # under the floor
    ],
)
def test_the_newest_value_is_judged_against_those_before_it(store, newest, direction, verdict, confirmed):
    record(store, QUIET + newest, direction)
    (found,) = judge_foreign(store, "saxpy time", CiConfig())
    assert (found.verdict, found.confirmed) == (verdict, confirmed)
    assert found.regressed == (verdict == "worse" and confirmed)


@pytest.mark.parametrize("values", [[1.0], [1.0, 2.0], [1.0, 1.0, 9.0, 9.0], [0.0] * 6])
def test_too_little_history_is_no_finding(store, values):
    record(store, values)
    (found,) = judge_foreign(store, "saxpy time", CiConfig())
    assert found.verdict == "same" and found.reason


def test_check_judges_a_named_series_only(store):
    record(store, [*QUIET, 109.0, 110.0])

    def run(*arguments):
        return CliRunner().invoke(app, ["check", *arguments], obj=sample_services(str(store.engine.url)))

    assert run().exit_code == 0
    result = run("--foreign", "saxpy time")
    assert result.exit_code == 1 and result.stdout == "worse, confirmed +9.9 %: saxpy time n=8 110 ns\n"
    (row,) = json.loads(run("--foreign", "saxpy time", "--json").stdout)
    assert (row["verdict"], row["origin"], row["labels"]) == ("worse", "imported", {"n": "8"})
    assert run("--foreign", "all").stdout == "saxpy time (ns, bmf)\n"
    assert isinstance(run("--foreign", "other").exception, UsageError)
