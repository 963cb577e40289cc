"""The built-in scene: exact labels, masks and boxes, one seed one scene, and the four layouts on disk."""
import re

import cv2
import numpy as np
import pytest
from scipy.io import loadmat

from vad_nb.core import DataError, SettingsError
from vad_nb.data import scene, scene_files

SMALL = {"length": 60, "height": 120, "width": 180}
TINY = {"length": 12, "height": 60, "width": 90}


@pytest.fixture(scope="module")
def test_clips():
    return scene.make_scene("test", **SMALL)


@pytest.fixture(scope="module")
def train_clips():
    return scene.make_scene("train", clips=2, **SMALL)


def same(a, b):
    return (a.frames.tobytes() == b.frames.tobytes() and a.masks.tobytes() == b.masks.tobytes() and a.kind == b.kind
            and all((x == y).all() for x, y in zip(a.tracks, b.tracks)))


def test_one_seed_one_scene():
    first, again, other = (scene.make_clip("test", 0, **TINY, random_seed=seed) for seed in (3, 3, 4))
    assert same(first, again)
    assert first.frames.tobytes() != other.frames.tobytes()
    assert first.frames.tobytes() != scene.make_clip("train", 0, **TINY, random_seed=3).frames.tobytes()
    assert first.frames.tobytes() != scene.make_clip("test", 1, **TINY, random_seed=3).frames.tobytes()


def test_a_clip_does_not_depend_on_how_many_are_made(test_clips):
    assert same(test_clips[2], scene.make_clip("test", 2, **SMALL))
    assert same(test_clips[1], scene.make_scene("test", clips=2, **SMALL)[1])


def test_shapes_and_types(test_clips, train_clips):
    assert [clip.name for clip in test_clips] == [f"{number:02d}" for number in range(1, 9)]
    for clip in test_clips + train_clips:
        assert clip.frames.shape == (60, 120, 180, 3) and clip.frames.dtype == np.uint8
        assert clip.labels.shape == (60,) and clip.labels.dtype == np.uint8
        assert clip.masks.shape == (60, 120, 180) and clip.masks.dtype == bool
        frame, track, box = clip.tracks
        assert len(frame) == len(track) == len(box) and box.shape[1] == 4 and box.dtype == np.float32
        assert (np.diff(frame) >= 0).all() and set(track) == set(clip.kind)
        assert box.min() >= 0 and box.max() <= 1 and (box[:, :2] < box[:, 2:]).all()


def test_train_is_normal_and_walks_with_the_flow(train_clips):
    for clip in train_clips:
        assert not clip.labels.any() and not clip.masks.any() and set(clip.kind.values()) == {"walker"}
        for track in clip.kind:
            box = clip.tracks.box[clip.tracks.track == track]
            if len(box) > 10:
                assert box[-1, 0] + box[-1, 2] > box[0, 0] + box[0, 2]


def test_every_kind_appears_and_normal_frames_come_first(test_clips):
    kinds = {kind for clip in test_clips for kind in clip.kind.values()}
    assert kinds == {"walker", "cyclist", "skater", "runner", "cart", "skipping", "against"}
    assert all(not clip.labels[:8].any() and clip.labels.any() for clip in test_clips[:7])
    assert test_clips[7].labels.mean() > 0.9
    assert all("walker" in clip.kind.values() for clip in test_clips)


def test_a_frame_is_abnormal_when_enough_can_be_seen(test_clips):
    for clip in test_clips:
        visible = clip.masks.sum((1, 2))
        assert (clip.labels == (visible > 0)).all()
        assert (visible[clip.labels == 1] >= scene.MIN_SHARE*120*180).all()


def test_boxes_enclose_exactly_what_the_mask_shows(test_clips):
    checked = 0
    for clip in test_clips[:6]:  # one stranger each
        stranger = [track for track, kind in clip.kind.items() if kind != "walker"]
        rows = clip.tracks.track == stranger[0]
        assert set(clip.tracks.frame[rows]) == set(np.flatnonzero(clip.labels))
        for frame, box in zip(clip.tracks.frame[rows], clip.tracks.box[rows]):
            y, x = np.nonzero(clip.masks[frame])
            assert np.allclose(box*[180, 120, 180, 120], [x.min(), y.min(), x.max() + 1, y.max() + 1], atol=1e-4)
            checked += 1
    assert checked > 100


def test_against_the_flow_goes_the_other_way(test_clips):
    clip = test_clips[5]
    track = next(track for track, kind in clip.kind.items() if kind == "against")
    box = clip.tracks.box[clip.tracks.track == track]
    assert box[-1, 0] < box[0, 0] - 0.1


