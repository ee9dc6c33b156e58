"""RAPL against a folder that looks like the kernel's."""

from pathlib import Path

import pytest

from kswatch.errors import MeasurementError
from kswatch.profiler.probes.energy_rapl import CpuLoad, Rapl
from kswatch.profiler.probes.timing import Launchable


@pytest.fixture
def powercap(tmp_path):
    for name, energy_uj in (("intel-rapl:0", 500), ("intel-rapl:1", 900), ("intel-rapl:0:0", 7)):
        (tmp_path / name).mkdir()
        (tmp_path / name / "energy_uj").write_text(f"{energy_uj}\n")
        (tmp_path / name / "max_energy_range_uj").write_text("1000\n")
    return tmp_path


def test_packages_are_summed_and_their_parts_are_not_counted_twice(powercap):
    rapl = Rapl(powercap)
    (powercap / "intel-rapl:0" / "energy_uj").write_text("700\n")
    (powercap / "intel-rapl:1" / "energy_uj").write_text("950\n")
    (powercap / "intel-rapl:0:0" / "energy_uj").write_text("900\n")
    assert rapl.read_mj() == pytest.approx(0.25)


def test_a_wrap_around_of_the_counter_is_corrected(powercap):
    rapl = Rapl(powercap)
    (powercap / "intel-rapl:0" / "energy_uj").write_text("100\n")
    assert rapl.read_mj() == pytest.approx(0.6)


def test_a_machine_without_rapl_has_a_reason(tmp_path):
    with pytest.raises(MeasurementError, match="no RAPL"):
        Rapl(tmp_path)


def test_a_counter_for_root_only_has_a_reason_with_its_cure(powercap, monkeypatch):
    def forbidden(path, encoding):
        raise PermissionError(path)

    monkeypatch.setattr(Path, "read_text", forbidden)
    with pytest.raises(MeasurementError, match="chmod"):
        Rapl(powercap)


def test_a_cpu_load_counts_its_products():
    launched = []
    load = CpuLoad(Launchable("bmm", launched.append))
    load.top_up()
    assert 0 < load.product_ms() <= 1e3 * 10 / len(launched)
