"""Problems and cells of the suites `layers` and `models`, and of the models in `smoke`."""

from __future__ import annotations

from collections.abc import Iterable
from functools import cache
from itertools import product
from typing import Any

from kswatch.db.records import BASELINE_SETS, cell_name
from kswatch.declared.implementations import FUSED_CHAIN
from kswatch.kernels.families.base import LayerShape
from kswatch.kernels.families.catalogue import Structure, structures
from kswatch.kernels.families.ks import PUBLISHED as PUBLISHED_CHAINS
from kswatch.kernels.families.ks import as_chain
from kswatch.kernels.families.stl import ONE_PASS
from kswatch.kernels.families.stl import STOCK as STL_BY_TORCH
from kswatch.kernels.models.base import AUTO, DENSE, FAIR, FUSED, MODEL_BASELINES, PUBLISHED, Model
from kswatch.kernels.models.catalogue import find_model
from kswatch.kernels.models.gpt2 import BEST_DOWN, GPT2_BLOCK, GPT2_MEDIUM, down_structure
from kswatch.kernels.models.vit_s16 import VIT_S16
from kswatch.kernels.problem import Precision
from kswatch.profiler.subjects.problems import EXECUTIONS, AnyProblem, ModelForward

LAYER_SHAPES: tuple[tuple[int, int], ...] = (
    (384, 384),
    (384, 1536),
    (1536, 384),
    (768, 768),
    (768, 3072),
    (3072, 768),
    (1024, 1024),
    (1024, 3072),
    (1024, 4096),
    (4096, 1024),
    (4096, 11008),
)
"""Inputs and outputs of the linear layers of ViT-S/16, ViT-B and GPT-2 medium, and of a Llama-like MLP."""
LAYER_BATCHES = (1, 16, 196, 1568, 25_088)
"""A token, a few, one image of 196 patches, eight of them, and the paper's 128."""
USUAL_BASELINE = "bmm"
COMPARED_RANK = (4, 24)
"""The tile and rank at which `stl` is also measured by torch alone."""
ONE_PASS_SHAPES = ((384, 1536), (1024, 4096))
"""Layers at which it is also measured in one pass."""
MODEL_BATCHES = (1, 8, 128)
CPU_MODEL_BATCHES = (1, 8)


def layer_problems(
    shapes: Iterable[tuple[int, int]] = LAYER_SHAPES,
    batches: Iterable[int] = LAYER_BATCHES,
    precisions: Iterable[Precision] = ("fp32",),
) -> tuple[LayerShape, ...]:
    """Each shape at each batch and precision, in `batch_first`."""
    return tuple(
        LayerShape(*shape, batch, precision)
        for shape, batch, precision in product(shapes, batches, precisions)
    )


@cache
def layer_cells(in_features: int, out_features: int) -> tuple[str, ...]:
    """The cells of a layer of this shape, the dense one first.

    Each family at each share of the dense parameters, by `fused` where that computes it; published chains
    also by `bmm`, and in one pass unless their intermediate is narrow; one size of `stl` also by torch alone,
    of some shapes in one pass.
    """
    found: list[str] = []
    for structure in structures(in_features, out_features):
        known = structure.family.implementations
        chosen = FUSED if FUSED in known else known[0]
        found.append(cell_name(str(structure), chosen))
        if _is_published(structure):
            found.append(cell_name(str(structure), USUAL_BASELINE))
            if as_chain(structure.size)[0].rows >= min(in_features, out_features):
                found.append(cell_name(str(structure), FUSED_CHAIN))
        if structure.family_name == "stl" and structure.size == COMPARED_RANK:
            found.append(cell_name(str(structure), STL_BY_TORCH))
            if (in_features, out_features) in ONE_PASS_SHAPES:
                found.append(cell_name(str(structure), ONE_PASS))
    return tuple(found)


def _is_published(structure: Structure) -> bool:
    """Whether it is a published chain; of GPT-2's ten the fastest."""
    if structure.family_name != "ks":
        return False
    chain = as_chain(structure.size)
    return chain == BEST_DOWN or (chain in PUBLISHED_CHAINS and chain not in _OTHER_DOWN_CHAINS)


