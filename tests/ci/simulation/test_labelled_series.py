from __future__ import annotations

import json

import numpy as np
import pytest

from kswatch.ci.simulation.labelled_series import LabelledSeries, read_labelled_series
from kswatch.errors import UsageError


def test_the_noise_unit_is_that_of_the_residuals_and_no_change_adds_to_it():
    noise = np.tile([-1.0, 0.0, 1.0, 0.0], 10)
    of = LabelledSeries("steps", tuple(np.concatenate([100 + noise, 150 + noise])), (40,))
    assert of.noise_unit == pytest.approx(1.4826 * 0.5)
    assert of.size(40) == pytest.approx(50 / (1.4826 * 0.5))


def test_a_series_without_noise_has_changes_of_infinite_size():
    assert LabelledSeries("flat", (1.0, 1.0, 2.0, 2.0), (2,)).size(2) == np.inf


def test_json_and_csv_of_the_same_series_read_the_same(tmp_path):
    series = {"a": {"series": [1.0, None, 2.0, 2.5], "changes": [2]}, "b": {"series": [5.0, 6.0]}}
    (tmp_path / "two.json").write_text(json.dumps(series))
    rows = ["series,value,change", "b,5,", "b,6,0", "a,1,0", "a,,0", "a,2,1", "a,2.5,0"]
    (tmp_path / "two.csv").write_text("\n".join(rows))
    by_json, by_csv = (read_labelled_series(tmp_path / name) for name in ("two.json", "two.csv"))
    assert [(one.name, one.changes) for one in by_json] == [("a", (2,)), ("b", ())]
    assert [(one.name, one.changes) for one in by_csv] == [("a", (2,)), ("b", ())]
    assert np.array_equal(by_json[0].values, by_csv[0].values, equal_nan=True)


def test_a_folder_holds_the_series_of_all_its_files(tmp_path):
    (tmp_path / "one.csv").write_text("value\n1\n2\n")
    (tmp_path / "two.json").write_text('{"two": {"series": [1, 2], "changes": []}}')
    (tmp_path / "notes.txt").write_text("not a series")
    assert [one.name for one in read_labelled_series(tmp_path)] == ["one", "two"]


@pytest.mark.parametrize(
    ("name", "text", "cure"),
    [
        ("a.json", "[1, 2]", "no object of series by name"),
        ("a.json", "{", "is not JSON"),
        ("a.json", '{"a": [1, 2]}', "has no list `series`"),
        ("a.json", '{"a": {"series": [1, "x"]}}', "point 1 is 'x'"),
        ("a.json", '{"a": {"series": [1, -2]}}', "point 1 is -2"),
        ("a.json", '{"a": {"series": [1, true]}}', "point 1 is True"),
        ("a.json", '{"a": {"series": [1]}}', "fewer than 2 points"),
        ("a.json", '{"a": {"series": [1, 2], "changes": 1}}', "no list of indices"),
        ("a.json", '{"a": {"series": [1, 2], "changes": [2]}}', "no index from 1 to 1"),
        ("a.json", "{}", "holds no series"),
        ("a.csv", "time\n1\n", "no column `value`"),
        ("a.csv", "value,change\n1,0\n2,yes\n", "line 3: change is 'yes'"),
        ("a.txt", "1\n2\n", "neither .json nor .csv"),
    ],
)
def test_a_file_of_another_form_is_refused_with_the_cure(tmp_path, name, text, cure):
    (tmp_path / name).write_text(text)
    with pytest.raises(UsageError) as refused:
        read_labelled_series(tmp_path / name)
    assert cure in str(refused.value)


def test_a_missing_file_and_an_empty_folder_are_refused(tmp_path):
    for path in (tmp_path / "none.json", tmp_path):
        with pytest.raises(UsageError):
            read_labelled_series(path)
