"""The linear layers of a file written by `torch.export.save`, read without running anything of it.

The archive holds the graph as JSON and the weights as bytes, which are read here; torch's own loader would
unpickle example inputs and constants without restriction. What is pickled in the file is only scanned for the
classes that it names, and a file that names others than torch's tensors and plain containers is refused.
"""

from __future__ import annotations

import io
import json
import math
import pickletools
import re
import zipfile
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import torch

from kswatch.errors import UsageError
from kswatch.kernels.adoption.found_layer import PRECISION_OF, FoundLayer

ARCHIVE_VERSION, SCHEMA_MAJOR = "0", 8
DTYPES = {6: torch.float16, 7: torch.float32, 8: torch.float64, 13: torch.bfloat16}
"""By torch's serialised numbers."""
_HARMLESS = re.compile(
    r"collections OrderedDict|torch\._utils _rebuild_\w+|torch\.nn\.parameter Parameter|"
    r"torch(\.storage)? \w*Storage|"
    r"torch\.serialization _get_layout|torch (Size|device|float\d+|bfloat16|u?int\d+|bool|complex\d+)|"
    r"(builtins|__builtin__) (set|frozenset|slice|complex|range|bytearray)|_codecs encode"
)
_SAME_WEIGHT = ("aten.detach.", "aten.alias.", "aten.clone.")
_TRANSPOSED = ("aten.t.", "aten.transpose.int", "aten.permute.")
_CURE = "save it with torch.export.save(torch.export.export(model, inputs), 'model.pt2')"

Plain = Mapping[str, Any]


@dataclass(frozen=True)
class ExportedModel:
    """The linear layers of an exported program, and the number of all its parameters."""

    layers: tuple[FoundLayer, ...]
    parameters: int


@dataclass
class _Use:
    """What the graph does with one weight."""

    names: list[str] = field(default_factory=list)
    calls: list[int] = field(default_factory=list)
    is_transposed: bool = False
    """Stored as (in, out)."""
    bias: str | None = None
    readers: set[str] = field(default_factory=set)


def read_exported(path: Path, batch: int | None) -> ExportedModel:
    """The linear layers of an exported program.

    Args:
        path: a file by `torch.export.save`.
        batch: rows of each linear call whose number the file leaves open.

    Raises:
        UsageError: the file is none, is damaged, of another version, names foreign classes in what it
            pickles, has no linear layer, or leaves rows open while no batch is given.
    """
    with _readable(path), zipfile.ZipFile(path) as archive:
        return _Program(path, archive).read(batch)


@contextmanager
def _readable(path: Path) -> Iterator[None]:
    try:
        yield
    except FileNotFoundError:
        raise UsageError(f"there is no file {path}") from None
    except zipfile.BadZipFile as error:
        raise UsageError(
            f"{path} is not a complete archive of torch.export.save ({error}); {_CURE}"
        ) from None
    except OSError as error:
        raise UsageError(f"{path} cannot be read: {error}") from None
    except (
        KeyError,
        TypeError,
        ValueError,
        AttributeError,
        IndexError,
        RuntimeError,
        RecursionError,
    ) as error:
        raise UsageError(
            f"{path} does not hold the program that its format demands ({type(error).__name__}: {error}); "
            f"{_CURE}"
        ) from None


