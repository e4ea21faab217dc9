import contextlib
from collections.abc import Sequence
from pathlib import Path

import pytest

from edge_client.output.power_meter import Integrated, PowerMeter, Sampled, discover, of_file
from shared.boards import SILENT, Time, boards
from shared.errors import ConfigError
from tests.support.processes import wait_for

RANGE = 262_143_328_850


def write(root: Path, values: dict[str, object]) -> Path:
    for name, value in values.items():
        file = root / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(f"{value}\n")
    return root


def rapl(root: Path, first: int, second: int | None = None) -> Path:
    zones = {"intel-rapl:0": ("package-0", first), "intel-rapl:0:0": ("core", 7), "intel-rapl:1": ("psys", 5)}
    if second is not None:
        zones["intel-rapl:2"] = ("package-1", second)
    for zone, (name, energy) in zones.items():
        folder = f"sys/class/powercap/{zone}"
        write(root, {f"{folder}/name": name, f"{folder}/energy_uj": energy, f"{folder}/max_energy_range_uj": RANGE})
    return root


def found(root: Path) -> PowerMeter:
    meter = discover(root)
    assert meter is not None
    return meter


def test_rapl_counts_every_package_and_nothing_twice(tmp_path: Path) -> None:
    meter = found(rapl(tmp_path, 1_000_000, 500_000))
    assert meter.kind == "rapl"
    assert meter.joules() == 0.0
    rapl(tmp_path, 3_000_000, 1_000_000)
    assert meter.joules() == pytest.approx(2.5)
    assert meter.joules() == pytest.approx(2.5)


def test_a_counter_that_wraps_goes_on(tmp_path: Path) -> None:
    meter = found(rapl(tmp_path, RANGE - 1_000_000))
    rapl(tmp_path, 999_999)
    assert meter.joules() == pytest.approx(2.0)
    rapl(tmp_path, 1_999_999)
    assert meter.joules() == pytest.approx(3.0)


def test_a_jetson_is_measured_at_the_rail_that_feeds_it(tmp_path: Path) -> None:
    hwmon = "sys/bus/i2c/drivers/ina3221/1-0040/hwmon/hwmon3"
    rails = {1: ("VDD_IN", 5000, 2000), 2: ("VDD_CPU_GPU_CV", 5000, 900), 3: ("VDD_SOC", 5000, 300)}
    for number, (label, millivolts, milliamperes) in rails.items():
        write(tmp_path, {f"{hwmon}/in{number}_label": label, f"{hwmon}/in{number}_input": millivolts,
                         f"{hwmon}/curr{number}_input": milliamperes})  # fmt: skip
    meter = found(rapl(tmp_path, 0))
    assert meter.kind == "ina3221"
    assert isinstance(meter, Integrated)
    assert meter._watts() == pytest.approx(10.0)


def test_an_older_jetson_is_the_sum_of_its_rails(tmp_path: Path) -> None:
    device = "sys/bus/i2c/drivers/ina3221x/1-0040/iio:device0"
    for number, (name, milliwatts) in enumerate([("GPU", 1500), ("CPU", 800), ("SOC", 700)]):
        write(tmp_path, {f"{device}/rail_name_{number}": name, f"{device}/in_power{number}_input": milliwatts})
    meter = found(tmp_path)
    assert isinstance(meter, Integrated)
    assert meter._watts() == pytest.approx(3.0)


def test_watts_are_integrated_straight_between_looks() -> None:
    looks = iter([(0.0, 2.0), (1.0, 4.0), (3.0, 4.0)])
    now = {"clock": 0.0, "watts": 0.0}

    def go_on() -> None:
        now["clock"], now["watts"] = next(looks)

    go_on()
    meter = Integrated("file", lambda: now["watts"], lambda: now["clock"])
    go_on()
    assert meter.joules() == pytest.approx(3.0)
    go_on()
    assert meter.joules() == pytest.approx(11.0)


def test_a_machine_without_a_meter_has_none(tmp_path: Path) -> None:
    assert discover(tmp_path) is None


def test_a_meter_that_may_not_be_read_is_none(tmp_path: Path) -> None:
    (rapl(tmp_path, 0) / "sys/class/powercap/intel-rapl:0/energy_uj").write_text("")
    assert discover(tmp_path) is None


@pytest.mark.parametrize(
    ("head", "before", "after", "joules"),
    [
        ("timestamp sample_in_packet voltage_V current_A energy_Ws", "1.0 0 5.1 0.5 10.0", "1.5 1 5.1 0.5 12.5", 2.5),
        ("time,Energy_Wh", "0,1.0", "1,1.5", 1800.0),
        ("time;energy_J", "0;8", "1;3", 3.0),  # the meter was set to zero
    ],
)
def test_the_file_of_a_meter_that_counts(tmp_path: Path, head: str, before: str, after: str, joules: float) -> None:
    file = tmp_path / "meter.txt"
    file.write_text(f"{head}\n{before}\n")
    meter = of_file(file)
    assert meter.kind == "file"
    with file.open("a") as written:
        written.write(f"{after}\n9 torn")
    assert meter.joules() == pytest.approx(joules)


