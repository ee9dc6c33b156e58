"""Stored values that are damaged are refused with the cure, and named."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime

import pytest

from kswatch.db.backend.codecs import pack_samples, unpack_points, unpack_samples
from kswatch.db.decoding import DamagedValueError, read_json, read_time


def test_whole_values_are_read() -> None:
    assert read_time("2026-03-01 12:00:00.000000") == datetime(2026, 3, 1, 12, tzinfo=UTC)
    assert read_time(None) is None
    assert read_json('{"a": [1, null]}') == {"a": [1, None]}
    assert list(unpack_samples(pack_samples([0.5, 2.0]))) == [0.5, 2.0]


@pytest.mark.parametrize(
    ("read", "value"),
    [
        (read_time, "{026-03-01 12:00:00"),
        (read_time, ""),
        (read_json, "{"),
        (read_json, "[" * 100_000),
        (unpack_samples, b"no samples"),
        (unpack_samples, pack_samples([1.0])[:-3]),
        (unpack_points, b"12345"),
    ],
)
def test_damaged_values_are_refused_in_a_sentence(read: Callable[[object], object], value: object) -> None:
    with pytest.raises(DamagedValueError, match="the store is damaged: it holds .* in place of") as refused:
        read(value)
    assert "\n" not in str(refused.value) and len(str(refused.value)) < 250
