from __future__ import annotations

import json
from contextlib import closing

import pytest
from typer.testing import CliRunner

from kswatch.ci.cli.simulate import app
from kswatch.ci.config import CiConfig
from kswatch.ci.simulation.nights import Plant
from kswatch.db.queries.basic import alerts
from kswatch.db.store import Store
from kswatch.errors import UsageError


def simulate(tmp_path, *arguments: str) -> str:
    obj = {"config": {"ci": CiConfig()}}
    store = str(tmp_path / "simulated.db")
    result = CliRunner().invoke(app, [*arguments, "--store", store], obj=obj)
    if result.exception and not isinstance(result.exception, SystemExit):
        raise result.exception
    return result.stdout


def report_of(tmp_path, *arguments: str) -> dict:
    return json.loads(simulate(tmp_path, *arguments, "--json"))


def test_a_planted_regression_is_one_alert_explained_that_resolves_itself_after_the_fix(tmp_path):
    told = simulate(tmp_path, "--nights", "13", "--plant", "fused:+5%@7-8").splitlines()
    assert told[0].startswith("night 7: alert 1 opened, confirmed, open: fused slower: 16 problems")
    assert told[1].startswith("night 11: alert 1 resolved, confirmed, resolved: fused slower")
    assert told[2].startswith("alert 1: put down to code; first bad run 8, last good run 7; revisions ")
    assert told[2].endswith("machine code changed in 16 cells")
    assert told[3] == "1 confirmed alert, 0 provisional (simulated)"
    with closing(Store.open(f"sqlite:///{tmp_path / 'simulated.db'}")) as store:
        (alert,) = alerts(store)
    assert (alert.implementation, alert.state) == ("fused", "resolved")


@pytest.mark.slow
def test_sixty_nights_with_two_percent_on_one_precision_are_one_confirmed_alert(tmp_path):
    report = report_of(tmp_path, "--nights", "60", "--plant", "fused:+2%@30-45:bf16")
    confirmed = [one for one in report["alerts"] if one["confirmed"]]
    assert [(one["implementation"], one["state"]) for one in confirmed] == [("fused", "resolved")]
    assert report["origin"] == "simulated"


def test_a_store_that_exists_is_left_alone(tmp_path):
    (tmp_path / "simulated.db").write_text("mine")
    with pytest.raises(UsageError, match="exists"):
        simulate(tmp_path)
    assert (tmp_path / "simulated.db").read_text() == "mine"


@pytest.mark.parametrize("text", ["fused", "fused:5", "nobody:+5%@3", "fused:+5%@3-4:fp64"])
def test_what_plants_nothing_is_refused(text):
    with pytest.raises(UsageError):
        Plant.parse(text)
