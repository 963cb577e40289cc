"""Files made to run or write something: whatever reads them, nothing runs, nothing is written, and what is said is a typed error.

Every payload goes to every reader of the package, under the name that the reader expects. An audit hook listens for the ways in which Python leaves the path.
"""
import io
import json
import pickle
import shutil
import stat
import struct
import sys
import tarfile
import zipfile
from pathlib import Path

import numpy as np
import pytest
import torch
from scipy.io import savemat
from tiny_benchmarks import UCSD, expected, tiny_frames, write_ano_pred, write_images
from torch import nn

from vad_nb import core
from vad_nb.core import VadNbError, read_table
from vad_nb.data import datasets
from vad_nb.data.bags import (
    convert, read_annotations, read_bags, read_list, read_names, read_numbers)
from vad_nb.data.doctor import doctor
from vad_nb.data.datasets import load_benchmark
from vad_nb.data.downloads import unpack
from vad_nb.data.linking import read_deepsort_text, read_official_json
from vad_nb.data.finding import stored
from vad_nb.data.video import open_clip
from vad_nb.evaluation.reports import evaluate_files
from vad_nb.methods.catalog import open_run
from vad_nb.studies.bank import read_study
from vad_nb.evaluation.results import read_results
from vad_nb.evaluation.scores import Scores, read_labels_csv
from vad_nb.training.run import Run, load_state, load_weights, read_history

HEARD, LISTENING = [], []
EVENTS = {"pickle.find_class", "os.system", "os.exec", "os.posix_spawn", "subprocess.Popen", "socket.connect"}


def listen(event, arguments):
    if LISTENING and event in EVENTS:
        HEARD.append((event, arguments))


sys.addaudithook(listen)


class Bomb:
    def __init__(self, marker):
        self.marker = marker

    def __reduce__(self):
        return (exec, (f"open({str(self.marker)!r}, 'w').write('owned')",))


def npy_with_code_in_its_header(path, marker):
    header = f"{{'descr': __import__('pathlib').Path({str(marker)!r}).touch(), 'fortran_order': False, 'shape': (1,)}}".encode()
    header += b" " * (-(len(header) + 11) % 64) + b"\n"
    path.write_bytes(b"\x93NUMPY\x01\x00" + struct.pack("<H", len(header)) + header + bytes(8))


def archive_of(pack):
    def make(path, marker):
        pack(path, f"../{'../' * 20}{marker.relative_to('/')}")
    return make


def zip_slip(path, name):
    with zipfile.ZipFile(path, "w") as bundle:
        bundle.writestr("fine.txt", "x")
        bundle.writestr(name, "owned")


def tar_slip(path, name):
    with tarfile.open(path, "w:gz") as bundle:
        member = tarfile.TarInfo(name)
        member.size = 5
        bundle.addfile(member, io.BytesIO(b"owned"))


def tar_through_a_link(path, name):
    "A link that leads outside, then a file behind it."
    with tarfile.open(path, "w:gz") as bundle:
        link = tarfile.TarInfo("door")
        link.type, link.linkname = tarfile.SYMTYPE, str(Path("/" + name.lstrip("./")).parent)
        bundle.addfile(link)
        member = tarfile.TarInfo("door/" + Path(name).name)
        member.size = 5
        bundle.addfile(member, io.BytesIO(b"owned"))


def zip_with_a_link(path, name):
    with zipfile.ZipFile(path, "w") as bundle:
        entry = zipfile.ZipInfo("door")
        entry.external_attr = (stat.S_IFLNK | 0o777) << 16
        bundle.writestr(entry, str(Path("/" + name.lstrip("./")).parent))
        bundle.writestr("door/" + Path(name).name, "owned")


