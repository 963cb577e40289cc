"""Two real processes train as one does: torchrun and gloo, on a processor."""
import os
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from safetensors.torch import load_file

from vad_nb.data.datasets import synthetic_root
from vad_nb.evaluation.scores import Scores
from vad_nb.training.run import read_history

TRAIN = ["train", "ddl", "--data", "folder", "--set", "size=32x48", "width=8", "batch_size=10", "epochs=3", "average=0.9", "--device", "cpu"]
# double precision throughout: Adam divides each gradient by its size, also where it is rounding alone
COMMAND = """import sys, torch, vad_nb.training.train, vad_nb.methods.ddl
vad_nb.training.train.reduced_precision = vad_nb.methods.ddl.reduced_precision = lambda device: False
torch.set_default_dtype(torch.double)
torch.Tensor.float = torch.Tensor.double
from vad_nb.cli import main
sys.exit(main())
"""


def start_python(script, words, count, check=True):
    "A script in `count` processes."
    start = ["-m", "torch.distributed.run", "--nproc-per-node", str(count), "--master-port", str(29000 + os.getpid() % 1000)] if count > 1 else []
    return subprocess.run([sys.executable, *start, script, *map(str, words)], capture_output=True, text=True, check=check,
                          env=dict(os.environ, OMP_NUM_THREADS="1", TQDM_DISABLE="1", PYTHONPATH=str(Path(__file__).parent.parent)))


def run(folder, words, count):
    "The command in `count` processes."
    (folder / "command.py").write_text(COMMAND)
    return start_python(folder / "command.py", words, count)


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    folder = tmp_path_factory.mktemp("processes")
    clip = folder / "videos/01"
    clip.mkdir(parents=True)
    for path in sorted((synthetic_root() / "training/frames/01").iterdir())[:45]:
        shutil.copy(path, clip)
    for count in (1, 2):
        run(folder, [*TRAIN, "--root", folder / "videos", "--out", folder / f"run{count}"], count)
    return folder


def test_two_processes_have_the_gradients_of_one(tmp_path):
    script = tmp_path / "gradients.py"
    script.write_text("""
import sys, torch
from safetensors.torch import save_file
from vad_nb.methods.c3dsu import C3DSU
from vad_nb.training.processes import join, mean_of_shares, rank_and_count, share, average_gradients
join("cpu")
torch.manual_seed(0)
net = C3DSU(8, 3, 3).double()
x, y = torch.rand(7, 3, 3, 32, 32, dtype=torch.double), torch.rand(7, 3, 32, 32, dtype=torch.double)
class Objective(torch.nn.Module):
    def __init__(self): super().__init__(); self.net = net
    def forward(self): return mean_of_shares((self.net(share(x)) - share(y)).square())
objective = average_gradients(Objective().train())   # averages gradients while it lives
objective().backward()
if rank_and_count()[0] == 0: save_file({name: p.grad for name, p in net.named_parameters() if p.grad is not None}, sys.argv[1])
""")
    for count in (1, 2):
        start_python(script, [tmp_path / f"{count}.safetensors"], count)
    one, two = (load_file(tmp_path / f"{count}.safetensors") for count in (1, 2))
    assert one.keys() == two.keys() and len(one) > 40
    for name in one:   # biases before a batch norm have none but rounding
        assert (one[name] - two[name]).norm() <= 1e-9*one[name].norm() + 1e-14, name


def test_two_processes_have_the_loss_curve_of_one(runs):
    one, two = (read_history(runs / f"run{count}/history.csv") for count in (1, 2))
    assert len(one["loss"]) == len(two["loss"]) == 15   # 43 windows, 3 in the last batch
    for key in ("loss", "reconstruction", "distinction", "sigma"):
        assert np.allclose(one[key], two[key], rtol=1e-5), key


def test_scores_are_split_by_clip_and_put_together(runs):
    for count in (1, 2):
        run(runs, ["score", runs / "run2", "--out", runs / f"scores{count}.csv", "--device", "cpu"], count)
    one, two = (Scores.read_csv(runs / f"scores{count}.csv").frames for count in (1, 2))
    assert one.keys() == two.keys() and all(np.array_equal(one[name], two[name]) for name in one)


def test_a_run_whose_worker_dies_goes_on_from_its_last_checkpoint(runs, tmp_path):
    words = [*TRAIN, "--root", runs / "videos", "--out", tmp_path / "run"]
    script = COMMAND.replace("from vad_nb.cli", """
import os, signal, vad_nb.training.train
inner = vad_nb.training.train.check_epoch
def check_epoch(rows, epoch):
    if epoch == 1 and os.environ["LOCAL_RANK"] == "1": os.kill(os.getpid(), signal.SIGKILL)
    inner(rows, epoch)
vad_nb.training.train.check_epoch = check_epoch
from vad_nb.cli""")
    (tmp_path / "dies.py").write_text(script)
    died = start_python(tmp_path / "dies.py", words, 2, check=False)
    assert died.returncode != 0 and (tmp_path / "run/training_state.pt").exists() and not (tmp_path / "run/weights.safetensors").exists()
    run(tmp_path, [*words, "--resume"], 2)
    assert np.allclose(read_history(tmp_path / "run/history.csv")["loss"], read_history(runs / "run2/history.csv")["loss"], rtol=1e-5)
