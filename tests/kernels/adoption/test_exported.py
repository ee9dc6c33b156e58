"""Files of `torch.export.save`: their linear layers, and the files that are refused."""

from __future__ import annotations

import io
import json
import pickle
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest
import torch
from torch import nn

from kswatch.errors import UsageError
from kswatch.kernels.adoption.exported import read_exported
from tests.kernels.adoption.small_vit import CLASSES, WIDTH, Conv1D

pytestmark = pytest.mark.usefixtures("one_thread")


class Network(nn.Module):
    """Two calls of one layer, a Conv1D, and a head that is tied to an embedding."""

    def __init__(self) -> None:
        super().__init__()
        self.up = nn.Linear(WIDTH, 2 * WIDTH)
        self.down = Conv1D(WIDTH, 2 * WIDTH)
        self.same_up = self.up
        self.words = nn.Embedding(CLASSES, WIDTH)
        self.head = nn.Linear(WIDTH, CLASSES, bias=False)
        self.head.weight = self.words.weight

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        for up in (self.up, self.same_up):
            x = x + self.down(torch.relu(up(x)))
        return self.head(x + self.words(torch.tensor(0)))


@pytest.fixture(scope="module")
def network() -> Network:
    torch.manual_seed(0)
    return Network().eval()


@pytest.fixture(scope="module")
def saved(network, tmp_path_factory) -> dict[str, Path]:
    """The network with fixed rows, and with open ones."""
    folder = tmp_path_factory.mktemp("exported")
    x = torch.randn(2, 49, WIDTH)
    shapes = {"fixed": None, "open": {"x": {0: torch.export.Dim("rows")}}}
    for name, dynamic in shapes.items():
        program = torch.export.export(network, (x,), dynamic_shapes=dynamic)
        torch.export.save(program, folder / f"{name}.pt2")
    return {name: folder / f"{name}.pt2" for name in shapes}


def rewritten(source: Path, target: Path, change) -> Path:
    """A copy of an archive, each member passed through `change(name, data)`; None leaves it out."""
    with zipfile.ZipFile(source) as old, zipfile.ZipFile(target, "w") as new:
        for name in old.namelist():
            data = change(name, old.read(name))
            if data is not None:
                new.writestr(name, data)
    return target


def test_the_layers_of_a_file_are_those_of_the_model(network, saved) -> None:
    found = read_exported(saved["fixed"], None)
    by_name = {name: one for one in found.layers for name in (one.name, *one.shared_with)}
    up, down, head = by_name["up"], by_name["down"], by_name["head"]
    assert up is by_name["same_up"] and up.calls == (98, 98) and down.calls == (98, 98)
    assert (down.in_features, down.out_features, down.bias_parameters) == (2 * WIDTH, WIDTH, WIDTH)
    assert torch.equal(up.read_matrix(), network.up.weight)
    assert torch.equal(down.read_matrix(), network.down.weight.t())
    assert "aten.embedding" in head.reason and head.read_matrix is None
    assert found.parameters == sum(one.numel() for one in network.parameters())


def test_decomposed_products_are_found_too(network, saved, tmp_path) -> None:
    program = torch.export.export(network, (torch.randn(98, WIDTH),)).run_decompositions()
    torch.export.save(program, tmp_path / "core.pt2")
    found, expected = (read_exported(path, None).layers for path in (tmp_path / "core.pt2", saved["fixed"]))
    assert [(one.in_features, one.out_features, one.calls) for one in found] == [
        (one.in_features, one.out_features, one.calls) for one in expected
    ]
    assert torch.equal(found[0].read_matrix(), network.up.weight)


def test_open_rows_are_those_of_the_option_and_needed(saved) -> None:
    assert read_exported(saved["open"], 196).layers[0].calls == (196, 196)
    with pytest.raises(UsageError, match="--batch"):
        read_exported(saved["open"], None)
    assert read_exported(saved["fixed"], 7).layers[0].calls == (98, 98)


class Foreign:
    """Would leave a trace if it were unpickled."""

    def __reduce__(self):
        return (print, ("run",))


