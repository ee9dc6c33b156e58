"""The page of the Python interface: what `from kswatch import ...` gives, and the detector."""

from __future__ import annotations

import kswatch

ALSO = ("kswatch.ci.change_points.change_points", "kswatch.ci.change_points.levels")
"""Names outside the package's own list that are kept for others to call."""
TRANSFORMS = tuple(f"kswatch.kernels.transforms.build.{name}" for name in ("hadamard", "fft", "ifft", "dct"))
"""What the package `transforms` gives, which is in the list as a whole."""


def public_names() -> list[str]:
    """The full name of each public class and function, in the order of the package's list."""
    return [f"{kswatch._MODULES[name]}.{name}" for name in kswatch.__all__]


def page() -> str:
    """The page as Markdown, with a block of mkdocstrings for each name."""
    head = """# Python

Written from signatures and docstrings. All names but the detector's are imported from the package itself, as
in `from kswatch import KSLinear`; importing `kswatch` alone loads neither torch nor the command line.
[The guide of the layer](../guides/the_layer.md) shows them in use.
"""
    layers = [_block(name) for name in public_names()]
    return "\n".join([head, *layers, *map(_block, TRANSFORMS), "## Change points\n", *map(_block, ALSO)])


def _block(name: str) -> str:
    return f"::: {name}\n    options:\n      heading_level: 2\n"
