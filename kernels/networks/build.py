"""Builds the variants of models, their inputs, and checks them against float64."""

from __future__ import annotations

import copy
from collections.abc import Callable

import torch
from torch import nn

from kswatch.errors import UnsupportedError
from kswatch.kernels.catalogue import implementation
from kswatch.kernels.implementation import STORAGE_DTYPES
from kswatch.kernels.linear import KSLinear
from kswatch.kernels.models.base import AUTO, DENSE, Model, Variant
from kswatch.kernels.models.gpt2 import VOCABULARY
from kswatch.kernels.models.vit_s16 import CHANNELS, IMAGE
from kswatch.kernels.networks.gpt2 import Block, Gpt2
from kswatch.kernels.networks.vit_s16 import VisionTransformer
from kswatch.kernels.networks.weights import WeightSource
from kswatch.kernels.precision import unsupported_precision
from kswatch.kernels.problem import Precision, Problem
from kswatch.kernels.reference import round_to_tf32

NETWORKS: dict[str, Callable[[Variant, WeightSource], nn.Module]] = {
    "vit_s16": VisionTransformer,
    "gpt2_medium": Gpt2,
    "gpt2_block": lambda variant, source: Block(variant, source, "blocks.0"),
}
"""By the name of the model."""
ERROR_LIMITS: dict[Precision, float] = {"fp32": 3e-5, "tf32": 1e-2, "fp16": 1e-2, "bf16": 5e-2}
"""Largest relative Frobenius error of a model's output; twice the error of its `bmm` variant is allowed as
well (of dense: of eager torch). Errors of one product add up over the depth."""
BMM_FACTOR = 2


def unsupported_reason(
    model: Model, variant: Variant, batch: int, precision: Precision, device: torch.device
) -> str | None:
    """Why a variant cannot be computed on this device, as a sentence; None where it can."""
    reason = unsupported_precision(precision, device)
    if reason is not None or variant.structure.name == DENSE or variant.implementation == AUTO:
        return reason
    multiply = implementation(variant.implementation)
    for module, shape in model.layers(batch, precision):
        for pattern in variant.structure.chains.get(module.name, ()):
            reason = multiply.unsupported(Problem(pattern, shape.batch, precision, shape.layout), device)
            if reason is not None:
                return f"{module.name}: {reason}"
    return None


def build_model(
    model: Model,
    variant: Variant,
    *,
    precision: Precision,
    device: torch.device | str = "cpu",
    weights: WeightSource | None = None,
) -> nn.Module:
    """The network in eval mode without gradients, its chains frozen, its weights from a source.

    Equal modules of different variants have equal weights: the same memory from one source in float32. The
    source of seed 0 is the default.
    """
    network = NETWORKS[model.name](variant, weights or WeightSource(0)).eval().requires_grad_(False)
    network.to(device, STORAGE_DTYPES[precision])
    for module in network.modules():
        if isinstance(module, KSLinear):
            module.freeze()
    return network


def model_input(
    model: Model, batch: int, precision: Precision, device: torch.device | str = "cpu", seed: int = 0
) -> torch.Tensor:
    """Images or hidden states N(0, 1), rounded to the precision; tokens for `gpt2_medium`."""
    generator = torch.Generator().manual_seed(seed)
    if model.name == "gpt2_medium":
        return torch.randint(VOCABULARY, (batch, model.rows), generator=generator).to(device)
    images = (batch, CHANNELS, IMAGE, IMAGE)
    shape = images if model.name == "vit_s16" else (batch, model.rows, model.width)
    return torch.randn(shape, generator=generator).to(device, STORAGE_DTYPES[precision])


@torch.no_grad()
def reference_output(network: nn.Module, x: torch.Tensor, precision: Precision = "fp32") -> torch.Tensor:
    """The network's output in float64, with the same weights and input as they are rounded.

    Chains are computed by their definition. Needs twice the memory of the weights in float32.
    """
    exact = copy.deepcopy(network).double()
    if precision == "tf32":
        for parameter in exact.parameters():
            parameter.copy_(round_to_tf32(parameter.float()))
    return exact(x.double() if x.is_floating_point() else x)


@torch.no_grad()
def model_error(
    network: nn.Module, x: torch.Tensor, reference: torch.Tensor | None = None, precision: Precision = "fp32"
) -> float:
    """Relative Frobenius error of the network's output for x; inf where it is not finite.

    Args:
        network: of `build_model`.
        x: of `model_input`; batch 1 where no reference is given.
        reference: the output to compare with, by default that in float64.
        precision: of the network.
    """
    expected = reference_output(network, x, precision) if reference is None else reference.double()
    y = network(x)
    if not y.isfinite().all():
        return float("inf")
    return float(torch.linalg.norm(y.double() - expected) / torch.linalg.norm(expected))


def error_limit(precision: Precision, bmm_error: float | None = None) -> float:
    """Largest relative error of a correct variant, given that of its `bmm` variant."""
    return max(ERROR_LIMITS[precision], BMM_FACTOR * (bmm_error or 0.0))


def require_supported(
    model: Model, variant: Variant, batch: int, precision: Precision, device: torch.device
) -> None:
    """Raise where a variant cannot be computed.

    Raises:
        UnsupportedError: with the reason.
    """
    reason = unsupported_reason(model, variant, batch, precision, device)
    if reason is not None:
        raise UnsupportedError(f"{model.name} {variant}: {reason}")
