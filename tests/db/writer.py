"""A process that records problems without end, for tests that kill it or run two of it.

python -m tests.db.writer URL [PROBLEMS]
"""

from __future__ import annotations

import sys

from kswatch.db.records import IMPLEMENTATIONS
from kswatch.db.store import Store
from tests.db.sample_records import measured, problem, run_record


def main(url: str, problems: int) -> None:
    store = Store.open(url)
    run_id = store.begin_run(run_record())
    for number in range(1, problems + 1):
        key = problem(d=number)
        store.record_problem(
            run_id, [measured(key, name, 1.0, samples_ms=(1.0,)) for name in IMPLEMENTATIONS]
        )
        print(number, flush=True)
    store.finish_run(run_id, "finished")


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]) if len(sys.argv) > 2 else 1_000_000)
