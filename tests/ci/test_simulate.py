from __future__ import annotations

import json

import pytest
from typer.testing import CliRunner

from ci.config import CiConfig
from ci.simulate_commands import app
from ci.simulated_nights import Plant
from kswatch_errors import UsageError


def simulate(tmp_path, *arguments: str) -> dict:
    obj = {"config": {"ci": CiConfig()}}
    store = str(tmp_path / "simulated.db")
    result = CliRunner().invoke(app, [*arguments, "--store", store, "--json"], obj=obj)
    if result.exception and not isinstance(result.exception, SystemExit):
        raise result.exception
    return json.loads(result.stdout)


def test_a_planted_regression_is_one_alert_that_resolves_itself_after_the_fix(tmp_path):
    report = simulate(tmp_path, "--nights", "14", "--plant", "fused:+5%@8-9")
    assert [(one["night"], one["news"]) for one in report["news"]] == [(8, "opened"), (12, "resolved")]
    (alert,) = report["alerts"]
    assert (alert["implementation"], alert["confirmed"], report["origin"]) == ("fused", True, "simulated")
    explained = alert["explanation"]
    assert explained["first_bad_run"] == explained["last_good_run"] + 1
    assert explained["differences"]["code"]["cells_changed"] == 16


@pytest.mark.slow
def test_sixty_nights_with_two_percent_on_one_precision_are_one_confirmed_alert(tmp_path):
    report = simulate(tmp_path, "--nights", "60", "--plant", "fused:+2%@30-45:bf16")
    confirmed = [one for one in report["alerts"] if one["confirmed"]]
    assert [(one["implementation"], one["state"]) for one in confirmed] == [("fused", "resolved")]


def test_a_store_that_exists_is_left_alone(tmp_path):
    (tmp_path / "simulated.db").write_text("mine")
    with pytest.raises(UsageError, match="exists"):
        simulate(tmp_path)
    assert (tmp_path / "simulated.db").read_text() == "mine"


@pytest.mark.parametrize("text", ["fused", "fused:5", "nobody:+5%@3", "fused:+5%@3-4:fp64"])
def test_what_plants_nothing_is_refused(text):
    with pytest.raises(UsageError):
        Plant.parse(text)
