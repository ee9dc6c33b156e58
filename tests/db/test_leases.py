from __future__ import annotations

import pytest

from db.leases import acquire, heartbeat, release
from kswatch_errors import MeasurementError

DEVICE = "GPU-11112222"


def test_one_holder_at_a_time(store):
    acquire(store, DEVICE, "first")
    with pytest.raises(MeasurementError, match="is being measured by first"):
        acquire(store, DEVICE, "second")
    acquire(store, "cpu", "second")


def test_a_lease_that_was_given_back_can_be_taken_with_a_higher_number(store):
    first = acquire(store, DEVICE, "first")
    release(store, first)
    assert acquire(store, DEVICE, "second").fencing == first.fencing + 1


def test_a_holder_that_fell_silent_loses_the_lease_for_good(store):
    silent = acquire(store, DEVICE, "first", seconds=0)
    second = acquire(store, DEVICE, "second")
    with pytest.raises(MeasurementError, match="was lost .no heartbeat in time.; this run stops here"):
        heartbeat(store, silent)
    release(store, silent)
    heartbeat(store, second)
