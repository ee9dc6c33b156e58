"""Differences between the last good run and the first bad one in the cells of an alert."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Mapping
from statistics import median

from kswatch.db.queries.compiled_code import ResourceRow, counters, resources
from kswatch.db.queries.regression_inputs import CellState, cell_states
from kswatch.db.store import Store

READINGS: tuple[str, ...] = ("sm_clock_mhz", "memory_clock_mhz", "temperature_c", "power_w", "cycles")
"""Readings whose medians over the cells are compared, where both runs have them."""
RESOURCES: tuple[str, ...] = ("registers", "spill_bytes", "shared_bytes")
"""Resources of the machine code that are compared."""
_MIN_CHANGE = 0.001
"""Relative change below which two readings are equal."""


def differences(
    store: Store, good_run_id: int, bad_run_id: int, cell_ids: Collection[int]
) -> dict[str, object]:
    """Readings such as clocks and temperature, machine code with its resources, and hardware counters."""
    states = cell_states(store, (good_run_id, bad_run_id), cell_ids)
    good, bad = (
        {cell: one for (run, cell), one in states.items() if run == of} for of in (good_run_id, bad_run_id)
    )
    both = sorted(good.keys() & bad.keys())
    return {
        "readings": [found for name in READINGS if (found := _reading(name, good, bad, both))],
        "code": _code(store, good, bad, both),
        "counters": _counters(store, good_run_id, bad_run_id, both),
    }


def _reading(
    name: str, good: Mapping[int, CellState], bad: Mapping[int, CellState], cells: Collection[int]
) -> dict[str, object] | None:
    pairs = [(getattr(good[one], name), getattr(bad[one], name)) for one in cells]
    known = [(before, after) for before, after in pairs if before is not None and after is not None]
    if not known:
        return None
    return _changed(name, median(before for before, _ in known), median(after for _, after in known))


def _changed(name: str, before: float, after: float) -> dict[str, object] | None:
    if abs(after - before) <= _MIN_CHANGE * abs(before):
        return None
    return {"name": name, "before": before, "after": after}


def _code(
    store: Store, good: Mapping[int, CellState], bad: Mapping[int, CellState], cells: Collection[int]
) -> dict[str, object]:
    """The number of cells with changed machine code, and the changes of its resources."""
    hashes = [(good[one].code_hash, bad[one].code_hash) for one in cells]
    known = [(before, after) for before, after in hashes if before and after]
    changed = [pair for pair in known if pair[0] != pair[1]]
    row_of: dict[str, ResourceRow] = {}
    for row in resources(store, {code_hash for pair in changed for code_hash in pair}):
        row_of.setdefault(row.code_hash, row)
    found = []
    for before, after in dict.fromkeys(changed):
        if before not in row_of or after not in row_of:
            continue
        for name in RESOURCES:
            numbers = (getattr(row_of[before], name), getattr(row_of[after], name))
            if None not in numbers and numbers[0] != numbers[1]:
                kernel = row_of[after].kernel
                found.append({"kernel": kernel, "name": name, "before": numbers[0], "after": numbers[1]})
    return {"cells_known": len(known), "cells_changed": len(changed), "resources": found}


def _counters(
    store: Store, good_run_id: int, bad_run_id: int, cells: Collection[int]
) -> list[dict[str, object]]:
    """Counters read in both runs, summed over the cells."""
    good, bad = defaultdict[str, float](float), defaultdict[str, float](float)
    for total, run_id in ((good, good_run_id), (bad, bad_run_id)):
        for row in counters(store, run_id, cells):
            if row.value is not None:
                total[row.name] += row.value
    found = (_changed(name, good[name], bad[name]) for name in sorted(good.keys() & bad.keys()))
    return [one for one in found if one]
