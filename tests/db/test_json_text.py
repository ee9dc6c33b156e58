from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta, timezone
from pathlib import Path

import numpy as np
import pytest

from kswatch.db.backend.codecs import Point
from kswatch.db.json_text import to_json_text
from tests.db.sample_records import CPU, problem


def parsed(value):
    return json.loads(to_json_text(value))


def test_nan_and_infinity_become_null():
    assert parsed([float("nan"), float("inf"), np.float32("nan"), 1.5]) == [None, None, None, 1.5]


def test_times_are_in_utc():
    east = timezone(timedelta(hours=2))
    assert parsed(datetime(2026, 3, 1, 14, tzinfo=east)) == "2026-03-01T12:00:00Z"


def test_a_time_without_a_zone_is_refused():
    with pytest.raises(TypeError, match="no zone"):
        to_json_text(datetime(2026, 3, 1))


def test_dataclasses_and_named_tuples_are_objects():
    assert parsed(problem())["precision"] == "fp32"
    assert parsed(CPU)["facts"] == {"sockets": 1}
    assert parsed(Point(3, 1.5)) == {"run_id": 3, "value": 1.5, "low": None, "high": None}


def test_arrays_sets_paths_and_mappings_are_converted():
    value = {1: np.arange(3), "paths": {Path("b"), Path("a")}, "at": datetime(2026, 1, 1, tzinfo=UTC).date()}
    assert parsed(value) == {"1": [0, 1, 2], "paths": ["a", "b"], "at": "2026-01-01"}


def test_without_indent_a_document_is_one_line():
    assert "\n" not in to_json_text({"text": "two\nlines", "list": [1, 2]}, indent=None)


def test_a_value_without_json_form_is_named():
    with pytest.raises(TypeError, match="object has no JSON form"):
        to_json_text(object())
