"""The command as a user types it: one line for what is wrong, exit code 2, never a traceback."""
import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from vad_nb.cli import FIGURES, main
from vad_nb.studies.bank import MAIN, METRICS, read_study, write_study
from vad_nb.evaluation.results import read_results


VAD_NB = Path(sys.executable).parent/"vad-nb"


def command(capsys, *words):
    code = main([str(word) for word in words])
    return code, *capsys.readouterr()


@pytest.mark.parametrize("words, said", [
    (["train", "magic", "--out", "x"], "method 'magic': expected one of ddl"),
    (["train", "ddl", "--preset", "huge", "--out", "x"], "smoke, small, paper"),
    (["train", "ddl", "--set", "epochs=many", "--out", "x"], "expected int"),
    (["train", "ddl", "--set", "epoch=3", "--out", "x"], "expected one of"),
    (["train", "ddl", "--data", "ped2", "--root", "/nowhere", "--out", "x"], "/nowhere"),
    (["train", "ddl", "--device", "abacus", "--out", "x"], "abacus"),
    (["train", "mil", "--out", "x"], "synthetic-ws"),
    (["train", "ddl", "--data", "synthetic-ws", "--out", "x"], "clips of frames"),
    (["train", "xel", "--host", "ddl", "--data", "synthetic-ws", "--out", "x"], "expected one of mil, srf, arnet"),
    (["train", "xel", "--data", "shanghaitech-ws", "--root", "/nowhere", "--out", "x"], "/nowhere"),
    (["train", "xel", "--data", "ped2-ws-11", "--out", "x"], "0 to 9"),
    (["train", "xel", "--data", "synthetic-ws", "--set", "losses=some", "--out", "x"], "both, validation or margin"),
    (["score", "/nowhere", "--out", "x.csv"], "/nowhere/config.json"),
    (["evaluate", "/nowhere.csv"], "nowhere.csv"),
    (["evaluate", "/nowhere.csv", "--protocol", "guess"], "expected"),
    (["doctor", "ped3"], "ped3"),
    (["doctor", "ped2", "/nowhere"], "vad-nb download ped2"),
    (["doctor", "ped2-ws-11", "/"], "0 to 9"),
    (["regions", "/", "--data", "synthetic-ws"], "expected one of synthetic, ped1"),
    (["report", "/nowhere", "--out", "x.html"], "/nowhere/config.json"),
    (["alarms", "/nowhere.csv", "--normal", "/nowhere.csv", "--out", "x.csv"], "/nowhere.csv"),
    (["score", "/nowhere", "--out", "x.csv"], "/nowhere/config.json"),
    (["figures", "99"], "figure '99'"),
    (["bench", "everything"], "case 'everything'"),
    (["sweep", "everything", "--out", "x"], "plan 'everything': expected one of small"),
    (["download", "shanghaitech", "/tmp/x"], "ask for it")])
def test_bad_input_gets_one_line(capsys, words, said):
    code, out, err = command(capsys, *words)
    assert code == 2 and said in err and err.count("\n") == 1 and "Traceback" not in err


@pytest.mark.parametrize("words, said", [
    (["evaluate", "scores.csv", "--protocol", "guess"], "protocol 'guess'"),
    (["evaluate", "scores.csv", "--plot", "roc.xyz"], ".png or .svg or .pdf"),
    (["report", "run", "--protocol", "guess", "--out", "x.html"], "protocol 'guess'"),
    (["report", "run", "--device", "abacus", "--out", "x.html"], "abacus"),
    (["regions", "run", "--device", "abacus"], "abacus"),
    (["alarms", "scores.csv", "--normal", "scores.csv", "--quantile", "2", "--out", "a.csv"], "quantile 2.0"),
    (["alarms", "scores.csv", "--normal", "scores.csv", "--smoothing", "foo", "--out", "a.csv"], "smoothing 'foo'"),
    (["alarms", "scores.csv", "--normal", "scores.csv", "--out", "a.txt"], ".csv"),
    (["score", "run", "--out", "o.csv", "--overlay", "x.gif"], ".webm or .mp4"),
    (["figures", "5", "--set", "epochs=many"], "expected int"),
    (["figures", "1", "--set", "speed=3"], "setting 'speed'"),
    (["train", "ddl", "--set", "width=7", "--out", "new"], "multiple of 8"),
    (["train", "mulde", "--set", "epochs=many", "--out", "new"], "expected int")])
def test_a_setting_is_checked_before_the_folder_is_looked_for(capsys, tmp_path, monkeypatch, words, said):
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("VAD_NB_DATA", raising=False)
    Path("run").mkdir()
    Path("run/config.json").write_text("{}")
    Path("scores.csv").write_text("video,frame,score\na,0,1\na,1,2\n")
    code, out, err = command(capsys, *words, "--data", "ped2")
    assert code == 2 and said in err and err.count("\n") == 1, err


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
    from pkgutil import resolve_name
    from vad_nb.figures import draw
    assert FIGURES == tuple(draw.FIGURES)
    for module in draw.FIGURES.values():
        assert callable(resolve_name(f"vad_nb.figures.{module}").make)


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


