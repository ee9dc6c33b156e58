"""The transforms against whole matrices in float64, `torch.fft`, and what is known of them."""

from __future__ import annotations

import copy
import pickle
from math import log2, prod, sqrt

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

import kswatch
from kswatch.errors import UsageError
from kswatch.kernels.families.transforms import radices, transform_chain
from kswatch.kernels.pattern import check_chain
from kswatch.kernels.transforms import dct, fft, hadamard, ifft
from kswatch.kernels.transforms.cells import TorchTransform
from kswatch.kernels.transforms.exact import exact_transform
from kswatch.kernels.transforms.factors import cosine_matrix, fourier_matrix, hadamard_matrix

pytestmark = pytest.mark.usefixtures("one_thread")

LENGTHS = (2, 4, 8, 16, 32, 128, 256, 1024)
MAKERS = {"hadamard": hadamard, "fft": fft, "ifft": ifft, "dct": dct}
MATRICES = {
    "hadamard": hadamard_matrix,
    "fft": fourier_matrix,
    "ifft": lambda n: fourier_matrix(n).conj() / n,
    "dct": cosine_matrix,
}
COMPLEX = ("fft", "ifft")


def make_rows(name: str, *shape: int, seed: int = 1) -> torch.Tensor:
    dtype = torch.complex64 if name in COMPLEX else torch.float32
    return torch.randn(*shape, dtype=dtype, generator=torch.Generator().manual_seed(seed))


def relative(y: torch.Tensor, truth: torch.Tensor) -> float:
    return float(torch.linalg.norm(y.detach().to(truth.dtype) - truth) / torch.linalg.norm(truth.detach()))


def limit(n: int) -> float:
    """Roundings of fp32 that each of log2 n stages may add."""
    return 1e-7 * (1 + log2(n))


@pytest.mark.parametrize("n", LENGTHS)
@pytest.mark.parametrize("name", MAKERS)
@pytest.mark.parametrize("algorithm", ["fused", "bmm"])
def test_a_transform_is_its_matrix_in_both_layouts(name: str, n: int, algorithm: str) -> None:
    x = make_rows(name, 5, n)
    matrix = MATRICES[name](n)
    truth = x.to(matrix.dtype) @ matrix.T
    y = MAKERS[name](n, algorithm=algorithm)(x)
    assert y.dtype == x.dtype and relative(y, truth) < limit(n)
    columns = MAKERS[name](n, algorithm=algorithm, layout="batch_last")(x.T.contiguous())
    assert relative(columns, truth.T) < limit(n)


@pytest.mark.parametrize("radix", [2, 4, 8, 16, 32])
@pytest.mark.parametrize("name", MAKERS)
def test_every_radix_gives_the_same_transform(name: str, radix: int) -> None:
    x = make_rows(name, 3, 64)
    matrix = MATRICES[name](64)
    transform = MAKERS[name](64, algorithm="bmm", radix=radix)
    assert max(pattern.b for pattern in transform.patterns) <= radix
    assert relative(transform(x), x.to(matrix.dtype) @ matrix.T) < limit(64)


def test_small_matrices_are_those_of_the_definitions() -> None:
    assert hadamard_matrix(4).tolist() == [[1, 1, 1, 1], [1, -1, 1, -1], [1, 1, -1, -1], [1, -1, -1, 1]]
    assert torch.allclose(
        fourier_matrix(4),
        torch.tensor(
            [[1, 1, 1, 1], [1, -1j, -1, 1j], [1, -1, 1, -1], [1, 1j, -1, -1j]], dtype=torch.complex128
        ),
    )
    # a constant has all its cosine transform in the first number: 2n
    assert torch.allclose(cosine_matrix(4).sum(1), torch.tensor([8.0, 0, 0, 0], dtype=torch.float64))
    assert cosine_matrix(2)[1].tolist() == pytest.approx([sqrt(2), -sqrt(2)])


