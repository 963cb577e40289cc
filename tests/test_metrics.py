"""Every frame-level metric against scikit-learn, closed forms and brute force."""
import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sklearn import config_context as sklearn_config
from sklearn import metrics as sklearn

from vad_nb.evaluation import metrics
from vad_nb.core import DataError
from vad_nb.evaluation.metrics import (
    METRICS, Frames, Ranking, auc, average_precision, eer, interval, measure_draws, pool_frames,
    pr_auc, roc_curve, tpr_at_fpr, video_draws)


def random_case(generator, ties):
    "Scores and labels of 2 to 60 frames, both classes there."
    size = int(generator.integers(2, 60))
    labels = generator.random(size) < generator.uniform(.05, .95)
    labels[generator.integers(size)] = True
    if labels.all():
        labels[generator.integers(size)] = False
    if not labels.any():
        labels[0] = True
    scores = generator.integers(0, generator.integers(1, 12), size).astype(float) if ties else generator.standard_normal(size)
    return scores, labels


@st.composite
def tied_cases(draw):
    "Up to 40 frames whose scores come from a pool of at most six floats, the very small, the very large and both zeros among them."
    size = draw(st.integers(2, 40))
    pool = draw(st.lists(st.floats(-1e300, 1e300), min_size=1, max_size=6))
    chosen, labels = (np.frombuffer(draw(st.binary(min_size=size, max_size=size)), np.uint8) for _ in range(2))
    labels = labels >= 128
    labels[0], labels[-1] = True, False
    return np.array(pool)[chosen % len(pool)], labels


COUNTED = []


@settings(max_examples=10_000, deadline=None, derandomize=True, database=None, suppress_health_check=list(HealthCheck))
@given(tied_cases())
@sklearn_config(assume_finite=True, skip_parameter_validation=True)   # half of its time
def agrees_with_scikit_learn(case):
    scores, labels = case
    COUNTED.append(len(np.unique(scores)) < len(scores))
    fpr, tpr, thresholds = sklearn.roc_curve(labels, scores, drop_intermediate=False)
    ours = roc_curve(scores, labels)
    assert np.array_equal(ours[2], thresholds)
    tp, fp = Ranking(scores, labels).curve()
    precision, recall, _ = sklearn.precision_recall_curve(labels, scores)
    errors = [np.abs(ours[0] - fpr).max(), np.abs(ours[1] - tpr).max(), abs(auc(tp, fp) - sklearn.auc(fpr, tpr)),
              abs(average_precision(tp, fp) + np.sum(np.diff(recall) * precision[:-1])), abs(pr_auc(tp, fp) - sklearn.auc(recall, precision))]
    if len(COUNTED) % 50 == 0:   # the public functions themselves, which take most of the time
        errors += [abs(auc(tp, fp) - sklearn.roc_auc_score(labels, scores)), abs(average_precision(tp, fp) - sklearn.average_precision_score(labels, scores))]
    assert max(errors) < 1e-12


def test_ten_thousand_random_cases_with_ties_agree_with_scikit_learn():
    COUNTED.clear()
    agrees_with_scikit_learn()
    assert len(COUNTED) >= 10_000 and np.mean(COUNTED) > .9


def test_eer_and_rate_at_fixed_false_positives_lie_on_the_interpolated_curve():
    generator = np.random.default_rng(1)
    for case in range(500):
        scores, labels = random_case(generator, ties=case % 2 == 0)
        tp, fp = Ranking(scores, labels).curve()
        fpr, tpr = fp / fp[-1], tp / tp[-1]
        part = np.linspace(0, 1, 2001)
        points = np.concatenate([np.c_[a + part * (b - a), c + part * (d - c)] for a, b, c, d in zip(fpr, fpr[1:], tpr, tpr[1:])])
        nearest = points[np.abs(points[:, 0] + points[:, 1] - 1).argmin()]
        assert abs(eer(tp, fp) - nearest[0]) < 1e-3
        for rate in (.01, .1, .5):
            k = np.flatnonzero(fpr <= rate)[-1]
            want = tpr[k] + (rate - fpr[k]) / (fpr[k + 1] - fpr[k]) * (tpr[k + 1] - tpr[k])
            assert abs(tpr_at_fpr(tp, fp, rate=rate) - want) < 1e-9


