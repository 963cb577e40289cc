"data.features: closed forms for flow, descriptor, tracks and calibration."
import cv2
import numpy as np
import pytest

from vad_nb.core import DataError
from vad_nb.data.features import (
    FEATURES, calibrate, flow_frames, frame_maximum, height_line, motion_features,
    nearest_distance, object_features, orientation_descriptor, relative_width, track_mean)
from vad_nb.data.linking import Tracks
from vad_nb.data.video import Clip


def texture(height, width, random_seed):
    noise = cv2.GaussianBlur(np.random.default_rng(random_seed).uniform(0, 255, (height, width)).astype(np.float32), (0, 0), 2)
    return (noise - noise.mean())*2.5


def moving_square(speed, length=36, side=36, channels=1):
    "A textured square over textured ground; `speed` is (right, down) in pixels a frame."
    ground, square = 100 + texture(140, 180, 0), 150 + texture(side, side, 1)
    frames, boxes = np.repeat(np.tile(ground, (length, 1, 1))[..., None], channels, 3), []
    for t in range(length):
        x, y = (middle + (t - length//2)*v for middle, v in zip((70, 52), speed))
        frames[t, y:y + side, x:x + side] = square[..., None]
        boxes.append((x/180, y/140, (x + side)/180, (y + side)/140))
    return Clip("square", frames.clip(0, 255).astype(np.uint8), 10.), Tracks(range(length), [0]*length, boxes)


@pytest.mark.parametrize("channels, speed", [(1, (2, 0)), (3, (-2, 0)), (1, (0, 2)), (1, (0, -2))])
def test_a_moving_square_has_its_speed_and_direction(channels, speed, tmp_path):
    clip, tracks = moving_square(speed, channels=channels)
    found = object_features(clip, tracks, cache=tmp_path)
    assert len(found) == len(clip) == found.length and {name: value.shape for name, value in found.values.items()} == {n: (36, d) for n, d in FEATURES.items()}
    middle = {name: np.median(value, 0) for name, value in found.values.items()}
    np.testing.assert_allclose(middle["flow"][2], 2, atol=0.25)
    np.testing.assert_allclose(middle["velocity"], speed, atol=0.35)
    assert middle["direction"].argmax() == {(2, 0): 0, (0, 2): 2, (-2, 0): 4, (0, -2): 6}[speed] and middle["direction"].max() > 0.8
    np.testing.assert_allclose(middle["direction"].sum(), 1, atol=1e-3)
    np.testing.assert_allclose(found.values["size"], 36, atol=1e-2)
    np.testing.assert_allclose(found.values["aspect"], 1, atol=1e-3)
    np.testing.assert_allclose(found.values["position"][:, 1], tracks.box[:, 3], atol=1e-6)
    assert middle["slowest"][0] == pytest.approx(middle["quarters"].min(), abs=0.2)


def test_flow_of_a_shifted_picture_is_the_shift():
    picture = 128 + texture(100, 120, 3)
    grey = np.stack([np.roll(picture, (t, 2*t), (0, 1)) for t in range(3)]).clip(0, 255).astype(np.uint8)
    flows = list(flow_frames(grey))
    assert len(flows) == 3
    for flow in flows: np.testing.assert_allclose(np.median(flow[20:80, 20:100], (0, 1)), [2, 1], atol=0.05)


def test_flow_of_one_frame_is_zero():
    (flow,) = flow_frames(np.zeros((1, 30, 40), np.uint8))
    assert flow.shape == (30, 40, 2) and not flow.any()


def test_legs_move_and_the_trunk_does_not():
    flow = np.zeros((40, 16, 2), np.float32)
    flow[:, :, 0] = 1
    flow[30:, :, 0] = 3
    found = motion_features(flow, np.ones((40, 16), bool))
    assert found["quarters"].tolist() == [1, 1, 1, 3] and found["slowest"] == [1] and found["flow"].tolist() == [1, 1, 1, 3, 3]
    assert found["spread"][0] == pytest.approx(np.hypot(flow[..., 0], 0).std()) and found["spread"][1] == pytest.approx(0, abs=1e-6)
    np.testing.assert_allclose(found["velocity"], [1.5, 0])


def test_only_own_pixels_count():
    flow, own = np.zeros((40, 16, 2), np.float32), np.zeros((40, 16), bool)
    flow[:, 4:12, 1], own[:, 4:12] = 2, True
    found = motion_features(flow, own)
    assert (found["flow"] == 2).all() and found["slowest"] == [2] and found["direction"][2] == pytest.approx(1)
    assert motion_features(flow, np.zeros_like(own))["flow"][2] in (0, 2)  # nothing known of the object: the whole box


def test_opposite_directions_spread():
    flow = np.zeros((8, 8, 2), np.float32)
    flow[:4, :, 0], flow[4:, :, 0] = 1, -1
    assert motion_features(flow, np.ones((8, 8), bool))["spread"][1] == pytest.approx(1)


@pytest.mark.parametrize("angle", [0, 22.5, 45, 90, 135])
def test_descriptor_finds_the_orientation(angle):
    y, x = np.mgrid[:32, :16]
    waves = 100 + 50*np.sin((x*np.cos(np.radians(angle)) + y*np.sin(np.radians(angle)))*0.8)
    votes = (orientation_descriptor(waves[None])[0]**2).reshape(-1, 8).sum(0)
    assert votes.argmax() == round(angle/22.5) % 8
    np.testing.assert_allclose(votes.sum(), 1, atol=0.02)


def test_descriptor_ignores_light_and_is_empty_on_flat_ground():
    picture = texture(32, 16, 5)*10
    a, b = orientation_descriptor(np.stack([picture, picture*2 + 30]))
    np.testing.assert_allclose(a, b, atol=0.02)
    assert not orientation_descriptor(np.full((1, 32, 16), 99)).any()
    assert orientation_descriptor(np.zeros((0, 32, 16))).shape == (0, 256)


def test_track_mean_against_loops():
    rng = np.random.default_rng(0)
    frame, track = (a.ravel() for a in np.meshgrid(range(20), range(4), indexing="ij"))
    values = rng.normal(size=(80, 3))
    smooth = track_mean(values, track, 5)
    for n in range(4):
        own = np.pad(values[track == n], ((2, 2), (0, 0)), mode="edge")
        np.testing.assert_allclose(smooth[track == n], [own[t:t + 5].mean(0) for t in range(20)])
    np.testing.assert_allclose(track_mean(values[:, 0], track, 5), smooth[:, 0])


def test_frame_maximum_against_loops():
    rng = np.random.default_rng(0)
    scores, frame = rng.normal(size=50), rng.integers(0, 30, 50)
    expected = [max(scores[frame == t], default=-7.) for t in range(30)]
    np.testing.assert_array_equal(frame_maximum(scores, frame, 30, empty=-7.), expected)


def test_calibration_and_nearest_distance():
    train = np.random.default_rng(0).normal(size=(200, 5))
    own = np.arange(200)//50
    brute = np.array([min(np.linalg.norm(v - w) for w, clip in zip(train, own) if clip != mine) for v, mine in zip(train, own)])
    np.testing.assert_allclose(nearest_distance(train, train, own), brute, atol=1e-5)
    np.testing.assert_allclose(nearest_distance(train, train), 0, atol=1e-5)
    scaled = calibrate(brute, brute)
    assert scaled.min() == 0 and np.quantile(scaled, 0.999) == pytest.approx(1)
    assert (calibrate(np.ones(3), np.ones(9)) == 0).all()


def test_perspective_line_ignores_merged_bodies():
    rng = np.random.default_rng(0)
    foot = rng.uniform(0.4, 0.9, 400)
    tall = 5 + 50*foot
    tall[::5] *= 1.9
    line = height_line(np.stack([foot, foot], 1), np.stack([tall, tall], 1))
    np.testing.assert_allclose(line, (50, 5), rtol=0.05)
    np.testing.assert_allclose(relative_width(np.array([[0.1, 0.5]]), np.array([[12, 31.]]), line), 0.4, rtol=0.05)


def test_features_are_kept_by_content_and_boxes(tmp_path):
    clip, tracks = moving_square((2, 0))
    first = object_features(clip, tracks, cache=tmp_path)
    again = object_features(clip, tracks, cache=tmp_path)
    assert all(np.array_equal(first.values[name], again.values[name]) for name in FEATURES) and len(list(tmp_path.glob("*-features.npz"))) == 1
    object_features(clip, Tracks(tracks.frame, tracks.track, tracks.box*0.9), cache=tmp_path)
    assert len(list(tmp_path.glob("*-features.npz"))) == 2


def test_no_objects_and_wrong_tracks(tmp_path):
    clip, tracks = moving_square((2, 0))
    none = object_features(clip, Tracks([], [], []), cache=tmp_path)
    assert len(none) == 0 and none.table("flow", "size").shape == (0, 7)
    assert frame_maximum(np.zeros(0), none.frame, 5).tolist() == [0]*5
    with pytest.raises(DataError, match="frame 99"): object_features(clip, Tracks([99], [0], [[0, 0, 1, 1]]), cache=tmp_path)
    with pytest.raises(KeyError, match="colour"): none.table("colour")


def test_ped2_cyclist_outpaces_the_walkers(data_folder, tmp_path):
    "Test clip 02: the label begins at frame 94; half of one clip is enough for the claim."
    from vad_nb.data.finding import find_objects
    from vad_nb.data.video import open_clip
    whole = open_clip(data_folder/"ped2"/"testing"/"frames"/"02")
    clip = Clip("02", np.ascontiguousarray(whole.frames[40:140]), whole.fps)
    found = object_features(clip, find_objects(clip, cache=tmp_path), cache=tmp_path)
    score = frame_maximum(track_mean(found.values["slowest"][:, 0], found.track), found.frame, len(clip))
    assert np.median(score[60:]) > 1.5*np.quantile(score[:40], 0.95)
