from __future__ import annotations

import pytest

from kswatch.ci.config import CiConfig
from kswatch.db.store import Store
from tests.ci.nights import START
from tests.ci.shared_nights import Shared, SharedNights


@pytest.fixture
def figure(record_property):
    """Takes lines that pytest prints at its end, whatever the outcome."""
    return lambda line: record_property("figure", line)


@pytest.fixture(scope="session")
def shared(tmp_path_factory) -> Shared:
    """Stores that several tests begin with."""
    return Shared(tmp_path_factory.mktemp("shared"))


@pytest.fixture
def store(tmp_path, shared):
    opened = Store.open(f"sqlite:///{shared.empty(tmp_path / 'kswatch.db')}")
    yield opened
    opened.close()


@pytest.fixture
def nights(store, shared) -> SharedNights:
    return SharedNights(store, shared=shared)


@pytest.fixture
def judge_newest(store):
    """Judges the newest night of each device and gives the one judgement."""
    from kswatch.ci.check import judge

    def judged(**options):
        found = judge(store, options.pop("run_id", None), CiConfig(), now=START, **options)
        return found.judgements[0]

    return judged
