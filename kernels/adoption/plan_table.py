"""A plan as text: for each layer a line for dense and one for its best chain, then the sums."""

from __future__ import annotations

import textwrap
from collections.abc import Iterator, Mapping
from typing import Any

NUMBERS = (11, 11, 13, 7, 7)
"""Widths of the columns of numbers: ms, mJ, parameters, projection error, error of the SVD."""
MARKS = {"measured": "m", "predicted": "p", "no data": " "}
LEGEND = (
    "* taken by the plan; m measured, p predicted, - no data; error and SVD: what the chain loses of the "
    "weight, and a truncated SVD with as many weights (Frobenius norm, relative)"
)


def plan_lines(plan: Mapping[str, Any], width: int) -> Iterator[str]:
    """The lines of a plan's values, at most so many characters each."""
    yield _row("linear layer", ("ms", "mJ", "parameters", "error", "SVD"), width)
    yield "-" * width
    for layer in plan["layers"]:
        yield from _layer_lines(layer, width)
    yield "-" * width
    yield from _total_lines(plan["total"], width)
    yield ""
    for note in (f"device: {plan['device']}", *plan["notes"], LEGEND):
        yield from textwrap.wrap(note, width, subsequent_indent="  ")


def _layer_lines(layer: Mapping[str, Any], width: int) -> Iterator[str]:
    calls = layer["calls"]
    often = f", called {len(calls)} times" if len(calls) > 1 else ""
    rows = f"{layer['batch']} rows" if calls else "never called"
    text = f"{layer['name']}: {layer['in']} -> {layer['out']}, {rows}{often}"
    if layer["shared_with"]:
        text += f", shared with {', '.join(layer['shared_with'])}"
    yield from textwrap.wrap(text, width, subsequent_indent="    ", break_long_words=True)
    is_dense = layer["best"] == "dense"
    yield from _alternative_lines("dense", layer["dense"], is_dense, width)
    if layer["best_chain"] is not None:
        yield from _alternative_lines(layer["best_chain"]["chain"], layer["best_chain"], not is_dense, width)
    if layer["reason"]:
        yield from textwrap.wrap(
            f"stays dense: {layer['reason']}", width, initial_indent="    ", subsequent_indent="    "
        )


def _alternative_lines(name: str, alternative: Mapping[str, Any], taken: bool, width: int) -> Iterator[str]:
    numbers = (
        _cost(alternative["latency_ms"], alternative["source"]),
        _cost(alternative["energy_mj"], alternative["energy_source"]),
        f"{alternative['parameters']:,}",
        _share(alternative["projection_error"]),
        _share(alternative["svd_error"]),
    )
    yield from _rows(f"{'*' if taken else ' '} {name}", numbers, width)


def _total_lines(total: Mapping[str, Any], width: int) -> Iterator[str]:
    for name, prefix in (("sum, dense", "dense_"), ("sum, as planned", "")):
        numbers = (
            _number(total[f"{prefix}latency_ms"]) + "  ",
            _number(total[f"{prefix}energy_mj"]) + "  ",
            f"{total[f'{prefix}parameters']:,}",
            "",
            "",
        )
        yield from _rows(name, numbers, width)
    if total["latency_ms"] and total["dense_latency_ms"]:
        yield f"latency of the linear layers: {total['latency_ms'] / total['dense_latency_ms']:.3f} of dense"
    if total["without_latency"]:
        yield f"no latency is known for {total['without_latency']} layers: the sums leave them out"
    yield f"parameters of the model: {total['dense_model_parameters']:,} -> {total['model_parameters']:,}"


def _rows(name: str, numbers: tuple[str, ...], width: int) -> Iterator[str]:
    """The name and numbers in one line; in several where the name is too long for that."""
    room = max(width - sum(NUMBERS), 12)
    *first, last = textwrap.wrap(name, room, subsequent_indent="    ", drop_whitespace=False) or [""]
    yield from (line.rstrip() for line in first)
    yield _row(last, numbers, width)


def _row(name: str, numbers: tuple[str, ...], width: int) -> str:
    columns = "".join(f"{number:>{size}}" for number, size in zip(numbers, NUMBERS, strict=True))
    return f"{name:<{max(width - sum(NUMBERS), 12)}}{columns}".rstrip()


def _cost(value: float | None, source: str) -> str:
    return f"{_number(value)} {MARKS[source]}"


def _number(value: float | None) -> str:
    return "-" if value is None else f"{value:.4g}" if value < 9999.5 else f"{value:,.0f}"


def _share(value: float | None) -> str:
    return "-" if value is None else f"{value:.3f}"
