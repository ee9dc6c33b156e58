"""What held a run's clocks back, counted when the run ends."""

from kswatch.db.queries import basic as queries
from kswatch.db.store import Store
from tests.db.sample_records import measured, problem, run_record


def test_a_cell_with_two_throttle_reasons_counts_for_both(store: Store) -> None:
    run_id = store.begin_run(run_record())
    reasons = {"fused": "sw_power_cap, sw_thermal_slowdown", "bmm": "sw_power_cap", "dense": None}
    cells = [measured(problem(), name, 1.0, event_reasons=why) for name, why in reasons.items()]
    store.record_problem(run_id, cells)
    assert queries.run(store, run_id).by_event is None
    store.finish_run(run_id, "finished", 1.0, 0.1)
    assert queries.run(store, run_id).by_event == {"sw_power_cap": 2, "sw_thermal_slowdown": 1}
