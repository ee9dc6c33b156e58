"""The log of the kernel's versions says what the model says today."""

from __future__ import annotations

from pathlib import Path

import pytest

from kswatch.kernels.fused.cuda_checks import ladder

LOG = Path(ladder.__file__).with_name("KERNEL_LOG.md")


def test_the_log_has_the_table_that_its_command_prints():
    assert ladder.table() in LOG.read_text(), (
        "run `python -m kswatch.kernels.fused.cuda_checks.ladder` and paste the table"
    )


@pytest.mark.parametrize("problem", ladder.PROBLEMS, ids=str)
def test_no_version_is_predicted_slower_than_the_one_before(problem):
    best = [ladder.predicted_ms(problem, tile) for tile in ladder.best_tiles(problem).values()]
    assert best == sorted(best, reverse=True)
    assert best[-1] >= ladder.floor_ms(problem)
