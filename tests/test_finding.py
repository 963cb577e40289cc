"data.objects: closed forms for the background, the cuts, the links; box files that are right and wrong; Ped2."
import itertools, json

import numpy as np
import pytest

from vad_nb.core import DataError
from vad_nb.data import finding, linking
from vad_nb.data.linking import (
    Tracks, assign, link, read_deepsort_text, read_official_json, write_official_json)
from vad_nb.data.finding import (
    background, blobs, coverage, difference, find_objects, moving_pixels,
    overlap, person_heights)
from vad_nb.data.video import Clip, open_clip


def walkers(length=40, channels=1, random_seed=0):
    "Dark upright rectangles over noisy ground: one moves 2 pixels a frame, one -3."
    rng = np.random.default_rng(random_seed)
    frames = rng.normal(150, 2, (length, 120, 200, channels))
    boxes = np.zeros((length, 2, 4))
    for t in range(length):
        for k, (x, y) in enumerate(((20 + 2*t, 30), (170 - 3*t, 80))):
            frames[t, y:y + 24, x:x + 10] -= 80
            boxes[t, k] = x/200, y/120, (x + 10)/200, (y + 24)/120
    return Clip("walkers", frames.clip(0, 255).astype(np.uint8), 25.), boxes


@pytest.mark.parametrize("channels", [1, 3])
def test_moving_rectangles_are_found_and_followed(channels, tmp_path):
    clip, boxes = walkers(channels=channels)
    if channels == 3: clip.frames[..., 0] = np.where(clip.frames[..., 0] < 100, 40, clip.frames[..., 0])  # not a shadow: red is darker
    tracks = find_objects(clip, cache=tmp_path)
    assert sorted(set(tracks.track)) == [0, 1] and len(tracks) == 80
    for t in range(40): assert (overlap(boxes[t], tracks.at(t).box).max(1) > 0.6).all()
    both = tracks.common(range(40))
    speeds = sorted(np.diff(box[:, [0, 2]].mean(1)*200).mean() for box in both.values())
    np.testing.assert_allclose(speeds, [-3, 2], atol=0.05)
    inside, moved, _, _ = coverage(clip, tracks)
    assert inside/moved > 0.97


def test_shadow_in_colour_is_not_an_object(tmp_path):
    clip, boxes = walkers(channels=3)
    for t in range(40): clip.frames[t, 50:54, 35 + 2*t:60 + 2*t] = clip.frames[t, 50:54, 35 + 2*t:60 + 2*t]*0.7
    clip.frames[..., 2] = np.where(clip.frames[..., 2] < 90, 20, clip.frames[..., 2])
    tracks = find_objects(clip, cache=tmp_path)
    assert len(set(tracks.track)) == 2 and tracks.box[:, 2].max() < 1 and (tracks.box[:, 2] - tracks.box[:, 0]).max() < 20/200


def test_background_is_the_most_frequent_value():
    frames = np.random.default_rng(0).normal(120, 3, (60, 20, 30, 1)).clip(0, 255).astype(np.uint8)
    frames[:31, 5:9, 5:9] = np.random.default_rng(1).integers(10, 250, (31, 4, 4, 1))  # covered more than half of the time
    assert np.abs(background(frames) - 120).max() < 6


def test_slow_light_is_no_motion():
    ground = np.full((50, 60, 1), 100, np.float32)
    assert difference(np.full((50, 60, 1), 140, np.uint8), ground).max() == 0
    assert not moving_pixels(difference(np.full((50, 60, 1), 140, np.uint8), ground)).any()


