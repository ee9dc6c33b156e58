"""The launch path on the fake GPU of `fake_gpu.py`."""

from __future__ import annotations

import gc
import hashlib
import math
import struct
import weakref

import pytest
import torch

from kswatch.errors import UnsupportedError, UsageError
from kswatch.kernels.fused.artifacts import tuned_tiles as tuned
from kswatch.kernels.fused.cuda import driver, launch, raw_launch, tensor_map, tile_candidates, trust_record
from kswatch.kernels.fused.cuda.arguments import FORMAT
from kswatch.kernels.fused.cuda.gpu_properties import GpuProperties
from kswatch.kernels.pattern import Pattern
from kswatch.kernels.problem import LAYOUTS, Problem
from kswatch.kernels.reference import check, make_operands, reference
from tests.kernels.fused.cuda.fake_gpu import PLAIN_SHARED_BYTES, Function

CPU = torch.device("cpu", 0)
H200 = GpuProperties(90, 132)


def answer(problem, product, x, weights):
    y = product(x, empty=lambda *size, **options: torch.empty(*size, **options).fill_(torch.nan))
    return check(problem, y, reference(problem, weights, x))


@pytest.mark.parametrize(
    "problem",
    [
        Problem(Pattern(2, 20, 24, 1), 40, "fp32", "batch_last"),
        Problem(Pattern(1, 33, 17, 3), 37, "bf16", "batch_first"),
    ],
    ids=str,
)
def test_a_launch_computes_the_product(gpu, problem):
    weights, x = make_operands(problem, "cpu", seed=1)
    assert answer(problem, launch.prepare(problem, weights), x, weights).ok


def test_a_tile_with_much_shared_memory_raises_the_limit(gpu, monkeypatch):
    monkeypatch.setattr(driver, "gpu_properties", lambda device: GpuProperties(90, multiprocessors=1))
    problem = Problem(Pattern(1, 64, 40, 16), 64, "fp16", "batch_first")
    weights, x = make_operands(problem, "cpu", seed=1)
    product = launch.prepare(problem, weights)
    assert launch.choose_tile(problem, CPU).launch_bytes > PLAIN_SHARED_BYTES
    assert answer(problem, product, x, weights).ok


@pytest.mark.parametrize("layout", LAYOUTS)
def test_a_bias_is_added_in_the_kernel(gpu, layout):
    problem = Problem(Pattern(2, 20, 24, 2), 40, "fp16", layout)
    weights, x = make_operands(problem, "cpu", seed=1)
    bias = torch.randn(problem.pattern.rows).half()
    product = launch.prepare(problem, weights, bias)
    truth = reference(problem, weights, x) + (bias if layout == "batch_first" else bias[:, None])
    bias.zero_()  # the product has its own
    assert check(problem, product(x), truth).ok
    assert len(gpu.log) == 1


def test_a_product_in_parts_is_added_up_by_a_second_launch(gpu):
    problem = Problem(Pattern(1, 16, 512, 1), 16, "fp16", "batch_last")
    weights, x = make_operands(problem, "cpu", seed=1)
    bias = torch.randn(problem.pattern.rows).half()
    assert launch.choose_tile(problem, CPU).parts > 1
    product = launch.prepare(problem, weights, bias)
    assert check(problem, product(x), reference(problem, weights, x) + bias[:, None]).ok
    assert len(gpu.log) == 2
    assert torch.equal(product(x), product(x))


def test_deleting_a_product_frees_its_weights(gpu, monkeypatch):
    owned = []

    def laying_out(weights, tile):
        owned.append(weakref.ref(laid_out := weights.clone()))
        return laid_out

    monkeypatch.setattr(raw_launch, "lay_out", laying_out)
    problem = Problem(Pattern(2, 20, 24, 1), 40, "fp16", "batch_last")
    weights, x = make_operands(problem, "cpu", seed=1)
    gc.disable()
    try:
        product = launch.prepare(problem, weights)
        assert owned[0]() is not None
        del product
        assert owned[0]() is None  # at once, not when garbage is next collected: memory of a GPU is short
    finally:
        gc.enable()


@pytest.mark.parametrize(
    ("wrong", "words"),
    [(torch.zeros(7).half(), "bias has shape"), (torch.zeros(80), "bias is torch.float32")],
)
def test_a_bias_of_another_shape_or_type_is_refused(gpu, wrong, words):
    problem = Problem(Pattern(2, 20, 24, 2), 40, "fp16", "batch_last")
    with pytest.raises(UsageError, match=words):
        launch.prepare(problem, make_operands(problem, "cpu", seed=1)[0], wrong)