@pytest.mark.parametrize("n", [8, 512])
def test_fft_and_ifft_agree_with_torch(n: int) -> None:
    x = make_rows("fft", 4, 3, n)
    assert relative(fft(n)(x), torch.fft.fft(x.to(torch.complex128))) < limit(n)
    assert relative(ifft(n)(x), torch.fft.ifft(x.to(torch.complex128))) < limit(n)
    real = make_rows("dct", 2, n)
    assert relative(fft(n)(real), torch.fft.fft(real.double())) < limit(n)


@pytest.mark.parametrize("n", [2, 16, 64])
@pytest.mark.parametrize("layout", ["batch_first", "batch_last"])
@pytest.mark.parametrize("name", ["hadamard", "fft", "dct"])
def test_references_and_torchs_forms_are_the_matrix_too(name: str, layout: str, n: int) -> None:
    x = make_rows(name, 6, n)
    matrix = MATRICES[name](n)
    truth = x.to(matrix.dtype) @ matrix.T
    given_x = x if layout == "batch_first" else x.T.contiguous()
    turned = truth if layout == "batch_first" else truth.T
    assert relative(exact_transform(name, given_x, layout), turned) < 1e-14
    if name != "hadamard":
        assert relative(TorchTransform(name, n, layout)(given_x), turned) < limit(n)


