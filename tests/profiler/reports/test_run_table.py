"""The tables of a run in the terminal, and its row of a night."""

from __future__ import annotations

import io

from rich.console import Console

from kswatch.db.json_text import to_json_text
from kswatch.db.records import RIVALS
from kswatch.profiler.diagnostics import Check
from kswatch.profiler.reports.diagnostics_table import print_checks
from kswatch.profiler.reports.nightly_summary import night_rows, print_night
from kswatch.profiler.reports.run_table import print_run
from kswatch.profiler.runs.session import run_suite
from kswatch.profiler.service.nightly import DeviceNight

FILTERS = {"pattern": ["2,8,8,2"]}


def printed(store, run_id: int) -> str:
    out = Console(file=io.StringIO(), width=200)
    print_run(store, run_id, out)
    return out.file.getvalue()


def test_the_tables_are_against_the_expert_set_where_rivals_were_measured(store, scripted):
    scripted.status_of = {name: "unsupported" for name in RIVALS if name != "triton"}
    scripted.reason_of = dict.fromkeys(scripted.status_of, "not installed: pip install [/x]")
    result = run_suite(
        store, "ad_hoc", filters=FILTERS | {"baselines": ["expert"]}, context=scripted.context()
    )
    text = printed(store, result.run)
    assert "latency: fused against the fastest baseline of expert" in text
    assert "rivals there: triton; not there: cutensor (not installed)" in " ".join(text.split())


def test_the_tables_are_against_stock_torch_without_rivals(store, scripted):
    text = printed(store, run_suite(store, "ad_hoc", filters=FILTERS, context=scripted.context()).run)
    assert "fastest baseline of all" in text and "rivals" not in text


def test_a_nights_row_holds_its_headline(store, scripted):
    run = run_suite(
        store, "smoke", filters={"pattern": ["6,64,64,1"]}, kind="nightly", context=scripted.context()
    )
    (row,) = night_rows(store, [DeviceNight("cpu", "smoke", run)])
    assert (row["headline"].baseline_set, row["headline"].run) == ("all", run.run)
    assert '"rivals_missing"' in to_json_text([row])
    (row,) = night_rows(store, [DeviceNight("cuda", "smoke", error="no such device")])
    assert row["headline"] is None


def test_reasons_and_messages_keep_their_brackets(store, scripted, capsys):
    scripted.status_of = dict.fromkeys(RIVALS, "unsupported")
    scripted.reason_of = dict.fromkeys(RIVALS, "not installed: pip install 'kswatch[rivals]'")
    filters = FILTERS | {"baselines": ["expert"]}
    run = run_suite(store, "ad_hoc", filters=filters, context=scripted.context())
    assert "pip install 'kswatch[rivals]'" in " ".join(printed(store, run.run).split())
    print_night(store, DeviceNight("cuda", "smoke", error="install kswatch[gpu]"))
    print_checks([Check("driver", False, "none [/x]", "install 'kswatch[gpu]'")])
    shown = capsys.readouterr().out
    assert "install kswatch[gpu]" in shown and "none [/x]" in shown and "install 'kswatch[gpu]'" in shown