PAYLOADS = {   # name -> (path, marker): writes the file
    "pt: a pickle in a zip": lambda path, marker: torch.save({"objective": Bomb(marker), "epoch": 0}, path),
    "pt: an old pickle": lambda path, marker: torch.save({"objective": Bomb(marker)}, path, _use_new_zipfile_serialization=False),
    "pickle": lambda path, marker: path.write_bytes(pickle.dumps(Bomb(marker))),
    "pickle of text": lambda path, marker: path.write_bytes(pickle.dumps(Bomb(marker), protocol=0)),
    "npy of objects": lambda path, marker: np.save(open(path, "wb"), np.array([Bomb(marker), 1], object), allow_pickle=True),
    "npy with code in its header": npy_with_code_in_its_header,
    "npz of objects": lambda path, marker: np.savez(open(path, "wb"), gt=np.array([Bomb(marker), 1], object)),
    "mat with code as text": lambda path, marker: savemat(str(path), {"gt": f"system('touch {marker}')", "volLabel": f"!touch {marker}"}, appendmat=False),
    "json that asks to be an object": lambda path, marker: path.write_text(json.dumps(
        {"py/reduce": [{"py/function": "os.system"}, {"py/tuple": [f"touch {marker}"]}], "__class__": "os.system", "method": f"__import__('os').system('touch {marker}')", "settings": {"size": f"$(touch {marker})"}})),
    "json of a hundred thousand brackets": lambda path, marker: path.write_text("[" * 100_000),
    "yaml that asks to be an object": lambda path, marker: path.write_text(f"!!python/object/apply:os.system ['touch {marker}']\n"),
    "Python": lambda path, marker: path.write_text(f"import pathlib\npathlib.Path({str(marker)!r}).touch()\n"),
    "shell": lambda path, marker: path.write_text(f"#!/bin/sh\ntouch {marker}\n"),
    "csv with code in its fields": lambda path, marker: path.write_text(f"video,frame,score\n01,0,__import__('os').system('touch {marker}')\n$(touch {marker}),=cmd|'/c touch'!A1,1\n"),
    "Matlab script": lambda path, marker: path.write_text(f"TestVideoFile = {{}};\nTestVideoFile{{end+1}}.gt_frame = [system('touch {marker}')];\nunix('touch {marker}');\n"),
    "zip slip": archive_of(zip_slip), "tar slip": archive_of(tar_slip), "tar through a link": archive_of(tar_through_a_link), "zip with a link": archive_of(zip_with_a_link),
    "zip bomb of a header": lambda path, marker: path.write_bytes(b"PK\x03\x04" + b"\xff" * 60),
}


def ped2(place):
    "A data set whose file at `place` is the payload."
    def read(path, folder):
        root = write_ano_pred(folder / "set")
        if "mask" not in place:
            shutil.rmtree(root / "testing/test_pixel_mask")
        (root / place).parent.mkdir(parents=True, exist_ok=True)
        (root / place).write_bytes(path.read_bytes())
        assert str(doctor("ped2", root))
        load_benchmark("ped2", root).mask("01")
    return read


def as_file(name, read):
    def run(path, folder):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(path.read_bytes())
        return read(folder / name)
    return run


def beside_scores(path, folder):
    (folder / "s.csv").write_text("video,frame,score\n01,0,1\n")
    (folder / "s.csv.json").write_bytes(path.read_bytes())
    Scores.read_csv(folder / "s.csv")


def in_the_cache(path, folder):
    "A payload where the cache keeps its own files: recognised, thrown away, made again."
    clip = write_images(folder / "clip", tiny_frames())
    open_clip(clip, cache=folder / "frames")
    for file in (folder / "frames").glob("*.npy"):
        file.write_bytes(path.read_bytes())
    assert np.array_equal(open_clip(clip, cache=folder / "frames").frames[..., 0], tiny_frames())


