"""The limits of kswatch.toml hold alike on the pages, in the static report and in `kswatch check`."""

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from sqlalchemy import update
from streamlit.testing.v1 import AppTest
from typer.testing import CliRunner

from kswatch.cli import app
from kswatch.composition import compose
from kswatch.dashboard.config import DashboardConfig
from kswatch.dashboard.data.server_settings import server_environment
from kswatch.db.alerts.lifecycle import LIVE, MISSING_DATA
from kswatch.db.config import DbConfig
from kswatch.db.queries import basic as queries
from kswatch.db.schema.tables import Canary
from kswatch.db.store import Store
from tests.dashboard.browser_rig import html_of
from tests.dashboard.simulated_store import Plan, fill

NIGHTS = 6


def fill_until(url: str, newest: datetime) -> int:
    """Measured nights of one device up to `newest`, with a regression in the last; returns the last run."""
    plan = Plan(
        devices=("sim-a100",),
        nights=NIGHTS,
        patterns=1,
        energy=False,
        regression_night=NIGHTS - 1,
        first_night=newest - timedelta(days=NIGHTS - 1),
        is_measured=True,
    )
    return fill(Store.open(url), plan)[-1]


@pytest.fixture
def configured(
    own_url: str, opened: Callable[..., AppTest], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> Callable[[str], tuple[str, str]]:
    """Sets a line of [ci], runs `check`; returns the texts of the overview page and of the static report."""

    def run(line: str) -> tuple[str, str]:
        config, report = tmp_path / "kswatch.toml", tmp_path / "night.html"
        config.write_text(f"[ci]\n{line}\n")
        monkeypatch.setenv("KSWATCH_DATABASE_URL", own_url)
        for command in (["check"], ["report", "--html", str(report)]):
            done = CliRunner().invoke(app, ["--config", str(config), *command])
            assert done.exit_code in (0, 1), done.output
        services = compose(config)
        limits = next(table for table in services.tables if isinstance(table, DbConfig))
        judged, timed = services.judgement_limits, services.timing_limits
        environment = server_environment(own_url, DashboardConfig(), limits, judged, timed)
        for name, value in environment.items():
            monkeypatch.setenv(name, value)
        page = opened("overview", own_url)
        elements = [*page.subheader, *page.markdown, *page.caption]
        texts = [*(str(element.value) for element in elements), *(one.label for one in page.expander)]
        return "\n".join((*texts, html_of(page))), report.read_text()

    return run


@pytest.mark.parametrize(
    ("age_hours", "line", "is_overdue"),
    [
        (48, "", False),
        (61, "", True),
        (48, "silent_hours = 40", True),
        (61, "silent_hours = 72", False),
    ],
)
def test_a_device_is_overdue_everywhere_at_the_same_age(
    own_url: str, configured: Callable[[str], tuple[str, str]], age_hours: int, line: str, is_overdue: bool
) -> None:
    fill_until(own_url, datetime.now(UTC) - timedelta(hours=age_hours))
    page, report = configured(line)
    alerts = queries.alerts(Store.open(own_url), states=LIVE)
    assert (MISSING_DATA in {alert.cause for alert in alerts}) == is_overdue
    assert ("1 source stopped reporting" in page) == ("not reporting" in page) == is_overdue
    assert ("not reporting" in report) == ("Missing data" in report) == is_overdue


@pytest.mark.parametrize(
    ("line", "has_drifted"), [("", False), ("canary_floor = 0.03", True), ("canary_floor = 0.2", False)]
)
def test_a_machine_has_drifted_everywhere_at_the_same_change_of_its_canaries(
    own_url: str, configured: Callable[[str], tuple[str, str]], line: str, has_drifted: bool
) -> None:
    newest = fill_until(own_url, datetime.now(UTC) - timedelta(hours=1))
    store = Store.open(own_url)
    slower = {"rate": Canary.rate * 0.96, "latency_ms": Canary.latency_ms / 0.96}
    with store.writing() as session:
        session.execute(update(Canary).where(Canary.run_id == newest).values(slower))
    page, report = configured(line)
    causes = {row.cause for row in queries.verdicts(store, newest) if row.verdict == "slower"}
    assert ("canary" in causes) == has_drifted
    for shown in (page, report):
        assert ("machine drifted" in shown) == ("canaries moved on Simulated A100" in shown) == has_drifted
        assert ("canaries within" in shown) != has_drifted
