from __future__ import annotations

import re
from xml.etree import ElementTree

import numpy as np

from kswatch.ci.simulation.labelled_series import LabelledSeries
from kswatch.ci.simulation.replay import ReplayedAlert, ReplayedSeries
from tests.benchmarks.simulation.gallery import Picture, chosen, page


def stepped(name: str = "steps <1>") -> ReplayedSeries:
    noise = np.random.default_rng(0).standard_normal(80) / 100
    values = tuple(np.repeat([1.0, 2.0], 40) + noise)
    alerts = (
        ReplayedAlert(40, 40, 42, None, "slower", "code", 1.0),
        ReplayedAlert(60, 60, 63, 70, "slower", "code", 0.1),
        ReplayedAlert(70, 70, None, None, "slower", "code", 0.1),
    )
    return ReplayedSeries(LabelledSeries(name, values, (40,)), alerts)


def test_a_picture_holds_each_night_each_mark_and_each_confirmed_alert():
    picture = ElementTree.fromstring(Picture(stepped()).svg())
    classes = [one.get("class") for one in picture]
    assert classes.count("point") == 80
    assert classes.count("level") == 2
    assert (classes.count("mark"), classes.count("true"), classes.count("false")) == (1, 1, 1)


def test_a_page_needs_no_network_and_no_script_and_escapes_names():
    text = page([stepped()])
    assert "steps &lt;1&gt;" in text and "<1>" not in text
    assert not re.search(r"https?:|<script|<link|@import|url\(", text)
    assert "CC-BY-4.0" in text


def test_the_chosen_series_are_spread_over_all():
    series = [LabelledSeries(str(place), (1.0, 2.0), ()) for place in range(100)]
    names = [one.name for one in chosen(series, 20)]
    assert len(names) == 20 and (names[0], names[-1]) == ("0", "99")
