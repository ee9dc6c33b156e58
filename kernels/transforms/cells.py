"""The transforms as a suite measures them: by a chain's algorithms, or by an expert with `torch.fft`."""

from __future__ import annotations

import torch
from torch import nn

from kswatch.kernels.families.base import LayerShape
from kswatch.kernels.families.transforms import TORCH_FFT
from kswatch.kernels.implementation import STORAGE_DTYPES
from kswatch.kernels.problem import Layout
from kswatch.kernels.transforms.build import dct, fft, hadamard
from kswatch.kernels.transforms.factors import cosine_diagonal, folded_order
from kswatch.kernels.transforms.transform import Transform


class TorchTransform(nn.Module):
    """`torch.fft.fft`, or the DCT-II by the real transform of half as many complex numbers.

    Attributes:
        transform: `fft` or `dct`.
    """

    order: torch.Tensor
    diagonal: torch.Tensor

    def __init__(self, transform: str, n: int, layout: Layout, device: torch.device | str = "cpu") -> None:
        super().__init__()
        self.transform, self.n, self.layout = transform, n, layout
        diagonal = cosine_diagonal(n)[: n // 2 + 1].to(device, torch.complex64)
        self.register_buffer("order", folded_order(n).to(device), persistent=False)
        self.register_buffer("diagonal", diagonal if layout == "batch_first" else diagonal[:, None], False)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """The transform of x of shape (batch, n), or (n, batch) in `batch_last`."""
        axis = 1 if self.layout == "batch_first" else 0
        if self.transform == "fft":
            return torch.fft.fft(x, dim=axis)
        half = torch.fft.rfft(x.index_select(axis, self.order), dim=axis) * self.diagonal
        # number n - k is the negative imaginary part of number k
        mirrored = half.imag.narrow(axis, 1, self.n // 2 - 1).flip(axis).neg()
        return torch.cat([half.real, mirrored], axis)


def build_transform(
    name: str, radix: int, shape: LayerShape, implementation: str, device: torch.device | str
) -> nn.Module:
    """The module of a cell that the family and the device support.

    Args:
        name: `hadamard`, `fft` or `dct`.
        radix: The largest block of a factor.
        shape: The number of features, the batch, precision and layout.
        implementation: An algorithm of a chain, or `torch_fft`.
        device: Where it is computed.
    """
    n, layout = shape.in_features, shape.layout
    if implementation == TORCH_FFT:
        return TorchTransform(name, n, layout, device)
    if name == "hadamard":
        return hadamard(n, STORAGE_DTYPES[shape.precision], implementation, layout, device, radix)
    make = fft if name == "fft" else dct
    return make(n, implementation, layout, device, radix)


TransformModule = Transform | TorchTransform
"""The modules of the cells of transforms."""
