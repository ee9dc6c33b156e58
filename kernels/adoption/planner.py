"""Makes the plan: finds each layer's chains, their costs and errors, and chooses."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from functools import cache, partial

from kswatch.kernels.adoption.chains import by_predicted_cost, valid_chains, weight_count
from kswatch.kernels.adoption.found_layer import FoundLayer
from kswatch.kernels.adoption.plan import Alternative, LayerPlan, Plan
from kswatch.kernels.adoption.selection import Limits, fastest, loses, within_limits
from kswatch.kernels.adoption.weight_errors import WeightErrors
from kswatch.kernels.heuristics.layer_costs import Chain, Cost, LayerCosts
from kswatch.kernels.heuristics.learned import METRICS
from kswatch.kernels.problem import Precision

DENSITIES = (1 / 2,)
"""Largest share of the dense weights that the fastest chain has; it keeps half of that or more."""
DENSITIES_WITHIN_LIMITS = (1 / 2, 1 / 4, 1 / 8, 1 / 16, 1 / 32)
GRAIN = 8
"""Blocks whose sides are multiples of this fill vector registers and tensor cores."""
NOTES = (
    "linear layers only, each as often as one forward pass calls it; errors are those before any training",
)

BestChain = Callable[[int, int, int, Precision, float], Chain | None]
Track = Callable[[Sequence[FoundLayer]], Iterable[FoundLayer]]
"""Passes the layers on, one by one; may show progress."""


def plan_layers(
    found: Sequence[FoundLayer],
    model_parameters: int,
    device: str,
    costs: LayerCosts,
    limits: Limits,
    notes: Sequence[str] = (),
    track: Track = iter,
) -> Plan:
    """The plan for layers that were found in a model or in a file.

    Raises:
        UsageError: the limits cannot be met.
    """
    densities = DENSITIES_WITHIN_LIMITS if limits.are_given else DENSITIES
    best_chain = cache(partial(_best_chain, costs))  # blocks of a model have the same shapes
    options = [_options(layer, costs, best_chain, densities) for layer in track(found)]
    if limits.are_given:
        chosen = _chosen_within(found, options, limits, model_parameters)
    else:
        chosen = [_fastest_or_dense(alternatives) for alternatives in options]
    lines = tuple(
        _line(layer, alternatives, alternative, limits)
        for layer, alternatives, alternative in zip(found, options, chosen, strict=True)
    )
    return Plan(device, lines, model_parameters, (*NOTES, *notes))


def _chosen_within(
    found: Sequence[FoundLayer],
    options: Sequence[Sequence[Alternative]],
    limits: Limits,
    model_parameters: int,
) -> list[Alternative]:
    """The alternative of each layer that keeps the limits; layers that are never called stay dense."""
    called = [place for place, layer in enumerate(found) if layer.calls]
    allowed = [
        [
            options[place][0],
            *(one for one in options[place][1:] if not _is_left(one, options[place][0], limits)),
        ]
        for place in called
    ]
    others = model_parameters - sum(alternatives[0].parameters for alternatives in allowed)
    chosen = [alternatives[0] for alternatives in options]
    for place, alternatives, taken in zip(
        called, allowed, within_limits(allowed, limits, others), strict=True
    ):
        chosen[place] = alternatives[taken]
    return chosen


def _is_left(alternative: Alternative, dense: Alternative, limits: Limits) -> bool:
    """Whether a chain must not be taken: it would lose, or nothing is known and parameters do not count."""
    lost = loses(alternative, dense)
    return limits.max_parameters is None if lost is None else lost


def _fastest_or_dense(alternatives: Sequence[Alternative]) -> Alternative:
    best = fastest(alternatives[1:])
    return best if best is not None and loses(best, alternatives[0]) is False else alternatives[0]


def _line(
    layer: FoundLayer, alternatives: Sequence[Alternative], alternative: Alternative, limits: Limits
) -> LayerPlan:
    chain = alternative if alternative.patterns else fastest(alternatives[1:])
    replaced = bool(alternative.patterns)
    return LayerPlan(
        name=layer.name,
        shared_with=layer.shared_with,
        in_features=layer.in_features,
        out_features=layer.out_features,
        calls=layer.calls,
        precision=layer.precision,
        dense=alternatives[0],
        chain=chain,
        is_replaced=replaced,
        reason=None if replaced else _dense_reason(layer, alternatives[0], chain, limits),
    )


def _dense_reason(layer: FoundLayer, dense: Alternative, chain: Alternative | None, limits: Limits) -> str:
    if layer.reason is not None:
        return layer.reason
    if chain is None:
        return "no chain with fewer weights has this shape"
    lost = loses(chain, dense)
    if lost is None:
        return "no data for this device at this size, so no gain can be promised"
    return "its best chain would be slower" if lost else "the limits are met without"


def _options(
    layer: FoundLayer, costs: LayerCosts, best_chain: BestChain, densities: Sequence[float]
) -> list[Alternative]:
    """Dense, then the chain of each density that is predicted to be fastest."""
    parameters = layer.in_features * layer.out_features + layer.bias_parameters
    precision = layer.precision
    if precision is None or not layer.calls or not layer.in_features:  # unknown to a lazy layer
        return [Alternative((), None, Cost(), Cost(), parameters)]
    latency, energy = (_dense_cost(layer, costs, precision, metric) for metric in METRICS)
    dense = Alternative((), None, latency, energy, parameters, 0.0, 0.0)
    if layer.reason is not None:
        return [dense]
    shape = (layer.in_features, layer.out_features, max(layer.calls), precision)
    chains = dict.fromkeys(best_chain(*shape, density) for density in densities)
    errors = None if layer.read_matrix is None else WeightErrors(layer.read_matrix())
    return [dense, *(_chain_alternative(layer, chain, costs, precision, errors) for chain in chains if chain)]


def _best_chain(
    costs: LayerCosts, in_features: int, out_features: int, rows: int, precision: Precision, density: float
) -> Chain | None:
    found = valid_chains(in_features, out_features, density, 2)
    grained = [chain for chain in found if not any(one.b % GRAIN or one.c % GRAIN for one in chain)]
    return next(iter(by_predicted_cost(grained or found, costs, rows, precision)), None)


def _chain_alternative(
    layer: FoundLayer, chain: Chain, costs: LayerCosts, precision: Precision, errors: WeightErrors | None
) -> Alternative:
    rows = max(layer.calls)
    algorithm = costs.chain(chain, rows, precision)
    if algorithm.cost.value is None:
        algorithm = costs.chain(chain, rows, precision, "energy")
    latency, energy = (
        _sum([costs.chain(chain, rows, precision, metric, algorithm.algorithm).cost for rows in layer.calls])
        for metric in METRICS
    )
    return Alternative(
        patterns=chain,
        algorithm=algorithm.algorithm,
        latency=latency,
        energy=energy,
        parameters=weight_count(chain) + layer.bias_parameters,
        projection_error=None if errors is None else errors.of_chain(chain),
        svd_error=None if errors is None else errors.of_svd(chain),
    )


def _dense_cost(layer: FoundLayer, costs: LayerCosts, precision: Precision, metric: str) -> Cost:
    return _sum(
        [costs.dense(layer.in_features, layer.out_features, rows, precision, metric) for rows in layer.calls]
    )


def _sum(costs: Sequence[Cost]) -> Cost:
    total = costs[0]
    for cost in costs[1:]:
        total += cost
    return total
