"""Tiny benchmarks on disk, in every layout, for the tests: two training clips and three test clips of 8 frames, 24x32."""
from pathlib import Path

import cv2
import numpy as np
from scipy.io import savemat

from vad_nb.data.datasets import Expected

LENGTH, SIZE = 8, (24, 32)
RANGES = {"01": [(3, 5)], "02": [(1, 2), (7, 8)], "03": [(1, 8)]}  # 1-based, inclusive; the last clip has one class only
LABELS = {name: np.array([any(a <= t + 1 <= b for a, b in ranges) for t in range(LENGTH)], np.uint8) for name, ranges in RANGES.items()}
ABNORMAL = sum(int(labels.sum()) for labels in LABELS.values())
UCSD = ("gt_frame", "mat", "npy", "masks")  # label sources


def expected(labels, **changes):
    "What the tiny set holds, as the table of benchmarks says it for the real ones."
    facts = dict(size=SIZE, fps=10, labels=labels, train_clips=2, test_clips=3, train_frames=16, test_frames=24,
                 test_lengths=dict.fromkeys(RANGES, LENGTH), abnormal=dict.fromkeys(labels, ABNORMAL), one_class=dict.fromkeys(labels, 1))
    return Expected(**{**facts, **changes})


def tiny_frames(number=0, length=LENGTH, size=SIZE):
    "A square that walks over noise, uint8 (T, H, W), different for each clip."
    frames = np.random.default_rng(number).integers(60, 90, (length, *size), dtype=np.uint8)
    for t in range(length):
        frames[t, 8:14, 2*t:2*t + 6] = 200
    return frames


def tiny_masks(name):
    "bool (T, H, W): the square, in the abnormal frames."
    masks = np.zeros((LENGTH, *SIZE), bool)
    for t in np.flatnonzero(LABELS[name]):
        masks[t, 8:14, 2*t:2*t + 6] = True
    return masks


def write_images(folder, frames, pattern="{:03d}.png", first=0):
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    for t, frame in enumerate(frames):
        assert cv2.imwrite(str(folder/pattern.format(t + first)), frame)
    return folder


def write_video(path, frames, codec="MJPG", fps=25):
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter_fourcc(*codec), fps, frames.shape[2:0:-1])
    for frame in frames:
        writer.write(np.repeat(frame[..., None], 3, 2))
    writer.release()
    return path


def cell(items):
    row = np.empty((1, len(items)), object)
    for number, item in enumerate(items):
        row[0, number] = item
    return row


def write_ped2(root, suffix="png"):
    "UCSD's layout: grey pictures named from 1, masks, and the Matlab script."
    base, lines = Path(root)/"UCSDped2", ["TestVideoFile = {};"]
    for number in (1, 2):
        write_images(base/f"Train/Train{number:03d}", tiny_frames(number), "{:03d}." + suffix, 1)
    for number, name in enumerate(RANGES, 1):
        write_images(base/f"Test/Test{number:03d}", tiny_frames(10 + number), "{:03d}." + suffix, 1)
        write_images(base/f"Test/Test{number:03d}_gt", tiny_masks(name)*np.uint8(255), "{:03d}.bmp", 1)
        lines.append("TestVideoFile{end+1}.gt_frame = [" + ", ".join(f"{a}:{b}" for a, b in RANGES[name]) + "];")
    (base/"Test/UCSDped2.m").write_text("\n".join(lines) + "\n")
    return Path(root)


def write_avenue(root):
    "Avenue's layout: videos, and one cell of masks a test clip under a name without leading zero."
    root = Path(root)
    for number in (1, 2):
        write_video(root/f"training_videos/{number:02d}.avi", tiny_frames(number))
    (root/"ground_truth_demo/testing_label_mask").mkdir(parents=True)
    for number, name in enumerate(RANGES, 1):
        write_video(root/f"testing_videos/{name}.avi", tiny_frames(10 + number))
        savemat(root/f"ground_truth_demo/testing_label_mask/{number}_label.mat", {"volLabel": cell(list(tiny_masks(name).astype(np.uint8)))})
    return root


def write_ano_pred(root, names=tuple(RANGES), training="frames"):
    "The layout of most papers, with the masks of ShanghaiTech; `training` videos is what ShanghaiTech itself has."
    root = Path(root)
    for number in (1, 2):
        if training == "frames":
            write_images(root/f"training/frames/{number:02d}", tiny_frames(number))
        else:
            write_video(root/f"training/videos/01_{number:03d}.avi", tiny_frames(number))
    for kind in ("frame", "pixel"):
        (root/f"testing/test_{kind}_mask").mkdir(parents=True)
    for number, (name, clip) in enumerate(zip(names, RANGES), 1):
        write_images(root/"testing/frames"/name, tiny_frames(10 + number), "{:03d}.jpg")
        np.save(root/f"testing/test_frame_mask/{name}.npy", LABELS[clip])
        np.save(root/f"testing/test_pixel_mask/{name}.npy", tiny_masks(clip).astype(np.uint8))
    return root


def write_mat(path):
    "Cells of 2xK ranges, as ped2.mat and one form of avenue.mat."
    Path(path).parent.mkdir(exist_ok=True, parents=True)
    savemat(path, {"gt": cell([np.array(RANGES[name], np.uint8).T for name in RANGES])})
    return Path(path)


def lying_capture(more):
    "A stand-in for cv2.VideoCapture whose container states `more` frames than it has."
    class Capture:
        def __init__(self, *arguments, capture=cv2.VideoCapture):
            self.video = capture(*arguments)

        def __getattr__(self, name):
            return getattr(self.video, name)

        def get(self, what):
            return self.video.get(what) + more*(what == cv2.CAP_PROP_FRAME_COUNT)
    return Capture