@pytest.mark.parametrize("member", ["sample_inputs/model.pt", "weights/weight_0"])
@pytest.mark.parametrize("protocol", [0, 2, 4])
def test_a_file_that_names_a_foreign_class_is_refused_and_not_run(
    saved, tmp_path, capsys, member: str, protocol: int
) -> None:
    def change(name: str, data: bytes) -> bytes:
        if name.endswith(member):
            return pickle.dumps(Foreign(), protocol)
        if member.startswith("weights") and name.endswith("model_weights_config.json"):
            return data.replace(b'"use_pickle": false', b'"use_pickle": true')
        return data

    path = rewritten(saved["fixed"], tmp_path / "foreign.pt2", change)
    with pytest.raises(UsageError, match=r"holds a pickled (builtins|__builtin__)\.print"):
        read_exported(path, None)
    assert capsys.readouterr().out == ""


def test_a_foreign_class_inside_a_nested_archive_is_found(saved, tmp_path) -> None:
    inner = io.BytesIO()
    with zipfile.ZipFile(inner, "w") as archive:
        archive.writestr("archive/data.pkl", pickle.dumps(Foreign(), 2))

    def change(name: str, data: bytes) -> bytes:
        return inner.getvalue() if name.endswith("sample_inputs/model.pt") else data

    with pytest.raises(UsageError, match="print"):
        read_exported(rewritten(saved["fixed"], tmp_path / "nested.pt2", change), None)


def edited(text: str, by: str):
    def change(name: str, data: bytes) -> bytes:
        return data.replace(text.encode(), by.encode()) if name.endswith("models/model.json") else data

    return change


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        (edited('"major": 8', '"major": 99'), "of version 99"),
        (lambda name, data: b"7" if name.endswith("archive_version") else data, "archive of version 7"),
        (lambda name, data: None if "models/" in name else data, "holds no exported program"),
        (edited('"graph_module"', '"graphs"'), "does not hold the program"),
        (lambda name, data: b"{" if name.endswith("model.json") else data, "does not hold the program"),
        (lambda name, data: None if name.endswith("archive_format") else data, "none of torch.export.save"),
        (edited("aten.", "other."), "no linear layer"),
    ],
)
def test_an_archive_of_another_kind_is_one_sentence(saved, tmp_path, change, sentence: str) -> None:
    with pytest.raises(UsageError, match=sentence) as raised:
        read_exported(rewritten(saved["fixed"], tmp_path / "other.pt2", change), None)
    assert "\n" not in str(raised.value)


def test_a_file_of_another_kind_is_one_sentence(network, saved, tmp_path) -> None:
    torch.save(network.state_dict(), tmp_path / "state.pt2")
    whole = saved["fixed"].read_bytes()
    (tmp_path / "half.pt2").write_bytes(whole[: len(whole) // 2])
    (tmp_path / "text.pt2").write_text("not a model")
    for name, sentence in {
        "state": "torch.save or torch.jit.save", "half": "not a complete archive",
        "text": "not a complete archive", "absent": "there is no file",
    }.items():  # fmt: skip
        with pytest.raises(UsageError, match=sentence):
            read_exported(tmp_path / f"{name}.pt2", None)


def test_weights_that_are_cut_short_are_one_sentence(saved, tmp_path) -> None:
    path = rewritten(
        saved["fixed"],
        tmp_path / "short.pt2",
        lambda name, data: data[:8] if "weights/weight_" in name else data,
    )
    with pytest.raises(UsageError, match="does not hold the program"):
        read_exported(path, None).layers[0].read_matrix()


def advise(*arguments: str, folder: Path) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "kswatch", "advise", *arguments]
    return subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)


def test_the_command_plans_a_file(saved, network, tmp_path) -> None:
    done = advise(str(saved["open"]), "--device", "cpu", "--batch", "196", "--json", folder=tmp_path)
    assert done.returncode == 0, done.stderr
    document = json.loads(done.stdout)
    up = document["layers"][0]
    assert {"name", "in", "out", "batch", "best", "latency_ms", "parameters", "source"} <= up.keys()
    assert (up["in"], up["out"], up["batch"], up["source"]) == (WIDTH, 2 * WIDTH, 196, "predicted")
    total = document["total"]
    assert total["latency_ms"] == pytest.approx(sum(one["latency_ms"] for one in document["layers"]))
    assert total["dense_model_parameters"] == sum(one.numel() for one in network.parameters())
    refused = advise(str(saved["fixed"]), "--device", "TPU v7", folder=tmp_path)
    assert refused.returncode == 2 and "near names" in refused.stderr and not refused.stdout