class _Program:
    """One program of an open archive."""

    def __init__(self, path: Path, archive: zipfile.ZipFile) -> None:
        self._path, self._archive = path, archive
        self._root = self._find_root()
        self._check_versions()
        self._model = self._find_model()
        self._weights = self._config("weights")
        self._check_pickles()

    def read(self, batch: int | None) -> ExportedModel:
        document = json.loads(self._archive.read(f"{self._root}models/{self._model}.json"))
        version = document["schema_version"]["major"]
        if version != SCHEMA_MAJOR:
            raise UsageError(
                f"{self._path} is of version {version} of torch's format, not {SCHEMA_MAJOR} (saved by "
                f"torch {document.get('torch_version', 'of another version')}); export it with another torch"
            )
        graph = document["graph_module"]["graph"]
        uses, open_calls = self._uses(graph, document["graph_module"]["signature"], batch)
        if not uses:
            raise UsageError(f"{self._path} has no linear layer, so there is nothing to replace")
        if open_calls:
            raise UsageError(
                f"{self._path} leaves the rows of {open_calls} linear calls open; give them with --batch"
            )
        files = {
            meta["path_name"]: meta["tensor_meta"] for meta in self._weights.values() if meta["is_param"]
        }
        count = sum(_count(meta) for meta in files.values())
        return ExportedModel(tuple(self._layer(use) for use in uses), count)

    def _find_root(self) -> str:
        names = self._archive.namelist()
        for name in names:
            if name.endswith("archive_format") and self._archive.read(name).strip() == b"pt2":
                return name.removesuffix("archive_format")
        if any(name.endswith("serialized_exported_program.json") for name in names):
            raise UsageError(
                f"{self._path} is of an older version of torch.export.save; export the model with this torch"
            )
        if any(name.endswith("data.pkl") for name in names):
            raise UsageError(
                f"{self._path} is of torch.save or torch.jit.save, whose loading would run its code; {_CURE}"
            )
        raise UsageError(f"{self._path} is a zip archive but none of torch.export.save; {_CURE}")

    def _check_versions(self) -> None:
        version = self._archive.read(f"{self._root}archive_version").decode().strip()
        if version != ARCHIVE_VERSION:
            raise UsageError(
                f"{self._path} is an archive of version {version[:20]}, not {ARCHIVE_VERSION}; export the "
                "model with another torch"
            )

    def _find_model(self) -> str:
        folder = f"{self._root}models/"
        names = [
            name for name in self._archive.namelist() if name.startswith(folder) and name.endswith(".json")
        ]
        models = [name.removeprefix(folder).removesuffix(".json") for name in names]
        if not models:
            raise UsageError(f"{self._path} holds no exported program; {_CURE}")
        if len(models) > 1:
            raise UsageError(
                f"{self._path} holds several programs ({', '.join(sorted(models))}); save one a file"
            )
        return models[0]

    def _config(self, kind: str) -> Plain:
        name = f"{self._root}data/{kind}/{self._model}_{kind}_config.json"
        found: Plain = (
            json.loads(self._archive.read(name))["config"] if name in self._archive.namelist() else {}
        )
        return found

    def _check_pickles(self) -> None:
        """Refuse a file whose pickled members name a class that loading would import.

        Raises:
            UsageError: one does; it names the class and the member.
        """
        pickled = [self._weight_file(meta) for meta in self._weights.values() if meta["use_pickle"]]
        folders = tuple(f"{self._root}data/{kind}/" for kind in ("sample_inputs", "constants"))
        constants = {
            f"{folders[1]}{meta['path_name']}": meta["use_pickle"]
            for meta in self._config("constants").values()
        }
        for name in self._archive.namelist():
            if name.startswith(folders) and not name.endswith(".json") and constants.get(name, True):
                pickled.append(name)
        for name in dict.fromkeys(pickled):
            for foreign in _foreign_classes(self._archive.read(name)):
                raise UsageError(
                    f"{self._path} holds a pickled {foreign} ({name.removeprefix(self._root)}), whose code "
                    "loading would run; export the model without it: only tensors and containers are read"
                )

    def _weight_file(self, meta: Plain) -> str:
        return f"{self._root}data/weights/{meta['path_name']}"

    def _uses(self, graph: Plain, signature: Plain, batch: int | None) -> tuple[list[_Use], int]:
        """What the graph does with each weight of a linear call, and the number of calls of unknown rows."""
        parameters = {
            spec["parameter"]["arg"]["name"]: spec["parameter"]["parameter_name"]
            for spec in signature["input_specs"]
            if "parameter" in spec
        }
        weights = {name: (name, False) for name in parameters}  # value: (parameter, whether it is transposed)
        uses: dict[str, _Use] = defaultdict(_Use)
        readers: dict[str, set[str]] = defaultdict(set)
        open_calls = 0
        for node in graph["nodes"]:
            target = node["target"].removeprefix("torch.ops.")
            values = {one["name"]: one["arg"].get("as_tensor", {}).get("name") for one in node["inputs"]}
            passed = weights.get(values.get("self") or values.get("input") or "")
            if passed is not None and target.startswith((*_SAME_WEIGHT, *_TRANSPOSED)):
                turned = target.startswith(_TRANSPOSED)
                weights[node["outputs"][0]["as_tensor"]["name"]] = (passed[0], passed[1] != turned)
                continue
            call = _linear_call(target, values, weights)
            for name in _tensor_names(node["inputs"]):
                if name in weights and not (call and name in (call[0], call[2])):
                    readers[parameters[weights[name][0]]].add(target)
            if call is None:
                continue
            parameter, turned = weights[call[0]]
            use = uses[self._weights[parameters[parameter]]["path_name"]]
            use.is_transposed = target.startswith("aten.linear.") == turned
            self._add_name(use, parameters[parameter])
            use.bias = use.bias or parameters.get(call[2] or "")
            rows = _rows(graph["tensor_values"][call[1]]["sizes"], batch)
            open_calls += rows is None
            use.calls.append(rows or 0)
        for name, targets in readers.items():
            use = uses.get(self._weights[name]["path_name"])  # type: ignore[assignment]
            if use is not None:
                use.readers |= targets
        return list(uses.values()), open_calls

    def _add_name(self, use: _Use, parameter: str) -> None:
        """Note the parameter, and all others that are the same weight."""
        path = self._weights[parameter]["path_name"]
        same = [name for name, meta in self._weights.items() if meta["path_name"] == path]
        use.names += [name for name in dict.fromkeys([parameter, *same]) if name not in use.names]

    def _layer(self, use: _Use) -> FoundLayer:
        meta = self._weights[use.names[0]]
        first, second = _sizes(meta["tensor_meta"])
        dtype = DTYPES.get(meta["tensor_meta"]["dtype"])
        precision = None if dtype is None else PRECISION_OF.get(dtype)
        reason = (
            None
            if precision
            else f"its weight is {dtype or 'quantised'}, for which products are not profiled"
        )
        if use.readers:
            reason = f"its weight is also read by {', '.join(sorted(use.readers))}"
        names = [name.removesuffix(".weight") for name in use.names]
        return FoundLayer(
            name=names[0],
            shared_with=tuple(names[1:]),
            in_features=first if use.is_transposed else second,
            out_features=second if use.is_transposed else first,
            bias_parameters=0 if use.bias is None else _count(self._weights[use.bias]["tensor_meta"]),
            calls=tuple(use.calls),
            precision=precision,
            reason=reason,
            read_matrix=None if reason else self._reader(meta, use.is_transposed),
        )

    def _reader(self, meta: Plain, is_transposed: bool) -> Callable[[], torch.Tensor] | None:
        name = self._weight_file(meta)
        if name not in self._archive.namelist():
            return None
        return partial(_read_matrix, self._path, name, meta, is_transposed)


