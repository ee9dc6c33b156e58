"""The pages on PostgreSQL: the same queries, the same refusal to write."""

import pytest
from sqlalchemy import text
from sqlalchemy.exc import InternalError
from streamlit.testing.v1 import AppTest

from kswatch.dashboard.data import store as connection
from kswatch.dashboard.navigation import PAGES
from kswatch.db.store import Store
from tests.dashboard.browser_rig import DRAWN_WITHIN_S, page_script
from tests.dashboard.data.simulated_gates import fill_gates
from tests.dashboard.simulated_store import Plan, fill


@pytest.fixture(scope="module")
def url(postgres) -> str:
    created = postgres.create()
    store = Store.open(created)
    fill(store, Plan(nights=2, patterns=2, devices=("sim-a100",), regression_night=1, layers=True))
    fill_gates(store)
    store.close()
    return created


def test_every_page_draws_and_none_can_write(url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("KSWATCH_DATABASE_URL", url)
    for entry in PAGES:
        page = AppTest.from_function(page_script, args=(entry.path,), default_timeout=DRAWN_WITHIN_S).run()
        assert not page.exception, entry.path
        assert page.subheader, entry.path
    with connection.reading_store().session() as session, pytest.raises(InternalError, match="read-only"):
        session.execute(text("DELETE FROM verdict"))
    connection.reading_store().close()