_OTHER_DOWN_CHAINS = {one.chains["down"] for one in GPT2_MEDIUM.structures}


def model_problems() -> tuple[ModelForward, ...]:
    """ViT-S/16 and GPT-2 medium at three batches and precisions, eager, compiled and as a CUDA graph."""
    return tuple(
        _forward(model, batch, precision, execution)
        for model, batch, precision, execution in product(
            (VIT_S16, GPT2_MEDIUM), MODEL_BATCHES, ("fp32", "bf16", "fp16"), EXECUTIONS
        )
    )


def cpu_model_problems() -> tuple[ModelForward, ...]:
    """The part of them that suits a CPU; CUDA graphs are there as unsupported."""
    models = (VIT_S16, GPT2_MEDIUM)
    eager = product(models, CPU_MODEL_BATCHES, ("fp32", "bf16"), ("eager",))
    other = product(models, (1,), ("fp32",), ("compile", "graph"))
    return tuple(_forward(*facets) for facets in (*eager, *other))


def cpu_model_cells(forward: AnyProblem) -> tuple[str, ...]:
    """The cells on a CPU: above batch 1, where a forward of GPT-2 medium takes seconds, it has the fewest."""
    is_long = isinstance(forward, ModelForward) and forward.model == GPT2_MEDIUM.name and forward.batch > 1
    return brief_cells(forward) if is_long else structured_cells(forward)


def smoke_models() -> tuple[ModelForward, ...]:
    """ViT-S/16 on an image and a block of GPT-2 medium on a sequence; bf16 where the CPU has it."""
    return tuple(
        _forward(model, 1, precision, "eager")
        for model, precision in product((VIT_S16, GPT2_BLOCK), ("fp32", "bf16"))
    )


def _forward(model: Model, batch: int, precision: str, execution: str) -> ModelForward:
    facets: Any = (precision, "batch_first", execution)
    return ModelForward(model.name, model.rows, batch, *facets)


def structured_cells(problem: AnyProblem) -> tuple[str, ...]:
    """The cells of a layer or a model in its suite."""
    if isinstance(problem, ModelForward):
        return model_cells(problem)
    assert isinstance(problem, LayerShape)
    return layer_cells(problem.in_features, problem.out_features)


def model_cells(forward: ModelForward) -> tuple[str, ...]:
    """Both dense variants, and the structure by `fused`, `auto` and each baseline; fewer where compiled.

    GPT-2 medium at the paper's facets has all its published structures.
    """
    model = find_model(forward.model)
    best = _best_structure(model)
    if forward.execution != "eager":
        return brief_cells(forward)
    dense = [cell_name(DENSE, name) for name in (FAIR, PUBLISHED)]
    cells = dense + [cell_name(best, name) for name in (FUSED, AUTO, *MODEL_BASELINES)]
    if model is GPT2_MEDIUM and (forward.batch, forward.precision) == (MODEL_BATCHES[-1], "fp32"):
        others = product((one.name for one in model.structures), (FUSED, USUAL_BASELINE))
        cells += [cell_name(*one) for one in others]
    return tuple(dict.fromkeys(cells))


def brief_cells(forward: AnyProblem) -> tuple[str, ...]:
    """The dense model, and its structure by `bmm`, `fused` and `auto`."""
    assert isinstance(forward, ModelForward)
    structure = _best_structure(find_model(forward.model))
    return (cell_name(DENSE, FAIR), *(cell_name(structure, name) for name in (USUAL_BASELINE, FUSED, AUTO)))


def _best_structure(model: Model) -> str:
    """The published one, of GPT-2's ten the fastest."""
    return down_structure(BEST_DOWN).name if model is not VIT_S16 else model.structures[0].name


MODEL_BASELINE_SETS: dict[str, tuple[str, ...]] = {
    name: tuple(one for one in members if one in MODEL_BASELINES) for name, members in BASELINE_SETS.items()
}