def test_person_heights_follow_a_line_and_ignore_merged_blobs():
    rng, found = np.random.default_rng(0), []
    for _ in range(200):
        foot = int(rng.integers(100, 230))
        h = int(0.2*foot + rng.normal(0, 1))
        tall = h*2 if rng.random() < 0.25 else h
        found.append(finding.Blob(10, foot - tall, np.ones((tall, h//2), bool)))
    heights = person_heights(found, 240)
    np.testing.assert_allclose(heights[[120, 160, 200]], [24, 32, 40], rtol=0.08)


def test_no_motion_no_objects(tmp_path):
    assert len(find_objects(Clip("still", np.full((10, 60, 80, 1), 90, np.uint8), 25.), cache=tmp_path)) == 0


@pytest.mark.parametrize("random_seed", range(5))
def test_assignment_is_the_cheapest(random_seed):
    rng = np.random.default_rng(random_seed)
    corner = rng.uniform(0, 100, (2, 4, 2))
    a, b = (np.concatenate([c, c + 20], 1) for c in corner)
    def cost(i, j): return np.linalg.norm(a[i, :2] - b[j, :2])/20
    best = min(itertools.permutations(range(4)), key=lambda order: sum(cost(i, j) for i, j in enumerate(order)))
    assert [(int(i), int(j)) for i, j in assign(a, b, limit=100)] == list(enumerate(best))
    assert all(cost(i, j) < 0.6 for i, j in assign(a, b))


def test_gaps_are_filled_and_noise_is_dropped():
    boxes = [np.array([[3*t, 0, 3*t + 10, 20]], np.float32) for t in range(10)]
    boxes[4] = boxes[5] = np.zeros((0, 4), np.float32)
    boxes[8] = np.concatenate([boxes[8], [[150, 50, 160, 70]]])
    tracks = link(boxes)
    assert len(tracks) == 10 and set(tracks.track) == {0}
    np.testing.assert_allclose(tracks.box[:, 0], 3*np.arange(10))
    assert len(set(link(boxes, max_gap=1).track)) == 2


def test_blobs_cover_exactly_the_mask():
    mask = np.random.default_rng(0).random((40, 50)) > 0.7
    again = np.zeros_like(mask)
    for blob in blobs(mask, least=1): again[blob.y:blob.foot, blob.x:blob.x + blob.pixels.shape[1]] |= blob.pixels
    assert np.array_equal(mask, again)


def test_overlap_against_pixels():
    a, b = np.array([[0, 0, 4, 4], [2, 2, 6, 8]]), np.array([[1, 1, 5, 5], [10, 10, 12, 12]])
    def paint(box):
        picture = np.zeros((14, 14), bool)
        picture[box[1]:box[3], box[0]:box[2]] = True
        return picture
    expected = [[(paint(x) & paint(y)).sum()/(paint(x) | paint(y)).sum() for y in b] for x in a]
    np.testing.assert_allclose(overlap(a, b), expected)


def test_cache_is_keyed_by_content_and_settings_and_heals(tmp_path):
    clip, _ = walkers()
    first = find_objects(clip, cache=tmp_path)
    (file,) = tmp_path.glob("*-objects.npz")
    file.write_bytes(file.read_bytes()[:100])
    assert np.array_equal(find_objects(clip, cache=tmp_path).box, first.box)
    find_objects(clip, min_length=5, cache=tmp_path)
    find_objects(walkers(random_seed=1)[0], cache=tmp_path)
    assert len(list(tmp_path.glob("*-objects.npz"))) == 3 and len(list(tmp_path.glob("*-ground.npz"))) == 2


def test_tracks_sort_and_intersect():
    rng = np.random.default_rng(0)
    frame, track = (a.ravel() for a in np.meshgrid(range(6), range(5)))
    keep = rng.permutation(30)[:20]
    tracks = Tracks(frame[keep], track[keep], rng.random((20, 4)))
    assert (np.diff(tracks.frame*10 + tracks.track) > 0).all()
    for window in ((0, 1, 2), (3, 4, 5)):
        expected = set.intersection(*(set(tracks.track[tracks.frame == t]) for t in window))
        assert set(tracks.common(window)) == expected
        for name, box in tracks.common(window).items():
            for row, t in zip(box, window): assert np.array_equal(row, tracks.box[(tracks.frame == t) & (tracks.track == name)][0])


def test_official_json_round_trip(tmp_path):
    rng = np.random.default_rng(0)
    box = np.sort(rng.random((12, 2, 2)), axis=1).reshape(12, 4)
    tracks = Tracks(np.arange(12)//2, np.arange(12) % 2, box)
    write_official_json(tmp_path/"boxes.json", {"01": tracks, "02": tracks}, {"01": 8, "02": 6}, "training/frames/{clip}/{frame:03d}.jpg", first=1)
    whole = json.loads((tmp_path/"boxes.json").read_text())
    assert len(whole) == 14 and whole["training/frames/01/008.jpg"] == {} and list(whole["training/frames/02/001.jpg"]) == ["0", "1"]
    back = read_official_json(tmp_path/"boxes.json", first=1)
    assert list(back) == ["01", "02"] and np.array_equal(back["02"].frame, tracks.frame)
    np.testing.assert_allclose(back["01"].box, tracks.box, atol=1e-6)


@pytest.mark.parametrize("content, words", [
    ("{", "JSON"), (b"\x80\x04\x95pickle", "text"), ("[1, 2]", "frame paths"), ('{"01/abc.jpg": {}}', "01/000.jpg"), ('{"000.jpg": {}}', "01/000.jpg"),
    ('{"01/000.jpg": [1]}', "numbered tracks"), ('{"01/000.jpg": {"a": {"box": [0, 0, 1, 1]}}}', "numbered tracks"),
    ('{"01/000.jpg": {"1": {"box": [0, 0, 1]}}}', "four numbers"), ('{"01/000.jpg": {"1": {"boxes": []}}}', "numbered tracks"),
    ('{"01/003.jpg": {"1": {"box": [0, 0, 20, 30]}}}', "01/003.jpg"), ('{"01/003.jpg": {"1": {"box": [0.5, 0, 0.2, 0.3]}}}', "01/003.jpg"),
    ('{"01/003.jpg": {"1": {"box": [NaN, 0, 0.2, 0.3]}}}', "01/003.jpg")])
def test_wrong_official_json_is_one_line(content, words, tmp_path):
    file = tmp_path/"boxes.json"
    file.write_bytes(content if isinstance(content, bytes) else content.encode())
    with pytest.raises(DataError) as caught: read_official_json(file)
    assert str(file) in str(caught.value) and words in str(caught.value) and "\n" not in str(caught.value)


@pytest.mark.parametrize("content, words", [
    ("", "header"), ("a b c\n", "header"), (linking.HEADER + " anomaly\n1 2 3\n", "line 2"), (linking.HEADER + "\n0 1 2 0 0 5 5\n1 1 2 x 0 5 5\n", "line 3"),
    (linking.HEADER + "\n0 1 2 50 0 5 5\n", "line 2"), (b"\xff\xfe\x00", "text")])
def test_wrong_deepsort_text_is_one_line(content, words, tmp_path):
    file = tmp_path/"01_001.txt"
    file.write_bytes(content if isinstance(content, bytes) else content.encode())
    with pytest.raises(DataError) as caught: read_deepsort_text(file, (480, 856))
    assert str(file) in str(caught.value) and words in str(caught.value) and "\n" not in str(caught.value)


def test_missing_files_are_named(tmp_path):
    for read in (read_official_json, lambda path: read_deepsort_text(path, (480, 856))):
        with pytest.raises(DataError, match="nowhere"): read(tmp_path/"nowhere")


def test_shanghaitech_tracks_are_read(data_folder):
    files = sorted((data_folder/"shanghaitech_ws"/"tracks"/"test_txt").glob("*.txt"))
    assert len(files) == 107
    for file in files[::10]:
        tracks = read_deepsort_text(file, (480, 856))
        assert len(tracks) and tracks.frame.min() >= 2


@pytest.mark.parametrize("split, name", [("training", "12"), ("testing", "10")])
def test_ped2_boxes_find_the_walkers(data_folder, split, name, tmp_path):
    clip = open_clip(data_folder/"ped2"/split/"frames"/name)
    tracks = find_objects(clip, cache=tmp_path)
    inside, moved, boxed, pixels = coverage(clip, tracks)
    assert inside/moved > 0.95 and boxed/pixels < 0.2
    tall = (tracks.box[:, 3] - tracks.box[:, 1])*240
    assert 6 < len(tracks)/len(clip) < 25 and 20 < np.median(tall) < 45