def test_an_unaligned_input_is_read_with_narrower_accesses(gpu):
    problem = Problem(Pattern(2, 20, 24, 1), 40, "fp16", "batch_last")
    weights, x = make_operands(problem, "cpu", seed=1)
    shifted = torch.empty(x.numel() + 1, dtype=x.dtype)[1:].view_as(x).copy_(x)
    assert shifted.data_ptr() % 16 == 2
    assert answer(problem, launch.prepare(problem, weights), shifted, weights).ok
    assert sorted(tile.vector_bytes for tile in gpu.tiles.values()) == [2, 16]


@pytest.mark.parametrize(
    ("wrong", "words"),
    [
        (lambda x: x[:, :-1], "shape"),
        (lambda x: x.half(), "torch.float16"),
        (lambda x: x.T.contiguous().T, "contiguous"),
        (lambda x: x.to("meta"), "meta"),
        (lambda x: x.requires_grad_(), "use KSLinear or torch.no_grad"),
    ],
)
def test_an_input_unlike_the_prepared_one_is_refused(gpu, wrong, words):
    problem = Problem(Pattern(2, 20, 24, 1), 40, "fp32", "batch_last")
    weights, x = make_operands(problem, "cpu", seed=1)
    product = launch.prepare(problem, weights)
    with pytest.raises(UsageError, match=words):
        product(wrong(x))
    assert gpu.log == []


def test_without_memory_for_y_nothing_is_launched_and_the_next_product_works(gpu, small):
    product, x = small

    def full(*arguments, **options):
        raise torch.OutOfMemoryError("CUDA out of memory")

    with pytest.raises(torch.OutOfMemoryError):
        product(x, empty=full)
    assert gpu.log == []
    assert product(x).isfinite().all()


@pytest.fixture
def small(gpu):
    problem = Problem(Pattern(1, 16, 16, 1), 16, "fp32", "batch_last")
    weights, x = make_operands(problem, "cpu", seed=1)
    return launch.prepare(problem, weights), x


def test_torchs_default_stream_is_the_drivers_default_stream(gpu, small):
    product, x = small
    product(x)
    assert gpu.log == [None]


def test_a_stream_made_by_pycuda_is_used_directly(gpu, small):
    product, x = small
    gpu.stream = driver.new_stream(CPU)
    product(x)
    assert gpu.log == [gpu.stream.cuda_stream]


def test_a_foreign_stream_and_the_side_stream_wait_for_each_other(gpu, small):
    product, x = small
    gpu.stream.cuda_stream = 77
    product(x)
    assert gpu.log == ["side stream waits", 4097, "torch waits"]


def test_hash_and_tile_describe_the_running_code(gpu):
    problem = Problem(Pattern(2, 20, 24, 1), 40, "fp16", "batch_last")
    assert launch.code_hash(problem, CPU) == hashlib.sha256(next(iter(gpu.tiles))).hexdigest()
    assert launch.tile(problem, CPU).startswith("tensor_cores ")


@pytest.mark.parametrize(
    ("architecture", "precision", "words"),
    [(70, "fp32", "needs sm_75"), (75, "tf32", "choose fp32"), (75, "fp16", None), (90, "tf32", None)],
)
def test_an_old_gpu_is_refused_with_the_reason(gpu, monkeypatch, architecture, precision, words):
    monkeypatch.setattr(driver, "gpu_properties", lambda device: GpuProperties(architecture))
    reason = launch.unsupported(Problem(Pattern(1, 64, 64, 1), 64, precision, "batch_last"), CPU)
    assert reason is None if words is None else words in reason


def test_an_old_gpu_computes_on_its_cuda_cores(gpu, monkeypatch):
    monkeypatch.setattr(driver, "gpu_properties", lambda device: GpuProperties(75))
    problem = Problem(Pattern(1, 64, 64, 1), 64, "fp16", "batch_last")
    assert {tile.family for tile in launch.candidates(problem, CPU)} == {"cores"}


WIDE = Problem(Pattern(1, 512, 512, 1), 4096, "fp16", "batch_last")


def test_a_tuned_tile_of_the_architecture_is_chosen(gpu, monkeypatch, tmp_path):
    monkeypatch.setenv("KSWATCH_TILES", str(tmp_path))
    other = launch.candidates(WIDE, CPU)[3]
    assert other != launch.choose_tile(WIDE, CPU)
    tuned.write(tuned.table_path("sm_90"), "a GPU", {WIDE: str(other)})
    assert launch.choose_tile(WIDE, CPU) == other


