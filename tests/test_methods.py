"""One battery of checks over every method of the catalog, as scikit-learn's estimator checks do."""
from dataclasses import replace

import numpy as np
import pytest

from vad_nb.core import DataError, SettingsError, VadNbError
from vad_nb.data.bag_sets import load_bags
from vad_nb.data.datasets import load_benchmark
from vad_nb.methods.catalog import METHODS, make_method, open_run, score
from vad_nb.methods.mil import HOSTS
from vad_nb.methods.xel import BANKED
from vad_nb.training.run import Run

QUICK = {"ddl": dict(size=(32, 48), width=8, epochs=2, batch_size=16),
         "mulde": dict(units=(16, 16), epochs=2, batch_size=200, features="pace,width+appearance", window=5, aggregate="gmm3")}
WEAK = {*HOSTS, *BANKED}
QUICK |= {name: dict(epochs=8) for name in WEAK}


@pytest.fixture(scope="module", params=sorted(METHODS))
def name(request):
    return request.param


@pytest.fixture(scope="module")
def benchmark(name):
    if name in WEAK:
        return load_bags("synthetic-ws")
    whole = load_benchmark("synthetic")
    return replace(whole, train=whole.train[:1], test=whole.test[:2])


@pytest.fixture(scope="module")
def trained(name, benchmark, tmp_path_factory):
    run = Run(tmp_path_factory.mktemp(name) / "run")
    method = make_method(name, overrides=QUICK.get(name), device="cpu")
    return method, method.fit(benchmark, run, random_seed=1, preset="smoke")


def test_scores_are_finite_one_a_frame(trained, benchmark):
    for clip in benchmark.test:
        scores = trained[0].score(clip)
        assert scores.shape == (len(benchmark.labels[clip.name]),) and scores.dtype == np.float64 and np.isfinite(scores).all() and scores.std() > 0


def test_a_stored_run_scores_the_same(trained, benchmark):
    scores = score(trained[1], benchmark, device="cpu", progress=False)
    for clip in benchmark.test:
        assert np.array_equal(scores.frames[clip.name], trained[0].score(clip))
    assert {"method", "variant", "preset", "random_seed", "data", "real", "seconds", "device", "epochs"} <= scores.provenance.keys()


def test_same_seed_same_bytes(name, trained, benchmark, tmp_path):
    again = make_method(name, overrides=QUICK.get(name), device="cpu").fit(benchmark, Run(tmp_path), random_seed=1, preset="smoke")
    assert again.weights.read_bytes() == trained[1].weights.read_bytes()
    assert again.history_file.read_bytes() == trained[1].history_file.read_bytes()


def test_resuming_a_finished_training_changes_nothing(name, trained, benchmark):
    before = trained[1].weights.read_bytes(), trained[1].history_file.read_bytes()
    make_method(name, overrides=QUICK.get(name), device="cpu").fit(benchmark, trained[1], random_seed=1, preset="smoke", resume=True)
    assert before == (trained[1].weights.read_bytes(), trained[1].history_file.read_bytes())


def test_a_second_training_in_one_folder_is_refused(name, trained, benchmark):
    with pytest.raises(SettingsError, match="--resume"):
        make_method(name, overrides=QUICK.get(name), device="cpu").fit(benchmark, trained[1], random_seed=2)


def test_an_empty_benchmark_is_refused(name, benchmark, tmp_path):
    with pytest.raises(VadNbError):
        make_method(name, overrides=QUICK.get(name), device="cpu").fit(replace(benchmark, train=()), Run(tmp_path))
    assert not (tmp_path / "weights.safetensors").exists()


def test_the_wrong_kind_of_data_is_refused(name, trained, benchmark):
    other = load_benchmark("synthetic").test[:1] if name in WEAK else load_bags("synthetic-ws").test[:1]
    with pytest.raises(SettingsError, match="synthetic-ws" if name in WEAK else "frames"):
        score(trained[1], benchmark, other, "cpu", progress=False)


def test_an_unfinished_run_cannot_be_opened(name, trained, tmp_path):
    run = Run(tmp_path)
    run.write_json("config.json", trained[1].config)
    with pytest.raises(DataError, match="weights.safetensors"):
        open_run(tmp_path, "cpu")


@pytest.mark.parametrize("change", [dict(method="magic"), dict(settings=dict(speed=3))])
def test_a_foreign_config_is_refused(trained, tmp_path, change):
    Run(tmp_path).write_json("config.json", trained[1].config | change)
    with pytest.raises(DataError, match="config.json"):
        open_run(tmp_path, "cpu")
