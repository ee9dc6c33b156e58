"""The runs on real GPUs that the project ships, as exports in `db/recorded`."""

from __future__ import annotations

from pathlib import Path

FOLDER = Path(__file__).parents[1] / "recorded"
FORMS = (".jsonl", ".jsonl.gz")
NO_RECORDED_RUNS = "kswatch is shipped with no recorded run: none was measured on a real GPU yet"


def recorded_files() -> list[Path]:
    """The exports in the folder, sorted by name; empty where none was recorded."""
    return sorted(path for path in FOLDER.glob("*") if path.name.endswith(FORMS))