def test_people_grow_towards_the_camera():
    camera, rng = scene.Camera(), np.random.default_rng(0)
    look = scene.random_look(rng)
    heights = [scene.draw(scene.figure("walker", look, 1.0), s, 0, camera).cover.shape[0] for s in (1, 5, 9, 13)]
    assert heights == sorted(heights) and 30 <= heights[0] and heights[-1] <= 70


def test_the_scene_is_the_same_at_every_size():
    small, large = (scene.make_clip("test", 0, 8, height, width) for height, width in ((120, 180), (240, 360)))
    halved = np.stack([cv2.resize(frame, (180, 120), interpolation=cv2.INTER_AREA) for frame in large.frames])
    assert np.abs(halved.astype(float) - small.frames).mean() < 8


def test_nearer_people_hide_farther_ones():
    camera, look = scene.Camera(), scene.random_look(np.random.default_rng(0))
    backdrop = scene.paint_backdrop(camera)
    near, far = (scene.draw(scene.figure("walker", look, 1.0), s, t, camera) for s, t in ((10.0, -0.3), (9.6, 0.3)))
    for sprites in ({1: near, 2: far}, {2: far, 1: near}):
        _, owner = scene.paint_frame(backdrop, sprites)
        here, part = scene.overlap(near, owner.shape)
        solid = (near.cover[part] > 0.99) & (backdrop.cover[here] == 0)
        assert (owner[here][solid] == 1).all() and (owner == 2).any()


def test_what_stands_in_front_hides_people():
    camera, look = scene.Camera(), scene.random_look(np.random.default_rng(0))
    backdrop = scene.paint_backdrop(camera)
    for s in np.arange(9, 14, 0.25):
        _, owner = scene.paint_frame(backdrop, {1: scene.draw(scene.figure("walker", look, 1.0), s, -1, camera)})
        assert not owner[backdrop.cover > 0.51].any()


def test_feet_reach_the_ground_and_do_not_slide():
    gait, height = scene.Gait(), 1.7
    assert gait.stride == pytest.approx(4*0.86*np.sin(gait.swing), rel=0.01)
    phases = np.linspace(0, 2*np.pi, 100, endpoint=False)
    joints = [scene.walk(gait, phase, height) for phase in phases]
    ankles = np.array([[j[side, "ankle"] for side in ("far", "near")] for j in joints])  # (100, 2, 2)
    assert np.allclose(ankles[..., 1].min(1), 0.06)                                      # one foot always carries
    ground = ankles[..., 0] + (gait.stride*phases/(2*np.pi))[:, None]                     # along the path, not along the body
    speed = np.diff(ground, axis=0)/(gait.stride/100)
    carrying = ankles[:-1, :, 1].argmin(1)
    assert np.median(np.abs(speed[np.arange(99), carrying])) < 0.35                      # of the walking speed


@pytest.mark.parametrize("seed", range(5))
def test_bend_keeps_the_bones(seed):
    rng = np.random.default_rng(seed)
    a, b = rng.uniform(-0.3, 0.3, (2, 2))
    joint = scene.bend(a, b, 0.45, 0.42, rng.choice([-1, 1]))
    assert np.linalg.norm(joint - a) == pytest.approx(0.45) and np.linalg.norm(joint - b) == pytest.approx(0.42)


@pytest.mark.parametrize("seed", range(5))
def test_ranges(seed):
    labels = (np.random.default_rng(seed).random(40) < 0.5).astype(np.uint8)
    again = np.zeros(40, np.uint8)
    for first, last in scene_files.ranges(labels).T:
        again[first - 1:last] = 1
        assert not again[last:].any()
    assert (again == labels).all()
    assert scene_files.ranges(np.zeros(5)).shape == (2, 0)


# on disk

@pytest.fixture(scope="module")
def made():
    return scene.make_scene("train", clips=1, **TINY), scene.make_scene("test", clips=2, **TINY)


def written(tmp_path, layout):
    return scene_files.write_scene(tmp_path/"scene", layout, train_clips=1, test_clips=2, **TINY)


def video(path):
    reader, frames = cv2.VideoCapture(str(path)), []
    while (found := reader.read())[0]:
        frames.append(found[1][..., ::-1])
    return np.stack(frames)


def close(read, made):  # JPEG keeps the brightness well and the colours less well
    return read.shape == made.shape and np.abs(scene_files.grey(read).astype(float) - scene_files.grey(made)).mean() < 3 and np.abs(read.astype(float) - made).mean() < 8


