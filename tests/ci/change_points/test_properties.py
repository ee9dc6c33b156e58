"""Properties of the detector that hold for every series."""

from __future__ import annotations

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from kswatch.ci.change_points import change_points, levels

QUICK = settings(max_examples=25, deadline=None)


@st.composite
def stepped_series(draw) -> np.ndarray:
    """Noise around up to four levels that are 8 units apart at least, of 20 points each at least."""
    lengths = draw(st.lists(st.integers(20, 60), min_size=1, max_size=4))
    heights = draw(st.permutations([0.0, 8.0, 16.0, 24.0]))
    seed = draw(st.integers(0, 2**16))
    middle = np.concatenate([np.full(length, heights[index]) for index, length in enumerate(lengths)])
    return middle + np.random.default_rng(seed).standard_normal(len(middle))


@QUICK
@given(stepped_series(), st.integers(-60, 60), st.integers(-20, 20))
def test_neither_unit_nor_offset_matter(series, exponent, offset):
    """A power of two and a whole offset change no digit that counts."""
    series = np.round(series, 3)
    scaled = (series + 1000 * offset) * 2.0**exponent
    assert change_points(scaled) == change_points(series)


@QUICK
@given(stepped_series())
def test_a_series_upside_down_changes_at_the_same_places(series):
    assert change_points(-series) == change_points(series)


@QUICK
@given(stepped_series())
def test_a_series_read_backwards_changes_at_the_same_places(series):
    forwards = change_points(series)
    backwards = [len(series) - index for index in reversed(change_points(series[::-1]))]
    assert len(forwards) == len(backwards)
    assert all(abs(one - other) <= 2 for one, other in zip(forwards, backwards, strict=True))


@QUICK
@given(st.floats(allow_nan=False, allow_infinity=False, width=32), st.integers(0, 500))
def test_a_constant_has_no_change(value, points):
    assert change_points([value] * points) == []


@QUICK
@given(stepped_series(), st.randoms(use_true_random=False))
def test_the_order_of_noise_is_no_change(series, random):
    noise = (series - 8 * np.round(series / 8)).tolist()
    random.shuffle(noise)
    assert change_points(noise) == []


@QUICK
@given(st.lists(st.floats(width=32), max_size=80))
def test_any_series_gives_ascending_indices_within_it(series):
    found = change_points(series)
    assert found == sorted(set(found))
    assert all(0 < index < len(series) for index in found)


@QUICK
@given(stepped_series(), st.data())
def test_levels_cover_the_series_and_steps_lead_from_one_to_the_next(series, data):
    skipped = data.draw(st.lists(st.booleans(), min_size=len(series), max_size=len(series)))
    found = levels(series, quarantined=skipped)
    assert [one.stop for one in found[:-1]] == [one.start for one in found[1:]]
    assert sum(one.points for one in found) == len(series) - sum(skipped)
    for before, after in zip(found, found[1:], strict=False):
        assert after.step == after.median - before.median
        assert after.low <= after.median <= after.high
