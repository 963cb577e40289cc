"""Trainings killed with SIGKILL and resumed: every method of the package, real processes, random steps and random moments.

A process of its own imports everything once and forks a child for each attempt, so that an attempt costs milliseconds: `python tests/test_kills.py FOLDER [METHOD ...]`
writes FOLDER/kills.json. Three ways to die, all SIGKILL:

* by itself behind a random optimiser step,
* from outside at a random moment of the training,
* in the middle of writing a file: half of its bytes are on the disk.

After each death the files that carry a final name must be whole; at the end weights and history must be, byte for byte, those of a training that was never killed.
"""
import json
import os
import random
import signal
import subprocess
import sys
import time
import traceback
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file
from test_methods import QUICK as BATTERY
from torch.optim.optimizer import register_optimizer_step_post_hook

from vad_nb.data.bag_sets import load_bags
from vad_nb.data.datasets import load_benchmark
from vad_nb.methods.catalog import METHODS
from vad_nb.methods.mil import WeakSettings
from vad_nb.training.run import Run, load_state

WEAK = dict(hidden=8, epochs=4, batch_size=10)
QUICK = {**BATTERY, "ddl": dict(size=(32, 48), width=8, epochs=4, batch_size=40)}   # the weakly supervised methods share WEAK
AVERAGED = {"ddl": dict(average=0.9, anomaly="sdl")}                                # a second variant, in which more must be restored
TORN = ("write_text", "write_bytes")                                                # config.json, history.csv and manifest.json; training_state.pt and weights.safetensors


def method_of(name, variant):
    settings_class = METHODS[name].settings_class
    quick = WEAK if issubclass(settings_class, WeakSettings) else QUICK.get(name, {})
    return METHODS[name](replace(settings_class(), **quick, **(AVERAGED[name] if variant else {})), torch.device("cpu"))


def data_of(name):
    if issubclass(METHODS[name].settings_class, WeakSettings):
        return load_bags("synthetic-ws")
    whole = load_benchmark("synthetic")
    return replace(whole, train=whole.train[:1])


# --- how a child dies -----------------------------------------------------------------------------------------------------------------

def die():
    os.kill(os.getpid(), signal.SIGKILL)


def die_behind_step(step):
    done = iter(range(1, step))
    register_optimizer_step_post_hook(lambda *_: None if next(done, None) else die())


def die_while_writing(how, number):
    "Half of the content of the `number`-th file written with `how`, then SIGKILL."
    done, write = iter(range(1, number)), getattr(Path, how)

    def half(path, content, **options):
        if next(done, None):
            return write(path, content, **options)
        write(path, content[:len(content) // 2], **options)
        die()
    setattr(Path, how, half)


# --- attempts -------------------------------------------------------------------------------------------------------------------------

def attempt(name, variant, benchmark, folder, death=None, seconds=None):
    "Train or resume in a child; how it ended: 0, or the signal's number below 0."
    child = os.fork()
    if not child:
        try:
            if death:
                death()
            method_of(name, variant).fit(benchmark, Run(folder), random_seed=1, resume=True, preset="smoke")
            code = 0
        except BaseException:
            traceback.print_exc()
            code = 1
        sys.stderr.flush()
        os._exit(code)
    if seconds is not None:
        time.sleep(seconds)
        os.kill(child, signal.SIGKILL)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])


def check_whole(run):
    "Whatever has its final name can be read."
    if run.state_file.exists():
        load_state(run.state_file)
    if run.weights.exists():
        load_file(run.weights)
    for name in ("config.json", "manifest.json"):
        if (run.path / name).exists():
            run.read_json(name)


def kill_and_resume(name, variant, folder, chance, kills):
    "One method: what happened, as plain values."
    benchmark, through, began, deaths, runs = data_of(name), Run(folder / "through"), time.perf_counter(), [], []
    assert attempt(name, variant, benchmark, through.path) == 0, "the training that is never killed failed"
    seconds, steps = time.perf_counter() - began, through.manifest["steps"]
    while len(deaths) < kills or not runs[-1].weights.exists():
        if not runs or runs[-1].weights.exists():
            runs.append(Run(folder / f"killed{len(runs)}"))
        run = runs[-1]
        done = load_state(run.state_file)["step"] if run.state_file.exists() else 0
        step, torn, number = chance.randint(1, max(1, (steps - done) // 2)), TORN[len(deaths) % 2], chance.randint(1, 3)
        words, how = [(f"behind step {done + step}", dict(death=lambda: die_behind_step(step))), (f"half of file {number} of {torn}", dict(death=lambda: die_while_writing(torn, number))),
                      ("at a moment", dict(seconds=chance.uniform(0, seconds))), ("", {})][(len(deaths) + len(runs)) % 3 if len(deaths) < kills else 3]
        code = attempt(name, variant, benchmark, run.path, **how)
        assert code in (0, -signal.SIGKILL), f"{words}: the child ended with {code}"
        check_whole(run)
        deaths += [words] * (code != 0)
    return dict(deaths=deaths, steps=steps, seconds=round(time.perf_counter() - began, 1), resumed=len(runs),
                same=all(one.weights.read_bytes() == through.weights.read_bytes() and one.history_file.read_bytes() == through.history_file.read_bytes() for one in runs),
                left=sorted({path.name for one in runs for path in one.path.iterdir()}))


def cases(names=None):
    return [(name, variant) for name in names or sorted(METHODS) for variant in range(1 + (name in AVERAGED))]


def main(folder, *names):
    torch.set_num_threads(1)
    torch.optim.Adam([torch.zeros(1)])   # imports what an optimiser needs, once for all children
    found = {}
    for name, variant in cases(names):
        key = name + "-averaged" * variant
        try:
            found[key] = kill_and_resume(name, variant, Path(folder) / key, random.Random(key), 6)
        except Exception:
            found[key] = dict(error=traceback.format_exc(), deaths=[])
    (Path(folder) / "kills.json").write_text(json.dumps(found, indent=1))


if __name__ == "__main__":
    main(*sys.argv[1:])


# --- the tests ------------------------------------------------------------------------------------------------------------------------

@pytest.fixture(scope="module")
def outcome(tmp_path_factory):
    folder = tmp_path_factory.mktemp("kills")
    subprocess.run([sys.executable, __file__, folder], check=True, env=dict(os.environ, OMP_NUM_THREADS="1", CUDA_VISIBLE_DEVICES="", TQDM_DISABLE="1"))
    return json.loads((folder / "kills.json").read_text())


@pytest.mark.parametrize("name", [name + "-averaged" * variant for name, variant in cases()])
def test_a_killed_training_ends_with_the_same_bytes(outcome, name):
    one = outcome[name]
    assert "error" not in one, one["error"]
    assert one["same"] and len(one["deaths"]) >= 6
    assert one["left"] == ["config.json", "history.csv", "manifest.json", "training_state.pt", "weights.safetensors"], "something half-written stayed"


def test_kills_survived(outcome):
    deaths = [death for one in outcome.values() for death in one["deaths"]]
    assert len(deaths) >= 20 and all(any(words in death for death in deaths) for words in ("behind step", "write_text", "write_bytes", "at a moment"))
    assert all(one.get("same") for one in outcome.values())
