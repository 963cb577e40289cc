"""The command as a user types it: one line for what is wrong, exit code 2, never a traceback."""
import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from vad_nb.cli import FIGURES, main
from vad_nb.methods.weak_study import MAIN, METRICS, read_study, write_study
from vad_nb.results import read_results


def command(capsys, *words):
    code = main([str(word) for word in words])
    return code, *capsys.readouterr()


@pytest.mark.parametrize("words, said", [
    (["train", "magic", "--out", "x"], "expected one of ddl"),
    (["train", "ddl", "--preset", "huge", "--out", "x"], "smoke, small, paper"),
    (["train", "ddl", "--set", "epochs=many", "--out", "x"], "expected int"),
    (["train", "ddl", "--set", "epoch=3", "--out", "x"], "expected one of"),
    (["train", "ddl", "--data", "ped2", "--root", "/nowhere", "--out", "x"], "/nowhere"),
    (["train", "ddl", "--device", "abacus", "--out", "x"], "abacus"),
    (["train", "mil", "--out", "x"], "synthetic-ws"),
    (["train", "ddl", "--data", "synthetic-ws", "--out", "x"], "clips of frames"),
    (["train", "xel", "--host", "ddl", "--data", "synthetic-ws", "--out", "x"], "mil+xel"),
    (["train", "xel", "--data", "shanghaitech-ws", "--root", "/nowhere", "--out", "x"], "/nowhere"),
    (["train", "xel", "--data", "ped2-ws-11", "--out", "x"], "0 to 9"),
    (["train", "xel", "--data", "synthetic-ws", "--set", "losses=some", "--out", "x"], "both, validation or margin"),
    (["score", "/nowhere", "--out", "x.csv"], "/nowhere/config.json"),
    (["evaluate", "/nowhere.csv"], "nowhere.csv"),
    (["evaluate", "/nowhere.csv", "--protocol", "guess"], "expected"),
    (["doctor", "ped3"], "ped3"),
    (["figures", "99"], "figure 99"),
    (["download", "shanghaitech", "/tmp/x"], "ask for it")])
def test_bad_input_gets_one_line(capsys, words, said):
    code, out, err = command(capsys, *words)
    assert code == 2 and said in err and err.count("\n") == 1 and "Traceback" not in err


def test_doctor_on_an_empty_folder_says_how_to_mend_it(capsys, tmp_path):
    code, out, err = command(capsys, "doctor", "ped2", tmp_path)
    assert code == 2 and "NOT OK" in out and "download" in out


def test_labels_file_in_place_of_data(capsys, tmp_path):
    rng = np.random.default_rng(0)
    labels = {name: (rng.random(50) < 0.4).astype(int) for name in ("a", "b")}
    for kind in ("score", "label"):
        rows = [f"{name},{frame},{value + (rng.random() if kind == 'score' else 0)}" for name, one in labels.items() for frame, value in enumerate(one)]
        (tmp_path / f"{kind}s.csv").write_text(f"video,frame,{kind}\n" + "\n".join(rows) + "\n")
    code, out, err = command(capsys, "evaluate", tmp_path / "scores.csv", "--labels", tmp_path / "labels.csv", "--json", tmp_path / "out.json", "--plot", tmp_path / "roc.png")
    assert code == 0 and "micro_auc" in out and (tmp_path / "roc.png").exists()
    report = json.loads((tmp_path / "out.json").read_text())["reports"][0]
    assert report["metrics"]["micro_auc"]["value"] == pytest.approx(1.0)


def test_weakly_supervised_from_training_to_a_row_of_results(capsys, tmp_path):
    data = ["--data", "synthetic-ws"]
    code, out, _ = command(capsys, "train", "xel", "--host", "arnet", *data, "--set", "epochs=4", "update=batch", "--out", tmp_path / "run")
    assert code == 0 and "arnet+xel" in out
    assert command(capsys, "score", tmp_path / "run", *data, "--out", tmp_path / "s.csv")[0] == 0
    code, out, _ = command(capsys, "evaluate", tmp_path / "s.csv", *data, "--threshold", "0.5", "--record", tmp_path / "results.csv")
    row = read_results(tmp_path / "results.csv")[0]
    assert code == 0 and (row["method"], row["variant"], row["data"], row["real"], row["epochs"]) == ("arnet+xel", "both-batch", "synthetic-ws", "False", "4") and float(row["far"]) >= 0


def test_study_goes_on(capsys, tmp_path):
    words = ["study", "--data", "synthetic-ws-0", "--seeds", "1", "--out", tmp_path / "xel.csv"]
    assert read_study(tmp_path / "xel.csv") == []
    fill = dict(data="synthetic-ws-0", bug="-", preset="smoke", random_seed=0, steps=1, seconds=1, commit="", roc="0 1", **dict.fromkeys(METRICS, .5))
    write_study(tmp_path / "xel.csv", [dict(fill, host=one.host, losses=one.losses, update=one.update) for one in MAIN])
    code, out, _ = command(capsys, *words)
    assert code == 0 and "6 trainings" in out


def test_help_teaches_and_is_quick():
    text = subprocess.run([Path(sys.executable).parent / "vad-nb", "--help"], capture_output=True, text=True)
    assert text.returncode == 0 and "vad-nb train ddl --data ped2" in text.stdout
    for name in ("doctor", "train", "score", "evaluate", "figures", "download"):
        assert name in text.stdout


def test_every_figure_of_the_command_exists():
    from importlib import import_module
    for module in FIGURES.values():
        assert callable(import_module(f"vad_nb.figures.{module}").make)


def test_auc_of_each_class_against_scikit_learn(capsys, tmp_path):
    from sklearn.metrics import roc_auc_score
    rng = np.random.default_rng(3)
    kinds = {"v1": "Arson", "v2": "Arson", "v3": "Robbery", "n1": "Normal", "n2": "Normal"}
    labels = {name: np.r_[np.zeros(20, int), np.full(20, int(kind != "Normal"))] for name, kind in kinds.items()}
    scores = {name: (label + 2*rng.random(40)).round(1) for name, label in labels.items()}
    for kind, table in (("score", scores), ("label", labels)):
        (tmp_path / f"{kind}s.csv").write_text(f"video,frame,{kind}\n" + "".join(f"{name},{frame},{value}\n" for name, one in table.items() for frame, value in enumerate(one)))
    (tmp_path / "annotations.txt").write_text("".join(f"{name}.mp4  {kind}  {'21  40' if kind != 'Normal' else '-1  -1'}  -1  -1\n" for name, kind in kinds.items()))
    words = ["evaluate", tmp_path / "scores.csv", "--labels", tmp_path / "labels.csv", "--classes", tmp_path / "annotations.txt"]
    code, out, err = command(capsys, *words)
    assert code == 0
    for kind, videos in (("Arson", ["v1", "v2"]), ("Robbery", ["v3"])):
        value = roc_auc_score(*(np.concatenate([table[name] for name in [*videos, "n1", "n2"]]) for table in (labels, scores)))
        assert any(line.split()[:2] == [kind, str(len(videos))] and line.endswith(f"{100*value:.2f}") for line in out.splitlines()), out
    (tmp_path / "annotations.txt").write_text("v1.mp4  Arson  21  40  -1  -1\n")
    code, out, err = command(capsys, *words)
    assert code == 2 and "none for v2" in err
