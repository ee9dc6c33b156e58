"""A model file is read completely or rejected, in one sentence with the cure."""

import json

import pytest

from kswatch.errors import ConfigurationError, UsageError
from kswatch.kernels.heuristics.model_file import (
    SHIPPED,
    VERSION,
    learned_sections,
    merge_sections,
    read_sections,
    write_sections,
)
from kswatch.kernels.heuristics.training import fit_sections
from tests.kernels.heuristics.sample_problems import DEVICE, measured


@pytest.fixture(scope="module")
def sections():
    return fit_sections(measured(), DEVICE, "latency")


def test_a_written_file_is_read_back(sections, tmp_path) -> None:
    path = tmp_path / "model.json"
    write_sections(path, sections)
    (again,) = read_sections(path)
    problem = measured()[3].problem
    before, after = sections[0].log_costs([problem]), again.log_costs([problem])
    assert {name: values[0] for name, values in after.items()} == pytest.approx(
        {name: values[0] for name, values in before.items()}, abs=1e-3
    )
    assert (again.lowest, again.highest) == (sections[0].lowest, sections[0].highest)


@pytest.mark.parametrize(
    "spoil",
    [
        lambda text: text[: len(text) // 2],
        lambda text: "",
        lambda text: "[]",
        lambda text: "\0\0",
        lambda text: text.replace("kswatch-heuristics", "something"),
        lambda text: text.replace('"constants":[', '"constants":[1,'),
        lambda text: text.replace('"fused"', '"futile"'),
        lambda text: text.replace('"spread":', '"spread":-'),
        lambda text: text.replace('"split_features":[[', '"split_features":[[99,'),
        lambda text: text.replace('"split_features":', '"splits":'),
    ],
)
def test_a_corrupt_file_is_refused_with_the_cure(spoil, sections, tmp_path) -> None:
    path = tmp_path / "model.json"
    write_sections(path, sections)
    path.write_text(spoil(path.read_text()))
    with pytest.raises(ConfigurationError, match="is not a model file .*kswatch heuristics fit"):
        read_sections(path)


def test_a_file_of_another_version_is_refused(sections, tmp_path) -> None:
    path = tmp_path / "model.json"
    write_sections(path, sections)
    document = json.loads(path.read_text())
    path.write_text(json.dumps({**document, "version": VERSION + 1, "sections": ["of another form"]}))
    with pytest.raises(ConfigurationError, match=f"version {VERSION + 1}, not {VERSION}"):
        read_sections(path)


def test_a_named_file_that_is_missing_is_an_error(tmp_path, monkeypatch) -> None:
    monkeypatch.setenv("KSWATCH_HEURISTICS", str(tmp_path / "nothing.json"))
    with pytest.raises(ConfigurationError, match="nothing.json"):
        learned_sections()


def test_a_rewritten_file_is_read_again(sections, tmp_path, monkeypatch) -> None:
    path = tmp_path / "model.json"
    monkeypatch.setenv("KSWATCH_HEURISTICS", str(path))
    write_sections(path, [])
    assert learned_sections() == ()
    write_sections(path, sections)
    assert len(learned_sections()) == 1


def test_an_unwritable_folder_is_an_error_with_the_cure(sections, tmp_path) -> None:
    with pytest.raises(UsageError, match="--output"):
        write_sections(tmp_path / "missing" / "model.json", sections)


def test_a_new_section_replaces_only_the_one_of_the_same_kind(sections) -> None:
    (other,) = fit_sections(measured(), {**DEVICE, "model": "B"}, "latency")
    (again,) = fit_sections(measured(), DEVICE, "latency")
    assert merge_sections([*sections, other], [again]) == (other, again)


def test_the_shipped_file_is_small_and_complete() -> None:
    assert SHIPPED.stat().st_size < 1_000_000
    assert {section.metric for section in read_sections(SHIPPED)} == {"energy", "latency"}
