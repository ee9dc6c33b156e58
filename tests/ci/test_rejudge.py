from __future__ import annotations

from kswatch.ci.rejudge import RejudgedRun, format_rejudged


def test_without_measured_nights_the_message_names_the_device_option():
    assert "--device" in format_rejudged([])


def test_changed_verdicts_are_listed_by_night_and_counted():
    found = [
        RejudgedRun(7, "cpu", 90, {}),
        RejudgedRun(8, "cpu", 90, {"same -> slower": 3, "slower -> same": 1}),
    ]
    assert format_rejudged(found).splitlines() == [
        "run 8 on cpu: 3 same -> slower, 1 slower -> same",
        "2 nights judged again, 1 of them with the same verdicts; 4 of 180 verdicts changed, "
        "no alert changed",
    ]
