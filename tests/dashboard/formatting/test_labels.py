from datetime import UTC, datetime, timedelta, timezone

import pandas as pd
import pytest

from kswatch.dashboard.components.panels import QUANTITY, number_formats
from kswatch.dashboard.formatting.labels import (
    age,
    count,
    device_names,
    duration,
    interval,
    literal,
    percent,
    problem_labels,
    ratio,
    utc,
)
from kswatch.db.queries.basic import DeviceRow

NOW = datetime(2026, 1, 5, 12, tzinfo=UTC)


def device(id_: int, uuid: str, model: str) -> DeviceRow:
    return DeviceRow(uuid, "cuda", model, id=id_, runs=1, newest_run_id=1, newest_started_at=None)


@pytest.mark.parametrize(
    ("ago", "text"),
    [
        (timedelta(days=3, hours=5), "3 days ago"),
        (timedelta(hours=1, minutes=59), "1 hour ago"),
        (timedelta(minutes=2), "2 minutes ago"),
        (timedelta(seconds=5), "just now"),
        (-timedelta(hours=1), "just now"),
    ],
)
def test_an_age_is_shown_in_its_largest_unit(ago: timedelta, text: str) -> None:
    assert age(NOW - ago, NOW) == text


def test_times_are_shown_in_utc_with_the_zone() -> None:
    local = datetime(2026, 1, 5, 3, 4, tzinfo=timezone(timedelta(hours=2)))
    assert utc(local) == "2026-01-05 01:04 UTC"


def test_two_boards_of_one_model_have_different_names() -> None:
    names = device_names([device(1, "GPU-aaaaaaaaaaaa", "H200"), device(2, "GPU-bbbbbbbbbbbb", "H200")])
    assert names[1] != names[2]
    assert device_names([device(3, "x", "A100")]) == {3: "A100"}


def test_a_problem_is_labelled_by_the_properties_that_differ() -> None:
    frame = pd.DataFrame({"pattern": ["6,64,64,1"] * 2, "batch": [1, 8], "precision": "fp32", "layout": "x"})
    assert list(problem_labels(frame)) == ["6,64,64,1 ×1", "6,64,64,1 ×8"]


def test_unknown_values_are_dashes() -> None:
    assert {percent(None), ratio(float("nan")), duration(None)} == {"–"}


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(45, "45 s"), (90, "1.5 min"), (900, "15 min"), (7_500, "2 h 5 min"), (3_600, "1 h"), (3_599, "1 h")],
)
def test_a_duration_is_shown_in_units_that_fit(seconds: float, text: str) -> None:
    assert duration(seconds) == text


def test_an_interval_has_both_bounds_or_a_dash() -> None:
    assert interval(-0.01, 0.03) == "-1.0 to +3.0 %"
    assert interval(None, 0.03) == interval(float("nan"), 0.03) == "–"


def test_numbers_agree_with_their_noun() -> None:
    assert (count(1, "cell"), count(2000, "cell")) == ("1 cell", "2,000 cells")


@pytest.mark.parametrize("nasty", ["**b**", "[a](b)", "<i>", "$x$", ":red[x]", "# h", "`c`", "a_b_", "1. x"])
def test_a_literal_has_no_bare_character_that_markdown_reads(nasty: str) -> None:
    safe = literal(nasty)
    special = [index for index, sign in enumerate(safe) if sign in "*[]()<>$:#`_."]
    assert special
    assert all(safe[index - 1] == "\\" for index in special)


def test_commands_of_kswatch_stay_code_in_a_literal() -> None:
    assert literal("a*: run `kswatch check --run 3` or `x*`") == (
        r"a\*\: run `kswatch check \-\-run 3` or \`x\*\`".replace(r"\-\-run", "--run")
    )
    assert "``" not in literal("`kswatch `kswatch :red[x]`") and r"\:red\[x\]" in literal("`kswatch :red[x]`")


def test_a_literal_is_one_line() -> None:
    assert "\n" not in literal("first\n# second")


def test_columns_of_one_unit_have_equal_decimals() -> None:
    frame = pd.DataFrame(
        {
            "latency (ms)": [0.0488, 0.107],
            "low (ms)": [0.0391, 0.0994],
            "samples": [40.0, float("nan")],
            "relative error": [1e-6, 2e-6],
            "pattern": ["6,64,64,1", "1,2,3,4"],
        }
    )
    assert number_formats(frame) == {
        "latency (ms)": "%.5f",
        "low (ms)": "%.5f",
        "samples": "%.0f",
        "relative error": "%.2e",
    }


@pytest.mark.parametrize(
    ("text", "is_quantity"),
    [
        ("+12.0 %", True),
        ("+11.0 to +13.0 %", True),
        ("1.23×", True),
        ("2 h 5 min", True),
        ("< 0.001", True),
        ("–", True),
        ("6,64,64,1", False),
        ("590.10", False),
        ("fused", False),
    ],
)
def test_texts_of_quantities_are_recognised(text: str, is_quantity: bool) -> None:
    assert (QUANTITY.fullmatch(text) is not None) == is_quantity
