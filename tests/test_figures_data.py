"""Which data a figure can be drawn from is said in one line, before anything is loaded or trained."""
import itertools
from pkgutil import resolve_name

import pytest

from vad_nb.cli import main
from vad_nb.core import SettingsError
from vad_nb.data.scene import make_scene
from vad_nb.data.scene_files import write_video
from vad_nb.figures.draw import FIGURES, draw_figures
from vad_nb.studies.trainings import Trainings
from vad_nb.methods.ddl import DDL
from vad_nb.methods.mil import MIL
from vad_nb.methods.mulde_video import MuldeVideo
from vad_nb.training.run import read_history

WEAK = ("synthetic-ws", "shanghaitech-ws", "ped2-ws")
TRAINING_CLIPS_ARE_ENOUGH = {("4", "folder"), ("5", "folder")}
REFUSED = [pair for pair in itertools.product(FIGURES, ("folder", *WEAK))
           if pair[0] != "6" and pair not in TRAINING_CLIPS_ARE_ENOUGH]
TINY = dict(size="32x48", width="8", epochs="1", windows="0", batch_size="20")


@pytest.fixture
def no_training(monkeypatch):
    "Whatever would train fails the test."
    def trained(*_, **__):
        pytest.fail("trained")
    for method in (DDL, MIL, MuldeVideo):
        monkeypatch.setattr(method, "fit", trained)
    monkeypatch.setattr(Trainings, "benchmark", property(trained))


@pytest.mark.parametrize("figure, data", REFUSED)
def test_other_data_are_refused_in_one_line(figure, data, tmp_path, no_training):
    with pytest.raises(SettingsError, match=f"^figure {figure}: expected .*, found {data}$"):
        draw_figures([figure], tmp_path/"out", tmp_path/"runs", data, tmp_path, device="cpu")
    assert not (tmp_path/"out").exists() and not (tmp_path/"runs").exists()


@pytest.mark.parametrize("data", ("folder", *WEAK))
def test_the_command_refuses_them_as_well(data, tmp_path, capsys, no_training):
    assert main(["figures", "7", "--data", data, "--root", str(tmp_path), "--out", str(tmp_path/"out")]) == 2
    said = capsys.readouterr().err.splitlines()
    assert len(said) == 1 and "expected" in said[0] and data in said[0]


def test_a_figure_without_data_is_drawn_whatever_is_named(tmp_path, no_training):
    assert main(["figures", "6", "--data", "folder", "--root", str(tmp_path), "--out", str(tmp_path)]) == 0
    assert (tmp_path/"fig6.png").exists()


def test_every_figure_says_what_it_needs():
    for file in FIGURES.values():
        module = resolve_name(f"vad_nb.figures.{file}")
        assert module.DATA is None or "synthetic" in module.DATA
        assert all(name == "ddl" and settings["anomaly"] in ("ddl", "none") for name, _, settings in module.NEEDS)


def test_ones_own_video_gives_figures_4_and_5(tmp_path):
    for clip in make_scene("train", clips=2, length=24):
        write_video(tmp_path/"video"/f"{clip.name}.avi", clip.frames)
    words = [f"{key}={value}" for key, value in TINY.items()]
    where = ["--out", str(tmp_path/"out"), "--runs", str(tmp_path/"runs"), "--device", "cpu"]
    assert main(["figures", "4", "5", "--data", "folder", "--root", str(tmp_path/"video"), "--set", *words, *where]) == 0
    assert (tmp_path/"out"/"fig4.png").exists() and (tmp_path/"out"/"fig5.png").exists()
    histories = [read_history(path/"history.csv") for path in (tmp_path/"runs").iterdir()]
    assert len(histories) == 3 and all(len(history["sigma"]) == 3 for history in histories)


def test_side_by_side_is_the_same_training(tmp_path):
    wanted = [("ddl", seed, dict(anomaly="ddl")) for seed in range(2)]
    tiny = dict(TINY, epochs="2", windows="60")
    both, one = (Trainings(tmp_path/name, overrides=tiny, device="cpu") for name in ("both", "one"))
    both.together(*wanted)
    for name, seed, settings in wanted:
        expected, found = (read_history(each.get(name, seed, **settings)[1].history_file) for each in (one, both))
        assert expected["sigma"].tolist() == pytest.approx(found["sigma"].tolist(), abs=1e-3)
        assert found["step"].tolist() == list(range(6))
