"""Region metrics from runs, stored maps and boxes."""
from dataclasses import replace

import numpy as np
import pytest
from test_methods import QUICK

from vad_nb.cli import main
from vad_nb.core import DataError, SettingsError
from vad_nb.data.datasets import load_benchmark
from vad_nb.data.video import Clip
from vad_nb.apps.localise import (
    BOX_COLUMNS, evaluate_regions, frame_maps, read_boxes, store_maps, write_boxes)
from vad_nb.methods.catalog import make_method, open_run
from vad_nb.evaluation.regions import Boxes
from vad_nb.evaluation.scores import error_map
from vad_nb.training.run import Run


@pytest.fixture(scope="module")
def small():
    "Two short clips at a quarter of the size, masks alike, as a benchmark gives them."
    whole = load_benchmark("synthetic")

    def shrink(clip, first, last):
        return Clip(clip.name, np.ascontiguousarray(clip.frames[first:last, ::4, ::4]), clip.fps, clip.key)
    masks = {clip.name: whole.mask(clip.name)[20:60, ::4, ::4] for clip in whole.test[1:3]}
    few = replace(whole, train=tuple(shrink(clip, 0, 40) for clip in whole.train[:1]), test=tuple(shrink(clip, 20, 60) for clip in whole.test[1:3]))
    object.__setattr__(few, "mask", lambda name: masks[name])
    return few


@pytest.fixture(scope="module")
def trained(small, tmp_path_factory):
    return make_method("ddl", overrides=QUICK["ddl"], device="cpu").fit(small, Run(tmp_path_factory.mktemp("ddl")), random_seed=3, preset="smoke")


def test_a_map_is_the_mean_error_around_each_pixel(small, trained):
    method, clip = open_run(trained.path, "cpu"), small.test[0]
    maps, tile = frame_maps(method, clip), method.settings.tile
    assert maps.shape == (40, 60, 90) and maps.dtype == np.float16
    error = np.concatenate([error_map(clean, recon).numpy() for clean, recon in method.reconstruct(clip)])
    half = (tile - 1) // 2
    padded = np.pad(error, ((0, 0), (half, tile // 2), (half, tile // 2)), mode="edge")
    means = np.array([[[padded[t, y:y + tile, x:x + tile].mean() for x in range(error.shape[2])] for y in range(error.shape[1])] for t in (0, 17)])
    inner = [np.abs(maps[t + 1].astype(float).mean() - mean.mean()) for t, mean in zip((0, 17), means)]   # enlarging keeps the mean
    assert max(inner) < .01 * means.mean() + 1e-3
    assert np.array_equal(maps[0], maps[1]) and np.array_equal(maps[-1], maps[-2])     # frames without a reconstruction


def test_run_and_stored_maps_give_the_same_numbers(small, trained, tmp_path):
    first = evaluate_regions(trained.path, small, "cpu", draws=20, progress=False)
    folder = store_maps(open_run(trained.path, "cpu"), small.test, tmp_path / "maps", progress=False)
    second = evaluate_regions(folder, small, draws=20, progress=False)
    assert set(first.numbers) == {"rbdc", "tbdc", "pixel_auc"} and all(first[name].value == second[name].value for name in first.numbers)
    for word in ("ddl/ddl", "random seeds 3", "built-in scene", "synthetic, masks", "selection: last epoch", "bootstrap over 2 videos", "shuffled frames", "regions"):
        assert word in str(first)
    assert "selection: not stated" in str(second) and "random seeds not stated" in str(second)


def test_boxes_there_and_back(small, tmp_path):
    generator = np.random.default_rng(0)
    low = generator.uniform(0, 40, (30, 2))
    boxes = {clip.name: Boxes(np.sort(generator.integers(0, 40, 30)), np.c_[low, low + 10].round(3), generator.random(30)) for clip in small.test}
    back = read_boxes(write_boxes(boxes, tmp_path / "b.csv"), {name: 40 for name in boxes})
    for name, one in boxes.items():
        assert np.array_equal(back[name].frame, one.frame) and np.allclose(back[name].box, one.box) and np.array_equal(back[name].score, one.score)
    assert set(evaluate_regions(tmp_path / "b.csv", small, draws=10).numbers) == {"rbdc", "tbdc"}


HEAD = ",".join(BOX_COLUMNS) + "\n"


@pytest.mark.parametrize("content, words", [
    ("video,frame,score\n", ["line 1", "x0,y0,x1,y1"]), (HEAD + "09,0,0,0,1,1,1\n", ["line 2", "a clip of the data set", "'09'"]), (HEAD + "02,40,0,0,1,1,1\n", ["line 2", "one of 40 frames", "frame 40"]),
    (HEAD + "02,0,5,0,5,1,1\n", ["line 2", "x0 < x1"]), (HEAD + "02,0,0,0,1,high,1\n", ["line 2", "y1, a finite number", "high"]), (HEAD + "02,0,0,0,1\n", ["line 2", "the 7 fields"])])
def test_broken_boxes(content, words, tmp_path):
    (tmp_path / "b.csv").write_text(content)
    with pytest.raises(DataError) as caught:
        read_boxes(tmp_path / "b.csv", {"02": 40, "03": 40})
    assert all(word in str(caught.value) for word in ["b.csv", *words]) and "\n" not in str(caught.value)


def test_maps_that_do_not_fit_and_methods_without_maps_are_refused(small, trained, tmp_path, monkeypatch):
    np.save(tmp_path / f"{small.test[0].name}.npy", np.zeros((40, 60, 90)))
    with pytest.raises(DataError, match=f"{small.test[1].name}.npy"):
        evaluate_regions(tmp_path, small, progress=False)
    np.save(tmp_path / f"{small.test[1].name}.npy", np.zeros((40, 30, 90)))
    with pytest.raises(DataError, match="size of the masks"):
        evaluate_regions(tmp_path, small, progress=False)
    from vad_nb.apps import localise

    class Blind:
        names = ("blind", "none")
    monkeypatch.setattr(localise, "open_run", lambda path, device: Blind())
    with pytest.raises(SettingsError, match="blind; write its boxes"):
        evaluate_regions(trained.path, small, progress=False)


def test_the_command_says_what_is_missing(capsys, tmp_path, data_folder):
    (tmp_path / "b.csv").write_text("video,frame,x0,y0,x1,y1,score\n01,0,0,0,9,9,1\n")
    assert main(["regions", str(tmp_path / "b.csv"), "--data", "ped2"]) == 2
    said = capsys.readouterr().err
    assert "masks of anomalous pixels" in said and "ped2" in said and said.count("\n") == 1
