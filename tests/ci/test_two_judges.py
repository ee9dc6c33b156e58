from __future__ import annotations

import subprocess
import sys

from db.queries import alert_events, alerts, verdicts

JUDGE = """
import sys
from datetime import UTC, datetime
from ci.check import judge
from ci.config import CiConfig
from db.store import Store
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


def test_two_processes_that_judge_the_same_night_open_one_alert(nights, store):
    nights.quiet(6)
    nights.night({"fused": 1.2, "bmm": 0.8})
    assert judged_by_two(str(store.engine.url)) == [1, 1]
    found = {(one.implementation, one.verdict): one for one in alerts(store)}
    assert len(found) == len(alerts(store)) == 2
    assert found["fused", "slower"].state == "open"
    assert found["bmm", "faster"].state == "accepted"
    assert [one.action for one in alert_events(store, found["fused", "slower"].id)] == ["opened"]
    assert {row.alert_id for row in verdicts(store, 7)} <= {None, *(one.id for one in alerts(store))}