@pytest.mark.parametrize("n", [2, 4, 8, 64, 128, 1024, 4096, 2**20])
@pytest.mark.parametrize("largest", [2, 4, 16])
def test_the_chain_has_the_least_and_most_equal_radices(n: int, largest: int) -> None:
    found = radices(n, largest)
    assert prod(found) == n and max(found) <= largest and max(found) <= 2 * min(found)
    assert len(found) == -(-(n.bit_length() - 1) // (largest.bit_length() - 1))
    chain = transform_chain(n, largest)
    check_chain(chain)
    assert (chain[0].columns, chain[-1].rows) == (n, n)


KIND = st.sampled_from(sorted(MAKERS))
BITS = st.integers(1, 7)


@settings(max_examples=40, deadline=None, derandomize=True)
@given(name=KIND, bits=BITS, batch=st.integers(1, 5), seed=st.integers(0, 99))
def test_a_transform_is_linear(name: str, bits: int, batch: int, seed: int) -> None:
    n = 1 << bits
    x, z = make_rows(name, batch, n, seed=seed), make_rows(name, batch, n, seed=seed + 100)
    transform = MAKERS[name](n, algorithm="bmm")
    assert relative(transform(x - 3 * z), (transform(x) - 3 * transform(z)).to(torch.complex128)) < 1e-5


@settings(max_examples=40, deadline=None, derandomize=True)
@given(name=st.sampled_from(["fft", "hadamard"]), bits=BITS, batch=st.integers(1, 5), seed=st.integers(0, 99))
def test_energy_is_kept_and_the_inverse_returns_the_input(
    name: str, bits: int, batch: int, seed: int
) -> None:
    n = 1 << bits
    x = make_rows(name, batch, n, seed=seed)
    y = MAKERS[name](n, algorithm="bmm")(x)
    energy = float(y.abs().double().square().sum()) / n
    assert energy == pytest.approx(float(x.abs().double().square().sum()), rel=1e-5)
    inverse = ifft(n, algorithm="bmm")(y) if name == "fft" else hadamard(n, algorithm="bmm")(y) / n
    assert relative(inverse, x.to(torch.complex128)) < 1e-6


@pytest.mark.parametrize("name", MAKERS)
@pytest.mark.parametrize("n", [0, 1, 3, 6, 12, 1000, -4, 8.0, True])
def test_a_length_that_is_no_power_of_two_is_one_sentence(name: str, n: object) -> None:
    with pytest.raises(UsageError) as caught:
        MAKERS[name](n)  # type: ignore[operator]
    assert str(caught.value) == f"{name} needs n = a power of two, 2 or more, not {n!r}"


def test_wrong_inputs_are_sentences() -> None:
    transform = fft(8)
    with pytest.raises(UsageError, match="takes 8 numbers on axis -1"):
        transform(make_rows("fft", 3, 4))
    with pytest.raises(UsageError, match="convert it"):
        transform(torch.zeros(3, 8, dtype=torch.float64))
    with pytest.raises(UsageError, match="convert it"):
        hadamard(8)(make_rows("fft", 3, 8))
    with pytest.raises(UsageError, match="unknown layout"):
        fft(8, layout="rows")  # type: ignore[arg-type]
    with pytest.raises(UsageError, match="unknown implementation"):
        fft(8, algorithm="none")
    for dtype in (torch.int32, torch.float8_e4m3fn):
        with pytest.raises(UsageError, match="hadamard computes in"):
            hadamard(8, dtype=dtype)
    with pytest.raises(UsageError, match="the radix is a power of two, 2 or more, not 3"):
        dct(8, radix=3)


def test_the_package_shows_them_and_shapes_are_kept() -> None:
    assert kswatch.transforms.fft is fft
    x = make_rows("dct", 2, 3, 8)
    assert kswatch.transforms.dct(8)(x).shape == (2, 3, 8)
    assert hadamard(4, layout="batch_last")(torch.ones(4, 2, 3)).shape == (4, 2, 3)
    assert hadamard(4)(torch.ones(4)).tolist() == [4, 0, 0, 0]
    assert fft(4)(torch.zeros(0, 4)).shape == (0, 4)
    assert dct(4)(torch.ones(3, 4)).is_contiguous()


def test_lazily_conjugated_and_strided_inputs_are_read_as_they_are() -> None:
    x = make_rows("fft", 8, 16)
    truth = fourier_matrix(16)
    assert relative(fft(16)(x.conj()), x.conj().to(torch.complex128) @ truth.T) < limit(16)
    turned = x.T[::2]
    assert relative(fft(8)(turned), turned.to(torch.complex128) @ fourier_matrix(8).T) < limit(8)


def test_hadamard_keeps_all_digits_of_fp64_and_small_integers_of_any_precision() -> None:
    x = torch.randn(3, 256, dtype=torch.float64)
    assert relative(hadamard(256, torch.float64, "fused")(x), x @ hadamard_matrix(256)) < 1e-15
    integers = torch.randint(-2, 3, (4, 16))
    for dtype in (torch.float32, torch.bfloat16, torch.float16, torch.float64):
        y = hadamard(16, dtype, "fused")(integers.to(dtype))
        assert torch.equal(y.double(), integers.double() @ hadamard_matrix(16))


@pytest.mark.parametrize("name", MAKERS)
def test_gradients_of_both_orders_are_those_of_the_matrix(name: str) -> None:
    transform = MAKERS[name](8, algorithm="bmm")
    x = make_rows(name, 3, 8).requires_grad_()
    matrix = MATRICES[name](8).to(x.dtype)
    own, dense = ((y.abs().square() ** 2).sum() for y in (transform(x), x @ matrix.T))
    first = [torch.autograd.grad(value, x, create_graph=True)[0] for value in (own, dense)]
    assert relative(first[0].detach(), first[1].detach()) < 1e-5
    second = [torch.autograd.grad(one.abs().square().sum(), x)[0] for one in first]
    assert relative(second[0], second[1]) < 1e-5


def test_copies_and_pickles_compute_the_same() -> None:
    transform = fft(16)
    x = make_rows("fft", 3, 16)
    y = transform(x)
    for other in (copy.deepcopy(transform), pickle.loads(pickle.dumps(transform))):
        assert torch.equal(other(x), y)
    assert transform.state_dict() == {}


def test_a_complex_transform_that_was_made_real_refuses() -> None:
    transform = fft(8)
    for name, buffer in transform.named_buffers():
        if buffer.is_complex():
            setattr(transform, name, buffer.real.contiguous())
    with pytest.raises(UsageError, match="was converted to"):
        transform(torch.zeros(2, 8))
