from datetime import UTC, datetime, timedelta, timezone

import pandas as pd
import pytest

from kswatch.dashboard.formatting.labels import (
    age,
    count,
    device_names,
    duration,
    percent,
    problem_labels,
    ratio,
    utc,
)
from kswatch.dashboard.formatting.markdown_escape import literal
from kswatch.db.queries.basic import DeviceRow

NOW = datetime(2026, 1, 5, 12, tzinfo=UTC)


def device(id_: int, uuid: str, model: str) -> DeviceRow:
    return DeviceRow(id_, uuid, "cuda", model, False, None, None, None, None, {}, 1, 1, None)


@pytest.mark.parametrize(
    ("ago", "told"),
    [
        (timedelta(days=3, hours=5), "3 days ago"),
        (timedelta(hours=1, minutes=59), "1 hour ago"),
        (timedelta(minutes=2), "2 minutes ago"),
        (timedelta(seconds=5), "just now"),
        (-timedelta(hours=1), "just now"),
    ],
)
def test_an_age_is_told_in_its_largest_unit(ago: timedelta, told: str) -> None:
    assert age(NOW - ago, NOW) == told


def test_times_are_told_in_utc_with_the_zone() -> None:
    local = datetime(2026, 1, 5, 3, 4, tzinfo=timezone(timedelta(hours=2)))
    assert utc(local) == "2026-01-05 01:04 UTC"


def test_two_boards_of_one_model_are_told_apart() -> None:
    names = device_names([device(1, "GPU-aaaaaaaaaaaa", "H200"), device(2, "GPU-bbbbbbbbbbbb", "H200")])
    assert names[1] != names[2]
    assert device_names([device(3, "x", "A100")]) == {3: "A100"}


def test_a_problem_is_labelled_by_what_differs() -> None:
    frame = pd.DataFrame({"pattern": ["6,64,64,1"] * 2, "batch": [1, 8], "precision": "fp32", "layout": "x"})
    assert list(problem_labels(frame)) == ["6,64,64,1 ×1", "6,64,64,1 ×8"]


def test_what_is_unknown_is_a_dash() -> None:
    assert {percent(None), ratio(float("nan")), duration(None)} == {"–"}


def test_numbers_agree_with_their_noun() -> None:
    assert (count(1, "cell"), count(2000, "cell")) == ("1 cell", "2,000 cells")


@pytest.mark.parametrize("nasty", ["**b**", "[a](b)", "<i>", "$x$", ":red[x]", "# h", "`c`", "a_b_", "1. x"])
def test_a_literal_has_no_bare_character_that_markdown_reads(nasty: str) -> None:
    safe = literal(nasty)
    special = [index for index, sign in enumerate(safe) if sign in "*[]()<>$:#`_."]
    assert special
    assert all(safe[index - 1] == "\\" for index in special)


def test_a_literal_is_one_line() -> None:
    assert "\n" not in literal("first\n# second")
