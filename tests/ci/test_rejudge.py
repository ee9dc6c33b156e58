from __future__ import annotations

from kswatch.ci.rejudge import Rejudged, rejudged_text


def test_a_store_without_measured_nights_says_how_simulated_ones_are_judged():
    assert "--device" in rejudged_text([])


def test_what_changed_is_told_by_night_and_counted():
    found = [Rejudged(7, "cpu", 90, {}), Rejudged(8, "cpu", 90, {"same -> slower": 3, "slower -> same": 1})]
    assert rejudged_text(found).splitlines() == [
        "run 8 on cpu: 3 same -> slower, 1 slower -> same",
        "2 nights judged anew, 1 of them with the same verdicts; 4 of 180 verdicts changed, no alert moved",
    ]
