"""The offer of the runs that kswatch is shipped with, to a store without runs."""

from __future__ import annotations

import io
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import cast

import pytest
import typer
from streamlit.testing.v1 import AppTest

from kswatch.dashboard.cli import offer_recorded_runs
from kswatch.db.interchange import recorded_runs
from kswatch.db.interchange.importing import export_runs
from kswatch.db.queries.runs import runs
from kswatch.db.store import Store
from tests.db.sample_records import GPU, night
from tests.kswatch.sample_services import sample_services

Offered = Callable[..., str]


@pytest.fixture
def recorded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder of the shipped runs, with one of a GPU."""
    theirs = Store.open(f"sqlite:///{tmp_path / 'theirs.db'}")
    night(theirs, {"fused": 1.0, "bmm": 2.0}, device=GPU)
    path = tmp_path / "recorded" / "night.jsonl"
    path.parent.mkdir()
    export_runs(theirs, path, "jsonl")
    theirs.close()
    monkeypatch.setattr(recorded_runs, "FOLDER", path.parent)
    return path


@pytest.fixture
def store(own_url: str) -> Iterator[Store]:
    opened = Store.open(own_url)
    yield opened
    opened.close()


class Terminal(io.StringIO):
    """What is typed at a terminal."""

    def isatty(self) -> bool:
        return True


@pytest.fixture
def offered(store: Store, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Offered:
    """`offered(stdin)` offers the runs, and gives what is written."""

    class Context:
        obj = sample_services("", predict=lambda store, run_id: None)

    def offer(stdin: io.StringIO) -> str:
        monkeypatch.setattr(sys, "stdin", stdin)
        offer_recorded_runs(cast(typer.Context, Context), store)
        return "".join(capsys.readouterr())

    return offer


@pytest.mark.parametrize(("answer", "origins"), [("\n", ["imported"]), ("y\n", ["imported"]), ("n\n", [])])
def test_an_empty_store_is_offered_the_recorded_runs(
    recorded: Path, store: Store, offered: Offered, answer: str, origins: list[str]
) -> None:
    assert "Import the runs on real GPUs" in offered(Terminal(answer))
    assert [run.origin for run in runs(store)] == origins


def test_without_a_terminal_there_is_a_hint_and_no_question(
    recorded: Path, store: Store, offered: Offered
) -> None:
    assert "`kswatch import --recorded`" in offered(io.StringIO("y\n"))
    assert runs(store) == []


def test_a_store_with_a_run_is_offered_nothing(recorded: Path, store: Store, offered: Offered) -> None:
    night(store, {"fused": 1.0})
    assert offered(Terminal("y\n")) == ""


def test_where_no_run_is_recorded_nothing_is_offered(
    recorded: Path, offered: Offered, opened: Callable[..., AppTest], empty_url: str
) -> None:
    assert "`kswatch import --recorded`" in hints(opened("overview", empty_url))
    recorded.unlink()
    assert offered(Terminal("y\n")) == ""
    assert "--recorded" not in hints(opened("overview", empty_url))


def test_imported_runs_show_their_origin(
    recorded: Path, own_url: str, offered: Offered, opened: Callable[..., AppTest]
) -> None:
    offered(Terminal("y\n"))
    page = opened("overview", own_url)
    assert "all data are imported or simulated" in page.subheader[0].value
    assert not page.exception


def hints(page: AppTest) -> str:
    return " ".join(caption.value for caption in page.caption)
