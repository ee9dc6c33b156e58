from kswatch.dashboard.data.canary_shares import canary_shares


def nights(*rates: float) -> list[tuple[int, str, float]]:
    return [(run, "copy fp32", rate) for run, rate in enumerate(rates, 1)]


def test_a_canary_that_fell_is_compared_with_the_nights_before_it() -> None:
    (fallen,) = canary_shares(nights(42.0, 41.0, 43.0, 7.0), newest=4)
    assert fallen.median == 7.0 / 42.0
    assert fallen.text == "copy fp32 16.7 %"


def test_three_earlier_nights_are_needed() -> None:
    assert canary_shares(nights(42.0, 42.0, 7.0), newest=3) == []
    assert canary_shares(nights(42.0, 42.0, 42.0), newest=9) == []


def test_the_spread_within_the_run_is_named() -> None:
    readings = [*nights(100.0, 100.0, 100.0), (4, "copy fp32", 98.0), (4, "copy fp32", 60.0)]
    (share,) = canary_shares(readings, newest=4)
    assert (share.lowest, share.median, share.highest) == (0.60, 0.79, 0.98)
    assert share.text == "copy fp32 79.0 % (60.0 % to 98.0 % within the run)"


def test_a_night_with_many_readings_counts_once() -> None:
    readings = [(1, "gemm", 50.0)] * 9 + [(2, "gemm", 100.0), (3, "gemm", 100.0), (4, "gemm", 100.0)]
    assert [share.median for share in canary_shares(readings, newest=4)] == [1.0]
