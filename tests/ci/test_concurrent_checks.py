from __future__ import annotations

import subprocess
import sys
import threading
from contextlib import closing

import pytest

from kswatch.ci.check import judge
from kswatch.ci.config import CiConfig
from kswatch.db.queries.basic import alert_events, alerts, verdicts
from kswatch.db.store import Store
from tests.ci.nights import START

JUDGE = """
import sys
from datetime import UTC, datetime
from kswatch.ci.check import judge
from kswatch.ci.config import CiConfig
from kswatch.db.store import Store
store = Store.open(sys.argv[1])
print("ready", flush=True)
sys.stdin.readline()
print(judge(store, None, CiConfig(), now=datetime.now(UTC)).exit_code)
"""


def judged_by_two(url: str) -> list[int]:
    """The exit codes of two processes that judge the newest night of one store at the same time."""
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True}
    judges = [subprocess.Popen([sys.executable, "-c", JUDGE, url], **pipes) for _ in range(2)]
    for one in judges:
        assert one.stdout.readline() == "ready\n"
    for one in judges:
        one.stdin.write("go\n")
        one.stdin.flush()
    return [int(one.communicate(timeout=120)[0]) for one in judges]


def judged_by_two_threads(url: str) -> list[int]:
    """The same with connections of their own in one process, which takes a tenth of the time."""
    together, codes = threading.Barrier(2), []

    def judge_it() -> None:
        with closing(Store.open(url)) as store:
            together.wait()
            codes.append(judge(store, None, CiConfig(), now=START).exit_code)

    threads = [threading.Thread(target=judge_it) for _ in range(2)]
    for one in threads:
        one.start()
    for one in threads:
        one.join()
    return codes


@pytest.mark.parametrize(
    "judged", [judged_by_two_threads, pytest.param(judged_by_two, marks=pytest.mark.slow)]
)
def test_two_concurrent_judges_of_a_night_open_one_alert(nights, store, judged):
    nights.quiet(6)
    nights.night({"fused": 1.2, "bmm": 0.8})
    assert judged(str(store.engine.url)) == [1, 1]
    found = {(one.implementation, one.verdict): one for one in alerts(store)}
    assert len(found) == len(alerts(store)) == 2
    assert found["fused", "slower"].state == "open"
    assert found["bmm", "faster"].state == "accepted"
    assert [one.action for one in alert_events(store, found["fused", "slower"].id)] == ["opened"]
    assert {row.alert_id for row in verdicts(store, 7)} <= {None, *(one.id for one in alerts(store))}