READERS = {
    "training state": as_file("run/training_state.pt", load_state), "weights": as_file("w.safetensors", lambda path: load_weights(nn.Linear(1, 1), path)),
    "config of a run": as_file("run/config.json", lambda path: open_run(path.parent, "cpu")), "manifest of a run": as_file("run/manifest.json", lambda path: Run(path.parent).manifest),
    "history": as_file("history.csv", read_history), "scores": as_file("s.csv", lambda path: Scores.read_csv(path, {"01": [0, 1]})), "labels": as_file("l.csv", read_labels_csv),
    "evaluation": as_file("s.csv", lambda path: evaluate_files([path], path, draws=5, progress=False)), "provenance": beside_scores, "results": as_file("results.csv", read_results), "table of a study": as_file("xel.csv", read_study),
    "table of the truth": as_file("truth.csv", read_table),
    **{f"features as .{kind}": as_file(f"x.{kind}", read_numbers) for kind in ("npy", "npz", "mat", "csv", "txt", "pkl")},
    "converted features": as_file("x.npy", lambda path: convert(path, path.parent / "out.npy")), "annotations": as_file("a.txt", read_annotations), "split": as_file("s.txt", read_names),
    "list of files": as_file("s.list", lambda path: read_list(path, path.parent)), "csv of files": as_file("p.csv", lambda path: read_bags("csv", path, path.parent)),
    "boxes": as_file("b.json", read_official_json), "tracks": as_file("t.txt", lambda path: read_deepsort_text(path, (9, 9))),
    "cached objects": as_file("o.npz", lambda path: stored(path, lambda: {"a": np.ones(2)})), "cached frames": in_the_cache,
    "picture": as_file("clip/000.png", lambda path: open_clip(path.parent)), "video": as_file("film.avi", open_clip), "mat of Ped2": ped2("labels/ped2.mat"), "array of Ped2": ped2("frame_labels_ped2.npy"),
    "masks of Ped2": ped2("testing/test_pixel_mask/01.npy"),
    "zip": as_file("a.zip", lambda path: unpack(path, path.parent / "out")), "tar": as_file("a.tar.gz", lambda path: unpack(path, path.parent / "out")),
}


@pytest.mark.parametrize("reader", READERS)
@pytest.mark.filterwarnings("ignore")
def test_nothing_runs_and_nothing_is_written(reader, tmp_path, monkeypatch):
    monkeypatch.setitem(datasets.EXPECTED, "ped2", expected(UCSD))
    refused = 0
    for number, (name, make) in enumerate(PAYLOADS.items()):
        folder = tmp_path / str(number)
        (folder / "in").mkdir(parents=True)
        monkeypatch.setenv("VAD_NB_CACHE", str(folder / "cache"))
        marker = tmp_path.resolve() / "owned" / f"{number}.txt"
        marker.parent.mkdir(exist_ok=True)
        make(folder / "payload", marker)
        LISTENING.append(True)
        try:
            READERS[reader](folder / "payload", folder)
        except VadNbError as error:
            refused += 1
            assert "\n" not in str(error), name
        finally:
            LISTENING.clear()
        assert not list(marker.parent.iterdir()), f"{name} wrote {list(marker.parent.iterdir())}"
        assert not HEARD, f"{name}: {HEARD}"
        assert not list(folder.rglob("*.part"))
    if reader not in ("cached objects", "cached frames", "split", "table of the truth"):   # the cache makes again what it does not know; any line of text is a name, any field a value
        assert refused >= len(PAYLOADS) - 6


def test_the_payloads_would_run_where_pickles_are_opened(tmp_path):
    "The test can fail: opened carelessly, the same files do what they were made for."
    for number, (name, careless) in enumerate({"pt: a pickle in a zip": lambda path: torch.load(path, weights_only=False), "pickle": lambda path: pickle.loads(path.read_bytes()),
                                               "npy of objects": lambda path: np.load(path, allow_pickle=True)}.items()):
        PAYLOADS[name](tmp_path / "payload", tmp_path / f"owned{number}")
        LISTENING.append(True)
        try:
            careless(tmp_path / "payload")
        finally:
            LISTENING.clear()
        assert (tmp_path / f"owned{number}").exists() and HEARD
        HEARD.clear()


def test_nothing_reads_yaml():
    package = Path(core.__file__).parent
    assert not [path for path in package.rglob("*.py") if "yaml" in path.read_text()]
