import pytest

from kswatch.db import records
from kswatch.errors import UsageError
from kswatch.kernels.baselines.rival_libraries import RIVAL_LIBRARIES
from kswatch.kernels.catalogue import IMPLEMENTATIONS, RIVALS, implementation
from kswatch.kernels.pattern import Pattern
from kswatch.kernels.problem import Problem


def test_the_catalogue_has_the_names_of_the_records_in_their_order() -> None:
    assert tuple(candidate.name for candidate in IMPLEMENTATIONS) == records.IMPLEMENTATIONS
    assert tuple(candidate.name for candidate in RIVALS) == records.RIVALS == tuple(RIVAL_LIBRARIES)


@pytest.mark.parametrize("name", records.KNOWN_IMPLEMENTATIONS)
def test_an_implementation_is_found_by_its_name(name: str) -> None:
    assert implementation(name).name == name


def test_an_unknown_name_is_refused_with_the_choices() -> None:
    with pytest.raises(UsageError, match="'cublas'; choose from fused, bmm, bmm_strided"):
        implementation("cublas")


def test_fused_counts_its_relaid_weights_in_fp32() -> None:
    problem = Problem(Pattern(1, 64, 64, 16), 8, "fp16", "batch_first")
    weights = problem.pattern.nonzeros
    assert implementation("fused").memory_bytes(problem) == problem.compulsory_bytes + 4 * weights
