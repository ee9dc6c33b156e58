from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from kswatch.db.backend.codecs import (
    RECENT_POINTS,
    TAIL_LENGTH,
    Point,
    in_one,
    in_two,
    newest_run_id,
    pack_points,
    pack_samples,
    unpack_points,
    unpack_samples,
    with_point,
    without_run,
)

single = st.floats(width=32, allow_nan=False, allow_infinity=False)
points = st.builds(Point, st.integers(1, 2**32 - 1), single, st.none() | single, st.none() | single)


@given(st.lists(single))
def test_samples_come_back_as_they_were(samples):
    assert list(unpack_samples(pack_samples(samples))) == samples


@given(st.lists(points, unique_by=lambda point: point.run_id, max_size=20))
def test_a_tail_grown_point_by_point_is_the_tail_packed_at_once(some):
    grown = b""
    for point in some:
        grown = with_point(grown, point)
    assert grown == pack_points(some)
    assert unpack_points(grown) == sorted(some)


def test_a_tail_keeps_the_newest_points():
    tail = b""
    for run_id in range(1, TAIL_LENGTH + 11):
        tail = with_point(tail, Point(run_id, float(run_id)))
    assert [point.run_id for point in unpack_points(tail)] == list(range(11, TAIL_LENGTH + 11))


@given(st.binary(max_size=2 * 16 * RECENT_POINTS))
def test_a_tail_in_two_is_the_tail_with_no_more_than_the_recent_points_first(packed):
    recent, older = in_two(packed)
    assert in_one(recent, older) == packed
    assert len(recent) == min(len(packed), 16 * RECENT_POINTS)


def test_a_run_has_one_point_in_a_tail_the_last_written():
    tail = pack_points([Point(1, 1.0), Point(2, 2.0), Point(3, 3.0)])
    assert unpack_points(with_point(tail, Point(2, 9.0)))[1] == Point(2, 9.0)
    assert unpack_points(without_run(tail, 2)) == [Point(1, 1.0), Point(3, 3.0)]


def test_the_newest_run_of_an_empty_tail_is_none_that_exists():
    assert newest_run_id(b"") == 0
