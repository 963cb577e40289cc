"""data.video from outside: formats, the cache, windows; what is broken is in test_broken_data.py."""
import multiprocessing
import os
import time

import cv2
import numpy as np
import pytest
import torch
from tiny_benchmarks import lying_capture, tiny_frames, write_images, write_video

from vad_nb.data import video
from vad_nb.data.video import (
    Clip, clip_sources, clip_tensor, natural_key, open_clip, resize, window_indices)


@pytest.fixture
def cache(tmp_path):
    return tmp_path/"cache"


def age(path, seconds=60):
    "Set the times of a file back, so that it does not count as just written. Only the modification time can be set."
    for file in path.iterdir() if path.is_dir() else [path]:
        os.utime(file, (time.time() - seconds,)*2)


@pytest.mark.parametrize("suffix", ["png", "tif", "bmp", "jpg", "jpeg", "PNG"])
@pytest.mark.parametrize("first", [0, 1])
def test_image_folders(tmp_path, cache, suffix, first):
    frames = tiny_frames()
    folder = write_images(tmp_path/"07", frames, "{:03d}." + suffix, first)
    clip = open_clip(folder, cache=cache)
    assert (clip.name, clip.fps, len(clip), clip.frames.shape, clip.frames.dtype) == ("07", 25, 8, (8, 24, 32, 1), np.uint8)
    assert np.abs(clip.frames[..., 0].astype(int) - frames).max() <= (40 if "jp" in suffix else 0)
    assert isinstance(clip.frames, np.memmap) and not clip.frames.flags.writeable


def test_colour_is_kept_in_the_order_red_green_blue(tmp_path, cache):
    frames = np.random.default_rng(0).integers(0, 255, (5, 12, 14, 3), dtype=np.uint8)
    write_images(tmp_path/"a", frames[..., ::-1])
    assert np.array_equal(open_clip(tmp_path/"a", cache=cache).frames, frames)


@pytest.mark.parametrize("coloured_from", [0, 1, 4])
def test_colour_may_begin_late(tmp_path, cache, coloured_from):
    frames = np.repeat(tiny_frames(length=5)[..., None], 3, 3)
    frames[coloured_from:, 0, 0, 0] = 7
    write_images(tmp_path/"a", frames[..., ::-1])
    assert np.array_equal(open_clip(tmp_path/"a", cache=cache).frames, frames)
    assert len(list(cache.glob("*.npy"))) == 1 and not list(cache.rglob("*.part"))


def test_opacity_is_left_out(tmp_path, cache):
    frames = np.random.default_rng(0).integers(0, 255, (3, 12, 14, 4), dtype=np.uint8)
    write_images(tmp_path/"a", frames)
    assert np.array_equal(open_clip(tmp_path/"a", cache=cache).frames, frames[..., 2::-1])


@pytest.mark.parametrize("name, codec, exact", [("a.avi", "MJPG", False), ("a.avi", "FFV1", True), ("a.mkv", "FFV1", True), ("a.mp4", "mp4v", False)])
def test_video_files(tmp_path, cache, name, codec, exact):
    frames = tiny_frames(length=20)
    clip = open_clip(write_video(tmp_path/name, frames, codec, fps=24), cache=cache)
    assert clip.name == "a" and clip.fps == 24 and clip.frames.shape[:3] == (20, 24, 32)
    assert np.abs(clip.frames.mean(3) - frames).mean() < (3 if exact else 12)


def test_ten_frames_past_nine(tmp_path, cache):
    frames = tiny_frames(length=12)
    write_images(tmp_path/"a", frames, "frame_{}.png")
    assert np.array_equal(open_clip(tmp_path/"a", cache=cache).frames[..., 0], frames)
    assert sorted(["10", "9", "a10", "a9", "01_0010", "01_0009"], key=natural_key) == ["01_0009", "01_0010", "9", "10", "a9", "a10"]


def test_hidden_files_are_ignored(tmp_path, cache):
    frames = tiny_frames()
    folder = write_images(tmp_path/"a", frames)
    for name in ("._000.png", "._009.png", ".DS_Store"):
        (folder/name).write_bytes(b"\0\5\x16\7")
    assert np.array_equal(open_clip(folder, cache=cache).frames[..., 0], frames)


def test_size_and_fps(tmp_path, cache):
    frames = tiny_frames()
    folder = write_images(tmp_path/"a", frames)
    small, full = open_clip(folder, size=(12, 16), cache=cache, fps=10), open_clip(folder, "named", cache=cache)
    assert small.fps == 10 and full.name == "named" and small.key == full.key
    assert np.array_equal(small.frames[..., 0], np.stack([cv2.resize(frame, (16, 12), interpolation=cv2.INTER_AREA) for frame in frames]))
    assert len(list(cache.glob("*.npy"))) == 2


def test_nothing_is_decoded_twice(tmp_path, cache, monkeypatch):
    folder = write_images(tmp_path/"a", tiny_frames())
    first = open_clip(folder, cache=cache)
    monkeypatch.setattr(video, "read_image", None)
    assert np.array_equal(open_clip(folder, cache=cache).frames, first.frames)
    folder.rename(tmp_path/"b")  # other path, same content
    assert np.array_equal(open_clip(tmp_path/"b", cache=cache).frames, first.frames)


