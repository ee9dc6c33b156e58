"""`kswatch summary --models`: each model's newest result on a device, with the split of its gain."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from kswatch.db.model_results.reads import ModelResult, newest_models
from kswatch.db.model_results.splits import Gain, Split
from kswatch.db.queries.runs import find_device, run
from kswatch.db.records import COMPARABLE
from kswatch.db.store import Store

FIGURES = ("linear_share", "mean_ms")


@dataclass(frozen=True)
class VariantSummary:
    """One variant of a model."""

    variant: str
    status: str
    reason: str | None
    latency_ms: float | None
    latency_low_ms: float | None
    latency_high_ms: float | None
    over_dense: float | None
    """Its latency over that of the dense variant that the split names; of imported means, where there are."""
    energy_mj: float | None
    energy_reason: str | None
    memory_peak_bytes: int | None
    parameters: int | None
    flops: int | None
    relative_error: float | None
    linear_share: float | None
    compile_ms: float | None
    mean_ms: float | None


@dataclass(frozen=True)
class SplitSummary:
    """The gain of one structure, as in `kswatch.db.model_results.splits.Split`."""

    structure: str
    baselines: str
    members: tuple[str, ...]
    baseline: str | None
    dense: str | None
    structure_gain: float | None
    structure_gain_low: float | None
    structure_gain_high: float | None
    kernel_gain: float | None
    kernel_gain_low: float | None
    kernel_gain_high: float | None
    total_gain: float | None
    total_gain_low: float | None
    total_gain_high: float | None
    over_published: float | None
    linear_share: float | None
    """Share of the dense variant's time in linear layers: the most that a structure can save."""
    left_out: str | None


@dataclass(frozen=True)
class ModelSummary:
    """One model at one batch and precision, executed in one way."""

    model: str
    execution: str
    tokens: int
    batch: int
    precision: str
    layout: str
    device: str
    device_model: str
    run: int
    origin: str
    """`measured`, `simulated`, or `imported` for published figures."""
    not_converged: int
    splits: tuple[SplitSummary, ...]
    variants: tuple[VariantSummary, ...]


def model_summary(
    store: Store,
    device: str | None = None,
    *,
    run_id: int | None = None,
    model: str | None = None,
    precision: str | None = None,
    baselines: str | None = None,
) -> list[ModelSummary]:
    """Each model's newest result on a device, or those of one run.

    Raises:
        UsageError: no or several such devices, no such run or set of baselines.
    """
    chosen = find_device(store, device if run_id is None or device else run(store, run_id).device_uuid)
    found = newest_models(store, chosen.id, run_id, model)
    wanted = [one for one in found if precision in (None, one.problem.precision)]
    return [_summarised(one, chosen.uuid, chosen.model, baselines or "all") for one in wanted]


def _summarised(result: ModelResult, uuid: str, device_model: str, baselines: str) -> ModelSummary:
    name, _, execution = result.problem.subject.rpartition(" ")
    splits = result.splits(baselines)
    return ModelSummary(
        model=name,
        execution=execution,
        tokens=result.problem.c,
        batch=result.problem.batch,
        precision=result.problem.precision,
        layout=result.problem.layout,
        device=uuid,
        device_model=device_model,
        run=result.run_id,
        origin=result.origin,
        not_converged=sum(cell.status == "not_converged" for cell in result.cells.values()),
        splits=tuple(_split(one, result) for one in splits),
        variants=tuple(_variants(result, splits)),
    )


def _split(found: Split, result: ModelResult) -> SplitSummary:
    return SplitSummary(
        structure=found.structure,
        baselines=found.baselines,
        members=found.members,
        baseline=found.baseline,
        dense=found.dense,
        over_published=found.over_published.value if found.over_published else None,
        linear_share=result.figures.get(found.dense or "", {}).get("linear_share"),
        left_out=found.left_out,
        **_gain("structure_gain", found.structure_gain),
        **_gain("kernel_gain", found.kernel_gain),
        **_gain("total_gain", found.total_gain),
    )


def _gain(name: str, gain: Gain | None) -> dict[str, float | None]:
    values = (gain.value, gain.low, gain.high) if gain else (None, None, None)
    return dict(zip((name, f"{name}_low", f"{name}_high"), values, strict=True))


def _variants(result: ModelResult, splits: Sequence[Split]) -> list[VariantSummary]:
    dense = next((one.dense for one in splits if one.dense), None)
    return [
        VariantSummary(
            variant=name,
            status=cell.status,
            reason=cell.reason,
            latency_ms=cell.latency_ms,
            latency_low_ms=cell.latency_low_ms,
            latency_high_ms=cell.latency_high_ms,
            over_dense=_over_dense(result, name, dense),
            energy_mj=cell.energy_mj,
            energy_reason=cell.energy_reason,
            memory_peak_bytes=cell.memory_peak_bytes,
            parameters=cell.parameters,
            flops=cell.flops,
            relative_error=cell.relative_error,
            compile_ms=cell.compile_ms,
            **{figure: result.figures[name].get(figure) for figure in FIGURES},
        )
        for name, cell in result.cells.items()
    ]


def _over_dense(result: ModelResult, name: str, dense: str | None) -> float | None:
    """Of the rounds that both were timed in; else of the published means, else of the medians."""
    cells = result.compared
    cell, latency_ms = cells[name], cells[name].latency_ms
    if dense is None or latency_ms is None or cell.status not in COMPARABLE:
        return None
    if name != dense and cell.ratio_to_fused is not None:
        return cell.ratio_to_fused
    return latency_ms / (cells[dense].latency_ms or latency_ms)


def models_in_words(found: Sequence[ModelSummary]) -> str:
    """The results as lines of text."""
    if not found:
        return "no model was measured on this device; run `kswatch profile models`"
    return "\n".join(line for one in found for line in _lines(one))


def _lines(one: ModelSummary) -> Iterator[str]:
    about = f"{one.model} {one.execution}, batch {one.batch} of {one.tokens} tokens, {one.precision}"
    yield f"{about}, on {one.device_model} ({one.origin}, run {one.run})"
    for split in one.splits:
        if split.left_out:
            yield f"  {split.structure}: no split ({split.left_out})"
            continue
        yield (
            f"  {split.structure}: {split.total_gain:.3f}x = structure {split.structure_gain:.3f}x "
            f"({split.dense} over {split.baseline}, the fastest of {split.baselines}: "
            f"{', '.join(split.members)}) times kernel {split.kernel_gain:.3f}x"
        )
        if split.linear_share is not None:
            yield f"    {split.linear_share:.0%} of the dense model's time is in linear layers"
    for variant in one.variants:
        ratio = "" if variant.over_dense is None else f", {variant.over_dense:.4f} of dense"
        time = variant.status if variant.latency_ms is None else f"{variant.latency_ms:.4g} ms{ratio}"
        yield f"  {variant.variant}: {time}"
