"""Proof that a timed launch computes its own input, and has done so when it returns.

Inputs of timed launches are copies of one input. Before each launch one random element of its input is
changed, so an output of an earlier launch, of an equal input or of the reference is wrong in one sample; and
of random launches that sample of input and output is copied as soon as the launch returns, so an output that
is written later, or was not computed, is found. The changes are undone before operands are compared.
"""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import replace

import torch

from kswatch.declared.precisions import INPUT_RMS
from kswatch.kernels.problem import Problem
from kswatch.kernels.reference import Correctness, check, reference

KEPT_SAMPLES = 64
"""Random launches of each cell whose sample is checked; skipping a share s passes with (1 - s)^64."""
CHANGED_TO = 4.0
"""Size of a changed element in units of the input's, of the other sign than before: a sum that it enters
changes by over 4 |w|. A complex one has its real part changed so, and no imaginary one."""


class ChangedInputs:
    """The sets of one input, of which each has at most one element that differs from the original."""

    def __init__(self, problem: Problem, inputs: Sequence[torch.Tensor], seed: int) -> None:
        self._inputs, self._size_of_change = inputs, CHANGED_TO * INPUT_RMS.get(problem.precision, 1.0)
        self._batch, self._batch_first = problem.batch, problem.layout == "batch_first"
        self._columns = problem.input_shape[1]
        self._flat = [each.view(-1) for each in inputs]
        self._size = self._flat[0].numel()
        self._originals: dict[int, tuple[int, torch.Tensor]] = {}
        self._random = random.Random(f"{seed} {id(self)}")

    def change(self, place: int) -> int:
        """Undo the last change of a set and change another element; returns the sample that it belongs to."""
        self._undo(place)
        at = self._random.randrange(self._size)
        element = self._flat[place][at]
        self._originals[place] = at, element.clone()
        is_positive = float(element.real if element.is_complex() else element) >= 0
        element.fill_(-self._size_of_change if is_positive else self._size_of_change)
        return at // self._columns if self._batch_first else at % self._columns

    def sample(self, place: int, index: int) -> torch.Tensor:
        """A copy of one sample of a set, as an input of batch 1."""
        return sample_of(self._inputs[place], index, self._batch_first)

    def undo(self) -> None:
        """Undo all changes."""
        for place in list(self._originals):
            self._undo(place)

    def _undo(self, place: int) -> None:
        if place in self._originals:
            at, original = self._originals.pop(place)
            self._flat[place][at] = original


class TimedLaunches:
    """The launches of one cell while they are timed."""

    def __init__(
        self, problem: Problem, changed: ChangedInputs, outputs: Sequence[object], seed: int
    ) -> None:
        self._problem = problem
        self._changed = changed
        self._outputs = outputs
        self._random = random.Random(f"{seed} {id(self)}")
        self._threads = torch.get_num_threads()
        self._sample = 0
        self._seen = 0
        self._kept: list[tuple[torch.Tensor, torch.Tensor]] = []
        self.refusal: str | None = None
        """The first defect that shows without a comparison."""

    def any_turn(self) -> int:
        """A set of inputs by chance."""
        return self._random.randrange(len(self._outputs))

    def before(self, turn: int) -> None:
        """Change the input of the launch that follows."""
        self._sample = self._changed.change(turn % len(self._outputs))

    def after(self, turn: int) -> None:
        """Look at the launch that has just returned; keep its sample if chance wants it."""
        place = turn % len(self._outputs)
        y = self._outputs[place]
        defects = (self.refusal, self._thread_change(), defect_of(y, self._problem))
        self.refusal = next(filter(None, defects), None)
        if self.refusal or not isinstance(y, torch.Tensor):
            return
        self._seen += 1
        if len(self._kept) < KEPT_SAMPLES:
            self._kept.append(self._both(place, y))
        elif self._random.random() < KEPT_SAMPLES / self._seen:
            self._kept[self._random.randrange(KEPT_SAMPLES)] = self._both(place, y)

    def _both(self, place: int, y: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        batch_first = self._problem.layout == "batch_first"
        return self._changed.sample(place, self._sample), sample_of(y, self._sample, batch_first)

    def _thread_change(self) -> str | None:
        if torch.get_num_threads() == self._threads:
            return None
        torch.set_num_threads(self._threads)
        return "it changed the number of torch's threads, which other implementations use"

    def check(self, weights: torch.Tensor, bmm_error: float | None) -> Correctness | None:
        """The kept samples against the reference; None where nothing was timed yet."""
        if self.refusal:
            return Correctness(float("inf"), float("inf"), False, self.refusal)
        if not self._kept:
            return None
        axis = 0 if self._problem.layout == "batch_first" else 1
        x, y = (torch.cat(parts, axis).contiguous() for parts in zip(*self._kept, strict=True))
        few = replace(self._problem, batch=len(self._kept))
        found = check(few, y, reference(few, weights, x), bmm_error)
        if found.ok:
            return found
        return replace(
            found, reason=f"outputs of timed launches are not those of their inputs: {found.reason}"
        )

    def check_whole(
        self, turn: int, weights: torch.Tensor, truth: torch.Tensor, bmm_error: float | None
    ) -> Correctness:
        """The whole output of the launch that has just returned; `truth` is that of the unchanged input."""
        y = self._outputs[turn % len(self._outputs)]
        if reason := self.refusal or defect_of(y, self._problem):
            return Correctness(float("inf"), float("inf"), False, reason)
        assert isinstance(y, torch.Tensor)
        batch_first = self._problem.layout == "batch_first"
        one = self._changed.sample(turn % len(self._outputs), self._sample)
        row = reference(replace(self._problem, batch=1), weights, one)
        at = (slice(self._sample, self._sample + 1), slice(None))
        part = truth[at if batch_first else at[::-1]]
        unchanged = part.clone()
        part.copy_(row)
        try:
            return _of_timed(check(self._problem, y, truth, bmm_error))
        finally:
            part.copy_(unchanged)


def _of_timed(found: Correctness) -> Correctness:
    if found.ok:
        return found
    return replace(found, reason=f"outputs of timed launches are not those of their inputs: {found.reason}")


def sample_of(activations: torch.Tensor, index: int, batch_first: bool) -> torch.Tensor:
    """A copy of one sample of X or Y, with a batch of 1."""
    return (activations[index : index + 1] if batch_first else activations[:, index : index + 1]).clone()


def defect_of(y: object, problem: Problem) -> str | None:
    """Why this is no computed output, since a subclass may compute when it is read; None for a plain one."""
    if type(y) is not torch.Tensor:
        return f"it returns a {type(y).__name__}, not a plain tensor: what that computes later is not timed"
    if y.layout != torch.strided or tuple(y.shape) != problem.output_shape:
        return f"it returns {tuple(y.shape)} in {y.layout} instead of {problem.output_shape}"
    return None