def test_changed_content_is_decoded_again(tmp_path, cache):
    folder = write_images(tmp_path/"a", tiny_frames(0), "{:03d}.bmp")
    age(folder)
    first = open_clip(folder, cache=cache)
    write_images(folder, tiny_frames(1), "{:03d}.bmp")  # same names, same sizes
    age(folder)
    second = open_clip(folder, cache=cache)
    assert first.key != second.key and np.array_equal(second.frames[..., 0], tiny_frames(1)) and np.array_equal(first.frames[..., 0], tiny_frames(0))


def test_files_are_recognised_without_being_read(tmp_path, cache, monkeypatch):
    folder = write_images(tmp_path/"a", tiny_frames())
    now = time.time()
    monkeypatch.setattr(video.time, "time", lambda: now + 60)
    key = open_clip(folder, cache=cache).key
    monkeypatch.setattr(video, "fingerprint", None)
    assert open_clip(folder, cache=cache).key == key
    for note in (cache/"notes").iterdir():
        note.write_text("{")  # a torn note is no obstacle
    monkeypatch.undo()
    assert open_clip(folder, cache=cache).key == key


@pytest.mark.parametrize("damage", [lambda whole: b"", lambda whole: whole[:200], lambda whole: whole[:60], lambda whole: b"nonsense" + whole])
def test_a_damaged_cache_is_made_again(tmp_path, cache, damage):
    frames = tiny_frames()
    folder = write_images(tmp_path/"a", frames)
    open_clip(folder, cache=cache)
    stored, = cache.glob("*.npy")
    stored.write_bytes(damage(stored.read_bytes()))
    assert np.array_equal(open_clip(folder, cache=cache).frames[..., 0], frames)


def open_at_once(folder, cache, barrier, answers):
    barrier.wait()
    answers.put(int(open_clip(folder, cache=cache).frames.astype(int).sum()))


@pytest.mark.skipif("fork" not in multiprocessing.get_all_start_methods(), reason="needs fork")
def test_two_processes_on_one_cache(tmp_path, cache):
    frames = tiny_frames(length=60)
    folder, fork = write_images(tmp_path/"a", frames), multiprocessing.get_context("fork")
    for _ in range(3):
        barrier, answers = fork.Barrier(4), fork.Queue()
        workers = [fork.Process(target=open_at_once, args=(folder, cache, barrier, answers)) for _ in range(4)]
        for worker in workers:
            worker.start()
        assert {answers.get(timeout=60) for _ in workers} == {int(frames.astype(int).sum())}
        for worker in workers:
            worker.join()
            assert worker.exitcode == 0
        stored, = cache.glob("*.npy")
        assert np.array_equal(np.load(stored)[..., 0], frames) and not list(cache.rglob("*.part"))
        stored.unlink()


def test_one_frame_off_is_said(tmp_path, cache, monkeypatch):
    film = write_video(tmp_path/"a.avi", tiny_frames(length=20))
    monkeypatch.setattr(video.cv2, "VideoCapture", lying_capture(+1))
    with pytest.warns(UserWarning, match="20 frames can be decoded, its container says 21"):
        assert len(open_clip(film, cache=cache)) == 20


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("source_channels", [1, 3])
def test_clip_tensor(channels, source_channels):
    frames = np.random.default_rng(0).integers(0, 255, (4, 20, 30, source_channels), dtype=np.uint8)
    clip = Clip("a", frames, 25.)
    tensor = clip_tensor(clip, (10, 15), channels)
    assert tensor.shape == (4, channels, 10, 15) and tensor.dtype == torch.uint8
    whole = clip_tensor(clip, channels=channels)
    if channels == source_channels:
        assert torch.equal(whole, torch.from_numpy(frames).permute(0, 3, 1, 2))
    if (channels, source_channels) == (3, 1):
        assert all(torch.equal(whole[:, channel], torch.from_numpy(frames[..., 0])) for channel in range(3))
    whole[:] = 0
    assert clip.frames.any()  # a copy


def test_resize_enlarges_too():
    assert resize(tiny_frames()[0], (48, 40)).shape == (48, 40)
    assert resize(tiny_frames()[0], None) is not None


@pytest.mark.parametrize("length, frames", [(3, 3), (10, 3), (5, 1), (16, 16)])
def test_window_indices(length, frames):
    windows = window_indices(length, frames)
    assert windows.dtype == np.int64 and windows.tolist() == [list(range(t, t + frames)) for t in range(length - frames + 1)]


def test_clip_sources(tmp_path):
    for number in (2, 10, 1):
        write_images(tmp_path/f"Test{number:03d}", tiny_frames(length=2))
    write_video(tmp_path/"Other.mp4", tiny_frames(length=2), "mp4v")
    (tmp_path/"empty").mkdir()
    (tmp_path/"notes.txt").write_text("not a clip")
    assert list(clip_sources(tmp_path)) == ["Other", "Test001", "Test002", "Test010"]


def test_real_ped2_as_images_and_as_video(data_folder, cache):
    images = open_clip(data_folder/"ped2/testing/frames/03", cache=cache)
    film = open_clip(data_folder/"ped2_video/testing/03.mkv", cache=cache)
    assert images.frames.shape == (150, 240, 360, 1) and film.frames.shape == (150, 240, 360, 3) and film.fps == 10
    assert np.abs(film.frames[:10].mean(3) - images.frames[:10, ..., 0]).mean() < 3


def test_real_avenue_counts(data_folder, cache):
    assert len(open_clip(data_folder/"avenue_part/testing_videos/08.avi", cache=cache, length=36)) == 36
