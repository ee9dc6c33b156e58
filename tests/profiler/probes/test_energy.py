"""Energy against a simulated counter of known truth: coarse ticks, averaging, faults."""

import pynvml
import pytest

from kswatch.errors import MeasurementError
from kswatch.profiler.probes.energy import EnergyMeter, EnergySource, PowerTrapezoid, SustainedLoad
from kswatch.profiler.probes.energy_nvml import nvml_sources
from kswatch.profiler.settings import MeasureSettings

BUSY_W = 400.0
IDLE_W = 75.0
PRODUCT_MS = 0.37
TRUE_MJ = BUSY_W * PRODUCT_MS


class Board:
    """A board whose time passes only with readings: power by load, a counter with ticks."""

    def __init__(self, tick_s=0.1, busy_w=BUSY_W, read_s=50e-6):
        self.time_s = 1.0
        self.busy = False
        self.tick_s = tick_s
        self.busy_w = busy_w
        self.read_s = read_s
        self.true_mj = 0.0
        self.shown_mj = 0.0
        self.next_tick_s = self.time_s
        self.lost_mj = 0.0

    def pass_time(self, seconds):
        end_s = self.time_s + seconds
        while self.next_tick_s <= end_s:
            self._until(self.next_tick_s)
            self.shown_mj = self.true_mj
            self.next_tick_s += self.tick_s
        self._until(end_s)

    def _until(self, at_s):
        self.true_mj += 1e3 * (at_s - self.time_s) * self.power_w
        self.time_s = at_s

    @property
    def power_w(self):
        return self.busy_w if self.busy else IDLE_W

    def clock(self):
        self.pass_time(1e-6)
        return self.time_s

    def read(self):
        self.pass_time(self.read_s)
        return float(int(self.shown_mj - self.lost_mj))


class Counter(EnergySource):
    name, scope = "simulated", "board"

    def __init__(self, board):
        self.board = board

    def read_mj(self):
        return self.board.read()


class BusyLoad(SustainedLoad):
    """Keeps the board busy; each check of the queue takes the host 30 microseconds."""

    def __init__(self, board):
        self.board = board

    def top_up(self):
        self.board.busy = True
        self.board.pass_time(30e-6)

    def product_ms(self):
        self.board.busy = False
        return PRODUCT_MS


def meter(board, second=None):
    return EnergyMeter(Counter(board), second, clock=board.clock, pause=board.pass_time)


def measured(board, load=BusyLoad):
    return meter(board).measure(load(board), MeasureSettings())


@pytest.mark.parametrize("tick_ms", range(10, 101, 10))
def test_energy_is_within_one_percent_at_every_tick(tick_ms):
    reading = measured(Board(tick_s=tick_ms / 1e3))
    error = reading.energy_mj / TRUE_MJ - 1
    print(f"tick {tick_ms} ms: energy error {100 * error:+.3f} %")
    assert abs(error) < 0.01
    assert reading.energy_low_mj <= reading.energy_mj <= reading.energy_high_mj
    assert reading.energy_net_mj == pytest.approx((BUSY_W - IDLE_W) * PRODUCT_MS, rel=0.01)


def test_an_arbitrary_window_of_two_seconds_has_an_error_of_percents():
    board = Board(tick_s=0.1)
    BusyLoad(board).top_up()
    board.pass_time(1.001)
    begin_s, begin_mj = board.time_s, board.read()
    board.pass_time(1.99)
    power_w = (board.read() - begin_mj) / 1e3 / (board.time_s - begin_s)
    assert abs(power_w / BUSY_W - 1) > 0.03


def test_the_tick_is_measured_under_load():
    board = Board(tick_s=0.04)
    assert meter(board).tick_s(BusyLoad(board)) == pytest.approx(0.04, rel=0.02)


def test_windows_last_at_least_ten_ticks():
    board = Board(tick_s=0.5)
    begin_s = board.time_s
    measured(board)
    assert board.time_s - begin_s > 3 * 5.0