def test_the_end_alone_of_a_long_file_is_read(tmp_path: Path) -> None:
    file = tmp_path / "meter.csv"
    file.write_text("energy_J\n" + "".join(f"{value}\n" for value in range(5000)))
    meter = of_file(file)
    with file.open("a") as written:
        written.write("5001.5\n")
    assert meter.joules() == pytest.approx(2.5)


@pytest.mark.parametrize(
    "text",
    ["", "energy_J\n", "volts\n5\n", "energy_J\nmuch\n", "t,energy_J\n1\n", "energy_J\n\n", "energy_J\nnan\n",
     "x" * 200_000 + ",energy_J\n1,2\n"],
)  # fmt: skip
def test_a_file_that_is_no_meters_is_refused_by_name(tmp_path: Path, text: str) -> None:
    file = tmp_path / "meter.csv"
    file.write_text(text)
    with pytest.raises(ConfigError, match=r"--power-meter is .*meter\.csv"):
        of_file(file)
    with pytest.raises(ConfigError, match="cannot be read"):
        of_file(tmp_path / "nothing")


@pytest.mark.parametrize(
    ("head", "shown"),
    [
        ("time,energy_J", "\n"),
        ("time,energy_J", "2\n"),
        ("time energy_J", "\n"),
        ("time energy_J", "2 inf\n"),
        ("time energy_J", "2 nan\n"),
        ("time energy_J", "2 -7\n"),
        ("time power_W", "2 -1e9\n"),
    ],
)
def test_a_meter_that_shows_what_none_can_is_given_up(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, head: str, shown: str
) -> None:
    file = tmp_path / "meter.txt"
    file.write_text(f"{head}\n{'0,5' if ',' in head else '0 5'}\n")
    with contextlib.closing(Sampled(of_file(file), period_s=60.0)) as meter:
        assert meter.joules() is not None
        for _ in range(2):
            with file.open("a") as written:
                written.write(shown)
            assert meter.joules() is None
    assert [record.getMessage().partition(":")[0] for record in caplog.records] == [
        "the power meter (file) cannot be read any more"
    ]


def test_a_thread_looks_and_sees_that_a_meter_has_gone(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    with contextlib.closing(Sampled(found(rapl(tmp_path, 0)), period_s=0.001)) as meter:
        rapl(tmp_path, 4_000_000)
        wait_for(lambda: meter._joules == 4.0, "the thread to look")
        (tmp_path / "sys/class/powercap/intel-rapl:0/energy_uj").unlink()
        wait_for(lambda: meter._joules is None, "the thread to see it")
    assert "cannot be read any more" in caplog.text


def test_a_closed_meter_keeps_its_count(tmp_path: Path) -> None:
    meter = Sampled(found(rapl(tmp_path, 0)), period_s=60.0)
    rapl(tmp_path, 4_000_000)
    assert meter.joules() == pytest.approx(4.0)
    meter.close()
    rapl(tmp_path, 9_000_000)
    assert meter.joules() == pytest.approx(4.0)


def replay(file: Path, columns: Sequence[str], rows: Sequence[tuple[float, float, float]]) -> float:
    """Joules after a meter's program has written these rows of time, watts and joules one by one, as it once did."""
    names = ("time_s", "power_W", "energy_J")
    shown = [[row[names.index(name)] for name in columns] for row in rows]
    lines = [",".join(columns), *(",".join(map(str, row)) for row in shown)]
    file.write_text("\n".join(lines[:2]) + "\n")
    now = iter([row[0] for row in rows])
    meter = of_file(file, lambda: next(now))
    for upto in range(3, len(lines) + 1):
        file.write_text("\n".join(lines[:upto]) + "\n")
        joules = meter.joules()
    return joules


def test_a_usb_meters_file_replays_to_the_figure_of_the_board_that_it_was_written_behind(tmp_path: Path) -> None:
    """Twenty seconds of a Pi 4B, of which one core is busy for five: the watts, the meter's own count and the board's
    stated power give one figure."""
    board = boards()["pi-4b"]
    rows, joules, before = [], 0.0, board.idle_w.value
    for tick in range(201):
        watts = board.idle_w.value + (board.core_w.value if 50 <= tick < 100 else 0.0)
        joules += 0.1 * (watts + before) / 2 if tick else 0.0
        before = watts
        rows.append((tick / 10, watts, joules))
    integrated = replay(tmp_path / "watts.csv", ("time_s", "power_W"), rows)
    counted = replay(tmp_path / "joules.csv", ("time_s", "power_W", "energy_J"), rows)
    assert integrated == pytest.approx(counted)
    assert integrated == pytest.approx(board.spend(Time(20.0, 5.0), SILENT).total_j)