def test_wgmma_is_chosen_only_where_it_was_checked(gpu, monkeypatch):
    assert launch.choose_tile(WIDE, CPU).family == "tensor_cores"
    launch._choose_tile.cache_clear()
    monkeypatch.setattr(trust_record, "untrusted_reason", lambda device, tile: None)
    assert launch.choose_tile(WIDE, CPU).family == "warpgroups"


def test_persistent_blocks_are_chosen_only_where_they_were_checked(gpu, monkeypatch):
    large = Problem(Pattern(1, 1024, 1024, 1), 25_088, "fp16", "batch_first")
    groups = {trust_record.tile_group(tile) for tile in tile_candidates.warpgroup_tiles(large, H200)}
    for trusts, family in (
        (lambda tile: False, "tensor_cores"),
        (lambda tile: trust_record.tile_group(tile) in groups, "warpgroups"),
        (lambda tile: True, "persistent"),
    ):
        launch._choose_tile.cache_clear()
        monkeypatch.setattr(
            trust_record,
            "untrusted_reason",
            lambda device, tile, trusts=trusts: None if trusts(tile) else "no",
        )
        assert launch.choose_tile(large, CPU).family == family


def test_wgmma_gets_its_map_first_and_only_aligned_inputs(gpu, monkeypatch):
    monkeypatch.setattr(trust_record, "untrusted_reason", lambda device, tile: None)
    monkeypatch.setattr(tensor_map, "encode", lambda problem, tile, x: struct.pack("128s", b"map"))
    taken = []
    monkeypatch.setattr(
        Function,
        "_launch_kernel",
        lambda self, grid, block, packed, shared_size, stream: taken.append(packed),
    )
    product = launch.prepare(WIDE, torch.zeros(WIDE.pattern.as_tuple()).half())
    x = torch.zeros(WIDE.pattern.columns * WIDE.batch + 1).half()
    product(x[:-1].view(WIDE.input_shape))
    product(x[1:].view(WIDE.input_shape))
    wide, plain = taken
    assert wide[:3] == b"map"
    assert len(wide) == 128 + len(plain) == 128 + struct.calcsize(FORMAT)


def test_persistent_blocks_get_both_maps_for_each_pair_of_addresses(gpu, monkeypatch):
    monkeypatch.setattr(trust_record, "untrusted_reason", lambda device, tile: None)
    encoded = []
    for name in ("encode", "encode_output"):
        monkeypatch.setattr(
            tensor_map, name, lambda problem, tile, at, name=name: encoded.append((name, at)) or bytes(128)
        )
    taken = []
    monkeypatch.setattr(
        Function,
        "_launch_kernel",
        lambda self, grid, block, packed, *rest: taken.append((grid, block, packed)),
    )
    (tile,) = tile_candidates.persistent_tiles(WIDE, driver.gpu_properties(CPU))
    product = launch.prepare(WIDE, torch.zeros(WIDE.pattern.as_tuple()).half(), tile=tile)
    x, y = torch.zeros(WIDE.input_shape).half(), torch.zeros(math.prod(WIDE.output_shape) + 1).half()
    for start in (0, 0, 1):  # the second time from memory; the last one is not aligned for a map
        product(x, empty=lambda *shape, start=start, **options: y[start:][: y.numel() - 1].view(*shape))
    assert encoded == [("encode", x.data_ptr()), ("encode_output", y.data_ptr())]
    plain = struct.calcsize(FORMAT)
    assert [len(packed) for _, _, packed in taken] == [256 + plain, 256 + plain, plain]
    assert taken[0][:2] == ((2 * tile.walkers, 1, 1), (384, 1, 1))


def test_without_a_gpu_the_reason_names_it(gpu, monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    problem = Problem(Pattern(1, 64, 64, 1), 64, "fp32", "batch_last")
    assert "no NVIDIA GPU" in launch.unsupported(problem, torch.device("cuda"))


def test_without_pycuda_the_reason_names_the_cure(gpu, monkeypatch):
    def missing():
        raise UnsupportedError("PyCUDA cannot be imported; install it")

    monkeypatch.setattr(driver, "pycuda_driver", missing)
    problem = Problem(Pattern(1, 64, 64, 1), 64, "fp32", "batch_last")
    assert "PyCUDA" in launch.unsupported(problem, CPU)
    with pytest.raises(UnsupportedError, match="PyCUDA"):
        launch.prepare(problem, torch.zeros(1, 64, 64, 1))
