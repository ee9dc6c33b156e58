"""The page *Models* for planted variants, without a browser."""

from collections.abc import Callable

import pytest
from streamlit.testing.v1 import AppTest

Opened = Callable[..., AppTest]


def titles(page: AppTest) -> list[str]:
    return [one.value.replace("\\", "") for one in page.subheader]


def test_the_gain_is_the_product_of_structure_and_kernel(seen: Opened) -> None:
    page = seen("models")
    table = page.dataframe[0].value
    assert list(table["best baseline"]) == ["bmm_strided", "bmm_strided"]
    assert list(table["structure (×)"] * table["kernel (×)"]) == pytest.approx(list(table["gain (×)"]))
    assert list(table["gain (×)"].round(1)) == [2.0, 2.0]
    assert " = structure 1.4" in titles(page)[0]
    assert " · kernel 1.4" in titles(page)[0]


def test_a_chosen_model_shows_its_variants_reasons_and_nights(seen: Opened) -> None:
    page = seen("models", model="vit_s16 eager", device="sim-a100-0000")
    assert titles(page)[1] == "vit_s16, eager, batch 8, fp32: ks"
    assert titles(page)[2].startswith("Gain over 4 nights: ")
    variants = page.dataframe[1].value
    assert list(variants["variant"]) == ["dense/fair", "ks/bmm", "ks/bmm_strided", "ks/csr", "ks/fused"]
    assert "too slow: over 5 s" in str(page.dataframe[2].value)


def test_another_set_of_baselines_has_another_split(seen: Opened) -> None:
    table = seen("models", baselines="paper").dataframe[0].value
    assert list(table["best baseline"]) == ["bmm", "bmm"]
    assert list(table["kernel (×)"].round(1)) == [1.6, 1.6]
