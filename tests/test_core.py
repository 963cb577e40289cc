"""The room every other one stands on: presets, errors, files, and settings that stand in two places."""
import configparser
import os
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

import numpy as np
import pytest
import torch

from vad_nb import core

ROOT = Path(__file__).parent.parent


@dataclass(frozen=True)
class DDLSize:
    method: ClassVar[str] = "ddl"
    size: tuple = (8, 8)
    width: int = 1
    epochs: int = 1
    batch_size: int = 1
    learning_rate: float = 1.0


def test_seed_everything_repeats_all_three_generators():
    def draw():
        core.seed_everything(11)
        return torch.rand(3).tolist(), np.random.rand(3).tolist()
    assert draw() == draw()


def test_a_failed_write_keeps_the_old_file(tmp_path):
    path = tmp_path / "a.txt"
    path.write_text("old")
    with pytest.raises(OSError):
        with core.write_then_rename(path) as temporary:
            temporary.write_text("new")
            raise OSError("disk full")
    assert path.read_text() == "old" and os.listdir(tmp_path) == ["a.txt"]


def test_write_then_rename_makes_whole_folders(tmp_path):
    with core.write_then_rename(tmp_path / "folder") as temporary:
        temporary.mkdir()
        (temporary / "b").write_text("b")
    assert (tmp_path / "folder" / "b").read_text() == "b" and os.listdir(tmp_path) == ["folder"]


def test_fingerprint_sees_names_and_bytes(tmp_path):
    first, second = tmp_path / "1", tmp_path / "2"
    first.write_bytes(b"x" * (1 << 21))
    second.write_bytes(b"y")
    before = core.fingerprint([first, second])
    second.rename(tmp_path / "3")
    assert core.fingerprint([first, tmp_path / "3"]) != before


def test_data_folder_that_is_not_there_is_named(monkeypatch, tmp_path):
    monkeypatch.setenv("VAD_NB_DATA", str(tmp_path / "nowhere"))
    with pytest.raises(core.DataError, match="nowhere.*VAD_NB_DATA"):
        core.data_folder()


def test_settings_ini_and_pyproject_agree():
    tomllib = pytest.importorskip("tomllib")
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())
    default = configparser.ConfigParser()
    default.read(ROOT / "settings.ini")
    default = default.defaults()
    nbdev = project["tool"]["nbdev"]
    assert default["version"] == project["project"]["version"]
    assert default["lib_name"] == project["project"]["name"] == nbdev["lib_name"]
    assert default["nbs_path"] == nbdev["nbs_path"] and default["lib_path"] == nbdev["lib_path"]
    assert default["tst_flags"].split() == nbdev["tst_flags"]
    assert project["project"]["requires-python"] == f">={default['min_python']}"
    assert default["license"] == project["project"]["license"]


def test_an_error_of_another_process_arrives_whole():
    import pickle
    for kind in (core.DataError, core.WriteError):
        error = kind("a.csv", "numbers", "words", "mend it")
        again = pickle.loads(pickle.dumps(error))
        assert (type(again), str(again), again.found) == (kind, str(error), "words")
    for kind in (core.SettingsError, core.TrainingError, core.OutOfTime):
        again = pickle.loads(pickle.dumps(kind("what is wrong")))
        assert (type(again), str(again)) == (kind, "what is wrong")


def test_a_device_says_its_threads_and_when_others_use_the_machine(monkeypatch):
    import torch
    monkeypatch.setattr(torch, "get_num_threads", lambda: 2)
    monkeypatch.setattr(core.os, "getloadavg", lambda: (.1, 0, 0))
    assert core.device_text(torch.device("cpu")) == "cpu, 2 threads"
    monkeypatch.setattr(core.os, "getloadavg", lambda: (3., 0, 0))
    assert "load 3.0" in core.device_text(torch.device("cpu")) and "OMP_NUM_THREADS=1" in core.device_text(torch.device("cpu"))
    monkeypatch.delattr(core.os, "getloadavg")   # as on Windows
    assert core.device_text(torch.device("cpu")) == "cpu, 2 threads"
    assert core.device_text(torch.device("cuda", 1)) == "cuda:1"
