"""Broken score files, features, annotations, boxes, detections and trainings: each must be a typed error that names the file, what was expected and what was found."""
import contextlib
import json
import resource
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from broken import PAGE, Cases, cases, change, half, page, provoke, versions
from scipy.io import savemat
from torch import nn

from vad_nb import core
from vad_nb.core import DataError, SettingsError, TrainingError
from vad_nb.data import linking
from vad_nb.data.bags import (
    Bag, WeakBenchmark, convert, range_labels, read_annotations, read_bags, read_list,
    read_names, read_numbers)
from vad_nb.data.bag_sets import load_bags
from vad_nb.data.linking import read_deepsort_text, read_official_json
from vad_nb.evaluation.reports import evaluate, write_json
from vad_nb.methods.catalog import make_method, open_run
from vad_nb.evaluation.regions import Boxes, evaluate_boxes, evaluate_maps, truth_from_masks
from vad_nb.evaluation.results import read_results
from vad_nb.evaluation.scores import Scores, read_labels_csv
from vad_nb.training.run import (
    History, Run, write_or_check_config, load_state, load_weights, read_history, save_weights)
from vad_nb.training.train import train

LABELS = {"01": np.array([0, 1, 1]), "02": np.array([0, 0])}
WHOLE = "video,frame,score\n01,0,0.5\n01,1,0.25\n01,2,1e-3\n02,0,1\n02,1,2\n"
case = CASES = Cases()


def write(path, content):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return path


# --- score files ----------------------------------------------------------------------------------------------------------------------

