"""A count of products in one pass."""

from __future__ import annotations

from collections.abc import Iterator
from unittest.mock import patch

import pytest

from kswatch.kernels.fused.cpu_twin import chain
from kswatch.kernels.layer.chain import product
from kswatch.kernels.problem import Problem


@pytest.fixture
def passes() -> Iterator[list[tuple[Problem, Problem]]]:
    """Counts the products in one pass."""
    calls = []
    former = chain.product

    def counted(problems, packed):
        multiply = former(problems, packed)

        def call(*operands):
            calls.append(problems)
            return multiply(*operands)

        return call

    with patch.object(product.chain, "product", counted):
        yield calls
