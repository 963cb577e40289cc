"""The report: what it ranks and chooses, and a page that holds everything inside."""
import re
from dataclasses import replace

import numpy as np
import pytest
from sklearn.metrics import roc_auc_score

from vad_nb.cli import main
from vad_nb.core import SettingsError
from vad_nb.data.datasets import load_benchmark
from vad_nb.methods.catalog import make_method
from vad_nb.apps.report import choose_frames, rank_clips, write_report
from vad_nb.evaluation.scores import Scores
from vad_nb.training.run import Run

LABELS = {"a": np.array([0, 0, 1, 1]), "one": np.array([1, 1, 1, 1]), "b": np.array([0, 1, 0, 1])}
SCORES = Scores({"a": [0.1, 0.3, 0.2, 0.9], "one": [0.5, 0.6, 0.05, 0.1], "b": [0.1, 0.8, 0.7, 0.9]})


def test_clips_are_ranked_by_their_own_auc():
    ranked = rank_clips(SCORES, LABELS)
    assert list(ranked) == ["b", "a", "one"] and np.isnan(ranked["one"])
    for name in ("a", "b"):
        assert ranked[name] == pytest.approx(roc_auc_score(LABELS[name], SCORES.frames[name]))


def test_the_frames_worth_a_look():
    assert choose_frames(SCORES, LABELS, 2) == {"found": [("a", 3), ("b", 3)], "false alarm": [("b", 2), ("a", 1)], "missed": [("one", 2), ("a", 2)]}


@pytest.mark.xdist_group("trainings")
def test_one_page_with_everything_inside(tmp_path, capsys):
    scene = load_benchmark("synthetic")
    few = replace(scene, train=scene.train[:2], test=scene.test[:2], labels={clip.name: scene.labels[clip.name] for clip in scene.test[:2]})
    run = make_method("ddl", "smoke", dict(size=(64, 96), width=8, epochs=1), "cpu").fit(few, Run(tmp_path/"run"), preset="smoke")
    page = write_report(run.path, few, tmp_path/"report.html", "cpu").read_text(encoding="utf-8")
    assert set(re.findall(r'(?:src|href)="(.{5})', page)) == {"data:"} and "@import" not in page and "url(" not in page
    assert page.count("<video") == 2 and "micro_auc" in page and "no normal_scores.csv" in page
    assert all(f"<h2>{title}" in page for title in ("Numbers", "Every clip", "Best and worst", "Found, false alarms", "Training and features"))
    assert len(re.findall(r'<img alt="[^"]{10,}"', page)) == page.count("<img")
    with pytest.raises(SettingsError, match="test clips"):
        write_report(run.path, replace(few, test=()), tmp_path/"none.html")
    assert main(["report", str(tmp_path/"nowhere"), "-o", str(tmp_path/"x.html")]) == 2
