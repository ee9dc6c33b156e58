from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from kswatch.db.backend.codecs import (
    RECENT_POINTS,
    TAIL_LENGTH,
    Point,
    add_point,
    join_tail,
    newest_run_id,
    pack_points,
    pack_samples,
    remove_run,
    split_tail,
    unpack_points,
    unpack_samples,
)

single = st.floats(width=32, allow_nan=False, allow_infinity=False)
points = st.builds(Point, st.integers(1, 2**32 - 1), single, st.none() | single, st.none() | single)


@given(st.lists(single))
def test_unpacked_samples_equal_the_packed_ones(samples):
    assert list(unpack_samples(pack_samples(samples))) == samples


@given(st.lists(points, unique_by=lambda point: point.run_id, max_size=20))
def test_a_tail_grown_point_by_point_equals_one_packed_at_once(some):
    grown = b""
    for point in some:
        grown = add_point(grown, point)
    assert grown == pack_points(some)
    assert unpack_points(grown) == sorted(some)


def test_a_tail_keeps_the_newest_points():
    tail = b""
    for run_id in range(1, TAIL_LENGTH + 11):
        tail = add_point(tail, Point(run_id, float(run_id)))
    assert [point.run_id for point in unpack_points(tail)] == list(range(11, TAIL_LENGTH + 11))


@given(st.binary(max_size=2 * 16 * RECENT_POINTS))
def test_a_split_tail_joins_to_the_same_tail(packed):
    recent, older = split_tail(packed)
    assert join_tail(recent, older) == packed
    assert len(recent) == min(len(packed), 16 * RECENT_POINTS)


def test_a_tail_keeps_the_last_point_of_each_run():
    tail = pack_points([Point(1, 1.0), Point(2, 2.0), Point(3, 3.0)])
    assert unpack_points(add_point(tail, Point(2, 9.0)))[1] == Point(2, 9.0)
    assert unpack_points(remove_run(tail, 2)) == [Point(1, 1.0), Point(3, 3.0)]


def test_the_newest_run_of_an_empty_tail_is_zero():
    assert newest_run_id(b"") == 0