SCORES = [
    ("nothing in the file", "", ["line 1", "header", "empty file"]),
    ("no header", "01,0,0.5\n", ["line 1", "video,frame,score", "01,0,0.5"]),
    ("header of labels", WHOLE.replace("score", "label"), ["line 1", "video,frame,score", "label"]),
    ("columns in another order", WHOLE.replace("video,frame", "frame,video"), ["line 1", "frame,video"]),
    ("semicolons", WHOLE.replace(",", ";"), ["line 1", "video;frame;score"]),
    ("header only", "video,frame,score\n", ["line 2", "end of the file"]),
    ("a missing frame", WHOLE.replace("01,1,0.25\n", ""), ["line 3", "frame 1 of clip '01'", "frame 2"]),
    ("the first frame missing", WHOLE.replace("01,0,0.5\n", ""), ["line 2", "frame 0 of clip '01'", "frame 1", "from 0"]),
    ("the last frame missing", WHOLE.replace("01,2,1e-3\n", ""), ["3 frames of clip '01'", "found 2"]),
    ("one frame too many", WHOLE + "02,2,0\n", ["2 frames of clip '02'", "found 3"]),
    ("a repeated frame", WHOLE.replace("01,1,", "01,0,"), ["line 3", "frame 1 of clip '01'", "frame 0 again"]),
    ("a row twice", WHOLE + "02,1,2\n", ["line 7", "frame 1 again"]),
    ("one clip counted from 1", "video,frame,score\n01,1,0\n01,2,0\n01,3,0\n02,0,0\n02,1,0\n", ["line 2", "frame 0", "frame 1"]),
    ("the first frame of all clips missing", WHOLE.replace("01,0,0.5\n", "").replace("02,0,1\n", ""), ["3 frames of clip '01'", "found 2", "1 frames of each clip", "--lacking"]),
    ("frames counted from 2", "video,frame,score\n01,2,0\n01,3,0\n01,4,0\n02,2,0\n02,3,0\n", ["line 2", "frame 0", "frame 2", "--lacking"]),
    ("one column, a score short", "score\n1\n2\n3\n4\n", ["5 scores", "2 clips", "found 4"]),
    ("one column, a window short", "score\n1\n2\n3\n", ["5 scores", "found 3", "1 frames of each clip", "--lacking"]),
    ("one column with text", "score\n1\n2\nhigh\n4\n5\n", ["line 4", "finite number", "high"]),
    ("one column with two numbers", "score\n1\n2,3\n4\n5\n", ["line 3", "one number", "2 fields"]),
    ("two clips of one number", WHOLE + "1,0,0\n", ["line 7", "clip '1'"]),
    ("clips of another data set", WHOLE.replace("02,", "Test007,"), ["line 5", "clip 'Test007'"]),
    ("a negative frame", WHOLE.replace("02,0,", "02,-1,"), ["line 5", "frame 0 of clip '02'", "frame -1"]),
    ("a frame that is no whole number", WHOLE.replace("01,1,", "01,1.5,"), ["line 3", "frame number", "1.5"]),
    ("a frame beyond all integers", WHOLE.replace("01,1,", "01,99999999999999999999,"), ["line 3", "frame number"]),
    ("an unknown clip", WHOLE + "13,0,1\n", ["line 7", "clip '13'", "01, 02"]),
    ("a clip without a name", WHOLE.replace("02,0", ",0"), ["line 5", "name of a clip"]),
    ("a clip missing", WHOLE[:WHOLE.index("02")], ["clip '02' with 2 frames", "no row"]),
    ("text in a number", WHOLE.replace("0.25", "high"), ["line 3", "finite number", "high"]),
    ("a number that is missing", WHOLE.replace("0.25", ""), ["line 3", "finite number", "''"]),
    ("not a number", WHOLE.replace("0.25", "nan"), ["line 3", "finite number", "nan"]),
    ("infinity", WHOLE.replace("0.25", "-inf"), ["line 3", "finite number", "-inf"]),
    ("a number too large", WHOLE.replace("0.25", "1e999"), ["line 3", "finite number", "1e999"]),
    ("an underscore in a number", WHOLE.replace("0.25", "1_0"), ["line 3", "1_0"]),
    ("a decimal comma", WHOLE.replace("0.25", "0,25"), ["line 3", "the 3 fields", "4 fields"]),
    ("a field too few", WHOLE.replace("01,1,0.25", "01,1"), ["line 3", "the 3 fields", "2 fields"]),
    ("an empty line in the middle", WHOLE.replace("01,1,", "\n01,1,"), ["line 3", "the 3 fields", "0 fields"]),
    ("a quote that does not end", WHOLE.replace("01,1,", '"01,1,'), ["Error"]),
    ("a line break in a name", WHOLE + '"0\n3",0,1\n', ["line break inside a field"]),
    ("bytes that are no text", b"video,frame,score\n\xff\xfe,0,1\n", ["UnicodeDecodeError"]),
    ("zero bytes", b"\x00" * 64, ["line 1", "header"]),
]
LABEL_FILES = [
    ("a label that is neither 0 nor 1", "video,frame,label\n01,0,0\n01,1,2\n", ["line 3", "0 or 1", "found 2"]),
    ("a label between", "video,frame,label\n01,0,0.5\n", ["line 2", "0 or 1", "0.5"]),
    ("a label in words", "video,frame,label\n01,0,normal\n", ["line 2", "label", "normal"]),
    ("scores in place of labels", "video,frame,score\n01,0,0\n", ["line 1", "video,frame,label"]),
    ("a missing frame", "video,frame,label\n01,0,0\n01,2,0\n", ["line 3", "frame 1"]),
    ("a repeated frame", "video,frame,label\n01,0,0\n01,0,0\n", ["line 3", "again"]),
]

case.section = "Score files"
for name, content, words in SCORES:
    case(name, "scores.csv", *words)(lambda folder, patch, content=content: Scores.read_csv(write(folder/"scores.csv", content), LABELS))
for name, content in (("provenance cut off", "{"), ("provenance that is a list", "[]"), ("provenance of a hundred thousand brackets", "[" * 100_000)):
    @case(name, "scores.csv.json", "JSON", "delete it")
    def _(folder, patch, content=content):
        write(folder/"scores.csv.json", content)
        Scores.read_csv(write(folder/"scores.csv", WHOLE), LABELS)
