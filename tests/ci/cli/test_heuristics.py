"""`kswatch heuristics` and `advise` as they are typed, on stores with a known truth."""

from __future__ import annotations

import json
import subprocess
import sys
from dataclasses import replace

import pytest
from typer.testing import CliRunner

from kswatch.ci.cli.heuristics import app
from kswatch.errors import ConfigurationError, KswatchError, UsageError
from kswatch.kernels.heuristics.catalogue import HEURISTICS
from kswatch.kernels.heuristics.learned import ranked
from kswatch.kernels.pattern import Pattern
from kswatch.kernels.problem import Problem
from tests.ci.cli.advice_stores import GPU, record
from tests.kswatch.sample_services import sample_services

SCORE_FIELDS = {
    "heuristic", "version", "problems", "majority", "accuracy", "balanced_accuracy", "tp", "fp", "fn", "tn",
    "regret",
}  # fmt: skip
ADVICE_FIELDS = {"implementation", "predicted_speedup", "confidence", "why", "nearest_measured"}
WHERE = ("--precision", "fp32", "--layout", "batch_last", "--batch", "4096")


@pytest.fixture
def run(store):
    """Runs a command of heuristics on the store."""

    def command(*arguments: str, url: str = str(store.engine.url)) -> str:
        result = CliRunner().invoke(app, list(arguments), obj=sample_services(url))
        if result.exception and not isinstance(result.exception, SystemExit):
            raise result.exception
        assert result.exit_code == 0, result.output
        return result.stdout

    return command


@pytest.fixture
def model_file(tmp_path, monkeypatch):
    """A model file of the test's own, in use; it does not exist yet."""
    path = tmp_path / "model.json"
    monkeypatch.setenv("KSWATCH_HEURISTICS", str(path))
    return path


def test_list_names_every_heuristic(run):
    rows = json.loads(run("heuristics", "list", "--json"))
    assert [row["heuristic"] for row in rows] == [rule.name for rule in HEURISTICS]
    assert "permutation v1: fused where d > 1" in run("heuristics", "list")


def test_score_keeps_its_contract_and_counts_measured_problems(run, store):
    record(store)
    rows = {row["heuristic"]: row for row in json.loads(run("heuristics", "score", "--json"))}
    assert rows.keys() == {rule.name for rule in HEURISTICS}
    for row in rows.values():
        assert row.keys() >= SCORE_FIELDS
        assert row["problems"] == 108 == row["tp"] + row["fp"] + row["fn"] + row["tn"]
    # d > 1 in two of three problems, and always fused is right wherever fused won
    assert rows["permutation"]["tp"] + rows["permutation"]["fp"] == 72
    assert rows["majority"]["accuracy"] == pytest.approx(rows["majority"]["tp"] / 108)


def test_held_out_scores_of_an_exact_rule_are_perfect_and_labelled(run, store):
    record(store, energy_per_ms=100.0, largest_b=96)
    learned = json.loads(run("heuristics", "score", "--held-out", "--json", "--metric", "energy"))[-1]
    assert (learned["heuristic"], learned["held_out"]) == ("learned", "block")
    assert learned["accuracy"] == 1.0 and learned["regret"] == 0
    assert learned["cost_errors"]["fused"]["r2_log"] > 0.999
    assert learned["speedup_error"] < 0.01


def test_another_device_of_the_same_law_teaches_this_one(run, store):
    record(store)
    assert json.loads(run("heuristics", "score", "--other-device", "--json"))[-1]["accuracy"] is None
    record(store, replace(GPU, uuid="GPU-bbbb", model="Other"))
    rows = json.loads(run("heuristics", "score", "--device", "Other", "--other-device", "--json"))
    assert (rows[-1]["held_out"], rows[-1]["accuracy"]) == ("device", 1.0)


def test_filters_that_leave_nothing_give_no_figures(run, store):
    record(store)
    rows = json.loads(run("heuristics", "score", "--precision", "bf16", "--json"))
    assert {row["problems"] for row in rows} == {0}
    assert "cost_model" in run("heuristics", "score", "--precision", "bf16")


def test_an_empty_store_is_an_error_that_names_the_cure(run, model_file):
    for command in ("score", "report"):
        with pytest.raises(UsageError, match="kswatch nightly"):
            run("heuristics", command)
    with pytest.raises(UsageError, match="too few measurements to fit"):
        run("heuristics", "fit")
    assert not model_file.exists()