def _read_matrix(path: Path, name: str, meta: Plain, is_transposed: bool) -> torch.Tensor:
    """The weight as (features out, features in), from its bytes."""
    with _readable(path), zipfile.ZipFile(path) as archive:
        data = archive.read(name)
        if meta["use_pickle"]:
            matrix = torch.load(io.BytesIO(data), weights_only=True, map_location="cpu")
        else:
            layout = meta["tensor_meta"]
            stored = torch.frombuffer(bytearray(data), dtype=DTYPES[layout["dtype"]])
            strides = [one["as_int"] for one in layout["strides"]]
            matrix = stored.as_strided(_sizes(layout), strides, layout["storage_offset"]["as_int"])
        finite = matrix.detach() if bool(matrix.isfinite().all()) else None
    if finite is None:
        raise UsageError(
            f"{path}: the weight in {name} holds NaN or infinite values, so it cannot be compared"
        )
    return finite.t() if is_transposed else finite


def _linear_call(
    target: str, values: Mapping[str, str | None], weights: Mapping[str, tuple[str, bool]]
) -> tuple[str, str, str | None] | None:
    """(weight, input, bias) of a call that multiplies by a parameter; None for other calls."""
    places = {
        "aten.linear.default": ("weight", "input", "bias"),
        "aten.addmm.default": ("mat2", "mat1", "self"),
        "aten.mm.default": ("mat2", "self", ""),
        "aten.matmul.default": ("other", "self", ""),
    }
    if target not in places:
        return None
    weight, x, bias = (values.get(name) for name in places[target])
    if weight not in weights or x is None or x in weights:
        return None
    return weight, x, bias  # type: ignore[return-value]


def _tensor_names(inputs: list[Plain]) -> Iterator[str]:
    for one in inputs:
        argument = one["arg"]
        if "as_tensor" in argument:
            yield argument["as_tensor"]["name"]
        for element in argument.get("as_tensors") or ():
            yield element["name"]


def _rows(sizes: list[Plain], batch: int | None) -> int | None:
    """Rows of a linear call: those of the file, or the batch where the file leaves them open."""
    known = [size.get("as_int") for size in sizes[:-1]]
    return batch if None in known else math.prod(known)  # type: ignore[arg-type]


def _sizes(meta: Plain) -> list[int]:
    return [int(size["as_int"]) for size in meta["sizes"]]


def _count(meta: Plain) -> int:
    return math.prod(_sizes(meta))


def _foreign_classes(data: bytes) -> Iterator[str]:
    """The classes and functions that a pickle, or an archive of torch.save, names besides harmless ones."""
    if data[:2] == b"PK":
        with zipfile.ZipFile(io.BytesIO(data)) as inner:
            for name in inner.namelist():
                if name.endswith(".pkl") or "/code/" in name:
                    yield from (
                        _foreign_classes(inner.read(name)) if name.endswith(".pkl") else ("script class",)
                    )
        return
    texts: list[str] = []
    for opcode, argument, _ in pickletools.genops(data):
        named = None
        if opcode.name in ("GLOBAL", "INST"):
            named = str(argument)
        elif opcode.name == "STACK_GLOBAL":
            named = " ".join(texts[-2:])
        elif opcode.name.startswith("EXT"):
            named = "extension"
        elif isinstance(argument, str):
            texts.append(argument)
        if named is not None and not _HARMLESS.fullmatch(named):
            yield named.replace(" ", ".")
