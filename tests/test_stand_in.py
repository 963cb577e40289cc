"""The study of stand-ins: its parts against loops and closed forms, and its stored tables against each other."""
from pathlib import Path

import numpy as np
import pytest
from scipy.stats import rankdata

from vad_nb.figures.proxy import (
    SIGMA_VARIANTS, areas, stand_in_claims, curve, stand_in_gain, make, over_strengths, stand_in_verdict, weakest)
from vad_nb.studies.trainings import Trainings
from vad_nb.methods.anomalies import KINDS
from vad_nb.studies.stand_in import (
    ONCE, STRENGTHS, TRAINED, area, energy, separation, sigma_facts)
from vad_nb.evaluation.results import read_results

STORED = Path(__file__).parent.parent/"figures"/"data"


@pytest.mark.parametrize("seed", range(5))
def test_area_is_the_rank_statistic(seed):
    rng = np.random.default_rng(seed)
    abnormal, normal = rng.integers(0, 6, 40), rng.integers(0, 5, 90)     # many ties
    ranks = rankdata(np.concatenate([abnormal, normal]))
    assert np.isclose(area(abnormal, normal), (ranks[:40].sum() - 40*41/2)/(40*90))


def test_energy_equals_loops():
    rng = np.random.default_rng(0)
    one, other = rng.normal(size=(7, 3)), rng.normal(size=(5, 3)) + 1
    def mean(pairs): return np.mean([np.linalg.norm(a - b) for a, b in pairs])
    between = 2*mean([(a, b) for a in one for b in other])
    within = [mean([(a, b) for i, a in enumerate(x) for j, b in enumerate(x) if i != j]) for x in (one, other)]
    assert np.isclose(energy(one, other), (between - sum(within))/between) and energy(one*0, one*0) == 0


def test_separation_names_every_pair_once():
    rng = np.random.default_rng(0)
    shifts = {name: rng.normal(size=(6, 4)) for name in "abcd"}
    pairs = [(a, b) for a, b, _, _ in separation(shifts)]
    assert len(pairs) == len(set(pairs)) == 6 and all(-1 <= cosine <= 1 for *_, cosine in separation(shifts))


def test_sigma_facts():
    found = sigma_facts(dict(sigma=np.array([.5, .7, .6, .6, .6, .6, .6, .6, .6, .58])))
    assert found["start"] == .5 and found["peak"] == .7 and found["low"] == .5 and found["end"] == .58 and found["last_tenth"] == 0 and sigma_facts({}) == {}


@pytest.mark.parametrize("values, strength", [([.5, .5, .75, 1], .6), ([.9, .9, .9, .9], .1*.25/.4), ([.8, .7, .8, .9], .3 + .3*.05/.1), ([.9, .9, .9, .7], np.inf)])
def test_weakest_strength(values, strength): assert np.isclose(weakest(values), strength)


def made_up(level):
    "Results where AUC is level(trained, tested, seed), the same at all strengths."
    return [dict(variant=f"{trained}/{tested}/{strength}", random_seed=str(seed), micro_auc_raw=str(level(trained, tested, seed)))
            for trained in TRAINED for tested, strengths in [*((kind, [f"{s:g}" for s in STRENGTHS]) for kind in KINDS), ("test", ["-"])] for strength in strengths for seed in range(3)]


def test_gains_are_paired_over_random_seeds():
    table = areas(made_up(lambda trained, tested, seed: .5 + .1*seed + (.05 + .001*seed)*(trained == "noise")))
    assert np.isclose(over_strengths(table, "none", "blur")[2], .7) and curve(table, "none", "blur").shape == (3, 4)
    mean, low, high = stand_in_gain(table, "noise", "blur")
    assert np.isclose(mean, .051) and low > .04 and high < .06, "the spread over seeds, ten points, is in both"


def inside(sigma, energy_of):
    names = ["clean", *KINDS]
    rows = [dict(trained=trained, random_seed=seed, what="sigma", first=name, second="", value=value) for trained in TRAINED if trained not in ("none", "sdl") for seed in range(3) for name, value in sigma(trained).items()]
    return rows + [dict(trained="none", random_seed=seed, what="energy", first=a, second=b, value=energy_of(a, b) + .001*seed) for seed in range(3) for k, a in enumerate(names) for b in names[k + 1:]]


def test_claims_say_what_was_put_in():
    steady = dict(start=.5, peak=.7, low=.5, end=.6, last_tenth=.001)
    held = stand_in_claims(areas(made_up(lambda trained, tested, seed: .7 + .2*(trained in ("noise", "sdl")) + .001*seed*(trained == "none"))), inside(lambda trained: steady | dict(end=.6 - .001*len(trained)), lambda a, b: .5 if a == "clean" else .1))
    verdicts = {claim: answer for _, claim, _, answer in held}
    assert verdicts["sigma(l) rises"] == "held" and verdicts["then declines"] == "held" and verdicts["and stabilises"] == "held"
    assert verdicts["inside the network an anomaly is nearer to noise than to normal motion"] == "held"
    assert verdicts["training with noise (DDL) makes every other kind easier to find"] == "held" and verdicts["no other kind is a better stand-in on the real test clips"] == "held"
    other = stand_in_claims(areas(made_up(lambda trained, tested, seed: .7 - .2*(trained in ("noise", "sdl")) + .001*seed)), inside(lambda trained: steady | dict(end=.7 if trained == "noise" else .2 + .001*len(trained)), lambda a, b: .1 if a == "clean" else .5))
    verdicts = {claim: answer for _, claim, _, answer in other}
    assert verdicts["then declines"] == "not held"
    assert verdicts["it finds its place by itself: noise slow"] == "not held" and verdicts["and the real anomalies (DDL)"] == "contrary"
    assert verdicts["no other kind is a better stand-in on the real test clips"] == "not held"
    assert stand_in_verdict(-1, 1) == "within noise"


def test_the_stored_study_is_complete_and_redraws_without_the_data(tmp_path):
    rows = [row for row in read_results(STORED/"results.csv") if (row["method"], row["data"]) == ("ddl-proxy", "ped2")]
    table = areas(rows)
    assert {trained for trained, _, _ in table} == set(TRAINED) and {tested for _, tested, _ in table} == {*KINDS, "test"}
    assert all(sorted(values) == ([0] if trained in ONCE else [0, 1, 2]) for (trained, _, _), values in table.items())
    (tmp_path/"data").mkdir()
    for name in ("results.csv", "proxy.csv", "proxy_points.csv"): (tmp_path/"data"/name).write_bytes((STORED/name).read_bytes())
    text = make(Trainings(tmp_path, "ped2", preset="small"), tmp_path)
    assert text.read_text() == (STORED.parent/"proxy_claims.txt").read_text()
    assert {path.stem for path in tmp_path.glob("*.png")} == {f"proxy_{name}" for name in ("transfer", "curves", "sigma", "features")}
    assert (tmp_path/"data"/"proxy_transfer.csv").read_bytes() == (STORED/"proxy_transfer.csv").read_bytes()
    assert set(SIGMA_VARIANTS) <= set(TRAINED)