@pytest.mark.parametrize("scores,labels,want", [
    ([1, 2, 3, 4], [0, 0, 1, 1], (1, 0, 1, 1)),        # perfect
    ([4, 3, 2, 1], [0, 0, 1, 1], (0, 1, None, None)),  # upside down
    ([7, 7, 7, 7], [0, 0, 1, 1], (.5, .5, .5, .75)),   # constant: all tied
])
def test_closed_forms(scores, labels, want):
    tp, fp = Ranking(scores, labels).curve()
    got = auc(tp, fp), eer(tp, fp), average_precision(tp, fp), pr_auc(tp, fp)
    assert all(value is None or abs(value - one) < 1e-12 for value, one in zip(want, got))


def test_one_class_is_undefined_not_a_number_by_accident():
    for labels in ([0, 0], [1, 1]):
        tp, fp = Ranking([1, 2], labels).curve()
        assert np.isnan(auc(tp, fp)) and np.isnan(eer(tp, fp)) and np.isnan(tpr_at_fpr(tp, fp))
    assert np.isnan(average_precision(*Ranking([1, 2], [0, 0]).curve()))


def many_videos(random_seed, videos=9, length=40, ties=True):
    generator, scores, labels = np.random.default_rng(random_seed), {}, {}
    for number in range(videos):
        name = f"{number % 3:02d}_{number:03d}"
        size = int(generator.integers(5, length))
        labels[name] = (generator.random(size) < (.4, 0, 1, .5, .3)[number % 5]).astype(np.uint8)
        scores[name] = generator.integers(0, 6, size) / 5 if ties else generator.random(size)
        scores[name] = scores[name] + .3 * labels[name]
    return pool_frames(scores, labels)


def brute_force(frames, threshold, fps):
    "Every metric by its definition, over explicit lists of videos."
    videos = [(frames.names[v], frames.scores[frames.video == v], frames.labels[frames.video == v]) for v in np.unique(frames.video)]

    def area(parts):
        scores, labels = (np.concatenate([part[k] for part in parts]) for k in (1, 2)) if parts else ([], [])
        if not len(labels) or labels.all() or not labels.any():
            return np.nan
        good, bad = scores[labels], scores[~labels]
        return np.mean((good[:, None] > bad) + .5 * (good[:, None] == bad))

    def stretch(values):
        return (values - values.min()) / np.ptp(values) if np.ptp(values) else values * 0

    with np.errstate(all="ignore"), np.testing.suppress_warnings() as quiet:
        quiet.filter(RuntimeWarning)
        pooled, truth = frames.scores, frames.labels
        scenes = [area([one for one in videos if one[0][:2] == scene]) for scene in sorted({name[:2] for name, _, _ in videos})]
        padded = [area([(name, np.r_[-1e9, scores, 1e9], np.r_[False, labels, True])]) for name, scores, labels in videos]
        fpr, tpr, _ = sklearn.roc_curve(truth, pooled, drop_intermediate=False)
        precision, recall, _ = sklearn.precision_recall_curve(truth, pooled)
        calm = [one for one in videos if not one[2].any()]
        false_runs = 0
        for _, scores, labels in videos:
            run = []
            for score, label in [*zip(scores, labels), (-np.inf, False)]:
                if score >= threshold:
                    run.append(label)
                elif run:
                    false_runs, run = false_runs + (not any(run)), []
        return {"micro_auc": area(videos), "micro_auc_minmax": area([(name, stretch(scores), labels) for name, scores, labels in videos]),
                "macro_auc_skip": np.nanmean([area([one]) for one in videos]), "macro_auc_pad01": np.mean(padded),
                "median_of_scenes": np.nanmedian(scenes), "mean_of_scenes": np.nanmean(scenes), "auc_abnormal": area([one for one in videos if one[2].any()]),
                "average_precision": -np.sum(np.diff(recall) * precision[:-1]), "pr_auc": sklearn.auc(recall, precision),
                "far": np.mean(pooled[~truth] >= threshold), "tpr": np.mean(pooled[truth] >= threshold),
                "far_normal_videos": np.mean(np.concatenate([one[1] for one in calm]) >= threshold) if calm else np.nan,
                "alarms_per_hour": false_runs / ((~truth).sum() / fps / 3600)}


def copied(frames, draw):
    "The videos of a draw, really copied."
    rows = [np.flatnonzero(frames.video == v) for v, times in enumerate(draw) for _ in range(times)]
    order = np.concatenate(rows)
    names = tuple(frames.names[v] for v, times in enumerate(draw) for _ in range(times))
    return Frames(names, frames.scores[order], frames.labels[order], np.repeat(np.arange(len(rows)), list(map(len, rows))))