def test_unsteady_windows_are_followed_by_five_longer_ones_and_flagged():
    class Restless(BusyLoad):
        def top_up(self):
            super().top_up()
            self.board.busy_w = 300.0 + 40.0 * self.board.time_s

    assert measured(Board(tick_s=0.02), Restless).flags == ("energy_unsteady",)


def test_a_counter_that_does_not_change_is_an_error():
    with pytest.raises(MeasurementError, match="did not change for 2 s"):
        measured(Board(tick_s=1e9))


def test_a_window_with_a_reload_of_the_driver_is_discarded():
    class Reloaded(BusyLoad):
        def top_up(self):
            super().top_up()
            if self.board.time_s > 4.0 and not self.board.lost_mj:
                self.board.lost_mj = self.board.true_mj

    assert measured(Board(tick_s=0.02), Reloaded).energy_mj == pytest.approx(TRUE_MJ, rel=0.01)


def test_a_deviating_second_source_is_flagged():
    board = Board(tick_s=0.02)
    for factor, flags in ((1.0, ()), (1.2, ("energy_sources_differ",))):
        second = PowerTrapezoid("power", "board", lambda by=factor: by * board.power_w, board.clock)
        assert meter(board, second).measure(BusyLoad(board), MeasureSettings()).flags == flags


def test_integrated_power_alone_gives_the_energy():
    board = Board()

    def power_w():
        board.pass_time(50e-6)
        return board.power_w

    source = PowerTrapezoid("power", "board", power_w, board.clock)
    reading = EnergyMeter(source, clock=board.clock, pause=board.pass_time).measure(
        BusyLoad(board), MeasureSettings()
    )
    assert reading.energy_mj == pytest.approx(TRUE_MJ, rel=0.01)


class SimulatedNvml:
    """NVML of one board; unsupported functions raise, and each field has its own status."""

    def __init__(self, counter=True, fields=(), power=True):
        self._has = {"counter": counter, "power": power}
        self._fields = fields

    def _only_with(self, name):
        if not self._has[name]:
            raise pynvml.NVMLError(pynvml.NVML_ERROR_NOT_SUPPORTED)

    def nvmlDeviceGetTotalEnergyConsumption(self, gpu):  # noqa: N802
        self._only_with("counter")
        return 5_000

    def nvmlDeviceGetPowerUsage(self, gpu):  # noqa: N802
        self._only_with("power")
        return 250_000

    def nvmlDeviceGetFieldValues(self, gpu, fields):  # noqa: N802
        value = pynvml.c_nvmlFieldValue_t()
        value.nvmlReturn = (
            pynvml.NVML_SUCCESS if fields[0] in self._fields else pynvml.NVML_ERROR_NOT_SUPPORTED
        )
        value.valueType = pynvml.NVML_VALUE_TYPE_UNSIGNED_LONG_LONG
        value.value.ullVal = 6_000
        return [value]


@pytest.mark.parametrize(
    ("nvml", "names"),
    [
        (SimulatedNvml(), ["nvml_counter", "nvml_power_average"]),
        (SimulatedNvml(fields=(83, 186)), ["nvml_counter", "nvml_power_instant"]),
        (SimulatedNvml(counter=False, fields=(83,)), ["nvml_field_83", "nvml_power_average"]),
        (SimulatedNvml(counter=False), ["nvml_power_average"]),
        (SimulatedNvml(counter=False, power=False), []),
    ],
    ids=["Volta", "Hopper", "field only", "Pascal", "nothing"],
)
def test_the_best_available_source_is_used(nvml, names):
    assert [source.name for source in nvml_sources("gpu", "NVIDIA H200", nvml)] == names


def test_a_field_is_read_with_its_type_and_unit():
    counter, power = nvml_sources("gpu", "board", SimulatedNvml(counter=False, fields=(83, 186)))
    assert counter.read_mj() == 6_000
    assert power.name == "nvml_power_instant"


def test_on_a_superchip_the_counter_covers_the_module():
    assert {source.scope for source in nvml_sources("gpu", "NVIDIA GH200 480GB", SimulatedNvml())} == {
        "module"
    }