case("score file that is not there", "scores.csv", "a csv file", "no such file")(lambda folder, patch: Scores.read_csv(folder/"scores.csv"))
case("folder in place of a score file", "scores.csv", "a csv file", "IsADirectory")(lambda folder, patch: ((folder/"scores.csv").mkdir(), Scores.read_csv(folder/"scores.csv")))

case.section = "Label files"
for name, content, words in LABEL_FILES:
    case(f"labels: {name}", "labels.csv", *words)(lambda folder, patch, content=content: read_labels_csv(write(folder/"labels.csv", content)))

case.section = "Scores against labels"
for name, change_them, *words in (
        ("labels one frame short", lambda labels: labels.update({"01": labels["01"][:-1]}), "2 frames of clip '01'", "3"),
        ("labels one frame long", lambda labels: labels.update({"01": np.append(labels["01"], 0)}), "4 frames of clip '01'", "3"),
        ("labels without a clip", lambda labels: labels.pop("02"), "clip '02'"),
        ("labels with a clip more", lambda labels: labels.update({"13": np.zeros(3)}), "clip '13'", "no row"),
        ("labels without an event", lambda labels: labels.update({name: 0*one for name, one in labels.items()}), "normal and abnormal frames", "only label 0"),
        ("labels of events alone", lambda labels: labels.update({name: 0*one + 1 for name, one in labels.items()}), "normal and abnormal frames", "only label 1"),
        ("labels that are neither 0 nor 1", lambda labels: labels.update({"02": np.array([0, 2])}), "0 or 1", "2")):
    @case(name, *words)
    def _(folder, patch, change_them=change_them):
        labels = dict(LABELS)
        change_them(labels)
        evaluate(Scores({"01": [1, 2, 3], "02": [1, 2]}), labels, label_source="test", draws=5, progress=False)
case("a score that is not a number", "clip '01'", "finite numbers", "nan at frame 1")(lambda folder, patch: Scores({"01": [1, np.nan]}))
case("a clip without frames", "clip '01'", "one number for each frame")(lambda folder, patch: Scores({"01": []}))


# --- features -------------------------------------------------------------------------------------------------------------------------

def features(name, *words, suffix="npy"):
    "A file of features made by the decorated function, then read."
    def add(make):
        return case(name, f"bag.{suffix}", *words)(lambda folder, patch: (make(folder/f"bag.{suffix}"), convert(folder/f"bag.{suffix}", folder/"out.npy")))
    return add


def saved(values):
    return lambda path: np.save(path, values, allow_pickle=True)


case.section = "Features"
features("features with NaN", "finite numbers", "nan")(saved(np.array([[1., np.nan]])))
features("features with infinity", "finite numbers", "infinity")(saved(np.array([[1., np.inf]])))
features("features as text", "array of numbers", "<U1")(saved(np.array([["a"]])))
features("features as pickled objects", "array of numbers", "pickled object array", "numpy.save")(saved(np.array([{}, 1], object)))
features("truncated features", "array of numbers")(lambda path: (np.save(path, np.ones((9, 9))), change(path, half)))
features("features of zero bytes", "array of numbers")(lambda path: path.write_bytes(b""))
features("features that are not there", "no such file")(lambda path: None)
features("two arrays in one file", "one array", "2", suffix="npz")(lambda path: np.savez(path, np.ones(2), np.ones(2)))
features("truncated npz", "array of numbers", suffix="npz")(lambda path: (np.savez(path, np.ones((9, 9))), change(path, half)))
features("truncated mat of features", "array of numbers", suffix="mat")(lambda path: (savemat(path, {"x": np.ones((9, 9))}), change(path, half)))
features("text among the numbers of a csv", "array of numbers", "high", suffix="csv")(lambda path: path.write_text("1,2\n3,high\n"))
features("a pickle", ".npy, .npz, .mat", ".pkl", "pickles are programs", suffix="pkl")(lambda path: path.write_bytes(b"\x80\x04."))
case("bag without clips", "bag", "(clips, features)", "(0, 4)")(lambda folder, patch: Bag("bag", True, np.zeros((0, 4))))
case("bag with NaN", "bag", "finite features")(lambda folder, patch: Bag("bag", True, np.full((2, 4), np.nan)))