@pytest.mark.parametrize("random_seed", range(4))
@pytest.mark.parametrize("draws", [3, 40])     # few draws are swept, many go through the pairs of videos
def test_bootstrap_equals_brute_force_resampling(random_seed, draws):
    frames = many_videos(random_seed, ties=random_seed % 2 == 0)
    weights = video_draws(len(frames.names), draws, random_seed)
    got = measure_draws(frames, weights, threshold=.6, fps=10.)
    assert set(got) == set(METRICS)
    for row, draw in enumerate(weights):
        sample = copied(frames, draw)
        if sample.labels.all() or not sample.labels.any():
            assert np.isnan(got["micro_auc"][row])
            continue
        for name, want in brute_force(sample, .6, 10.).items():
            assert np.allclose(got[name][row], want, atol=1e-12, equal_nan=True), name
        alone = measure_draws(sample, np.ones((1, len(sample.names))), threshold=.6, fps=10.)
        assert all(np.allclose(got[name][row], alone[name][0], atol=1e-12, equal_nan=True) for name in METRICS)


@pytest.mark.parametrize("ties", [True, False])
def test_curves_in_pieces_equal_curves_in_one(ties):
    frames = many_videos(5, ties=ties)
    ranking, weights = Ranking(frames.scores, frames.labels, frames.video), video_draws(9, 6).astype(float)
    whole = ranking.curve(weights)
    for size in (1, 2, 7, 50, 10 ** 6):
        pieces = list(ranking.sweep(weights, size))
        for part, want in enumerate(whole):
            assert np.array_equal(np.concatenate([pieces[0][part]] + [piece[part][:, 1:] for piece in pieces[1:]], 1), want)
        total = tuple(part[:, -1] for part in whole)
        for function in metrics.CURVE_METRICS.values():
            assert np.allclose(sum(function(tp, fp, total) for tp, fp in pieces), function(*whole), equal_nan=True)


def test_a_random_scorer_gets_nothing_from_unbiased_metrics():
    generator, scores, labels = np.random.default_rng(0), {}, {}
    for number in range(60):
        name = f"{number % 6:02d}_{number:03d}"
        labels[name] = np.zeros(4000, np.uint8)
        if number % 6:
            labels[name][500:2900] = 1
        scores[name] = generator.random(4000)
    frames = pool_frames(scores, labels)
    got = {name: value[0] for name, value in measure_draws(frames, np.ones((1, 60)), threshold=.5).items()}
    for name in ("micro_auc", "micro_auc_minmax", "macro_auc_skip", "median_of_scenes", "mean_of_scenes", "auc_abnormal", "eer",
                 "average_precision", "pr_auc", "far", "far_normal_videos", "tpr"):   # half of the frames are abnormal, half of the scores reach .5
        assert .49 <= got[name] <= .51, (name, got[name])
    assert abs(got["tpr_at_fpr_01"] - .01) < .005 and abs(got["tpr_at_fpr_10"] - .1) < .01
    assert got["macro_auc_pad01"] > .55 and "biased" in METRICS["macro_auc_pad01"][1]
    assert all("biased" not in METRICS[name][1] for name in got if name != "macro_auc_pad01")


def test_average_precision_and_its_trapezoid_are_two_numbers():
    tp, fp = Ranking([4, 3, 2, 1], [0, 1, 0, 1]).curve()
    assert abs(average_precision(tp, fp) - .5) < 1e-12 and abs(pr_auc(tp, fp) - .5) > .05


def test_intervals_need_draws_that_define_the_metric():
    assert np.isnan(interval(np.full(10, np.nan))).all() and np.isnan(interval(np.zeros(0))).all()
    low, high = interval(np.r_[np.nan, np.arange(1001.)])
    assert (low, high) == (25, 975)


def test_labels_that_cannot_be_judged_are_refused():
    for labels, word in (({"a": [0, 0]}, "normal and abnormal"), ({"a": [1, 1]}, "normal and abnormal"), ({"a": [0, 2]}, "0 or 1"), ({"a": [0, 1, 1]}, "lengths"), ({"b": [0, 1]}, "clips")):
        with pytest.raises(DataError, match=word):
            pool_frames({"a": [.1, .2]}, {name: np.array(label) for name, label in labels.items()})
