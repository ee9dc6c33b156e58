"""Problems of every kind: a product, a layer, a forward pass of a model; needs no torch."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, TypeAlias, Union, get_args

from kswatch.errors import UsageError
from kswatch.kernels.problem import ELEMENT_BYTES, LAYOUTS, PRECISIONS, Layout, Precision, Problem

if TYPE_CHECKING:  # a revision that the gate measures may have no families
    from kswatch.kernels.families.base import LayerShape

Execution = Literal["eager", "compile", "graph"]
EXECUTIONS: tuple[Execution, ...] = get_args(Execution)


@dataclass(frozen=True, order=True, slots=True)
class ModelForward:
    """One forward pass of a named network on a batch of sequences, executed in one way.

    `compile` is torch.compile, `graph` a replayed CUDA graph.
    """

    model: str
    tokens: int
    batch: int
    precision: Precision = "fp32"
    layout: Layout = "batch_first"
    execution: Execution = "eager"

    def __post_init__(self) -> None:
        for name in ("tokens", "batch"):
            value = getattr(self, name)
            if not isinstance(value, int) or isinstance(value, bool) or value < 1:
                raise UsageError(f"model {self.model}: {name} = {value!r} is not an integer >= 1")
        choices = (("precision", PRECISIONS), ("layout", LAYOUTS), ("execution", EXECUTIONS))
        for name, known in choices:
            if getattr(self, name) not in known:
                raise UsageError(f"unknown {name} {getattr(self, name)!r}; choose from {', '.join(known)}")

    def __str__(self) -> str:
        return f"{self.subject}, batch {self.batch} of {self.tokens} tokens, {self.precision} {self.layout}"

    @property
    def element_bytes(self) -> int:
        """Bytes per stored element."""
        return ELEMENT_BYTES[self.precision]

    @property
    def subject(self) -> str:
        """The model and its execution, as the store names them."""
        return f"{self.model} {self.execution}"


AnyProblem: TypeAlias = Union[Problem, "LayerShape", ModelForward]
