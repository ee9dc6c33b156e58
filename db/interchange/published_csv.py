"""The CSV forms of the published measurements of the Kronecker-sparse product.

energy  pattern, batch-size, algo, bs_position, precision, device_name, nruns, median (mJ for nruns products)
time    pattern(s), batch-size, algo, bs_position, precision, device_name, median (s), times (list of s)
sample  a, b, c, d, kernel_s, bmm_s: fp32, batch_last, batch 25,088, on an A100 PCIe 40 GB
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from functools import lru_cache
from statistics import quantiles
from typing import Any

from kswatch.db.decoding import DecodeError
from kswatch.db.interchange.validation import LARGEST, check_value
from kswatch.db.records import (
    BASELINE_SETS,
    FUSED,
    LAYOUTS,
    PAPER,
    PRECISIONS,
    DeviceRecord,
    MeasurementRecord,
    ProblemKey,
)

IMPLEMENTATION_OF_ALGO: dict[str, str] = {"kernel": "fused", "monarch": "bmm"}
"""Our names of implementations that the authors name otherwise."""
KNOWN_ALGOS = (*IMPLEMENTATION_OF_ALGO, FUSED, *BASELINE_SETS[PAPER])
LAYOUT_OF_POSITION: dict[str, str] = {"bs_first": "batch_first", "bs_last": "batch_last"}
LAYOUT_OF_POSITION |= {layout: layout for layout in LAYOUTS}

SAMPLE_DEVICE = "NVIDIA A100-PCIE-40GB"
SAMPLE_BATCH = 25_088

LEAST_PJ_PER_BYTE = 30.0
"""Approximate energy of moving a byte through HBM; a reading below it comes from a failed launch."""
MOST_BYTES_PER_S = 20e12
"""More than any device memory's bandwidth; a higher rate comes from a failed launch."""

LARGEST_INTEGER = 2**31 - 1
LONGEST_MODEL = 70
"""Characters: the model is also a part of the device's UUID in the store."""


PublishedRow = tuple[str, tuple[MeasurementRecord, ...]]
"""The model of a row's device, and its measurements."""


@dataclass(frozen=True)
class Form:
    """A published form: its columns, and the reader of a row, which may raise `DecodeError`."""

    name: str
    columns: frozenset[str]
    read: Callable[[Mapping[str, str]], PublishedRow]


def _read_energy(row: Mapping[str, str]) -> PublishedRow:
    products = integer(row["nruns"], "nruns")
    energy_mj = positive(row["median"], "median") / products
    values = {"energy_mj": energy_mj, "energy_products": products, "energy_source": "published"}
    return _one_record(row, values)


def _read_time(row: Mapping[str, str]) -> PublishedRow:
    times = row.get("times", "").strip().strip("[]").replace(",", " ").split()
    samples_ms = tuple(1e3 * positive(time, "times") for time in times)
    values: dict[str, Any] = {"latency_ms": 1e3 * positive(row["median"], "median")}
    values |= {"samples_ms": samples_ms, "sample_count": len(samples_ms) or None}
    if len(samples_ms) > 1:  # one sample has no interquartile range
        quartiles = quantiles(samples_ms, n=4, method="inclusive")
        values |= {"latency_p25_ms": quartiles[0], "latency_p75_ms": quartiles[2]}
    return _one_record(row, values)


def _one_record(row: Mapping[str, str], values: Mapping[str, Any]) -> PublishedRow:
    record = MeasurementRecord(_problem(row), _implementation(row), "ok", "unknown", **values)
    return device_of(row), (_plausible(record),)


def _read_sample(row: Mapping[str, str]) -> PublishedRow:
    a, b, c, d = (integer(row[letter], letter) for letter in "abcd")
    problem = ProblemKey(a, b, c, d, batch=SAMPLE_BATCH, precision="fp32", layout="batch_last")
    records = (
        MeasurementRecord(problem, name, "ok", "unknown", latency_ms=1e3 * positive(row[column], column))
        for name, column in (("fused", "kernel_s"), ("bmm", "bmm_s"))
    )
    return SAMPLE_DEVICE, tuple(map(_plausible, records))


