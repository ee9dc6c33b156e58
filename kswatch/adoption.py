"""`kswatch.plan`, and the same for files: joins the model's layers, the advisor's devices and the store."""

from __future__ import annotations

from contextlib import closing, nullcontext
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import torch

    from kswatch.db.store import Store
    from kswatch.kernels.adoption.plan import Plan
    from kswatch.kernels.heuristics.layer_costs import LayerCosts


def plan(
    model: torch.nn.Module,
    example_input: Any,  # noqa: ANN401  (whatever the model takes)
    *,
    device: str | torch.device,
    max_parameters: int | None = None,
    max_latency_ms: float | None = None,
    max_energy_mj: float | None = None,
    store: Store | str | Path | None = None,
) -> Plan:
    """Which linear layers of a model to replace by which chains, and what that gains.

    Without limits each layer gets the fastest chain that keeps a quarter to half of its weights, if it is
    faster than dense. With limits, the chains are those that keep them and lose least of the weights. Layers
    that would lose, and those in use by hooks, parametrizations, quantisation or other modules, stay dense;
    the plan has the reasons. The model runs once on the example and is left as it was.

    Args:
        model: the model, not wrapped for distribution, compilation or scripting.
        example_input: a tensor, a tuple of positional arguments or a mapping of keyword arguments.
        device: where it will run: a device's name such as `H200` or `cpu`, a UUID in the store, or a torch
            device.
        max_parameters: limit for all parameters of the model.
        max_latency_ms: limit for the linear layers of one forward pass, in ms.
        max_energy_mj: limit for the linear layers of one forward pass, in mJ.
        store: an open store, its URL or its SQLite file, for measured costs; without one, everything is
            predicted by the shipped model.

    Returns:
        The plan: `print(plan)` shows a table, `plan.to_json()` a document, `kswatch.replace` executes it.

    Raises:
        UsageError: an argument makes no sense, no such device is known, or the limits cannot be met.
    """
    from kswatch.kernels.adoption.model_plan import plan_model
    from kswatch.kernels.adoption.selection import Limits

    limits = Limits(max_parameters, max_latency_ms, max_energy_mj)
    opened = _opened(store)
    with nullcontext() if opened is store or opened is None else closing(opened):
        name, costs, notes = _costs(opened, _device_name(device))
        return plan_model(model, example_input, name, costs, limits, notes)


def plan_exported(path: Path, batch: int | None, device: str | None, store: Store | None) -> Plan:
    """The plan for a file written by `torch.export.save`; nothing in it is run.

    Raises:
        UsageError: the file cannot be used, or no such device is known.
    """
    from kswatch.errors import UsageError

    if batch is not None and batch < 1:
        raise UsageError(f"batch {batch} is not an integer >= 1; try --batch 196")
    name, costs, notes = _costs(store, device)  # before torch is loaded

    from rich.console import Console
    from rich.progress import track

    from kswatch.kernels.adoption.exported import read_exported
    from kswatch.kernels.adoption.planner import plan_layers
    from kswatch.kernels.adoption.selection import Limits

    found = read_exported(path, batch)
    console = Console(stderr=True)

    def tracked(layers: Any) -> Any:  # noqa: ANN401
        return track(layers, "planning", console=console, disable=not console.is_terminal, transient=True)

    return plan_layers(found.layers, found.parameters, name, costs, Limits(), notes, tracked)


def _costs(store: Store | None, device: str | None) -> tuple[str, LayerCosts, tuple[str, ...]]:
    """The device's name, its costs, and remarks on where they come from."""
    from kswatch.ci.advisor.from_store import find_target_device, measured_on
    from kswatch.kernels.heuristics.layer_costs import LayerCosts

    target = find_target_device(store, device)
    costs = LayerCosts(target.facts, measured_on(store, target))
    return target.name, costs, costs.remarks()


def _opened(store: Store | str | Path | None) -> Store | None:
    from kswatch.db.config import file_url
    from kswatch.db.store import Store
    from kswatch.errors import UsageError

    if store is None or isinstance(store, Store):
        return store
    if not isinstance(store, str | Path):
        raise UsageError(f"store = {store!r} is no store; give its URL or its file, as in store='kswatch.db'")
    text = str(store)
    return Store.open(text if "://" in text else file_url(Path(text)), create=False)


def _device_name(device: str | torch.device) -> str:
    """The name that predictions know; of a GPU in this machine, its model."""
    import torch

    from kswatch.errors import UsageError

    text = str(device)
    if text.partition(":")[0] != "cuda":
        return text
    if not torch.cuda.is_available():
        raise UsageError(f"device {text!r} is not in this machine; name its model, as in device='H200'")
    return torch.cuda.get_device_name(text)
