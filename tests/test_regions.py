"""RBDC, TBDC and pixel AUC against versions written once more from the definitions, with loops and sets."""
import numpy as np
import pytest
import scipy.io
from scipy import ndimage
from dataclasses import replace
from types import SimpleNamespace

from vad_nb.core import DataError
from vad_nb.data.datasets import load_benchmark
from vad_nb.evaluation.reports import compare
from vad_nb.evaluation.metrics import video_draws
from vad_nb.evaluation.regions import (
    Boxes, Regions, benchmark_truth, boxes_from_maps, count_boxes, count_maps, detection_area,
    evaluate_boxes, evaluate_maps, map_thresholds, pixel_scores, region_areas, truth_from_masks)


def sets_of(mask):
    "Connected components as sets of pixels."
    parts, count = ndimage.label(mask, structure=np.ones((3, 3)))
    return [set(map(tuple, np.argwhere(parts == k + 1))) for k in range(count)]


def rectangle(box):
    x0, y0, x1, y1 = map(int, box)
    return {(y, x) for y in range(y0, y1) for x in range(x0, x1)}


def oracle_area(points):
    "Best rate with at most x false regions a frame, straight lines between, flat at the end; read off at the middles of a fine grid."
    xs, ys = [0.], [0.]
    for x, y in sorted(points):
        xs.append(x)
        ys.append(max(ys[-1], y))
    return np.mean(np.interp(np.linspace(0, 1, 20001)[:-1] + .5 / 20000, xs, ys))


def oracle(clips, thresholds, alpha=.1, beta=.1):
    """clips: lists of (true regions of each frame as (track, pixels), detections of each frame at a threshold as a function)."""
    points = {"rbdc": [], "tbdc": []}
    frames = sum(len(true) for true, _ in clips)
    for threshold in thresholds:
        hit, false = {}, 0
        for number, (true, detect) in enumerate(clips):
            for t, regions in enumerate(true):
                seen = detect(t, threshold)
                for track, pixels in regions:
                    good = any(len(pixels & one) >= beta * len(pixels | one) for one in seen)
                    hit.setdefault((number, track), []).append(good)
                false += sum(all(len(pixels & one) < beta * len(pixels | one) for _, pixels in regions) for one in seen)
        every = [good for track in hit.values() for good in track]
        points["rbdc"].append((false / frames, sum(every) / len(every)))
        points["tbdc"].append((false / frames, np.mean([10 * sum(track) >= len(track) * alpha * 10 - 1e-9 for track in hit.values()])))
    return {name: oracle_area(one) for name, one in points.items()}


