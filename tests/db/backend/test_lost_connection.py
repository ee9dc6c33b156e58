"""Who is cut off in the middle of a transaction on PostgreSQL holds nobody up for long."""

import pytest
from sqlalchemy import text

from kswatch.db.backend.engine import open_engine


@pytest.mark.parametrize("backend", ["postgresql"], indirect=True)
def test_an_idle_transaction_loses_its_lock(url):
    option = "options=-c%20idle_in_transaction_session_timeout%3D300ms"
    silent = open_engine(f"{url}{'&' if '?' in url else '?'}{option}")
    other = open_engine(url)
    lock = text("LOCK TABLE lease IN ACCESS EXCLUSIVE MODE")
    with silent.connect() as stuck:
        stuck.execute(lock)
        with other.begin() as connection:
            connection.execute(lock)  # waits until the silent one is cut off
        with pytest.raises(Exception, match="idle-in-transaction"):
            stuck.execute(lock)
    silent.dispose()
    other.dispose()


@pytest.mark.parametrize("backend", ["postgresql"], indirect=True)
def test_an_idle_transaction_is_ended_after_two_minutes(url):
    engine = open_engine(url)
    with engine.connect() as connection:
        timeout = connection.execute(text("SHOW idle_in_transaction_session_timeout")).scalar_one()
        assert timeout == "2min"
        assert connection.execute(text("SHOW timezone")).scalar_one().upper() == "UTC"
    engine.dispose()