def weak(change_it):
    def run(folder, patch):
        bags = {name: Bag(name, abnormal, np.ones((2, 4))) for name, abnormal in (("a", True), ("b", False), ("c", True))}
        facts = dict(train=[bags["a"], bags["b"]], test=[bags["c"]], labels={"c": np.repeat([0, 1], 16)})
        change_it(facts)
        WeakBenchmark(name="weak", real=False, features="ones", label_source="test", fingerprint="", **{**facts, "train": tuple(facts["train"]), "test": tuple(facts["test"])})
    return run


case("bags of two widths", "weak", "one number of features")(weak(lambda facts: facts["train"].append(Bag("d", True, np.ones((2, 5))))))
case("a video in training and test", "weak", "training and test videos apart")(weak(lambda facts: facts["train"].append(facts["test"][0])))
case("a video twice", "weak", "each train video once")(weak(lambda facts: facts["train"].append(facts["train"][0])))
case("only normal videos to train on", "weak", "normal and abnormal training videos")(weak(lambda facts: facts["train"].pop(0)))
case("labels one clip short of the features", "c", "32 labels", "16")(weak(lambda facts: facts["labels"].update(c=np.zeros(16))))
case("features of another length than the video", "d", "3 clips of 16 frames", "2 clips")(weak(lambda facts: facts["test"].append(Bag("d", True, np.ones((2, 4)), 50))))


@case("a crop missing", "crops/name", "crops 0 to 4 or 0 to 9", "found crops 0, 1, 2, 4")
def _(folder, patch):
    for k in (0, 1, 2, 4):
        (folder/"crops").mkdir(exist_ok=True)
        np.save(folder/f"crops/name__{k}.npy", np.ones((2, 4)))
    read_bags("crops", folder/"crops", abnormal=lambda name: True)


@case("a list that names a file of a partial archive", "some.list, line 1", "b.npy", "no such file", "is the archive complete?")
def _(folder, patch):
    read_list(write(folder/"some.list", "/home/other/b.npy\n"), folder)


case("a csv of paths with other columns", "paths.csv", "path,label", "file")(lambda folder, patch: read_bags("csv", write(folder/"paths.csv", "file,label\na,0\n"), folder))
case("feature folder without files", "nothing", "feature files", "none")(lambda folder, patch: read_bags("folders", folder/"nothing"))
case("abnormal videos told by their position in a list", "abnormal", "a position in a list tells nothing", kind=SettingsError)(lambda folder, patch: read_bags("list", folder, folder))


# --- annotations ----------------------------------------------------------------------------------------------------------------------

case.section = "Annotations and boxes"
for name, content, *words in (("annotation that ends before it begins", "a.mp4 Abuse 20 10 -1 -1\n", "line 1", "end after they begin"), ("annotation with words for numbers", "a.mp4 Abuse ten 20\n", "line 1", "frame numbers"),
                              ("annotation twice for one video", "a.mp4 Abuse 1 2\na.mp4 Abuse 3 4\n", "line 2", "each video once"), ("annotations that are no text", b"\xff\xfe\x80", "text")):
    case(name, "annotations.txt", *words)(lambda folder, patch, content=content: read_annotations(write(folder/"annotations.txt", content)))
