"""The page *Layers* for planted cells, without a browser."""

from collections.abc import Callable

import pandas as pd
import pytest
from streamlit.testing.v1 import AppTest

from kswatch.dashboard.charts.structures.layer_costs import FAMILY_STYLES, pareto_front
from kswatch.db.records import ProblemKey
from kswatch.db.store import Store
from kswatch.kernels.families.catalogue import FAMILIES
from kswatch.kernels.families.transforms import TRANSFORMS
from tests.db.sample_records import import_run, measured

Opened = Callable[..., AppTest]

LAYER = ProblemKey(1, 4096, 1024, 1, 196, "fp32", "batch_first", "layer")
OTHER_BATCH = ProblemKey(1, 4096, 1024, 1, 16, "fp32", "batch_first", "layer")
KS = "ks 16,64,64,1;1,256,64,16"
DENSE_PARAMETERS = 1024 * 4096


@pytest.fixture
def layers_url(own_url: str) -> str:
    store = Store.open(own_url)
    old = [measured(LAYER, f"{KS}/fused", 9.0, parameters=327_680)]
    new = [
        measured(LAYER, "dense/linear", 4.0, parameters=DENSE_PARAMETERS),
        measured(LAYER, f"{KS}/fused", 1.0, parameters=327_680),
        measured(LAYER, f"{KS}/bmm", 2.0, parameters=327_680),
        measured(LAYER, "low_rank 8/fused", 0.5, parameters=40_960),
        measured(LAYER, "monarch 8,2752/fused", None, status="too_slow", reason="over 5 s"),
        measured(OTHER_BATCH, "dense/linear", 3.0, parameters=DENSE_PARAMETERS),
    ]
    for records in (old, new):
        import_run(store, records)
    return own_url


def test_structures_are_ranked_beside_dense_by_their_newest_times(layers_url: str, opened: Opened) -> None:
    page = opened("layers", layers_url)
    (title,) = (one.value.replace("\\", "") for one in page.subheader)
    assert title == (
        "1,024 → 4,096: low_rank 8 by fused is the fastest, 0.5 ms, "
        "8.00× as fast as dense, 0.977 % of its parameters"
    )
    table = page.dataframe[0].value
    assert list(table["latency (ms)"]) == [0.5, 1.0, 2.0, 4.0]
    assert list(table["dense over it (×)"]) == [8.0, 4.0, 2.0, 1.0]
    assert "too slow: over 5 s" in str(page.dataframe[-1].value)


def test_a_structure_of_the_url_shows_its_patterns(layers_url: str, opened: Opened) -> None:
    page = opened("layers", layers_url, structure=KS)
    assert page.subheader[-1].value.replace("\\", "").startswith(f"Inside {KS}: ")


def test_a_batch_of_the_url_is_shown(layers_url: str, opened: Opened) -> None:
    page = opened("layers", layers_url, batch="16")
    assert "dense is the fastest, 3 ms" in page.subheader[0].value.replace("\\", "")


def test_a_store_without_layers_names_the_command(empty_url: str, opened: Opened) -> None:
    assert "kswatch profile layers" in opened("layers", empty_url).code[0].value


def test_every_family_has_a_style_of_its_own() -> None:
    known = [*FAMILIES, *TRANSFORMS]
    assert [name for name, _, _ in FAMILY_STYLES] == [one.name for one in known]
    assert len({colour for _, colour, _ in FAMILY_STYLES}) == len(known)


def test_the_front_holds_what_nothing_undercuts_in_both() -> None:
    frame = pd.DataFrame({"parameters": [1, 2, 2, 3, 4], "latency_ms": [5.0, 6.0, 3.0, 3.0, 1.0]})
    assert list(pareto_front(frame).index) == [0, 2, 4]


def test_transforms_are_shown_with_their_factors(own_url: str, opened: Opened) -> None:
    layer = ProblemKey(1, 64, 64, 1, 8, "complex64", "batch_last", "layer")
    cells = (("dense/linear", 4.0), ("fft 16/fused", 2.0), ("fft 16/torch_fft", 1.0))
    import_run(Store.open(own_url), [measured(layer, name, ms, parameters=1024) for name, ms in cells])
    page = opened("layers", own_url)
    assert "fft 16 by torch_fft is the fastest, 1 ms" in page.subheader[0].value.replace("\\", "")
    assert list(page.dataframe[0].value["latency (ms)"]) == [1.0, 2.0, 4.0]
    page = opened("layers", own_url, structure="fft 16")
    assert page.subheader[-1].value.replace("\\", "").startswith("Inside fft 16: ")
