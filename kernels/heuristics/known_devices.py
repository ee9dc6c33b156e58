"""Names of devices: what a user types, resolved to a measured model, a model with stated rates, or a CPU."""

from __future__ import annotations

import re
from collections.abc import Sequence
from difflib import get_close_matches

from kswatch.errors import UsageError
from kswatch.kernels.heuristics.base import DeviceFacts
from kswatch.kernels.heuristics.device_distance import STATED_RATES, model_words
from kswatch.kernels.heuristics.model_file import learned_sections

_QUALIFIER = re.compile(
    r"nvidia|tesla|geforce|quadro|rtx|gtx|titan|ada|generation|super|ti|laptop|gpu|pcie|sxm\d?|nvl|hbm\w*|"
    r"\d+gb|mig|cuda|sim|\d?g\.\d+gb|x?\d{1,2}"
)
"""Words that occur in the names of models beside the word of `STATED_RATES`."""
_PROCESSOR = re.compile(
    r"cpu|intel(\(r\))?|amd|xeon(\(r\))?|epyc|ryzen|threadripper|graviton\d?|neoverse|apple|arm\w*|x86|aarch64|amd64"
)
"""Words of which one occurs in the name of a processor."""
_CLOSE = 0.34
_NAMES_SHOWN = 4


def find_device_facts(
    name: str, measured: Sequence[DeviceFacts] | None = None, other_models: Sequence[str] = ()
) -> DeviceFacts:
    """The facts of the device that a name means, where case, `_`, `-` and the manufacturer do not matter.

    A name may be shorter than that of the measured model: `V100` is the Tesla V100-PCIE-16GB if no other
    V100 was measured.

    Args:
        name: the name of a model, or `cpu`.
        measured: facts of the measured devices; by default those of the model file in use.
        other_models: further names to suggest where nothing is found.

    Raises:
        UsageError: no such device is known, or the name means several measured models; it lists names.
    """
    known = [section.device for section in learned_sections()] if measured is None else measured
    models = {str(facts["model"]): facts for facts in known if facts.get("model")}
    words = model_words(name)
    exact = [model for model in models if model_words(model) == words]
    found = exact or [model for model in models if words and words <= model_words(model)]
    if len({model_words(model) for model in found}) > 1:
        raise UsageError(f"device {name!r} means several measured ones; name one: {', '.join(sorted(found))}")
    if found:
        return models[found[0]]
    if is_processor(name):
        return {"model": name, "kind": "cpu"}
    if has_stated_rates(name):
        return {"model": name, "kind": "cuda"}
    raise UsageError(unknown_device(name, sorted({*models, *other_models})))


def has_stated_rates(name: str) -> bool:
    """Whether the name is that of a GPU with a manufacturer's figures, such as `NVIDIA H100 80GB HBM3`."""
    words = model_words(name)
    others = words - STATED_RATES.keys()
    return len(others) < len(words) and all(_QUALIFIER.fullmatch(word) for word in others)


def is_processor(name: str) -> bool:
    """Whether the name is `cpu` or that of a processor."""
    return any(_PROCESSOR.fullmatch(word) for word in model_words(name))


def unknown_device(name: str, models: Sequence[str]) -> str:
    """The sentence for a name that means nothing, with the names nearest to it."""
    known = ["cpu", *models, *(word.upper() for word in STATED_RATES)]
    by_folded = {one.casefold(): one for one in known}
    wanted = [name.casefold(), *sorted(model_words(name), key=len, reverse=True)]
    near = [match for one in wanted for match in get_close_matches(one, by_folded, _NAMES_SHOWN, _CLOSE)]
    names = [by_folded[one] for one in dict.fromkeys(near)][:_NAMES_SHOWN] or known
    return f"no device {name!r} is known, so nothing can be predicted for it; near names: {', '.join(names)}"
