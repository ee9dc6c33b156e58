"""Texts of any length and any characters: stored, shortened or refused alike on both databases."""

from __future__ import annotations

import pytest

from kswatch.db.coordination.run_events import add_run_event
from kswatch.db.queries import basic as queries
from kswatch.db.request_queue import requests
from kswatch.db.store import Store
from kswatch.errors import UsageError
from tests.db.sample_records import night

LONG = "x" * 5_000


@pytest.mark.parametrize("text", [LONG, "a\0b", "\udcff.csv", "測定 ☃"])
def test_prose_is_stored_whatever_it_holds(store: Store, text: str) -> None:
    run_id = night(store, {"fused": 1.0})
    request_id = requests.submit(store, "smoke", "cpu", asked_by="me", why=text)
    requests.finish(store, request_id, "failed", message=text)
    add_run_event(store, run_id, "note", "me", text)
    (found,) = queries.requests(store)
    (note,) = queries.run_events(store)
    shown = {"a\0b": "a\\u0000b", "\udcff.csv": "\\udcff.csv"}.get(text, text)
    assert found.why == (shown if len(shown) <= 500 else shown[:497] + "...")
    assert found.message == note.text == (shown if len(shown) <= 2_000 else shown[:1_997] + "...")


@pytest.mark.parametrize(
    ("text", "message"),
    [(LONG, "has 5,000 characters, more than"), ("a\0b", "is not UTF-8"), ("\udcff", "UTF-8")],
)
def test_a_name_that_no_column_holds_is_refused(store: Store, text: str, message: str) -> None:
    run_id = night(store, {"fused": 1.0})
    attempts = (
        lambda: requests.submit(store, "smoke", "cpu", asked_by=text),
        lambda: requests.submit(store, "smoke", text, asked_by="me"),
        lambda: requests.submit(store, text, "cpu", asked_by="me"),
        lambda: add_run_event(store, run_id, "note", text, "a note"),
    )
    for attempt in attempts:
        with pytest.raises(UsageError, match=message):
            attempt()
    assert queries.requests(store) == [] and queries.run_events(store) == []
