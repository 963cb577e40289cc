"""Reading ahead and scoring files as they run: bounded, in order, with errors where they belong."""
import time
from itertools import count

import numpy as np
import pytest

from vad_nb.cli import main
from vad_nb.core import DataError, SettingsError
from vad_nb.data.datasets import load_benchmark
from vad_nb.data.scene_files import write_video
from vad_nb.methods.catalog import make_method
from vad_nb.evaluation.scores import Scores
from vad_nb.apps.stream import read_ahead, score_video
from vad_nb.training.run import Run


def test_reading_ahead_is_bounded_and_stops_with_its_reader():
    made = []
    def endless():
        for k in count():
            made.append(k)
            yield k
    reader = read_ahead(endless(), depth=4)
    assert [next(reader) for _ in range(10)] == list(range(10))
    time.sleep(.3)
    assert len(made) <= 10 + 4 + 1
    reader.close()
    time.sleep(.3)
    stopped = len(made)
    time.sleep(.3)
    assert len(made) == stopped


def test_an_error_comes_out_after_the_items_before_it():
    def broken():
        yield 1
        yield 2
        raise DataError("x.mp4", "a frame", "none")
    reader = read_ahead(broken())
    assert [next(reader), next(reader)] == [1, 2]
    with pytest.raises(DataError, match="x.mp4"):
        next(reader)


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    folder, scene = tmp_path_factory.mktemp("stream"), load_benchmark("synthetic")
    method = make_method("ddl", "smoke", dict(size=(32, 48), width=8, epochs=1), "cpu")
    method.fit(scene, Run(folder / "run"), preset="smoke")
    frames = np.repeat(scene.test[0].frames[:40, :, :, :1], 3, 3)
    write_video(folder / "scene.avi", frames)
    write_video(folder / "short.avi", frames[:2])
    return folder


@pytest.mark.parametrize("batch", [1, 7, 40])
def test_causal_is_offline_one_frame_later(trained, batch):
    offline = score_video(trained / "run", trained / "scene.avi", "cpu", batch=batch, progress=False).scores.frames["scene"]
    causal = score_video(trained / "run", trained / "scene.avi", "cpu", causal=True, progress=False)
    rows = causal.scores.frames["scene"]
    assert len(offline) == len(rows) == 40 and len(causal.latency) == 38
    assert np.allclose(rows[2:], offline[1:-1], atol=2e-3)
    assert (rows[:2] == rows[2]).all() and offline[0] == offline[1] and offline[-1] == offline[-2]


def test_what_cannot_be_scored_is_said(trained, tmp_path):
    with pytest.raises(DataError, match="short.avi: expected at least 3 frames.*found 2"):
        score_video(trained / "run", trained / "short.avi", "cpu", progress=False)
    with pytest.raises(DataError, match="nothing there"):
        score_video(trained / "run", tmp_path / "none.mp4", "cpu", progress=False)
    (tmp_path / "text.mp4").write_text("no video")
    with pytest.raises(DataError, match="text.mp4: expected a video"):
        score_video(trained / "run", tmp_path / "text.mp4", "cpu", progress=False)


def test_the_command(trained, tmp_path, capsys):
    out = tmp_path / "scores.csv"
    assert main(["score", str(trained / "run"), "--video", str(trained / "scene.avi"), "--causal", "--device", "cpu", "--out", str(out)]) == 0
    assert "latency p50" in capsys.readouterr().out
    scores = Scores.read_csv(out)
    assert len(scores) == 40 and scores.provenance["causal"] is True and scores.provenance["data"] == "scene.avi"
    assert main(["score", str(trained / "run"), "--causal", "--out", str(out)]) == 2
    assert "--video" in capsys.readouterr().err
