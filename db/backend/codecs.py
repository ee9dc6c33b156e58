"""Encoding of raw samples and series tails as bytes."""

from __future__ import annotations

import struct
import zlib
from array import array
from collections.abc import Iterable, Sequence
from typing import NamedTuple

from kswatch.db.decoding import DamagedValueError

TAIL_LENGTH = 400
"""Most points of a tail: more than a year of nights."""
RECENT_POINTS = 100
"""Points stored apart from the older ones, since every night's check reads them."""

_POINT = struct.Struct("<Ifff")
_NAN = float("nan")


class Point(NamedTuple):
    """One run's value in a series, with its interval where known."""

    run_id: int
    value: float
    low: float | None = None
    high: float | None = None


def pack_samples(samples_ms: Sequence[float]) -> bytes:
    """Samples as zlib over little-endian float32: 6e-8 of a value is far below any timer's tick."""
    return zlib.compress(struct.pack(f"<{len(samples_ms)}f", *samples_ms), level=1)


def unpack_samples(packed: bytes) -> array[float]:
    """The samples in ms, in the order of their measurement.

    Raises:
        DamagedValueError: they cannot be unpacked.
    """
    try:
        raw = zlib.decompress(packed)
        return array("f", struct.unpack(f"<{len(raw) // 4}f", raw))
    except (zlib.error, struct.error, TypeError):
        raise DamagedValueError("samples", packed) from None


def pack_points(points: Iterable[Point]) -> bytes:
    """The newest 400 points as one tail, the oldest first; of several points of one run the last counts."""
    by_run = {point.run_id: point for point in points}
    newest = [by_run[run_id] for run_id in sorted(by_run)[-TAIL_LENGTH:]]
    return b"".join(map(_packed, newest))


def _packed(point: Point) -> bytes:
    run_id, value, low, high = point
    return _POINT.pack(run_id, value, _NAN if low is None else low, _NAN if high is None else high)


def unpack_points(packed: bytes) -> list[Point]:
    """The points of a tail, oldest first.

    Raises:
        DamagedValueError: the tail ends within a point.
    """
    try:
        return [
            Point(run_id, value, _known(low), _known(high))
            for run_id, value, low, high in _POINT.iter_unpack(packed)
        ]
    except (struct.error, TypeError):
        raise DamagedValueError("a tail", packed) from None


def add_point(packed: bytes, point: Point) -> bytes:
    """The tail with this point added; a point of the same run is replaced."""
    if point.run_id > newest_run_id(packed):  # the usual case, without unpacking
        return (packed + _packed(point))[-TAIL_LENGTH * _POINT.size :]
    return pack_points([*unpack_points(remove_run(packed, point.run_id)), point])


def remove_run(packed: bytes, run_id: int) -> bytes:
    """The tail without this run's point, if it has one."""
    if run_id > newest_run_id(packed):
        return packed
    return pack_points(point for point in unpack_points(packed) if point.run_id != run_id)


def split_tail(packed: bytes) -> tuple[bytes, bytes]:
    """A tail as it is stored: its recent points and the older ones."""
    cut = max(len(packed) - RECENT_POINTS * _POINT.size, 0)
    return packed[cut:], packed[:cut]


def join_tail(recent: bytes, older: bytes | None) -> bytes:
    """The whole tail from its two stored parts."""
    return older + recent if older else recent


def newest_run_id(packed: bytes) -> int:
    """The run id of a tail's last point; 0, which no run has, for a tail without points."""
    return _POINT.unpack_from(packed, len(packed) - _POINT.size)[0] if packed else 0


def _known(number: float) -> float | None:
    return None if number != number else number