_SHARED = frozenset({"pattern", "batch-size", "algo", "bs_position", "precision", "device_name", "median"})

PRODUCT_FORMS: tuple[Form, ...] = (
    Form("energy", _SHARED | {"nruns"}, _read_energy),
    Form("time", _SHARED | {"times"}, _read_time),
    Form("sample", frozenset({"a", "b", "c", "d", "kernel_s", "bmm_s"}), _read_sample),
)


def _plausible(record: MeasurementRecord) -> MeasurementRecord:
    """The record, marked as `implausible` with the reason where no device can reach its figures."""
    bytes_ = record.problem.compulsory_bytes
    if record.energy_mj is not None and record.energy_mj * 1e9 < LEAST_PJ_PER_BYTE * bytes_:
        spent = f"{record.energy_mj * 1e9 / bytes_:.2g} pJ per compulsory byte"
        fault = f"{spent}; memory alone costs about {LEAST_PJ_PER_BYTE:g}"
    elif record.latency_ms is not None and record.latency_ms * 1e-3 * MOST_BYTES_PER_S < bytes_:
        rate = f"{bytes_ / record.latency_ms / 1e9:.3g} TB/s of compulsory bytes"
        fault = f"{rate}; no memory is faster than {MOST_BYTES_PER_S / 1e12:g}"
    else:
        return record
    return replace(record, status="implausible", reason=f"{fault}: a failed launch")


def _problem(row: Mapping[str, str]) -> ProblemKey:
    return _problem_of(row["pattern"], row["bs_position"], row["precision"].strip(), row["batch-size"])


@lru_cache(maxsize=8192)
def _problem_of(pattern: str, position: str, precision: str, batch: str) -> ProblemKey:
    """The problem of these texts; cached, since several rows have the same one."""
    parts = re.findall(r"[^][(),\s]+", pattern)
    if len(parts) != 4:
        raise DecodeError(f"pattern {pattern!r} is not one pattern [[a, b, c, d]]")
    a, b, c, d = (integer(part, "pattern") for part in parts)
    layout = LAYOUT_OF_POSITION.get(position.strip())
    if layout is None:
        raise DecodeError(f"bs_position {position!r} is neither bs_first nor bs_last")
    if precision not in PRECISIONS:
        raise DecodeError(f"precision {precision!r} is not one of {', '.join(PRECISIONS)}")
    return ProblemKey(a, b, c, d, integer(batch, "batch-size"), precision, layout)


def _implementation(row: Mapping[str, str]) -> str:
    algo = row["algo"].strip()
    if algo not in KNOWN_ALGOS:
        raise DecodeError(f"algo {algo!r} is not one of {', '.join(KNOWN_ALGOS)}")
    return IMPLEMENTATION_OF_ALGO.get(algo, algo)


def device_of(row: Mapping[str, str]) -> str:
    """The model of the row's device.

    Raises:
        DecodeError: it has none.
    """
    model = row["device_name"].replace("_", " ").strip()
    if not model:
        raise DecodeError("device_name is empty")
    check_value(DeviceRecord, "device_name", model)
    if len(model) > LONGEST_MODEL:
        raise DecodeError(f"device_name has {len(model)} characters, more than {LONGEST_MODEL}")
    return model


def integer(text: str, column: str) -> int:
    """The integer >= 1 in this field.

    Raises:
        DecodeError: it holds none.
    """
    number = _number(text, column)
    if not number.is_integer() or not 1 <= number <= LARGEST_INTEGER:
        raise DecodeError(f"{column} {text.strip()!r} is not an integer >= 1")
    return int(number)


def positive(text: str, column: str) -> float:
    """The number above 0 in this field.

    Raises:
        DecodeError: it holds none.
    """
    number = _number(text, column)
    if not 0 < number < LARGEST:
        raise DecodeError(f"{column} {text.strip()!r} is not above 0")
    return number


def _number(text: str, column: str) -> float:
    try:
        number = float(text)
    except ValueError:
        raise DecodeError(f"{column} {text.strip()!r} is not a number") from None
    if not math.isfinite(number):
        raise DecodeError(f"{column} is {text.strip()}, not a number")
    return number
