"""The compile time of a product is a series of its own."""

from __future__ import annotations

from dataclasses import replace

from kswatch.ci.check import judge_run
from kswatch.ci.config import CiConfig
from kswatch.db.queries import basic as queries
from tests.ci.nights import Nights

WITH_RIVAL = ("fused", "bmm", "compiled")


class CompilingNights(Nights):
    """Nights on which `compiled` takes twelve seconds to compile, or as much longer as is planted."""

    slower = 1.0

    def _problem(self, *arguments):
        return [
            replace(record, compile_ms=12_000 * self.slower * (1 + 0.01 * self.rng.standard_normal()))
            if record.implementation == "compiled"
            else record
            for record in super()._problem(*arguments)
        ]


def judged(store, run_id):
    found = judge_run(store, queries.run(store, run_id), CiConfig(), is_newest=True).verdicts
    return {
        metric: {(one.implementation, one.verdict) for one in found if one.metric == metric}
        for metric in ("compile_ms", "latency_ms")
    }


def test_a_longer_compile_time_is_slower_while_the_latency_is_the_same(store) -> None:
    nights = CompilingNights(store)
    libraries = {"compiled": {"torch": "2.13.0"}}
    for run_id in nights.quiet(10, implementations=WITH_RIVAL, libraries=libraries):
        judged(store, run_id)
    nights.slower = 1.5
    verdicts = judged(store, nights.night(implementations=WITH_RIVAL, libraries=libraries))
    assert verdicts["compile_ms"] == {("compiled", "slower")}
    assert {verdict for _, verdict in verdicts["latency_ms"]} == {"same"}
