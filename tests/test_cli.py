"""The command as a user types it: one line for what is wrong, exit code 2, never a traceback."""
import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from vad_nb.cli import FIGURES, main


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


def test_help_teaches_and_is_quick():
    text = subprocess.run([Path(sys.executable).parent / "vad-nb", "--help"], capture_output=True, text=True)
    assert text.returncode == 0 and "vad-nb train ddl --data ped2" in text.stdout
    for name in ("doctor", "train", "score", "evaluate", "figures", "download"):
        assert name in text.stdout


def test_every_figure_of_the_command_exists():
    from importlib import import_module
    for module in FIGURES.values():
        assert callable(import_module(f"vad_nb.figures.{module}").make)