def test_advice_uses_the_fitted_model(run, store, model_file):
    record(store, energy_per_ms=100.0)
    fitted = json.loads(run("heuristics", "fit", "--json"))
    assert {(one["metric"], one["problems"]) for one in fitted["sections"]} == {
        ("latency", 108),
        ("energy", 108),
    }
    assert model_file.stat().st_size == fitted["size_bytes"]
    advice = json.loads(run("advise", "4,32,32,8", *WHERE, "--json"))
    assert advice.keys() >= ADVICE_FIELDS
    assert advice["implementation"] == "fused"
    assert advice["predicted_speedup"] == advice["latency_gain"]
    assert advice["energy_gain"] == pytest.approx(advice["latency_gain"], rel=1e-3)
    assert advice["confidence"] > 0.9
    nearest = advice["nearest_measured"][0]
    assert (nearest["pattern"], nearest["doublings"]) == ("4,32,32,8", 0)
    assert nearest["speedup"] == pytest.approx(advice["predicted_speedup"], rel=0.05)


def test_simulated_devices_are_fitted_only_when_named(run, store, model_file):
    record(store, replace(GPU, simulated=True))
    with pytest.raises(UsageError, match="too few measurements"):
        run("heuristics", "fit")
    assert "108 problems" in run("heuristics", "fit", "--device", "GPU-aaaa")


def test_an_unmeasured_device_gets_the_nearest_model_with_a_caveat(run, store, model_file):
    record(store)
    run("heuristics", "fit")
    advice = run("advise", "4,32,32,8", *WHERE, "--device", "H200")
    assert "use fused" in advice
    assert "H200 was never measured: the nearest measured device is NVIDIA Made-up 80GB" in advice
    near, far = (
        json.loads(run("advise", "4,64,64,1", *WHERE, "--device", name, "--json"))
        for name in ("Made-up 80GB", "H200")
    )
    assert far["confidence"] < near["confidence"]


def test_without_a_store_the_shipped_model_answers(run, tmp_path):
    url = f"sqlite:///{tmp_path / 'nothing.db'}"
    advice = json.loads(run("advise", "1,768,192,2", *WHERE, "--device", "V100", "--json", url=url))
    assert advice["nearest_measured"] == [] and advice["implementation"] and advice["why"]
    with pytest.raises(UsageError, match="name a device"):
        run("advise", "1,768,192,2", *WHERE, url=url)
    assert not (tmp_path / "nothing.db").exists()


def test_a_cpu_without_a_fitted_model_gets_the_rule_with_a_caveat(run, store, model_file):
    record(store)
    run("heuristics", "fit")  # of a GPU
    advice = json.loads(run("advise", "4,32,32,8", *WHERE, "--device", "cpu", "--json"))
    assert (advice["implementation"], advice["heuristic"], advice["confidence"]) == (
        "fused",
        "permutation",
        None,
    )
    assert "rule d > 1" in advice["caveats"][0]


def test_a_chain_is_advised_factor_by_factor(run):
    advice = json.loads(run("advise", "1,192,48,2", "2,48,192,1", *WHERE, "--device", "H200", "--json"))
    assert len(advice["factors"]) == 2
    product = advice["factors"][0]["confidence"] * advice["factors"][1]["confidence"]
    assert advice["confidence"] == pytest.approx(product)
    with pytest.raises(UsageError, match="do not chain"):
        run("advise", "1,192,48,2", "1,192,48,2", *WHERE, "--device", "H200")


@pytest.mark.parametrize("pattern", ["4,64,64", "4,64,64,0"])
def test_a_malformed_problem_is_refused(run, pattern):
    with pytest.raises(KswatchError):
        run("advise", pattern, *WHERE, "--device", "H200")


def test_a_batch_below_1_is_a_fault_of_usage(store):
    arguments = ["advise", "4,32,32,8", "--batch", "0", "--device", "H200"]
    result = CliRunner().invoke(app, arguments, obj=sample_services(str(store.engine.url)))
    assert result.exit_code == 2 and "--batch" in result.output


def test_a_corrupt_model_file_is_an_error_that_names_the_cure(run, model_file):
    model_file.write_text("{")
    with pytest.raises(ConfigurationError, match="kswatch heuristics fit"):
        run("advise", "4,32,32,8", *WHERE, "--device", "H200")


def test_a_report_is_put_between_the_marks_and_nowhere_else(run, store, tmp_path):
    record(store, largest_b=64)  # too few for trees, which take long to hold out
    page = tmp_path / "page.md"
    page.write_text("before\n<!-- tables -->\nformer text\n<!-- end of tables -->\nafter\n")
    run("heuristics", "report", "--write", str(page))
    text = page.read_text()
    assert text.startswith("before\n") and text.endswith("after\n") and "former text" not in text
    assert "| learned | 1.000 | 1.000 | 0.00% |" in text
    page.write_text("no marks")
    with pytest.raises(UsageError, match="lacks the lines"):
        run("heuristics", "report", "--write", str(page))


