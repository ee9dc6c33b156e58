"""The door of kswatch.toml: a mutated file is read, or refused in one sentence that names it."""

from __future__ import annotations

import random
import tomllib
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from kswatch.configuration import read_config
from kswatch.errors import ConfigurationError
from tests.robustness.fuzz.cases import SECONDS, SEED, cases_for, faults_of, some_cases, within_memory
from tests.robustness.fuzz.hostile_values import ADDRESSES, DURATIONS, TEXTS, URLS

EXAMPLE = Path(__file__).parents[3] / "kswatch.toml"
LITERALS = (
    "nan",
    "-inf",
    "1e400",
    "9" * 310,
    "-1",
    "0",
    "true",
    "[]",
    "{}",
    "[[1]]",
    "0x_",
    "1979-05-27",
    "'''",
    '"',
)
LITERALS += (
    "[" * 400 + "]" * 400,
    "[" * 50_000,
    "{a = {b = 1}}",
    "inf",
    "2_0",
    "00:00:00",
    "[1, 'a']",
    "-0",
    "",
)
CRONS = (
    "* * * * *",
    "0 0 30 2 *",
    "61 * * * *",
    "0 2 * * * *",
    "",
    "@daily",
    "0 2 * * mon-sun",
    "*/0 * * * *",
    "0-99999999999 * * * *",
)
CRONS += ("² * * * *", "0 2 31 2,4 *", "a b c d e", "0 " * 500, "0 2 * * 7/9")
ZONES = (
    "Europe/Berlin",
    "../../etc/passwd",
    "/etc/passwd",
    "Nowhere/City",
    "UTC",
    "",
    "\\u0000",
    "localtime",
    "posixrules",
    "a" * 5_000,
)
WORDS = tuple(f'"{text}"' for text in (*TEXTS, *CRONS, *ZONES, *URLS, *ADDRESSES, *DURATIONS))


def keys() -> list[tuple[str, str]]:
    """Every key of the example, with its table."""
    document: dict[str, dict[str, Any]] = tomllib.loads(EXAMPLE.read_text(encoding="utf-8"))
    return [(table, key) for table, values in document.items() for key in values]


def of_hostile_values(randomness: random.Random) -> bytes:
    """A file with hostile values of a few keys."""
    lines = []
    for table, key in randomness.sample(keys(), randomness.choice((1, 1, 2))):
        chosen = randomness.choice(randomness.choice((LITERALS, WORDS)))
        lines += [f"[{table}]", f"{key} = {chosen}"]
    return "\n".join(lines).encode("utf-8", "surrogateescape")


def of_damaged_text(randomness: random.Random) -> bytes:
    """The example with bytes replaced, removed or repeated."""
    content = bytearray(EXAMPLE.read_bytes())
    for _ in range(randomness.choice((1, 5, 50))):
        at = randomness.randrange(len(content))
        part = randomness.choice(
            (b"", b"\xff", b"\0", b"[", b'"', b"=", b"\n", b"9" * 30, bytes(content[at : at + 40]))
        )
        content[at : at + randomness.randrange(3)] = part
    return bytes(content)


def fault_of(path: Path, randomness: random.Random) -> str:
    """What the reading of a mutated file did that it must not; empty for nothing."""
    content = randomness.choice((of_hostile_values, of_hostile_values, of_damaged_text))(randomness)
    path.write_bytes(content)
    try:
        read_config(path)
    except ConfigurationError as error:
        message = str(error)
        if "\n" in message or str(path) not in message or len(message) > 2_000:
            return f"{content!r:.300}: {message[:500]}"
    except Exception as error:
        return f"{content!r:.300}: {error!r:.300}"
    return ""


def test_a_mutated_configuration_is_read_or_refused_in_a_sentence(tmp_path: Path) -> None:
    with within_memory(60):
        assert faults_of(some_cases(300), partial(fault_of, tmp_path / "kswatch.toml")) == ""


@pytest.mark.slow
@pytest.mark.timeout(3 * SECONDS + 300)
def test_mutated_configurations_are_read_or_refused_in_a_sentence_for_minutes(
    tmp_path: Path, record_property: Callable[[str, object], None]
) -> None:
    def count(number: int) -> None:
        record_property("figure", f"fuzzed configurations: {number:,} files of seed {SEED}")

    with within_memory(100):
        assert faults_of(cases_for(SECONDS), partial(fault_of, tmp_path / "kswatch.toml"), count) == ""


def test_a_configuration_that_is_no_file_is_refused(tmp_path: Path) -> None:
    circle = tmp_path / "circle.toml"
    circle.symlink_to(circle)
    places = (
        tmp_path,
        tmp_path / ("x" * 300),
        Path("a\0b"),
        circle,
        Path("/proc/self/mem"),
        tmp_path / "\udcff.toml",
    )
    for place in places:
        with pytest.raises(ConfigurationError) as refused:
            read_config(place, must_exist=True)
        assert "\n" not in str(refused.value)
