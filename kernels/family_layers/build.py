"""Layers of every family: whether one can be computed here, the module that computes it, its reference."""

from __future__ import annotations

import copy
import warnings
from math import sqrt

import torch
from torch import nn

from kswatch.declared.implementations import FUSED_CHAIN
from kswatch.errors import UnsupportedError
from kswatch.kernels.catalogue import implementation as find_implementation
from kswatch.kernels.families.base import ChainFamily, LayerShape
from kswatch.kernels.families.catalogue import Structure
from kswatch.kernels.families.stl import ONE_PASS, STOCK, StrassenTile
from kswatch.kernels.families.transforms import TORCH_FFT, TransformFamily
from kswatch.kernels.family_layers.dense_layer import DenseLayer
from kswatch.kernels.family_layers.st_linear import STLinear
from kswatch.kernels.family_layers.two_four_layer import TwoFourLayer, two_four_reason
from kswatch.kernels.fused.cpu_twin import twin
from kswatch.kernels.fused.cuda_chain import launch as cuda_chain
from kswatch.kernels.implementation import STORAGE_DTYPES
from kswatch.kernels.layer.algorithm_choice import AUTO
from kswatch.kernels.linear import KSLinear
from kswatch.kernels.precision import unsupported_precision
from kswatch.kernels.problem import Problem
from kswatch.kernels.reference import exact_dtype, round_to_tf32
from kswatch.kernels.transforms.cells import TransformModule, build_transform
from kswatch.kernels.transforms.exact import exact_transform


def unsupported_reason(
    structure: Structure, shape: LayerShape, implementation: str, device: torch.device
) -> str | None:
    """Why a layer cannot be computed so on this device, as a sentence; None where it can."""
    reason = structure.unsupported_reason(shape, implementation, device.type)
    if reason is None:
        reason = unsupported_precision(shape.precision, device)
    if reason is not None:
        return reason
    if structure.family_name == "two_four":
        return two_four_reason(shape, device)
    if implementation in (AUTO, STOCK, TORCH_FFT):
        return None
    if implementation == ONE_PASS:
        return twin.unsupported(factor_problems(structure, shape)[0])
    problems = factor_problems(structure, shape)
    if implementation == FUSED_CHAIN and device.type == "cuda":
        return _in_one_launch(problems, device)
    factor_name = "fused" if implementation == FUSED_CHAIN else implementation
    reasons = (find_implementation(factor_name).unsupported(one, device) for one in problems)
    return next((reason for reason in reasons if reason is not None), None)


def _in_one_launch(problems: tuple[Problem, ...], device: torch.device) -> str | None:
    """Why no two factors of a chain are one launch of a GPU; None where the first or the next two are."""
    pairs = zip(problems[::2], problems[1::2], strict=False)
    reasons = [cuda_chain.unsupported(pair, device) for pair in pairs]
    return None if None in reasons else reasons[0]


def factor_problems(structure: Structure, shape: LayerShape) -> tuple[Problem, ...]:
    """The Kronecker-sparse products in a layer: a chain's factors, the core of `stl`; none for others."""
    found = structure.family
    if isinstance(found, ChainFamily):
        return found.factor_problems(shape, structure.size)
    return (found.core(shape, structure.size),) if isinstance(found, StrassenTile) else ()


def build_layer(
    structure: Structure,
    shape: LayerShape,
    implementation: str,
    *,
    generator: torch.Generator,
    device: torch.device | str = "cpu",
) -> nn.Module:
    """A layer that takes X of `shape.input_shape` and gives Y of `shape.output_shape`, without a bias.

    In eval mode and frozen: the weights are laid out at the first call, as a prepared product's are. They
    are drawn in float32 from the generator, on its device, so that outputs have the variance of the inputs,
    and rounded to the precision: equal for every implementation of a structure.

    Raises:
        UnsupportedError: `unsupported_reason` returns a reason.
    """
    device = torch.device(device)
    reason = unsupported_reason(structure, shape, implementation, device)
    if reason is not None:
        raise UnsupportedError(f"{structure}/{implementation} for {shape}: {reason}")
    if isinstance(structure.family, TransformFamily):
        (radix,) = structure.size
        return build_transform(structure.family_name, radix, shape, implementation, device)
    layer = _empty_layer(structure, shape, implementation).eval().requires_grad_(False)
    _draw(layer, generator)
    _convert(layer, device, STORAGE_DTYPES[shape.precision])
    if isinstance(layer, KSLinear | STLinear | TwoFourLayer):
        layer.freeze()
    return layer


def _empty_layer(structure: Structure, shape: LayerShape, implementation: str) -> nn.Module:
    """The layer in float32 on the CPU, with weights of no meaning."""
    found, sides = structure.family, (shape.in_features, shape.out_features)
    if isinstance(found, ChainFamily):
        return KSLinear(found.chain(*sides, structure.size), False, implementation, shape.layout)
    if isinstance(found, StrassenTile):
        tile, rank = structure.size
        return STLinear(*sides, tile, rank, algorithm=implementation, layout=shape.layout)
    kind = TwoFourLayer if structure.family_name == "two_four" else DenseLayer
    return kind(*sides, shape.layout)


def _convert(layer: nn.Module, device: torch.device, dtype: torch.dtype) -> None:
    """`layer.to`, without torch's warning that complex modules are new."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="Complex modules are a new feature")
        layer.to(device, dtype)


def _draw(layer: nn.Module, generator: torch.Generator) -> None:
    """Weights N(0, 1/inputs of a sum), in the order of the parameters."""
    with torch.no_grad():
        for parameter, terms in _terms(layer):
            values = torch.randn(parameter.shape, generator=generator, device=generator.device)
            parameter.copy_(values / sqrt(terms))


def _terms(layer: nn.Module) -> list[tuple[nn.Parameter, int]]:
    """Each parameter with the number of its products that are summed to one output."""
    if isinstance(layer, KSLinear):
        return [(weight, weight.shape[2]) for weight in layer.factors.parameters()]
    if isinstance(layer, STLinear):
        return layer.summed_terms()
    return [(weight, weight.shape[1]) for weight in layer.parameters()]


def make_input(shape: LayerShape, generator: torch.Generator, device: torch.device | str) -> torch.Tensor:
    """X ~ N(0, 1), drawn on the generator's device in float32 or wider, and rounded to the precision."""
    dtype = STORAGE_DTYPES[shape.precision]
    wide = dtype if dtype.itemsize > 4 else torch.float32
    x = torch.randn(shape.input_shape, generator=generator, device=generator.device, dtype=wide)
    return x.to(device, dtype)


def reference(layer: nn.Module, x: torch.Tensor, precision: str = "fp32") -> torch.Tensor:
    """The layer applied to x in float64 or complex128, with the same weights and input as they are rounded.

    In `tf32`, weights and input are rounded to it first, intermediate activations are not.
    """
    if isinstance(layer, TransformModule):
        return exact_transform(layer.transform, x, layer.layout)
    exact = copy.deepcopy(layer)
    with torch.no_grad():
        if precision == "tf32":
            x = round_to_tf32(x)
            for parameter in exact.parameters():
                parameter.copy_(round_to_tf32(parameter))
        if isinstance(exact, STLinear):
            exact.algorithm = AUTO  # whose core is computed by the definition in float64
        wide = exact_dtype(x)
        _convert(exact, x.device, wide)
        return exact(x.to(wide))
