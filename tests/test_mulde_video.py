"""MULDE as a method: features by name, calibration, interruption, clips without objects."""
from dataclasses import replace

import numpy as np
import pytest
import torch

from vad_nb.core import SettingsError, TrainingError
from vad_nb.data.datasets import load_benchmark
from vad_nb.data.features import ObjectFeatures, calibrate, frame_maximum, object_features
from vad_nb.data.finding import find_objects
from vad_nb.data.video import Clip
from vad_nb.methods.mulde import MuldeSettings, all_scales
from vad_nb.methods.mulde_video import SIZES, Measures, MuldeVideo, read_features
from vad_nb.training.run import Run, load_state

TINY = MuldeSettings(units=(16, 16), epochs=3, batch_size=300, features="pace,width", sampler="adaptive", aggregate="max")


@pytest.fixture(scope="module")
def benchmark():
    whole = load_benchmark("synthetic")
    return replace(whole, train=whole.train[:1], test=whole.test[:1])


@pytest.fixture(scope="module")
def trained(benchmark, tmp_path_factory):
    run = Run(tmp_path_factory.mktemp("mulde"))
    method = MuldeVideo(TINY)
    return method, method.fit(benchmark, run, 3)


def test_features_by_name():
    assert read_features("flow:4+size:0,appearance") == [[("flow", [4]), ("size", [0])], [("appearance", list(range(16)))]]
    assert set(SIZES) >= {"pace", "speed", "width", "slowest"}


@pytest.mark.parametrize("text", ["", "magic", "flow:5", "flow:x", "flow:-1", "pace,,width", "pace+", "width:1"])
def test_unknown_features_are_one_clear_line(text):
    with pytest.raises(SettingsError, match="features"):
        MuldeVideo(replace(TINY, features=text))


@pytest.mark.parametrize("change", [dict(score="norm"), dict(network="score"), dict(network="magic"), dict(aggregate="sum"), dict(sampler="magic"), dict(grid="even")])
def test_unknown_settings_are_refused(change, benchmark, tmp_path):
    with pytest.raises(SettingsError):
        MuldeVideo(replace(TINY, **change)).fit(benchmark, Run(tmp_path))


def people(feet, widths, tall, velocity=(1., 0.)):
    "Objects of one clip, one a frame and track."
    n = len(feet)
    values = {name: np.ones((n, size), np.float32) for name, size in dict(flow=5, velocity=2, appearance=256).items()}
    values.update(velocity=np.tile(np.float32(velocity), (n, 1)), size=np.stack([widths, tall], 1).astype(np.float32), position=np.stack([feet, feet], 1).astype(np.float32))
    return ObjectFeatures(np.arange(n), np.zeros(n, int), values, n)


def test_numbers_per_person_do_not_know_the_distance():
    random = np.random.default_rng(0)
    feet = random.uniform(.3, .9, 300)
    tall = 100*feet + 4
    train = people(feet, .4*tall, tall)
    train.values["velocity"] = np.stack([.1*tall, 0*tall], 1).astype(np.float32)
    train.values["appearance"] = random.normal(size=(300, 256)).astype(np.float32)
    pace, width = Measures(replace(TINY, features="pace,width")).fit([train])(train)
    assert torch.allclose(width, torch.full((300, 1), .4), atol=1e-3) and torch.allclose(pace, torch.tensor([.1, 0.]).expand(300, 2), atol=1e-3)


def test_window_is_a_mean_along_the_track():
    one = people(np.full(9, .5), np.arange(9.) + 10, np.full(9, 50.))
    still, = Measures(replace(TINY, features="size:0"))(one)
    steady, = Measures(replace(TINY, features="size:0", window=3))(one)
    assert still[:, 0].tolist() == list(range(10, 19)) and torch.allclose(steady[1:-1], still[1:-1]) and steady[0] == pytest.approx(31/3)


def test_score_is_the_sum_of_calibrated_aggregates(trained, benchmark):
    "From the networks alone, step by step."
    method, clip = trained[0], benchmark.test[0]
    train, test = (object_features(one, find_objects(one)) for one in (benchmark.train[0], clip))
    total = 0
    for group, a, b in zip(method.model.groups, method.model.measures(train), method.model.measures(test)):
        a, b = (all_scales(group.network, group.network.standardise(x), group.sigmas)["log_density"].double().numpy() for x in (a, b))
        a, b = (((x - a.mean(0))/a.std(0)).max(1) for x in (a, b))
        total = total + calibrate(b, a)
    assert np.allclose(method.score(clip), frame_maximum(total, test.frame, len(clip)), atol=1e-5)


def test_an_interrupted_training_ends_the_same(benchmark, trained, tmp_path):
    "Stopped after the first epoch; the adaptive sampler's memory goes on too."
    class Stop(Exception): pass
    def stop(epoch): raise Stop
    with pytest.raises(Stop):
        MuldeVideo(TINY).fit(benchmark, Run(tmp_path), 3, after_epoch=stop)
    assert load_state(Run(tmp_path).state_file)["epoch"] == 0
    MuldeVideo(TINY).fit(benchmark, Run(tmp_path), 3, resume=True)
    assert Run(tmp_path).weights.read_bytes() == trained[1].weights.read_bytes()
    assert Run(tmp_path).history_file.read_bytes() == trained[1].history_file.read_bytes()


def test_quantile_grid_is_stored(benchmark, tmp_path):
    method = MuldeVideo(replace(TINY, sampler="log-gaussian", grid="quantiles", epochs=1))
    run = method.fit(benchmark, Run(tmp_path))
    sigmas = MuldeVideo(method.settings).load(run).model.groups[0].sigmas
    assert .2 < sigmas.min() < .25 and .4 < sigmas.max() < .55 and (sigmas.diff() > 0).all()


def test_clips_where_nothing_moves(trained, benchmark, tmp_path):
    still = Clip("still", np.full((7, 48, 64, 1), 90, np.uint8), 10.)
    assert trained[0].score(still).tolist() == [0.]*7
    with pytest.raises(TrainingError, match="no moving objects"):
        MuldeVideo(TINY).fit(replace(benchmark, train=(still,)), Run(tmp_path))


def test_msma_is_named_so(benchmark, tmp_path):
    method = MuldeVideo(replace(TINY, network="score", score="score_norm", epochs=1))
    method.fit(benchmark, Run(tmp_path))
    assert method.names == ("msma", "adaptive/square/score_norm/max") and np.isfinite(method.score(benchmark.test[0])).all()