def moving_squares(generator, frames=14, size=(20, 26)):
    "A mask with a few squares that come, move and go."
    mask = np.zeros((frames, *size), bool)
    for _ in range(int(generator.integers(1, 4))):
        y, x, side = generator.integers(0, size[0] - 8), generator.integers(0, size[1] - 8), generator.integers(3, 8)
        first, last = sorted(generator.integers(0, frames + 1, 2))
        for t in range(first, last):
            left = int(np.clip(x + (t - first) // 2, 0, size[1] - side))
            mask[t, y:y + side, left:left + side] = True
    return mask


def case(random_seed):
    generator = np.random.default_rng(random_seed)
    masks = {name: moving_squares(generator) for name in "abc"}
    masks["a"][3:7, 4:9, 4:9] = True   # never empty
    maps = {name: ndimage.gaussian_filter(mask * generator.uniform(0, 1.5) + generator.standard_normal(mask.shape), (0, 1.5, 1.5)).round(2) for name, mask in masks.items()}
    return masks, maps, {name: truth_from_masks(mask) for name, mask in masks.items()}


def true_sets(truth):
    return [[(truth.track[k], set(map(tuple, np.argwhere(truth.pixels[t] == k + 1)))) for k in np.flatnonzero(truth.frame == t)] for t in range(truth.frames)]


@pytest.mark.parametrize("random_seed", range(6))
def test_score_maps_equal_the_oracle(random_seed):
    masks, maps, truth = case(random_seed)
    thresholds = map_thresholds(maps, 24)
    clips = [(true_sets(truth[name]), lambda t, threshold, one=maps[name]: sets_of(one[t] >= threshold)) for name in maps]
    got = region_areas([count_maps(maps[name], truth[name], thresholds) for name in maps], np.ones((1, 3)))
    for name, want in oracle(clips, thresholds).items():
        assert abs(got[name][0] - want) < 1e-4, name


@pytest.mark.parametrize("random_seed", range(6))
def test_boxes_equal_the_oracle(random_seed):
    masks, maps, truth = case(random_seed)
    boxes = {name: boxes_from_maps(one, .35) for name, one in maps.items()}
    thresholds = sorted({score for one in boxes.values() for score in one.score}, reverse=True)
    clips = []
    for name, one in boxes.items():
        true = [[(truth[name].track[k], rectangle(truth[name].box[k])) for k in np.flatnonzero(truth[name].frame == t)] for t in range(truth[name].frames)]
        clips.append((true, lambda t, threshold, one=one: [rectangle(box) for frame, box, score in zip(one.frame, one.box, one.score) if frame == t and score >= threshold]))
    got = evaluate_boxes(boxes, truth, label_source="test", draws=0)
    for name, want in oracle(clips, thresholds).items():
        assert abs(float(got[name]) - want) < 1e-4, name


@pytest.mark.parametrize("random_seed", range(4))
def test_pixel_auc_equals_its_definition(random_seed):
    masks, maps, truth = case(random_seed)
    report = evaluate_maps(maps, truth, label_source="test", draws=0, progress=False)
    points = [(0, 0)]
    for threshold in sorted({value for one in maps.values() for value in one.ravel()}, reverse=True):
        tp = fp = p = n = 0
        for name, mask in masks.items():
            for one, frame in zip(maps[name] >= threshold, mask):
                if frame.any():
                    p, tp = p + 1, tp + (10 * one[frame].sum() >= 4 * frame.sum())
                else:
                    n, fp = n + 1, fp + one.any()
        points.append((fp / n, tp / p))
    x, y = np.array(points).T
    assert abs(float(report["pixel_auc"]) - np.sum(np.diff(x) * (y[1:] + y[:-1]) / 2)) < 1e-9


def test_bootstrap_equals_copied_clips():
    _, maps, truth = case(1)
    counts = [count_maps(maps[name], truth[name], map_thresholds(maps)) for name in maps]
    weights = video_draws(3, 12, 5)
    got = region_areas(counts, weights)
    for row, draw in enumerate(weights):
        copies = [counts[clip] for clip, times in enumerate(draw) for _ in range(times)]
        if not sum(one.totals[0] for one in copies):
            assert np.isnan(got["rbdc"][row])
            continue
        alone = region_areas(copies, np.ones((1, len(copies))))
        assert all(np.isclose(got[name][row], alone[name][0]) for name in got)


def test_tracks_follow_overlap_and_end_at_a_gap():
    mask = np.zeros((8, 10, 30), bool)
    for t in range(6):
        mask[t, 2:6, t:t + 4] = True       # one walker, six frames
        mask[t, 2:6, 20 - t:24 - t] = True   # another, towards the first
    mask[7, 2:6, 5:9] = True               # after a gap: a new track
    truth = truth_from_masks(mask)
    assert truth.tracks == 3 and np.bincount(truth.track).tolist() == [6, 6, 1]
    first = truth.track[0]
    assert truth.box[truth.track == first][:, 0].tolist() == [0, 1, 2, 3, 4, 5]


def test_two_regions_that_merge_leave_one_track():
    mask = np.zeros((4, 10, 20), bool)
    mask[:2, 2:5, 2:6] = mask[:2, 2:5, 12:15] = True
    mask[2:, 2:5, 2:15] = True
    truth = truth_from_masks(mask)
    assert np.bincount(truth.track).tolist() == [4, 2]   # the larger overlap keeps its number


def test_pieces_behind_something_are_one_region_and_distant_ones_are_not():
    mask = np.zeros((3, 100, 60), bool)
    mask[:, 20:30, 10:20] = mask[:, 33:50, 10:20] = True        # three rows apart: somebody stands in front
    mask[:, 70:80, 10:20] = True                                # twenty rows apart
    truth = truth_from_masks(mask)
    assert truth.tracks == 2 and truth.box[:2].tolist() == [[10, 20, 20, 50], [10, 70, 20, 80]]
    assert np.array_equal(truth.pixels > 0, mask)


def test_the_built_in_scene_has_few_tracks():
    scene = load_benchmark("synthetic")
    assert all(one.tracks <= 6 for one in benchmark_truth(replace(scene, test=scene.test[:3])).values())


def truth_of_boxes(frame, track, box, frames=10):
    return Regions(frames, np.array(frame), np.array(track), np.array(box, float))


def test_alpha_and_beta_at_their_edges():
    truth = truth_of_boxes(range(10), [0] * 10, [[0, 0, 10, 10]] * 10)
    one = Boxes(np.array([3]), np.array([[0, 0, 10, 1.]]), np.array([.5]))      # IoU exactly 0.1, one of ten regions
    counts = count_boxes(one, truth, np.array([.5]))
    assert (counts.regions[0], counts.tracks[0], counts.false[0]) == (1, 1, 0)
    thirty = truth_of_boxes(range(30), [0] * 30, [[0, 0, 10, 10]] * 30, 30)
    three = Boxes(np.arange(3), np.array([[0, 0, 10, 10.]] * 3), np.full(3, .5))
    assert count_boxes(three, thirty, np.array([.5])).tracks[0] == 1            # 3 of 30 are 0.1 of them, whatever floats say
    less = Boxes(np.array([3]), np.array([[0, 0, 10, .9]]), np.array([.5]))
    assert count_boxes(less, truth, np.array([.5])).false[0] == 1


def test_one_detection_may_find_two_regions():
    truth = truth_of_boxes([0, 0], [0, 1], [[0, 0, 5, 5], [5, 0, 10, 5]], 1)
    counts = count_boxes(Boxes(np.array([0]), np.array([[0, 0, 10, 5.]]), np.array([1.])), truth, np.array([1.]))
    assert (counts.regions[0], counts.tracks[0], counts.false[0]) == (2, 2, 0)


@pytest.mark.parametrize("false,found,want", [
    ([0], [1], 1), ([0], [.5], .5), ([5], [1], .1), ([1], [1], .5), ([.5, .5], [.2, .8], .25 * .2 + .5 * .8), ([0, 1, .5], [.5, .2, .9], .5 * .7 + .5 * .9),
])
def test_areas_in_closed_form(false, found, want):
    assert detection_area(np.array(false, float), np.array(found, float))[0] == pytest.approx(want)


def test_perfect_and_blind_detectors():
    masks, _, truth = case(3)
    perfect = evaluate_maps({name: mask.astype(float) for name, mask in masks.items()}, truth, thresholds=[1.], label_source="test", draws=0, progress=False)
    assert float(perfect["rbdc"]) == float(perfect["tbdc"]) == float(perfect["pixel_auc"]) == 1
    nothing = {name: Boxes(np.zeros(0, int), np.zeros((0, 4)), np.zeros(0)) for name in truth}
    assert float(evaluate_boxes(nothing, truth, label_source="test", draws=0)["rbdc"]) == 0


def test_region_numbers_carry_their_companions():
    _, maps, truth = case(2)
    report = evaluate_maps(maps, truth, label_source="drawn masks", real=False, method="m", training_seed=7, draws=30, progress=False)
    for text in (str(report), str(report["rbdc"])):
        assert all(word in text for word in ("street-scene", "drawn masks", "random seeds 7", "built-in scene", "bootstrap over 3 videos", "shuffled"))
    assert report.to_json()["headline"] == "rbdc" and "tracks" in report.notes[0]
    other = evaluate_maps({name: one + .5 * (truth[name].pixels > 0) for name, one in maps.items()}, truth, label_source="drawn masks", real=False, draws=30, progress=False)
    assert float(compare(report, other)["rbdc"]) > 0


@pytest.mark.parametrize("break_it,word", [
    (lambda maps, truth: maps.pop("a"), "clips of the ground truth"),
    (lambda maps, truth: maps.update(a=maps["a"][:-1]), "size of the masks"),
    (lambda maps, truth: maps.update(a=maps["a"][:, :-1]), "size of the masks"),
    (lambda maps, truth: maps.update(a=np.full_like(maps["a"], np.nan)), "finite"),
    (lambda maps, truth: truth.update({name: truth_from_masks(np.zeros((14, 20, 26))) for name in truth}), "at least one"),
    (lambda maps, truth: truth.update(a=truth_of_boxes([0], [0], [[0, 0, 1, 1]])), "boxes only"),
    (lambda maps, truth: maps.update(a=Boxes(np.array([14]), np.zeros((1, 4)), np.zeros(1))), "frames 0 to 13"),
    (lambda maps, truth: maps.update(a=Boxes(np.array([1]), np.zeros((2, 4)), np.zeros(1))), "as many frames"),
], ids=["a clip missing", "a frame short", "masks of another size", "not a number", "nothing to find", "boxes for maps", "a frame too far", "lengths differ"])
def test_detections_that_do_not_fit_are_refused(break_it, word):
    _, maps, truth = case(0)
    break_it(maps, truth)
    with pytest.raises(DataError, match=word):
        evaluate_maps(maps, truth, label_source="test", draws=0, progress=False)


def test_a_benchmark_without_masks_is_refused():
    clip = SimpleNamespace(name="a")
    with pytest.raises(DataError, match="masks"):
        benchmark_truth(SimpleNamespace(name="x", test=(clip,), mask=lambda name: None))


def test_real_masks_of_avenue_link_into_few_tracks(data_folder):
    for number, frames, tracks in ((8, 36, 1), (20, 273, 14), (21, 76, 1)):   # people of 20 go behind others and come back
        cells = scipy.io.loadmat(data_folder / "avenue_part" / "ground_truth_demo" / "testing_label_mask" / f"{number}_label.mat")["volLabel"].ravel()
        truth = truth_from_masks(np.stack(cells))
        assert truth.frames == frames and truth.tracks == tracks
        scores = pixel_scores(np.stack(cells).astype(float), np.stack(cells))
        assert set(scores) <= {0., 1.}
