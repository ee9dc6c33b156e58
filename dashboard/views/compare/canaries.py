"""The canaries of two runs: whether the machine itself was the same, before anything else is compared."""

from __future__ import annotations

from kswatch.dashboard.components.panels import note
from kswatch.dashboard.data import queries as cached_queries
from kswatch.dashboard.data.server_settings import judgement_limits
from kswatch.dashboard.formatting.labels import percent
from kswatch.dashboard.views.compare.selection import RunPair


def show_canaries(pair: RunPair) -> None:
    """Draw the change of each canary's median rate in one line; nothing for two devices."""
    if pair.before.device_id != pair.after.device_id:
        return
    readings = cached_queries.canaries((pair.before.id, pair.after.id))
    rates = readings.groupby(["canary", "run_id"])["rate"].median().unstack()
    if not {pair.before.id, pair.after.id} <= set(rates.columns):
        note("One of the runs has no canaries: the machine itself may have changed.")
        return
    changes = (rates[pair.after.id] / rates[pair.before.id] - 1).dropna()
    if changes.empty:
        note("The runs have no common canary: the machine itself may have changed.")
        return
    listed = ", ".join(f"{name} {percent(change)}" for name, change in changes.items())
    moved = (changes.abs() > judgement_limits().canary_floor).any()
    same = "the machine itself changed" if moved else "the machine is the same"
    note(f"Canaries: {listed}; {same}.")