case("annotations that are not there", "annotations.txt", "no such file")(lambda folder, patch: read_annotations(folder/"annotations.txt"))
case("annotation behind the end of its video", "Abuse028", "ranges within 100 frames", "90 to 120")(lambda folder, patch: range_labels([(90, 120)], 100, name="Abuse028"))
case("split with a video too few", "split.txt", "3 videos", "2")(lambda folder, patch: read_names(write(folder/"split.txt", "a\nb\n"), 3))
case("split with a video twice", "split.txt", "each video once")(lambda folder, patch: read_names(write(folder/"split.txt", "a\na\n")))
for name, content, word in (
        ("box file cut off", "{", "JSON"), ("pickle under the name of a box file", b"\x80\x04\x95pickle", "text"), ("box file that is a list", "[1, 2]", "frame paths"),
        ("box file with a nameless frame", '{"01/abc.jpg": {}}', "01/000.jpg"), ("boxes without tracks", '{"01/000.jpg": [1]}', "numbered tracks"), ("a box of three numbers", '{"01/000.jpg": {"1": {"box": [0, 0, 1]}}}', "four numbers"),
        ("a box in pixels", '{"01/003.jpg": {"1": {"box": [0, 0, 20, 30]}}}', "[0, 1]"), ("a box inside out", '{"01/003.jpg": {"1": {"box": [0.5, 0, 0.2, 0.3]}}}', "01/003.jpg"),
        ("a box with NaN", '{"01/003.jpg": {"1": {"box": [NaN, 0, 0.2, 0.3]}}}', "01/003.jpg")):
    case(name, "boxes.json", word)(lambda folder, patch, content=content: read_official_json(write(folder/"boxes.json", content)))
for name, content, word in (("empty track file", "", "header"), ("track file with another header", "a b c\n", "header"), ("track with too few columns", linking.HEADER + " anomaly\n1 2 3\n", "line 2"),
                            ("track with text", linking.HEADER + "\n0 1 2 0 0 5 5\n1 1 2 x 0 5 5\n", "line 3"), ("track file that is no text", b"\xff\xfe\x00", "text")):
    case(name, "01_001.txt", word)(lambda folder, patch, content=content: read_deepsort_text(write(folder/"01_001.txt", content), (480, 856)))


# --- region detections ----------------------------------------------------------------------------------------------------------------

def detections(name, *words):
    def add(change_it):
        def run(folder, patch):
            masks = np.zeros((4, 20, 20), bool)
            masks[1:3, 5:9, 5:9] = True
            truth, maps = {"a": truth_from_masks(masks)}, {"a": masks.astype(float)}
            evaluate_maps(*change_it(maps, truth), label_source="test", draws=0, progress=False)
        return case(name, *words)(run)
    return add


case.section = "Regions"
detections("score maps of a clip missing", "clips of the ground truth")(lambda maps, truth: ({}, truth))
detections("score maps one frame short", "clip 'a'", "size of the masks", "(3, 20, 20)")(lambda maps, truth: ({"a": maps["a"][:-1]}, truth))
detections("score maps of another size than the masks", "clip 'a'", "size of the masks", "(4, 10, 10)")(lambda maps, truth: ({"a": maps["a"][:, ::2, ::2]}, truth))
detections("score maps with NaN", "clip 'a'", "finite scores")(lambda maps, truth: ({"a": maps["a"]*np.nan}, truth))
detections("masks without an event", "ground truth", "at least one anomalous region")(lambda maps, truth: (maps, {"a": truth_from_masks(np.zeros((4, 20, 20)))}))
case("boxes in a frame that is not there", "clip 'a'", "frames 0 to 3", "4 to 4")(
    lambda folder, patch: evaluate_boxes({"a": Boxes(np.array([4]), np.ones((1, 4)), np.ones(1))}, {"a": truth_from_masks(np.ones((4, 5, 5)))}, label_source="test", draws=0))


# --- trainings ------------------------------------------------------------------------------------------------------------------------

class Toy(nn.Module):
    "A training whose weights fill 160 kB."
    def __init__(self, loss=1.):
        super().__init__()
        torch.manual_seed(0)
        self.net, self.loss = nn.Linear(200, 200), loss

    def forward(self, batch, generator):
        return dict(loss=self.net(torch.ones(1, 200)).square().mean() * self.loss)


def batches(epoch, generator):
    return list(torch.arange(2).split(1))


