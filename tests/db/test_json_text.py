from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta, timezone
from pathlib import Path

import numpy as np
import pytest

from kswatch.db.backend.codecs import Point
from kswatch.db.json_text import to_json_text
from tests.db.sample_records import CPU, problem


def told(value):
    return json.loads(to_json_text(value))


def test_what_is_no_number_is_null():
    assert told([float("nan"), float("inf"), np.float32("nan"), 1.5]) == [None, None, None, 1.5]


def test_times_are_told_in_utc():
    east = timezone(timedelta(hours=2))
    assert told(datetime(2026, 3, 1, 14, tzinfo=east)) == "2026-03-01T12:00:00Z"


def test_a_time_without_a_zone_is_refused():
    with pytest.raises(TypeError, match="no zone"):
        to_json_text(datetime(2026, 3, 1))


def test_dataclasses_and_named_tuples_are_objects():
    assert told(problem())["precision"] == "fp32"
    assert told(CPU)["facts"] == {"sockets": 1}
    assert told(Point(3, 1.5)) == {"run_id": 3, "value": 1.5, "low": None, "high": None}


def test_arrays_sets_paths_and_mappings_have_a_form():
    value = {1: np.arange(3), "paths": {Path("b"), Path("a")}, "at": datetime(2026, 1, 1, tzinfo=UTC).date()}
    assert told(value) == {"1": [0, 1, 2], "paths": ["a", "b"], "at": "2026-01-01"}


def test_without_indent_a_document_is_one_line():
    assert "\n" not in to_json_text({"text": "two\nlines", "list": [1, 2]}, indent=None)


def test_what_has_no_form_is_named():
    with pytest.raises(TypeError, match="object has no JSON form"):
        to_json_text(object())
