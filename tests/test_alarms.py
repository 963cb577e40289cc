"""Alarms: intervals against brute force, the promise of the threshold, files, and one's own video through the command."""
import csv
import json

import cv2
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from vad_nb.evaluation.alarms import (
    Threshold, find_alarms, fit_threshold, intervals, measure_alarms, write_alarms)
from vad_nb.cli import main
from vad_nb.core import DataError, SettingsError
from vad_nb.data.scene_files import write_scene
from vad_nb.evaluation.scores import Scores, smooth


def threshold(value, smoothing="none", join=0, causal=False):
    return Threshold(value, 0.9, 0.1, 0.1, float("nan"), smoothing, causal, join, 1, 10)


@given(arrays(int, st.integers(1, 40), elements=st.integers(0, 1)), st.integers(0, 5))
def test_intervals_against_brute_force(flags, join):
    filled = flags.astype(bool).copy()
    on = np.flatnonzero(flags)
    for a, b in zip(on[:-1], on[1:]):
        if b - a - 1 <= join:
            filled[a:b] = True
    found = intervals(flags, 1, join)
    covered = np.zeros(len(flags), bool)
    for first, last in found:
        assert flags[first] and flags[last] and not covered[first:last + 1].any()
        covered[first:last + 1] = True
    assert (covered == filled).all()


@pytest.mark.parametrize("quantile", [0.5, 0.9, 0.99])
def test_the_promise_is_kept_by_exchangeable_scores(quantile):
    normal = Scores({str(k): np.random.default_rng(k).gamma(2, size=3000) for k in range(8)}, {"fps": {str(k): 10 for k in range(8)}})
    fitted = fit_threshold(normal, quantile)
    assert fitted.promised == pytest.approx(1 - quantile)
    assert fitted.measured == pytest.approx(1 - quantile, abs=4*np.sqrt(quantile*(1 - quantile)/24000))
    assert fitted.value == pytest.approx(np.quantile(np.concatenate(list(normal.frames.values())), quantile))
    assert fitted.alarms_per_hour > 0


def test_the_promise_is_broken_where_clips_differ():
    normal = Scores({str(k): np.random.default_rng(k).normal(k, 0.1, 500) for k in range(6)})
    assert fit_threshold(normal, 0.95).measured > 0.15   # the highest clip lies above all the others


def test_one_clip_is_cut_into_stretches():
    fitted = fit_threshold(Scores({"only": np.random.default_rng(0).random(1000)}, {"fps": {"only": 10}}), 0.9)
    assert fitted.clips == 1 and fitted.measured == pytest.approx(0.1, abs=0.05) and fitted.alarms_per_hour > 0
    with pytest.raises(DataError, match="two frames"):
        fit_threshold(Scores({"only": [1.0]}))


@pytest.mark.parametrize("quantile", [0, 1, -0.1, 99])
def test_a_quantile_that_is_none(quantile):
    with pytest.raises(SettingsError, match="inside"):
        fit_threshold(Scores({"a": [1, 2], "b": [3, 4]}), quantile)


def test_smoothing_comes_before_the_threshold():
    spike = np.zeros(50)
    spike[20] = 5
    assert len(find_alarms(Scores({"a": spike}), threshold(1.0))) == 1
    assert find_alarms(Scores({"a": spike}), threshold(1.0, "median5")) == []
    late, = find_alarms(Scores({"a": spike}), threshold(0.3, "gaussian2", causal=True))
    assert late.first == 20                                  # a causal filter raises no alarm before the event
    assert late.score == pytest.approx(smooth(spike, "gaussian2", True).max())


def test_alarms_without_labels_or_events_have_no_rate():
    measured = measure_alarms(Scores({"a": np.zeros(5)}), threshold(1.0), {"a": np.zeros(5, int)})
    assert measured["false_alarm_rate"] == 0 and np.isnan(measured["events_found"]) and np.isnan(measured["alarms_without_event"])


def test_files(tmp_path):
    scores = Scores({"a": [0, 3, 3, 0], "b, with a comma": [0, 0, 0, 4]}, {"fps": {"a": 2}})
    write_alarms(tmp_path/"alarms.csv", scores, threshold(2.0), {"a": [0, 1, 1, 0], "b, with a comma": [1, 0, 0, 0]})
    rows = list(csv.DictReader((tmp_path/"alarms.csv").open()))
    assert rows[0] == dict(video="a", first="1", last="2", start="0.5", end="1.5", peak="1", score="3")
    assert rows[1]["video"] == "b, with a comma" and rows[1]["start"] == "" and len(rows) == 2
    whole = json.loads((tmp_path/"alarms.json").read_text())
    assert whole["threshold"]["value"] == 2 and whole["alarms"][1]["start"] is None
    assert whole["measured_on_labels"]["events_found"] == 0.5
    with pytest.raises(SettingsError, match="csv"):
        write_alarms(tmp_path/"alarms.xlsx", scores, threshold(2.0))


def test_from_a_folder_of_videos_to_alarms_and_an_overlay(tmp_path, capsys):
    "Normal videos in, a run out, alarms and a video of a new file, as somebody with a camera would do it."
    write_scene(tmp_path/"scene", "avenue", train_clips=2, test_clips=1, length=40, height=120, width=180)
    normal, new = tmp_path/"scene"/"training_videos", tmp_path/"scene"/"testing_videos"/"01.avi"
    streamed = ["score", tmp_path/"run", "--video", new, "--out", tmp_path/"streamed.csv", "--overlay", tmp_path/"streamed.webm", "--device", "cpu"]
    words = [["train", "ddl", "--data", "folder", "--root", normal, "--set", "size=64x96", "width=8", "epochs=2", "--out", tmp_path/"run", "--device", "cpu"],
             ["score", tmp_path/"run", "--data", "folder", "--root", new, "--out", tmp_path/"scores.csv", "--overlay", tmp_path/"new.webm", "--device", "cpu"], streamed,
             ["alarms", tmp_path/"scores.csv", "--normal", tmp_path/"run"/"normal_scores.csv", "--quantile", "0.95", "--out", tmp_path/"alarms.csv"]]
    for one in words:
        assert main([str(word) for word in one]) == 0
    assert "promises 5 %" in capsys.readouterr().out
    rows = list(csv.DictReader((tmp_path/"alarms.csv").open()))
    assert all(row["video"] == "01" and 0 <= int(row["first"]) <= int(row["peak"]) <= int(row["last"]) < 40 for row in rows)
    whole = json.loads((tmp_path/"alarms.json").read_text())
    assert len(whole["alarms"]) == len(rows) and whole["threshold"]["clips"] == 2 and whole["scores"]["data"] == "folder"
    for name in ("new.webm", "streamed.webm"):
        video = cv2.VideoCapture(str(tmp_path/name))
        count = 0
        while video.read()[0]:
            count += 1
        assert count == 38                                   # the first and the last frame have no reconstruction