def fit(folder, epochs=1, loss=1., **options):
    run = Run(folder/"run")
    write_or_check_config(run, dict(method="toy"), resume=True)
    return train(run, Toy(loss), batches, epochs, .01, resume=True, **options)


@contextlib.contextmanager
def room_for(size):
    "No file of this process may grow beyond `size` bytes: what a full disk does, whoever writes."
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


def crowded(name, *words):
    def add(work):
        def run(folder, patch):
            with room_for(60_000):
                work(folder)
        return case(name, *words)(run)
    return add


def read_only(name, *words):
    "A folder that refuses: as the owner of all files may write everywhere, the refusal is put in its place."
    def add(work):
        def run(folder, patch):
            def refuse(path, *arguments, **options):
                raise OSError(30, "Read-only file system", str(path))
            patch.setattr(Path, "write_text", refuse)
            patch.setattr(Path, "write_bytes", refuse)
            work(folder)
        return case(name, *words)(run)
    return add


case.section = "Trainings on disk"
for name, content in (("weights of zero bytes", b""), ("text under the name of weights", b"not safetensors"), ("weights that say they are huge", b"\xff" * 64)):
    case(name, "weights.safetensors", "a safetensors file")(lambda folder, patch, content=content: load_weights(nn.Linear(1, 1), write(folder/"weights.safetensors", content)))


@case("truncated weights", "weights.safetensors", "a safetensors file")
def _(folder, patch):
    save_weights(nn.Linear(20, 20), folder/"weights.safetensors")
    load_weights(nn.Linear(20, 20), change(folder/"weights.safetensors", half))


@case("weights of another network", "weights.safetensors", "2 tensors of Linear", "weight: (2, 3)")
def _(folder, patch):
    save_weights(nn.Linear(3, 2), folder/"weights.safetensors")
    load_weights(nn.Linear(4, 2), folder/"weights.safetensors")


@case("truncated training state", "training_state.pt", "the state of a training")
def _(folder, patch):
    fit(folder)
    change(folder/"run/training_state.pt", half)
    fit(folder, 2)


case("training state of zero bytes", "training_state.pt", "the state of a training")(lambda folder, patch: load_state(write(folder/"training_state.pt", b"")))
case("config that is not there", "config.json", "no such file", "train first")(lambda folder, patch: open_run(folder, "cpu"))
case("weights that are not there", "weights.safetensors", "no such file", "train first")(lambda folder, patch: load_weights(nn.Linear(1, 1), folder/"weights.safetensors"))
for name, content in (("config cut off", '{"method": "ddl"'), ("config that is no text", b"\xff\xfe"), ("config of a hundred thousand brackets", "[" * 100_000), ("config that is a list", "[]")):
    case(name, "config.json", "JSON")(lambda folder, patch, content=content: (write(folder/"config.json", content), open_run(folder, "cpu")))
case("config of an unknown method", "config.json", "a method, one of ddl", "'magic'")(lambda folder, patch: (write(folder/"config.json", '{"method": "magic"}'), open_run(folder, "cpu")))
case("config with an unknown setting", "config.json", "the settings of ddl", "speed")(
    lambda folder, patch: (write(folder/"config.json", json.dumps(dict(method="ddl", settings=dict(speed=3)))), open_run(folder, "cpu")))
case("history without rows", "history.csv", "one row a step", "1 lines")(lambda folder, patch: read_history(write(folder/"history.csv", "step,loss\n")))
case("history with text", "history.csv", "numbers", "low")(lambda folder, patch: read_history(write(folder/"history.csv", "step,loss\n0,low\n")))
case("history with a line cut off", "history.csv", "numbers")(lambda folder, patch: read_history(write(folder/"history.csv", "step,loss\n0,1\n1\n")))
case("table of results with other columns", "results.csv", "the columns method, variant", "a, b")(lambda folder, patch: read_results(write(folder/"results.csv", "a,b\n1,2\n")))
crowded("disk full while writing a checkpoint", "training_state.pt", "room and permission to write it", "File too large")(fit)
crowded("disk full while writing the weights", "weights.safetensors", "room and permission to write it", "File too large")(lambda folder: save_weights(Toy(), folder/"weights.safetensors"))
crowded("disk full while writing scores", "scores.csv", "room and permission to write it", "File too large")(lambda folder: Scores({"01": np.random.default_rng(0).random(5000)}).write_csv(folder/"scores.csv"))
crowded("disk full while writing a report", "report.json", "room and permission to write it", "File too large")(lambda folder: write_json([.5]*20_000, folder/"report.json"))
read_only("training into a read-only folder", "config.json", "room and permission to write it", "Read-only")(fit)


