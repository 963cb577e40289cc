"""The study of noise scales and the choice of features: areas against scikit-learn, resumption, pairing, and what Figures 1 to 3 read from the table."""
from dataclasses import replace

import numpy as np
import pytest
import torch
from scipy import stats
from scipy.ndimage import gaussian_filter1d
from sklearn.metrics import roc_auc_score

from vad_nb.core import read_table
from vad_nb.data.datasets import load_benchmark
from vad_nb.data.features import ObjectFeatures, frame_maximum
from vad_nb.figures.fig1 import best_aggregate
from vad_nb.figures.fig2 import compute
from vad_nb.figures.fig3 import block, printed
from vad_nb.studies import scales, truth
from vad_nb.studies.features import choose, glide, gliders
from vad_nb.methods.mulde import Aggregate, MuldeSettings
from vad_nb.methods.mulde_video import MuldeVideo
from vad_nb.studies.scales import (
    GRID, HYBRIDS, SCALE_VARIANTS, areas, frame_areas, scale_gain, kept_weights, scale_areas, scale_study)
from vad_nb.training.run import Run

QUICK = dict(units="8x8", epochs="6", batch_size="400")


def objects(lengths=(40, 25), seed=0):
    "Two clips with a few objects a frame, and labels."
    random, features, labels = np.random.default_rng(seed), [], []
    for length in lengths:
        frame = np.sort(random.integers(0, length, 3*length))
        features.append(ObjectFeatures(frame, np.zeros(len(frame), int), {}, length))
        labels.append((np.arange(length) > length//2).astype(np.uint8))
    return features, labels, sum(map(len, features))


def test_frame_areas_against_scikit_learn():
    features, labels, n = objects()
    scores = np.random.default_rng(1).uniform(.1, 1, n)
    parts = np.split(scores, [len(features[0])])
    frames = [frame_maximum(part, one.frame, one.length) for part, one in zip(parts, features)]
    found, truth = frame_areas(scores, features, labels), np.concatenate(labels)
    assert found["raw"] == pytest.approx(roc_auc_score(truth, np.concatenate(frames)))
    assert found["smoothed"] == pytest.approx(roc_auc_score(truth, np.concatenate([gaussian_filter1d(one, 3) for one in frames])))


def test_scale_areas_of_one_group_are_those_of_its_columns():
    features, labels, n = objects()
    random = np.random.default_rng(2)
    training, test, sigmas = random.normal(size=(200, 3)), random.normal(size=(n, 3)), [.1, .2, .3]
    test -= test.min() - training.min(0)   # nothing below the most normal training object, so empty frames stay lowest
    rows = scale_areas([training], [test], sigmas, features, labels)
    assert [row["kind"] for row in rows] == ["individual"]*3 + ["best individual", "max", "median", "mean"]
    for k, row in enumerate(rows[:3]):
        low = training[:, k].min()
        assert row["sigma"] == sigmas[k] and row["raw"] == pytest.approx(frame_areas(test[:, k] - low, features, labels)["raw"])
    assert rows[3]["raw"] == max(row["raw"] for row in rows[:3])
    own = Aggregate("median").fit(training)
    assert rows[5]["smoothed"] == pytest.approx(frame_areas(own(test) - own(training).min(), features, labels)["smoothed"], abs=1e-9)
    assert len(scale_areas([training], [test], sigmas, features, labels, singly=False)) == 4


def test_kept_weights_are_those_that_are_stored_in_the_end(tmp_path):
    whole, seen = load_benchmark("synthetic"), []
    for average in (.9, 0.):
        method, run = MuldeVideo(MuldeSettings(units=(8, 8), epochs=2, batch_size=400, average=average)), Run(tmp_path/str(average))
        method.fit(replace(whole, train=whole.train[:1]), run, after_epoch=lambda epoch: seen.append(kept_weights(run, method)[0]))
        final = method.model.groups[0].network
        assert all(torch.equal(a, b) for a, b in zip(seen[-1].parameters(), final.parameters()))
        assert not all(torch.equal(a, b) for a, b in zip(seen[-2].parameters(), final.parameters()))


@pytest.fixture(scope="module")
def rows(tmp_path_factory):
    return scale_study(tmp_path_factory.mktemp("study")/"scales.csv", GRID[:3], 2, overrides=QUICK, processes=0)


def test_a_finished_study_trains_nothing(rows, tmp_path, monkeypatch):
    scale_study(tmp_path/"scales.csv", ("log-uniform",), 1, overrides=QUICK, processes=0)
    monkeypatch.setattr(scales, "run_parallel", lambda *_: pytest.fail("trained again"))
    again = scale_study(tmp_path/"scales.csv", ("log-uniform",), 1, overrides=QUICK, processes=0)
    same = [row for row in rows if (row["variant"], row["random_seed"]) == ("log-uniform", 0)]
    assert [row["raw"] for row in again] == [row["raw"] for row in same]


def test_other_settings_are_another_study(tmp_path):
    path = tmp_path/"scales.csv"
    scale_study(path, ("log-uniform",), 1, overrides=QUICK, processes=0)
    other = scale_study(path, ("log-uniform",), 1, overrides=dict(QUICK, units="4x4"), processes=0)
    assert {row["preset"] for row in other} == {"smoke units=4x4 epochs=6 batch_size=400"}


def test_gain_is_the_paired_difference(rows):
    one, two = (areas(rows, variant, score="score_norm", kind="max", metric="raw") for variant in GRID[::2])
    difference = [two[seed] - one[seed] for seed in (0, 1)]
    mean, low, high = scale_gain(rows, GRID[2], score="score_norm", kind="max", metric="raw")
    assert mean == pytest.approx(np.mean(difference))
    assert (low, high) == pytest.approx(stats.t.interval(.95, 1, np.mean(difference), stats.sem(difference)))


def test_figures_read_the_table(rows):
    curves = best_aggregate(rows, GRID[:2])
    epochs, values = curves["log-uniform", "log_density"]
    assert epochs.tolist() == [5, 6] and values.shape == (2, 2)
    expected = max(row["raw"] for row in rows if (row["variant"], row["score"], row["grid"], row["epoch"], row["random_seed"]) == ("log-uniform", "log_density", "linspace", 5, 1)
                   and row["kind"] in ("max", "median", "mean"))
    assert values[1, 0] == expected
    found = block(compute(rows))
    best, last = found["log_density_individual", "log-Gaussian"]
    assert last.tolist() == list(areas(rows, "log-Gaussian", kind="best individual", metric="raw").values()) and (best >= last).all()
    assert printed(found, "log-Gaussian").count("Max ") == 5


def test_variants_differ_and_can_be_made():
    settings = [replace(MuldeSettings(), **changes) for changes in SCALE_VARIANTS.values()]
    assert len(set(settings)) == len(SCALE_VARIANTS) and len(HYBRIDS) >= 6 and len(GRID) == 4
    for one in settings: MuldeVideo(one)


# ---- features

def walker(n=30):
    random = np.random.default_rng(0)
    values = {name: random.uniform(1, 2, (2*n, size)).astype(np.float32) for name, size in dict(flow=5, quarters=4, slowest=1, velocity=2, spread=2, size=2, aspect=1, appearance=3).items()}
    return ObjectFeatures(np.repeat(np.arange(n), 2), np.tile([0, 1], n), values, n)


def test_a_glider_moves_as_one():
    one = walker()
    changed, rows = glide(one, 1, speed=1.5, width=1.6), one.track == 1
    pace = 1.5*one.values["flow"][rows, 2]
    for name in ("flow", "quarters", "slowest"): assert np.allclose(changed.values[name][rows], pace[:, None])
    assert np.allclose(np.linalg.norm(changed.values["velocity"][rows], axis=1), pace) and np.allclose(changed.values["size"][rows], one.values["size"][rows]*[1.6, 1])
    assert all(np.array_equal(changed.values[name][~rows], one.values[name][~rows]) for name in one.values)
    assert np.array_equal(changed.values["appearance"], one.values["appearance"])


def test_gliders_follow_the_random_seed_and_stay_below_their_share():
    one = object_tracks()
    (a, first), (_, again), (_, other) = gliders(one, 0), gliders(one, 0), gliders(one, 1)
    assert np.array_equal(first, again) and not np.array_equal(first, other) and 0 < first.mean() <= .6
    changed = (a.values["slowest"] != one.values["slowest"])[:, 0]
    assert set(one.frame[changed]) == set(np.flatnonzero(first))


def object_tracks():
    "Ten tracks of 25 frames, one after the other with overlap."
    start = np.arange(10)*12
    frame = np.concatenate([np.arange(25) + s for s in start])
    whole = walker(125)
    order = np.argsort(frame, kind="stable")
    return ObjectFeatures(frame[order], np.repeat(np.arange(10), 25)[order], {name: value[:250] for name, value in whole.values.items()}, int(frame.max()) + 1)


def test_the_choice_does_not_see_ped2():
    rows = [dict(test=test, features=features, window=1, random_seed=0, raw=0, smoothed=area) for features, values in
            dict(a=(.9, .8, .1), b=(.8, .7, .99)).items() for test, area in zip(("synthetic", "ped2-gliders", "ped2"), values)]
    assert [cell[1] for cell in choose(rows)] == ["a", "b"] and choose(rows)[0][0] == pytest.approx(.85)


def test_claims_pair_the_seeds(rows):
    table = scales.scale_claims(rows)
    assert [len(line) for line in table] == [3]*8
    inside, outside = (scales.scales_inside(rows, "log-Gaussian", "score_norm", side) for side in (True, False))
    own = [row for row in rows if (row["variant"], row["score"], row["kind"], row["grid"], row["epoch"], row["random_seed"]) == ("log-Gaussian", "score_norm", "individual", "linspace", 6, 1)]
    assert inside[1] == pytest.approx(np.mean([row["smoothed"] for row in own if .2 < row["sigma"] < .5])) and len(own) == 16
    assert table[-1][2] == scales.text_cell(scales.mean_interval([inside[seed] - outside[seed] for seed in (0, 1)]), "+")



def test_truth_table_goes_on_where_it_stopped(tmp_path):
    short = replace(truth.TRUTH_SETTINGS, units=(4, 4), epochs=1)
    first = truth.truth_table(tmp_path/"truth.csv", ("log-uniform",), (2,), (0,), 0, short)
    both = truth.truth_table(tmp_path/"truth.csv", ("log-uniform", "uniform"), (2,), (0,), 0, short)
    assert len(first) == len(truth.TRUTH_SIGMAS) and len(both) == 2*len(first)
    assert [row["rmse"] for row in both[:len(first)]] == pytest.approx([row["rmse"] for row in first], rel=1e-5)
    assert truth.truth_table(tmp_path/"truth.csv", ("uniform",), (2,), (0,), 0, short) == read_table(tmp_path/"truth.csv")
