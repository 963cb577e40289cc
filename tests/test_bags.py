"Bags: layouts written and read back, lengths that must fit, pickles that stay closed, features that do not know their own video."
import pickle

import numpy as np
import pytest
from scipy.io import savemat

from vad_nb.core import DataError, SettingsError
from vad_nb.data.bag_sets import (
    PED2_DRAWS, load_bags, neighbour_distance, pool_objects, shanghaitech_bags, standardise,
    synthetic_bags, track_windows)
from vad_nb.data.bags import (
    Bag, WeakBenchmark, convert, expand, merge_crops, range_labels, read_annotations,
    read_bags, read_names, read_numbers, segments)
from vad_nb.data.linking import Tracks


class Bomb:
    def __reduce__(self):
        return (exec, ("raise SystemExit('a pickle was opened')",))


@pytest.mark.parametrize("name", ["object.npy", "object.npz", "bag.pkl", "pickle.npy", "cell.mat"])
def test_pickles_stay_closed(tmp_path, name):
    path, bomb = tmp_path / name, np.array([Bomb(), 1], dtype=object)
    if name == "object.npy":
        np.save(path, bomb, allow_pickle=True)
    elif name == "object.npz":
        np.savez(path, bomb)
    elif name == "cell.mat":
        cell = np.empty(2, object)
        cell[:] = [np.zeros(2), np.zeros(3)]
        savemat(path, {"a": cell})
    else:
        path.write_bytes(pickle.dumps(Bomb()))
    with pytest.raises(DataError, match="convert|numbers"):
        read_numbers(path)
    with pytest.raises(DataError):
        convert(path, tmp_path / "out.npy")
    assert not (tmp_path / "out.npy").exists()


def test_converter_takes_numbers_in_every_form(tmp_path):
    values = np.random.default_rng(0).random((5, 3)).astype(np.float32)
    np.save(tmp_path / "a.npy", values)
    np.savez(tmp_path / "b.npz", values)
    savemat(tmp_path / "c.mat", {"x": values})
    np.savetxt(tmp_path / "d.csv", values, delimiter=",")
    np.savetxt(tmp_path / "e.txt", values)
    for name in ("a.npy", "b.npz", "c.mat", "d.csv", "e.txt"):
        assert np.allclose(np.load(convert(tmp_path / name, tmp_path / f"{name}.npy")), values, atol=1e-6)


