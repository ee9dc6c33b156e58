"""The CSV form of the published end-to-end times of GPT-2 medium.

Columns: model, number_parameters, device_name, {up,down}-pattern{1,2}, batch-size, seq-length, precision,
algo, mean, median, iqr (s). Of two patterns the first is the left factor; ours are listed right-most first.
A row without patterns is the dense model, as its authors wrote it.
"""

from __future__ import annotations

import re
from collections.abc import Mapping

from kswatch.db.decoding import DecodeError
from kswatch.db.interchange.published_csv import (
    IMPLEMENTATION_OF_ALGO,
    KNOWN_ALGOS,
    PublishedRow,
    device_of,
    integer,
    positive,
)
from kswatch.db.records import (
    DENSE_AS_PUBLISHED,
    PRECISIONS,
    CounterReading,
    MeasurementRecord,
    ProblemKey,
    cell_name,
)

COLUMNS = frozenset({"model", "number_parameters", "device_name", "down-pattern1", "down-pattern2"})
COLUMNS |= {"batch-size", "seq-length", "precision", "algo", "mean", "median", "iqr"}


def read_model_row(row: Mapping[str, str]) -> PublishedRow:
    """The measurement of one row: its median is the latency, mean and interquartile range are beside it.

    Raises:
        DecodeError: a field has a value that it cannot have.
    """
    precision = row["precision"].strip()
    if precision not in PRECISIONS:
        raise DecodeError(f"precision {precision!r} is not one of {', '.join(PRECISIONS)}")
    model = row["model"].strip().replace("-", "_")
    if not re.fullmatch(r"\w{1,60}", model):
        raise DecodeError(f"model {model!r} is not a name")
    length, batch = integer(row["seq-length"], "seq-length"), integer(row["batch-size"], "batch-size")
    record = MeasurementRecord(
        ProblemKey(1, 1, length, 1, batch, precision, "batch_first", f"{model} eager"),
        _cell(row),
        status="ok",
        mode="unknown",
        latency_ms=1e3 * positive(row["median"], "median"),
        parameters=integer(row["number_parameters"], "number_parameters"),
        counters=(
            CounterReading("mean_ms", 1e3 * positive(row["mean"], "mean"), "ms"),
            CounterReading("iqr_ms", 1e3 * positive(row["iqr"], "iqr"), "ms"),
        ),
    )
    return device_of(row), (record,)


def _cell(row: Mapping[str, str]) -> str:
    """The cell's name: the chains of the down-projections, or of the up- and the down-projections."""
    algo = row["algo"].strip()
    if algo not in KNOWN_ALGOS:
        raise DecodeError(f"algo {algo!r} is not one of {', '.join(KNOWN_ALGOS)}")
    up, down = (_chain(row, place) for place in ("up", "down"))
    chains = (up, down) if up else (down,) if down else ()
    if (algo == "dense") != (not chains):
        raise DecodeError(f"algo {algo} with {'no' if not chains else 'some'} patterns")
    if not chains:
        return DENSE_AS_PUBLISHED
    structure = " ".join(("ks", *(chain or "dense" for chain in chains)))
    return cell_name(structure, IMPLEMENTATION_OF_ALGO.get(algo, algo))


def _chain(row: Mapping[str, str], place: str) -> str:
    """The two patterns of a place, right-most first; empty where it is dense."""
    texts = [row.get(f"{place}-pattern{number}", "").strip() for number in (2, 1)]
    return ";".join(_pattern(text, place) for text in texts) if any(texts) else ""


def _pattern(text: str, place: str) -> str:
    parts = re.findall(r"[^][(),\s]+", text)
    if len(parts) != 4:
        raise DecodeError(f"{place}-pattern {text!r} is not a pattern [a, b, c, d]")
    return ",".join(str(integer(part, f"{place}-pattern")) for part in parts)
