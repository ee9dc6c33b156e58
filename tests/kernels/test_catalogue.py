import pytest

from kswatch.db import records
from kswatch.db.schema.tables import Comparison
from kswatch.declared.implementations import BY_NAME, DECLARED, LONGEST_NAME, Declared
from kswatch.errors import UsageError
from kswatch.kernels import catalogue
from kswatch.kernels.baselines.rival_libraries import RIVAL_LIBRARIES
from kswatch.kernels.catalogue import IMPLEMENTATIONS, RIVALS, implementation
from kswatch.kernels.pattern import Pattern
from kswatch.kernels.problem import Problem


def test_each_declared_line_is_the_name_of_its_object() -> None:
    assert tuple(candidate.name for candidate in IMPLEMENTATIONS) == records.IMPLEMENTATIONS
    assert tuple(candidate.name for candidate in RIVALS) == records.RIVALS == tuple(RIVAL_LIBRARIES)
    assert tuple(candidate.name for candidate in (*IMPLEMENTATIONS, *RIVALS)) == tuple(BY_NAME)


def test_names_fit_into_the_columns_of_the_store() -> None:
    columns = (Comparison.__table__.c.best_baseline, Comparison.__table__.c.winner)
    assert max(map(len, BY_NAME)) <= LONGEST_NAME == min(column.type.length for column in columns)


def test_a_revision_may_lack_what_was_declared_after_it(monkeypatch: pytest.MonkeyPatch) -> None:
    later = Declared("later", "baselines.later:Later", "stock")
    monkeypatch.setattr(catalogue, "DECLARED", (*DECLARED, later))
    assert [one.name for one in catalogue._made("stock")] == ["bmm_strided", "bmm_blockdense"]


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
