"""Exported models run without this package: ONNX in onnxruntime, `.pt2` where it cannot be imported."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from torch import nn

from kswatch import export_onnx, export_portable
from kswatch.errors import UsageError
from kswatch.kernels import KSLinear
from kswatch.kernels.layer import portable_export

pytestmark = [
    pytest.mark.usefixtures("one_thread"),
    pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::FutureWarning", "ignore::UserWarning"),
]

CHAIN = [(2, 6, 4, 3), (1, 5, 9, 4), (5, 7, 4, 1)]
BATCH = torch.export.Dim("batch")


class Mixed(nn.Module):
    """Both layouts, with and without bias, one factor and several, between other layers."""

    def __init__(self) -> None:
        super().__init__()
        self.first = KSLinear(CHAIN)
        self.second = KSLinear([(5, 4, 7, 1)], bias=False)
        self.third = KSLinear([(2, 3, 5, 2), (1, 4, 6, 2)], layout="batch_last")
        self.fourth = KSLinear([(1, 6, 4, 2)], bias=False, layout="batch_last")
        self.norm = nn.LayerNorm(20)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        y = self.norm(self.second(torch.relu(self.first(x))))
        return self.fourth(torch.tanh(self.third(y.t()))).t()


@pytest.fixture
def model() -> Mixed:
    torch.manual_seed(0)
    return Mixed().eval()


def assert_runs_in_onnxruntime(
    file: Path, model: nn.Module, make_input: Callable[[int], torch.Tensor], tolerance: float = 1e-5
) -> None:
    """The file computes what the model computes, for other batch sizes than that of the export."""
    onnxruntime = pytest.importorskip("onnxruntime")
    session = onnxruntime.InferenceSession(file, providers=["CPUExecutionProvider"])
    (argument,) = session.get_inputs()
    for batch in (1, 5, 33):
        x = make_input(batch)
        (y,) = session.run(None, {argument.name: x.numpy()})
        np.testing.assert_allclose(y, model(x).detach().numpy(), rtol=10 * tolerance, atol=tolerance)


def rows(batch: int) -> torch.Tensor:
    return torch.randn(batch, 24)


def test_a_whole_model_runs_in_onnxruntime_for_any_batch(model: Mixed, tmp_path: Path) -> None:
    pytest.importorskip("onnxscript")
    file = tmp_path / "model.onnx"
    program = export_onnx(model, (rows(8),), file, dynamic_shapes=({0: BATCH},), input_names=["x"])
    assert_runs_in_onnxruntime(file, model, rows)
    assert {node.domain for node in program.model.graph} == {""}  # ONNX's own operators alone
    assert program.model.graph.inputs[0].name == "x"


@pytest.mark.slow
@pytest.mark.parametrize("layout", ["batch_first", "batch_last"])
@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize("chain", [CHAIN, CHAIN[:1], [(1, 20, 24, 1)]])
def test_each_kind_of_layer_runs_in_onnxruntime(chain: list, bias: bool, layout: str, tmp_path: Path) -> None:
    layer = KSLinear(chain, bias=bias, layout=layout).eval()
    make_input = rows if layout == "batch_first" else lambda batch: torch.randn(24, batch)
    axis = 0 if layout == "batch_first" else 1
    file = tmp_path / "layer.onnx"
    export_onnx(layer, (make_input(8),), file, dynamic_shapes=({axis: BATCH},))
    assert_runs_in_onnxruntime(file, layer, make_input)


@pytest.mark.slow
def test_a_transformer_runs_in_onnxruntime(tmp_path: Path) -> None:
    model = nn.TransformerEncoderLayer(24, 4, 36, batch_first=True).eval()
    model.linear1, model.linear2 = KSLinear([(2, 6, 4, 3)]), KSLinear([(2, 4, 6, 3)])
    file = tmp_path / "layer.onnx"
    export_onnx(model, (torch.randn(8, 5, 24),), file, dynamic_shapes=({0: BATCH},))
    assert_runs_in_onnxruntime(file, model, lambda batch: torch.randn(batch, 5, 24), 1e-4)


@pytest.mark.slow
def test_half_precision_runs_in_onnxruntime(tmp_path: Path) -> None:
    layer = KSLinear(CHAIN, dtype=torch.float16).eval()
    file = tmp_path / "layer.onnx"
    export_onnx(layer, (rows(8).half(),), file, dynamic_shapes=({0: BATCH},))
    assert_runs_in_onnxruntime(file, layer, lambda batch: rows(batch).half(), 1e-2)


@pytest.mark.slow
def test_torchs_own_function_exports_a_layer_as_well(model: Mixed, tmp_path: Path) -> None:
    file = tmp_path / "model.onnx"
    torch.onnx.export(model, (rows(8),), file, dynamo=True, dynamic_shapes=({0: BATCH},), verbose=False)
    assert_runs_in_onnxruntime(file, model, rows)


def test_torchs_older_exporter_exports_a_layer_as_well(model: Mixed, tmp_path: Path) -> None:
    pytest.importorskip("onnx")
    file = tmp_path / "model.onnx"
    axes = {"x": {0: "batch"}}
    torch.onnx.export(model, (rows(8),), file, dynamo=False, input_names=["x"], dynamic_axes=axes)
    assert_runs_in_onnxruntime(file, model, rows)


def test_without_onnx_the_packages_are_named(model: Mixed, monkeypatch: pytest.MonkeyPatch) -> None:
    finder = SimpleNamespace(util=SimpleNamespace(find_spec=lambda name: None))
    monkeypatch.setattr(portable_export, "importlib", finder)
    with pytest.raises(UsageError, match=r"needs onnx and onnxscript: pip install 'kswatch\[onnx\]'"):
        export_onnx(model, (rows(8),))


def test_a_portable_program_names_torchs_operators_alone(model: Mixed) -> None:
    program = export_portable(model, (rows(8),), dynamic_shapes=({0: BATCH},))
    assert "kswatch" not in str(program.graph)
    x = rows(31)
    torch.testing.assert_close(program.module()(x), model(x), rtol=1e-4, atol=1e-5)


LOAD = """
import sys
PREPARE
import torch
program = torch.export.load(sys.argv[1]).module()
x, truth = torch.load(sys.argv[2])
torch.testing.assert_close(program(x), truth, rtol=1e-4, atol=1e-5)
"""
WITHOUT_US = 'sys.modules["kswatch"] = None  # any import of it fails'
AS_THE_README_SHOWS = "from kswatch import KSLinear; KSLinear"


def loaded(
    program: torch.export.ExportedProgram, model: nn.Module, prepare: str, folder: Path
) -> subprocess.CompletedProcess[str]:
    """The child that loads a program from a file and compares it with the model."""
    torch.export.save(program, folder / "model.pt2")
    x = rows(31)
    torch.save((x, model(x).detach()), folder / "truth.pt")
    code = LOAD.replace("PREPARE", prepare)
    command = [sys.executable, "-c", code, folder / "model.pt2", folder / "truth.pt"]
    return subprocess.run(command, capture_output=True, text=True)


@pytest.mark.slow
def test_a_portable_program_loads_without_this_package(model: Mixed, tmp_path: Path) -> None:
    program = export_portable(model, (rows(8),), dynamic_shapes=({0: BATCH},))
    child = loaded(program, model, WITHOUT_US, tmp_path)
    assert child.returncode == 0, child.stderr


@pytest.mark.slow
@pytest.mark.parametrize("prepare", [WITHOUT_US, AS_THE_README_SHOWS])
def test_a_program_with_the_operator_loads_after_the_import_of_the_readme(
    model: Mixed, prepare: str, tmp_path: Path
) -> None:
    program = torch.export.export(model, (rows(8),), dynamic_shapes=({0: BATCH},))
    child = loaded(program, model, prepare, tmp_path)
    assert (child.returncode == 0) == (prepare == AS_THE_README_SHOWS), child.stderr
    if child.returncode:
        assert "failed to resolve torch.ops.kswatch.product" in child.stderr