def test_advice_is_quick_and_loads_neither_torch_nor_scikit_learn(store):
    record(store)
    code = f"""
import sys, time
from kswatch.ci.advisor.recommend import advise
from kswatch.db.store import Store
from kswatch.kernels.pattern import Pattern
from kswatch.kernels.problem import Problem
store = Store.open({str(store.engine.url)!r})
problems = [Problem(Pattern(a, 64, 64, 8), 4096, "fp32", "batch_last") for a in range(1, 12)]
advise(store, problems[0], "V100")
start = time.thread_time()
for problem in problems[1:]:
    advise(store, problem, "V100")
print((time.thread_time() - start) / 10)
assert not {{"torch", "sklearn", "scipy", "pandas"}} & set(sys.modules)
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert float(done.stdout) < 0.05


def test_a_device_that_is_not_known_is_refused_with_near_names(run, store):
    record(store)
    with pytest.raises(UsageError, match="'TPU v7' is known.*near names: .*T4"):
        run("advise", "4,32,32,8", *WHERE, "--device", "TPU v7")


def test_a_short_name_means_the_measured_model(run, store):
    record(store, replace(GPU, uuid="GPU-cccc", model="Tesla V100-SXM2-32GB"))
    record(store)
    nearest = json.loads(run("advise", "4,32,32,8", *WHERE, "--device", "V100 32GB", "--json"))[
        "nearest_measured"
    ]
    assert {one["device"] for one in nearest} == {"Tesla V100-SXM2-32GB"}


def test_far_outside_the_measured_sizes_nothing_is_claimed(run, store, model_file):
    record(store)
    run("heuristics", "fit")
    far = ("--precision", "fp32", "--layout", "batch_last", "--batch", "100000000")
    advice = json.loads(run("advise", "4,32,32,8", *far, "--json"))
    assert (advice["confidence"], advice["predicted_speedup"], advice["heuristic"]) == (
        None,
        None,
        "permutation",
    )
    assert any("batch is" in caveat for caveat in advice["caveats"])
    assert "too far to predict" in advice["caveats"][-1]


def test_advice_agrees_with_a_layer_or_has_the_reason(run, store, model_file):
    record(store)
    run("heuristics", "fit")
    for pattern in ("4,32,32,8", "4,64,64,1", "1,96,32,1"):
        for metric in ("latency", "energy"):
            advice = json.loads(run("advise", pattern, *WHERE, "--metric", metric, "--json"))
            choice = ranked(
                Problem(Pattern.parse(pattern), 4096, "fp32", "batch_last"), {"model": GPU.model}
            )[0]
            assert advice["layer_implementation"] == choice
            differs = [caveat for caveat in advice["caveats"] if caveat.startswith("KSLinear(")]
            assert len(differs) == (advice["implementation"] != choice)
    advice = json.loads(run("advise", "1,768,192,2", *WHERE, "--device", "V100", "--json"))
    assert advice["layer_implementation"] == "fused"  # d > 1: no latency of a V100 was measured


@pytest.mark.parametrize(
    ("precision", "used", "said"),
    [
        ("fp8", "fused", 'KSLinear.freeze("fp8") uses fused'),
        ("fp64", "", "KSLinear computes float64 by the definition"),
        ("complex64", "", "KSLinear has no complex weights"),
    ],
)
def test_advice_knows_in_which_precisions_a_layer_chooses_nothing(run, precision, used, said):
    where = ("--batch", "100", "--precision", precision, "--device", "cpu")
    advice = json.loads(run("advise", "6,64,64,1", *where, "--json"))
    assert advice["layer_implementation"] == used
    differs = [caveat for caveat in advice["caveats"] if caveat.startswith("KSLinear")]
    assert len(differs) == (advice["implementation"] != used)
    assert all(caveat.startswith(said) for caveat in differs)


def test_the_dense_product_is_beside_the_advice(run):
    advice = json.loads(run("advise", "4,32,32,8", "--batch", "196", "--device", "cpu", "--json"))
    assert advice["dense_gain"] == pytest.approx(
        advice["costs"]["dense"] / advice["costs"][advice["implementation"]]
    )
    chain = json.loads(
        run("advise", "6,64,64,1", "1,768,192,2", "--batch", "196", "--device", "cpu", "--json")
    )
    assert chain["dense_latency_ms"] > chain["latency_ms"] > 0
    assert "dense: takes" in run("advise", "4,32,32,8", "--batch", "196", "--device", "cpu")
    with pytest.raises(UsageError, match="--batch"):
        run("advise", "4,32,32,8", "--device", "cpu")