@pytest.mark.parametrize("words", [["--help"], ["evaluate", "scores.csv", "--labels", "labels.csv", "--record", "results.csv"]])
def test_a_closed_pipe_ends_silently(words, tmp_path):
    (tmp_path/"scores.csv").write_text("video,frame,score\n" + "".join(f"a,{frame},{frame % 7}\n" for frame in range(40)))
    (tmp_path/"labels.csv").write_text("video,frame,label\n" + "".join(f"a,{frame},{int(frame > 20)}\n" for frame in range(40)))
    read, write = os.pipe()
    os.close(read)
    done = subprocess.run([VAD_NB, *words], stdout=write, stderr=subprocess.PIPE, text=True, cwd=tmp_path)
    os.close(write)
    assert done.returncode in (0, 141) and "Traceback" not in done.stderr and "Broken pipe" not in done.stderr
    if "--record" in words:
        assert len(read_results(tmp_path/"results.csv")) == 1   # what was asked for is done


def test_a_closed_standard_output_is_no_fault(tmp_path):
    done = subprocess.run(f"{VAD_NB} doctor synthetic-ws >&-", shell=True, stderr=subprocess.PIPE, text=True)
    assert done.returncode == 0 and "Traceback" not in done.stderr


@pytest.mark.parametrize("typed, offered", [
    ("vad-nb do", ["doctor", "download"]), ("vad-nb train ddl --data ped", ["ped1", "ped2", "ped2-ws"]),
    ("vad-nb train ddl --preset s", ["smoke", "small"]), ("vad-nb sweep ", ["small", "weak", "paper"]), ("vad-nb train m", ["mulde", "mil"])])
def test_a_shell_completes_commands_data_sets_and_presets(typed, offered, tmp_path):
    answer = tmp_path/"answer"
    environment = os.environ | {"_ARGCOMPLETE": "1", "_ARGCOMPLETE_STDOUT_FILENAME": str(answer), "COMP_LINE": typed, "COMP_POINT": str(len(typed)), "COMP_TYPE": "9", "_ARGCOMPLETE_IFS": "\n", "_ARGCOMPLETE_SUPPRESS_SPACE": "0"}
    subprocess.run([VAD_NB], env=environment, check=True, timeout=60)
    words = {word.strip() for word in answer.read_text().split("\n")}
    assert set(offered) <= words
    assert "vad-nb" not in words


def test_names_that_help_lists_are_the_names_that_work(capsys, tmp_path):
    from vad_nb.speed.harness import families
    from vad_nb.cli import DOWNLOADS, HOSTS, RACES
    from vad_nb.core import BAG_SETS, FRAME_SETS
    from vad_nb.data.bag_sets import BAG_FOLDERS
    from vad_nb.data.downloads import ARCHIVES
    from vad_nb.data.datasets import EXPECTED
    from vad_nb.methods import mil
    from vad_nb.methods.catalog import METHODS
    assert set(FRAME_SETS) == {*EXPECTED, "folder"} and set(BAG_SETS) == {"synthetic-ws", *BAG_FOLDERS}
    assert set(DOWNLOADS) == set(ARCHIVES) and set(RACES) == set(families())
    assert set(HOSTS) == set(mil.HOSTS) and set(METHODS) == {"ddl", "mulde", *HOSTS, *(f"{host}+xel" for host in HOSTS)}
    for name in FRAME_SETS + BAG_SETS:   # the doctor takes every name: it finds something, or an empty folder wanting
        code, out, err = command(capsys, "doctor", name, *([] if name.startswith("synthetic") else [tmp_path]))
        assert (code == 0 if name.startswith("synthetic") else code == 2 and "NOT OK" in out), (name, out, err)


def test_alarms_are_measured_on_bags(capsys, tmp_path):
    from vad_nb.data.bag_sets import load_bags
    from vad_nb.evaluation.scores import Scores
    bags = load_bags("synthetic-ws")
    Scores({name: labels + .5 for name, labels in bags.labels.items()}).write_csv(tmp_path/"scores.csv")
    Scores({bag.name: np.zeros(bag.frames) for bag in bags.train if not bag.abnormal}).write_csv(tmp_path/"normal.csv")
    code, out, err = command(capsys, "alarms", tmp_path/"scores.csv", "--normal", tmp_path/"normal.csv", "--data", "synthetic-ws", "--out", tmp_path/"alarms.csv")
    assert code == 0 and "on these labels" in out, err
