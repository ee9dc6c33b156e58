import pytest

from db import records
from kernels.catalogue import IMPLEMENTATIONS, implementation
from kswatch_errors import UsageError


def test_the_catalogue_has_the_names_of_the_records_in_their_order() -> None:
    assert tuple(candidate.name for candidate in IMPLEMENTATIONS) == records.IMPLEMENTATIONS


@pytest.mark.parametrize("name", records.IMPLEMENTATIONS)
def test_an_implementation_is_found_by_its_name(name: str) -> None:
    assert implementation(name).name == name


def test_an_unknown_name_is_refused_with_the_choices() -> None:
    with pytest.raises(UsageError, match="'cublas'; choose from fused, bmm, bmm_strided"):
        implementation("cublas")