@crowded("disk full while writing the history", "history.csv", "room and permission to write it", "File too large")
def _(folder):
    history = History(folder/"history.csv")
    for step in range(9000):
        history.add(step=step, loss=1.)
    history.flush()


@case("a file in place of the folder for a training", "run/config.json", "room and permission to write it")
def _(folder, patch):
    write(folder/"run", "x")
    fit(folder)


case("a second training in one folder", "run", "--resume", kind=SettingsError)(lambda folder, patch: [write_or_check_config(Run(folder/"run"), dict(method="toy")) for _ in range(2)])
case("another training resumed", "run", "cannot be resumed", "random_seed 0", "found 1", kind=SettingsError)(
    lambda folder, patch: [write_or_check_config(Run(folder/"run"), dict(method="toy", random_seed=seed), resume=True) for seed in (0, 1)])
case("a loss that is not a number", "loss is nan at step 0", "last good checkpoint: none", kind=TrainingError)(lambda folder, patch: fit(folder, loss=float("nan")))
case("a loss that is infinite in the second epoch", "loss is inf at step 2", "training_state.pt", kind=TrainingError)(lambda folder, patch: (fit(folder), fit(folder, 2, float("inf"))))
case("training clips shorter than a window", "epoch 0", "took no step", "longer than a window", kind=TrainingError)(
    lambda folder, patch: train(Run(folder/"run"), Toy(), lambda epoch, generator: [], 1, .01))
case("a setting that does not exist", "'speed'", "expected one of", kind=SettingsError)(lambda folder, patch: make_method("ddl", overrides=dict(speed=1), device="cpu"))
case("a setting of another kind", "epochs", "'many'", "expected int", kind=SettingsError)(lambda folder, patch: make_method("ddl", overrides=dict(epochs="many"), device="cpu"))
case("a method that does not exist", "'magic'", "expected one of ddl", kind=SettingsError)(lambda folder, patch: make_method("magic"))


# --- the tests ------------------------------------------------------------------------------------------------------------------------

@pytest.mark.parametrize("one", CASES, ids=lambda one: one.name)
def test_broken_file(one, tmp_path, monkeypatch):
    provoke(one, tmp_path, monkeypatch)


def test_a_full_disk_leaves_the_last_checkpoint_whole(tmp_path):
    fit(tmp_path)
    before = (tmp_path/"run/training_state.pt").read_bytes()
    with pytest.raises(DataError, match="training_state.pt"), room_for(60_000):
        fit(tmp_path, 2)
    assert (tmp_path/"run/training_state.pt").read_bytes() == before
    fit(tmp_path, 2)
    again, through = (Run(tmp_path/name) for name in ("run", "through"))
    write_or_check_config(through, dict(method="toy"))
    train(through, Toy(), batches, 2, .01)
    assert again.history_file.read_bytes() == through.history_file.read_bytes()


def test_the_page_of_broken_inputs_is_up_to_date():
    assert len({one.name for one in cases()}) == len(cases()) >= 200
    stored, made = PAGE.read_text(encoding="utf-8"), page()
    if versions() not in stored:   # other libraries use other words: compare what is ours
        stored, made = ([line.split(", found")[0] for line in text.splitlines() if line.startswith("|")] for text in (stored, made))
    assert stored == made, "run make broken"