@pytest.mark.parametrize("frames", [16, 31, 32, 33, 1000, 1007])
def test_expansion_has_exact_lengths(frames):
    scores = np.random.default_rng(0).random(frames // 16)
    out = expand(scores, frames)
    assert len(out) == frames // 16 * 16 and all(out[t] == scores[t // 16] for t in range(len(out)))
    for wrong in (scores[:-1], np.append(scores, 0)):
        with pytest.raises(DataError, match="clips"):
            expand(wrong, frames)
    if frames >= 32:
        merged = expand(np.arange(32.), frames, merged=True)
        assert len(merged) == frames and all(merged[t] == min(t // (frames // 32), 31) for t in range(frames))
    with pytest.raises(DataError, match="labels"):
        expand(scores, frames, labels=np.zeros(frames + 1))


@pytest.mark.parametrize("count", [1, 7, 31, 32, 33, 64, 100, 517])
def test_segments_against_the_published_loop(count):
    clips = np.random.default_rng(count).random((count, 6))
    bounds = [int(np.floor(x + .5)) for x in np.linspace(1, count, 33)]
    for k, row in enumerate(segments(clips)):
        first, last = bounds[k], bounds[k + 1] if k == 31 else bounds[k + 1] - 1
        part = clips[first - 1] if last < first else clips[first - 1:last].mean(0)
        assert np.allclose(row, part / np.linalg.norm(part), atol=1e-6)


def test_crops():
    ten = np.random.default_rng(0).random((4, 10, 3))
    assert np.allclose(merge_crops(ten), ten.mean(1)) and np.allclose(merge_crops(ten, 3), ten[:, 3])
    with pytest.raises(DataError, match="crop"):
        merge_crops(ten, 10)


def test_a_missing_crop_a_missing_file_and_a_nameless_label_are_errors(tmp_path):
    for k in (0, 1, 2, 4, 5):
        np.save(tmp_path / f"v__{k}.npy", np.zeros((3, 2)))
    with pytest.raises(DataError, match="crops 0 to 4"):
        read_bags("crops", tmp_path, abnormal=lambda name: False)
    with pytest.raises(SettingsError, match="position"):
        read_bags("crops", tmp_path)
    (tmp_path / "a.list").write_text("/data/x/none.npy\n")
    with pytest.raises(DataError, match="line 1"):
        read_bags("list", tmp_path / "a.list", tmp_path, lambda name: False)
    (tmp_path / "a.csv").write_text("path,label\n/x/none__0.npy,Abuse\n")
    with pytest.raises(DataError, match="none__0"):
        read_bags("csv", tmp_path / "a.csv", tmp_path)


def test_annotations(tmp_path):
    path = tmp_path / "a.txt"
    path.write_text("Arrest001_x264.mp4  Arrest  10  20  31  40  \nv=abc__#1_label_B1 3 7 9 9\nNormal_1.mp4  Normal  -1  -1  -1  -1\n")
    found = read_annotations(path)
    assert range_labels(found["Arrest001_x264"][1], 50).sum() == 21 and found["v=abc__#1_label_B1"][1] == [(3, 7), (9, 9)] and found["Normal_1"] == ("Normal", [])
    assert range_labels([(3, 5)], 10).tolist() == [0, 0, 1, 1, 1, 0, 0, 0, 0, 0]
    with pytest.raises(DataError, match="ranges"):
        range_labels([(3, 11)], 10)
    path.write_text("a.mp4  Arrest  20  10\n")
    with pytest.raises(DataError, match="line 1"):
        read_annotations(path)


def test_a_benchmark_must_fit_together():
    bags, labels = (Bag("a", True, np.zeros((2, 3))), Bag("b", False, np.zeros((2, 3)))), {"c": np.zeros(32, np.uint8)}

    def make(train=bags, test=(Bag("c", False, np.zeros((2, 3)), 40),), labels=labels):
        return WeakBenchmark("x", False, "", train, test, labels, "", "")

    make()
    for wrong, words in ((dict(labels={"c": np.zeros(40)}), "32 labels"), (dict(train=bags[:1]), "one kind"), (dict(train=bags + bags[:1]), "once"),
                         (dict(train=(bags[0], Bag("b", False, np.zeros((2, 4))))), "one number"), (dict(test=(bags[0],), labels={"a": np.zeros(32)}), "apart")):
        with pytest.raises(DataError, match=words):
            make(**wrong)
    for values in (np.zeros(3), np.zeros((0, 3)), np.full((2, 2), np.nan), np.array([[None]])):
        with pytest.raises(DataError):
            Bag("v", False, values)


def test_synthetic_difficulty_moves_the_look_alikes():
    easy, hard = synthetic_bags(0.), synthetic_bags(1.)
    assert np.array_equal(easy.train[0].features, hard.train[0].features)                       # abnormal videos are the same
    assert sum(not np.array_equal(a.features, b.features) for a, b in zip(easy.train, hard.train)) > 10
    assert len(easy.train) == 260 and sum(map(len, easy.labels.values())) == 16 * sum(map(len, easy.test))


def test_distance_leaves_the_own_video_out():
    values, video = np.array([[0.], [0.], [5.], [0.]]), np.array([0, 0, 1, 2])
    far = np.exp(neighbour_distance(values, video, np.zeros(4), video < 2, k=1)) - .05
    assert far[0] == pytest.approx(5 / values[:3].std()) and far[3] == pytest.approx(0, abs=1e-9)


def test_motion_of_one_walker():
    frame = np.arange(64)
    x = .1 + .002 * frame
    box = np.stack([x, np.full(64, .4), x + .05, np.full(64, .6)], 1)
    clip, values = track_windows(Tracks(frame, np.ones(64, int), box), (480, 856))
    assert clip.tolist() == [0, 1, 2, 3]
    assert np.allclose(values[1:3, 0], .002 * 856 / (.2 * 480), rtol=1e-3) and np.allclose(values[1:3, 4], 0, atol=1e-5)   # speed in heights a frame, no acceleration
    assert np.allclose(values[:, 8], .2, atol=1e-3) and np.allclose(values[:, 10], .6, atol=1e-3)


def test_pooling_and_scaling():
    values = np.array([[1.], [4.], [2.], [8.]])
    pooled = pool_objects(values, np.array([0, 0, 1, 1]), np.array([0, 0, 1, 7]), [2, 3])
    assert pooled[0][0].tolist() == [4, 2.5, 2**.5, 1] and np.isnan(pooled[0][1, :2]).all() and pooled[1][1, 0] == 2 and not np.isnan(pooled[1][:, 2:]).any()
    made = standardise(pooled, [True, True])
    assert all(np.isfinite(one).all() and one.shape[1] == 12 and one.dtype == np.float32 for one in made)


def test_unknown_names_and_draws():
    with pytest.raises(SettingsError, match="synthetic-ws"):
        load_bags("ucf")
    assert len(set(PED2_DRAWS.values())) == 10


def test_shanghaitech_counts(data_folder):
    benchmark = shanghaitech_bags(data_folder / "shanghaitech_ws")
    counts = [sum(bag.abnormal == flag for bag in bags) for bags in (benchmark.train, benchmark.test) for flag in (False, True)]
    assert counts == [175, 63, 155, 44]
    assert sum(map(len, benchmark.labels.values())) == 139_296
    assert sum(int(label.sum()) for label in benchmark.labels.values()) == 7932
    assert all(benchmark.labels[bag.name].any() == bag.abnormal for bag in benchmark.test)


def test_published_bags_and_lists(data_folder):
    folder = data_folder / "ucf_crime_sample"
    for path in folder.glob("*_x264.txt"):
        values = read_numbers(path)
        assert values.shape == (32, 4096) and np.allclose(np.linalg.norm(values, axis=1), 1, atol=1e-3)
    assert len(read_names(folder / "Anomaly_Train.txt", 1610)) == 1610
    annotations = read_annotations(folder / "Temporal_Anomaly_Annotation.txt")
    ranges = [b - a + 1 for _, pairs in annotations.values() for a, b in pairs]
    assert len(annotations) == 290 and sum(bool(pairs) for _, pairs in annotations.values()) == 140 and sum(len(pairs) == 2 for _, pairs in annotations.values()) == 16
    assert sum(ranges) == 84_345