def test_ucsd(tmp_path, made):
    root, (_, test) = written(tmp_path, "ucsd")/"UCSDped2", made
    assert sorted(p.name for p in (root/"Train/Train001").iterdir()) == [f"{n:03d}.tif" for n in range(1, 13)]
    lines = re.findall(r"TestVideoFile\{end\+1\}\.gt_frame = \[(.*)\];", (root/"Test/UCSDped2.m").read_text())
    assert len(lines) == 2 and (root/"Test/UCSDped2.m").read_text().startswith("TestVideoFile = {};\n")
    for number, (clip, line) in enumerate(zip(test, lines), 1):
        frames = [cv2.imread(str(root/f"Test/Test{number:03d}/{n:03d}.tif"), cv2.IMREAD_UNCHANGED) for n in range(1, 13)]
        assert (np.stack(frames) == scene_files.grey(clip.frames)).all()
        masks = [cv2.imread(str(root/f"Test/Test{number:03d}_gt/{n:03d}.bmp"), cv2.IMREAD_UNCHANGED) for n in range(1, 13)]
        assert ((np.stack(masks) > 0) == clip.masks).all()
        stretches = [tuple(int(n) for n in part.split(":")) for part in line.split(", ") if part]
        assert stretches == [tuple(column) for column in scene_files.ranges(clip.labels).T.tolist()]


def test_avenue(tmp_path, made):
    root, (train, test) = written(tmp_path, "avenue"), made
    assert close(video(root/"training_videos/01.avi"), train[0].frames)
    for number, clip in enumerate(test, 1):
        assert close(video(root/f"testing_videos/{number:02d}.avi"), clip.frames)
        cell = loadmat(root/f"ground_truth_demo/testing_label_mask/{number}_label.mat")["volLabel"]
        assert cell.shape == (1, 12) and cell[0, 0].dtype == np.uint8
        assert (np.stack(list(cell[0])) == clip.masks).all()


def test_shanghaitech(tmp_path, made):
    root, (train, test) = written(tmp_path, "shanghaitech"), made
    assert close(video(root/"training/videos/01_001.avi"), train[0].frames)
    for number, clip in enumerate(test, 1):
        frames = [cv2.imread(str(root/f"testing/frames/01_{number:04d}/{n:03d}.jpg"))[..., ::-1] for n in range(12)]
        assert close(np.stack(frames), clip.frames)
        assert (np.load(root/f"testing/test_frame_mask/01_{number:04d}.npy", allow_pickle=False) == clip.labels).all()
        assert (np.load(root/f"testing/test_pixel_mask/01_{number:04d}.npy", allow_pickle=False) == clip.masks).all()


def test_ano_pred(tmp_path, made):
    root, (train, test) = written(tmp_path, "ano_pred"), made
    for split, clips in (("training", train), ("testing", test)):
        for clip in clips:
            assert len(list((root/split/"frames"/clip.name).iterdir())) == 12
            frames = [cv2.imread(str(root/split/"frames"/clip.name/f"{n:03d}.jpg"))[..., ::-1] for n in range(12)]
            assert close(np.stack(frames), clip.frames)
    flat = np.load(root/"labels/frame_labels_synthetic.npy", allow_pickle=False)
    assert flat.shape == (1, 24) and flat.dtype == np.int64 and (flat[0] == np.concatenate([clip.labels for clip in test])).all()
    gt = loadmat(root/"labels/synthetic.mat")["gt"]
    assert gt.shape == (1, 2)
    for cell, clip in zip(gt[0], test):
        assert (cell == scene_files.ranges(clip.labels)).all() or cell.size == 0 == clip.labels.sum()
        assert (np.load(root/f"testing/test_pixel_mask/{clip.name}.npy", allow_pickle=False) == clip.masks).all()
    tracks = scene_files.read_tracks(root/"tracks.csv")
    assert set(tracks) == {("training", "01"), ("testing", "01"), ("testing", "02")}
    for clip in test:
        found, kind = tracks["testing", clip.name]
        assert all((a == b).all() for a, b in zip(found, clip.tracks)) and kind == clip.kind


def test_refused(tmp_path):
    with pytest.raises(SettingsError, match="layout 'ped3'.*ucsd, avenue, shanghaitech, ano_pred"):
        scene_files.write_scene(tmp_path/"scene", "ped3")
    with pytest.raises(SettingsError, match="split 'val'"):
        scene.make_scene("val", clips=1, **TINY)
    (tmp_path/"there").mkdir()
    with pytest.raises(DataError, match="does not exist yet"):
        scene_files.write_scene(tmp_path/"there", "ucsd", **TINY)


def test_nothing_half_written(tmp_path, monkeypatch):
    make_clip = scene.make_clip
    def stop_at_the_second(split, number, *rest):
        if number == 1:
            raise KeyboardInterrupt
        return make_clip(split, number, *rest)
    monkeypatch.setattr(scene_files, "make_clip", stop_at_the_second)
    with pytest.raises(KeyboardInterrupt):
        scene_files.write_scene(tmp_path/"scene", "ano_pred", train_clips=1, test_clips=2, **TINY)
    assert list(tmp_path.iterdir()) == []
