"""Stored trainings: one process at a time in a folder, and never one of other settings or data opened in place of what was asked for."""
import json
import os
import signal
import subprocess
import sys

import pytest
import torch

from vad_nb.cli import main
from vad_nb.core import SettingsError
from vad_nb.studies.trainings import Trainings
from vad_nb.training.run import Run, read_history

TINY = dict(size=(32, 48), width=8, epochs=1, batch_size=60)
ASK = f"from vad_nb.studies.trainings import Trainings; import sys; Trainings(sys.argv[1], overrides={TINY}, device='cpu').get(anomaly='none')"
HOLD = "from vad_nb.training.run import Run; import sys, time\nwith Run(sys.argv[1]).locked(): print('here', flush=True); time.sleep(600)"


def start(code, folder):
    return subprocess.Popen([sys.executable, "-c", code, str(folder)], stdout=subprocess.PIPE, text=True)


@pytest.fixture
def held(tmp_path):
    "A folder in which another process trains, and that process."
    other = start(HOLD, tmp_path/"run")
    assert other.stdout.readline() == "here\n"
    yield tmp_path/"run", other
    other.kill()
    other.wait()


def test_two_processes_that_want_the_same_training_do_it_once(tmp_path):
    both = [start(ASK, tmp_path) for _ in range(2)]
    said = "".join(one.communicate(timeout=300)[0] for one in both)
    assert [one.returncode for one in both] == [0, 0] and said.count("training synthetic_smoke_ddl") == 1
    run, = map(Run, tmp_path.iterdir())
    assert read_history(run.history_file)["step"].tolist() == list(range(run.manifest["steps"]))


def test_a_second_training_in_a_folder_is_refused(held, capsys):
    assert main(["train", "ddl", "--data", "synthetic", "--preset", "smoke", "--set", "size=32x48", "width=8", "--device", "cpu", "--out", str(held[0])]) == 2
    assert capsys.readouterr().err.splitlines() == [f"vad-nb: {held[0]}: another process trains in this folder: wait for it, or name another folder"]
    assert [path.name for path in held[0].iterdir()] == [".lock"]


def test_a_killed_process_holds_no_folder(held):
    os.kill(held[1].pid, signal.SIGKILL)
    held[1].wait()
    with Run(held[0]).locked():   # refused if the dead process still held it
        pass


def test_another_training_of_the_same_name_is_not_opened(tmp_path):
    torch.set_num_threads(1)
    trainings = Trainings(tmp_path, overrides=TINY, device="cpu")
    run = trainings.get(anomaly="none")[1]
    for key, value in (("settings", run.config["settings"] | {"tile": 4}), ("data_fingerprint", "another scene")):
        config = run.config
        run.write_json("config.json", config | {key: value})
        with pytest.raises(SettingsError, match="holds another training.*remove it or name another folder"):
            trainings.get(anomaly="none")
        run.write_json("config.json", config)
    assert json.loads((run.path/"config.json").read_text())["settings"]["tile"] == 8
    assert trainings.get(anomaly="none")[1].path == run.path
