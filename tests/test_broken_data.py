"""Broken pictures, videos, labels, masks, layouts and archives: each must be a typed error that names the file, what was expected and what was found.
"""
import errno
import io
import os
import shutil
import stat
import tarfile
import zipfile
from pathlib import Path

import cv2
import numpy as np
import pytest
from scipy.io import savemat
from broken import Cases, change, half, provoke
from tiny_benchmarks import (LENGTH, RANGES, UCSD, cell, expected, lying_capture, tiny_frames, tiny_masks, write_ano_pred, write_avenue, write_images,
                             write_mat, write_ped2, write_video)

from vad_nb.core import DataError, SettingsError, VadNbError
from vad_nb.data import datasets, downloads, video
from vad_nb.data.doctor import doctor
from vad_nb.data.downloads import download, unpack
from vad_nb.data.datasets import load_benchmark
from vad_nb.data.video import clip_sources, open_clip, window_indices

case = CASES = Cases()


# --- pictures -------------------------------------------------------------------------------------------------------------------------

case.section = "Pictures"

def broken_picture(suffix, edit):
    def run(folder, patch):
        clip = write_images(folder/"clip", tiny_frames(), "{:03d}." + suffix)
        change(clip/f"004.{suffix}", edit)
        open_clip(clip)
    return run


for suffix in ("jpg", "png", "tif", "bmp"):
    case(f"truncated {suffix}", f"004.{suffix}", "whole", "bytes")(broken_picture(suffix, half))
    case(f"{suffix} of zero bytes", f"004.{suffix}", "an image", "zero bytes")(broken_picture(suffix, lambda whole: b""))
    case(f"text under the name of a {suffix}", f"004.{suffix}", "whole image", "cannot be decoded")(broken_picture(suffix, lambda whole: b"not a picture at all"))
case("jpg without its last 30 bytes", "004.jpg", "a whole jpg", "cut off")(broken_picture("jpg", lambda whole: whole[:-30]))


@case("16-bit png", "004.png", "8 bits", "uint16")
def _(folder, patch):
    clip = write_images(folder/"clip", tiny_frames())
    cv2.imwrite(str(clip/"004.png"), tiny_frames()[4].astype(np.uint16)*256)
    open_clip(clip)


@case("frame of another size in the middle of a clip", "004.png", "24x32 pixels", "24x30 pixels")
def _(folder, patch):
    clip = write_images(folder/"clip", tiny_frames())
    cv2.imwrite(str(clip/"004.png"), tiny_frames()[4][:, :30])
    open_clip(clip)


@case("frame of another size, opened at one size", "004.png", "24x32 pixels", "24x30 pixels")
def _(folder, patch):
    clip = write_images(folder/"clip", tiny_frames())
    cv2.imwrite(str(clip/"004.png"), tiny_frames()[4][:, :30])
    open_clip(clip, size=(12, 16))


@case("colour frame in the middle of a grey clip", "004.png", "1 channels", "3 channels")
def _(folder, patch):
    clip = write_images(folder/"clip", tiny_frames())
    cv2.imwrite(str(clip/"004.png"), np.zeros((24, 32, 3), np.uint8))
    open_clip(clip)


# --- numbering ------------------------------------------------------------------------------------------------------------------------

case.section = "Numbering of frames"

@case("missing frame", "clip", "every frame", "004.png missing")
def _(folder, patch):
    (write_images(folder/"clip", tiny_frames())/"004.png").unlink()
    open_clip(folder/"clip")


@case("missing frame, numbers without leading zeros", "clip", "every frame", "img_10.jpg missing")
def _(folder, patch):
    (write_images(folder/"clip", tiny_frames(length=12), "img_{}.jpg")/"img_10.jpg").unlink()
    open_clip(folder/"clip")


@case("first frames missing", "clip", "from 0 or 1", "numbered 5 to 12")
def _(folder, patch):
    open_clip(write_images(folder/"clip", tiny_frames(), first=5))


@case("two names for one frame: 001.jpg and 1.jpg", "001.jpg", "one image for frame 1", "1.jpg as well")
def _(folder, patch):
    clip = write_images(folder/"clip", tiny_frames(), "{:03d}.jpg")
    shutil.copy(clip/"001.jpg", clip/"1.jpg")
    open_clip(clip)


@case("two formats for one frame: 001.jpg and 001.png", "001.png", "one image for frame 1", "001.jpg as well")
def _(folder, patch):
    clip = write_images(folder/"clip", tiny_frames(), "{:03d}.jpg")
    cv2.imwrite(str(clip/"001.png"), tiny_frames()[1])
    open_clip(clip)


@case("a picture without a number", "cover.png", "frame's number")
def _(folder, patch):
    clip = write_images(folder/"clip", tiny_frames())
    cv2.imwrite(str(clip/"cover.png"), tiny_frames()[1])
    open_clip(clip)


@case("empty clip", "clip", "numbered images", "none")
def _(folder, patch):
    (folder/"clip").mkdir()
    open_clip(folder/"clip")


@case("clip of hidden files only", "clip", "numbered images", "none")
def _(folder, patch):
    (folder/"clip").mkdir()
    (folder/"clip/._001.tif").write_bytes(b"\0\5\x16\7")
    open_clip(folder/"clip")


@case("clip shorter than a window", "clip 07", "at least 16 frames", "8")
def _(folder, patch):
    clip = open_clip(write_images(folder/"07", tiny_frames()))
    window_indices(len(clip), 16, f"clip {clip.name}")


# --- video files ----------------------------------------------------------------------------------------------------------------------

case.section = "Video files"

def broken_video(name, codec, edit, length=None):
    def run(folder, patch):
        film = write_video(folder/name, tiny_frames(length=40), codec)
        change(film, edit)
        open_clip(film, length=length)
    return run


def bad_packet(whole):
    middle = len(whole)//2
    return whole[:middle] + bytes(400) + whole[middle + 400:]


case("truncated avi", "film.avi", "40 frames", "can be decoded")(broken_video("film.avi", "MJPG", lambda whole: whole[:int(len(whole)*0.6)]))
case("truncated mkv", "film.mkv", "40 frames", "can be decoded")(broken_video("film.mkv", "FFV1", lambda whole: whole[:int(len(whole)*0.6)]))
case("truncated mp4", "film.mp4", "a video", "cannot be decoded")(broken_video("film.mp4", "mp4v", half))
case("avi of zero bytes", "film.avi", "a video", "0 bytes")(broken_video("film.avi", "MJPG", lambda whole: b""))
case("text under the name of an mp4", "film.mp4", "a video", "cannot be decoded")(broken_video("film.mp4", "mp4v", lambda whole: b"not a film"*50))
case("decoder stops at a corrupt packet", "film.mkv", "40 frames", "can be decoded")(broken_video("film.mkv", "FFV1", bad_packet))
case("one frame lost to a corrupt packet, length known", "film.avi", "40 frames", "can be decoded")(broken_video("film.avi", "MJPG", bad_packet, 40))
case("avi one frame shorter than its labels", "film.avi", "41 frames", "40")(broken_video("film.avi", "MJPG", lambda whole: whole, 41))


def lying(more):
    def run(folder, patch):
        film = write_video(folder/"film.avi", tiny_frames(length=20))
        patch.setattr(video.cv2, "VideoCapture", lying_capture(more))
        open_clip(film)
    return run


case("container states more frames than it has", "film.avi", "30 frames, as its container says", "20 that")(lying(+10))
case("container states fewer frames than it has", "film.avi", "12 frames, as its container says", "20 that")(lying(-8))


@case("a file that is no video", "film.txt", "a video file", ".txt")
def _(folder, patch):
    (folder/"film.txt").write_text("x")
    open_clip(folder/"film.txt")


@case("a clip that is not there", "film.avi", "an image folder or a video file", "nothing there")
def _(folder, patch):
    open_clip(folder/"film.avi")


@case("cached length differs from the known one", "clip", "9 frames", "8")
def _(folder, patch):
    open_clip(write_images(folder/"clip", tiny_frames()))
    open_clip(folder/"clip", length=9)


@case("one clip as folder and as file", "01.avi", "one clip called 01", "as well")
def _(folder, patch):
    write_images(folder/"set/01", tiny_frames())
    write_video(folder/"set/01.avi", tiny_frames())
    clip_sources(folder/"set")


@case("folder without clips", "set", "video files, or folders", "none", kind=DataError)
def _(folder, patch):
    (folder/"set").mkdir()
    (folder/"set/readme.txt").write_text("x")
    load_benchmark("folder", folder/"set")


# --- the cache ------------------------------------------------------------------------------------------------------------------------

case.section = "The cache"

class FullDisk(io.FileIO):
    "A file on a disk with room for 2,000 bytes."
    def write(self, data):
        if self.tell() + len(memoryview(data).cast("B")) > 2000:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        return super().write(data)


@case("disk full while decoding into the cache", "cache", "a cache that can be written", "No space left", "VAD_NB_CACHE")
def _(folder, patch):
    clip = write_images(folder/"clip", tiny_frames())
    patch.setattr(video, "open", lambda path, mode: FullDisk(path, "w"), raising=False)
    open_clip(clip)


@case("disk full when the file is closed", "cache", "a cache that can be written", "No space left")
def _(folder, patch):
    class FullAtClose(io.FileIO):
        def __exit__(self, *error):
            super().__exit__(*error)
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
    clip = write_images(folder/"clip", tiny_frames())
    patch.setattr(video, "open", lambda path, mode: FullAtClose(path, "w"), raising=False)
    open_clip(clip)


@case("cache in a read-only folder", "cache", "a cache that can be written", "Read-only")
def _(folder, patch):
    def refuse(path, mode):
        raise OSError(errno.EROFS, os.strerror(errno.EROFS), str(path))
    clip = write_images(folder/"clip", tiny_frames())
    patch.setattr(video, "open", refuse, raising=False)
    open_clip(clip)


@case("a file where the cache should be", "cache", "a cache that can be written")
def _(folder, patch):
    (folder/"not a cache").write_text("x")
    open_clip(write_images(folder/"clip", tiny_frames()), cache=folder/"not a cache")


@case("a picture without permission to read", "000.png", "a file that can be read", "Permission denied")
def _(folder, patch):
    clip = write_images(folder/"clip", tiny_frames())
    def refuse(files):
        raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), str(files[0]))
    patch.setattr(video, "fingerprint", refuse)
    open_clip(clip)


# --- benchmarks -----------------------------------------------------------------------------------------------------------------------

case.section = "Data sets: what is there"

def set_case(name, *words, write=write_ped2, labels=UCSD, source=None, as_set="ped2", **facts):
    "A tiny benchmark, damaged by the decorated function, then loaded; the doctor must see it too."
    def add(damage):
        def run(folder, patch):
            root = write(folder/"set")
            patch.setitem(datasets.EXPECTED, as_set, expected(labels, **facts))
            damage(root)
            load_benchmark(as_set, root, labels=source)
        return case(name, *words, doctor=as_set if source is None else None)(run)
    return add


@case("data set that is not there", "nowhere", "the folder of ped2", "nothing there", doctor="ped2")
def _(folder, patch):
    load_benchmark("ped2", folder/"nowhere")


@case("a file in place of the data set", "set", "the folder of ped2", "a file", doctor="ped2")
def _(folder, patch):
    (folder/"set").write_text("x")
    load_benchmark("ped2", folder/"set")


@set_case("unknown layout", "set", "training/frames and testing/frames", "UCSDped2")
def _(root):
    shutil.rmtree(root/"UCSDped2/Test")


@set_case("a training clip is missing", "set", "2 train clips", "found 1")
def _(root):
    shutil.rmtree(root/"UCSDped2/Train/Train002")


@set_case("a test clip is missing", "set", "3 test clips", "found 2")
def _(root):
    shutil.rmtree(root/"UCSDped2/Test/Test003")


@set_case("last frame of a test clip is missing", "Test002", "8 frames", "found 7")
def _(root):
    (root/"UCSDped2/Test/Test002/008.png").unlink()


@set_case("last frame of a training clip is missing", "set", "16 train frames", "found 15")
def _(root):
    (root/"UCSDped2/Train/Train002/008.png").unlink()


@set_case("a test clip with one frame too many", "Test002", "8 frames", "found 9")
def _(root):
    cv2.imwrite(str(root/"UCSDped2/Test/Test002/009.png"), tiny_frames()[0])


@set_case("a whole clip of another size", "Train001", "24x32", "found 20x30")
def _(root):
    write_images(root/"UCSDped2/Train/Train001", tiny_frames(size=(20, 30)), first=1)


@set_case("a test clip whose number the set does not have", "Test099", "01 to 03", "99")
def _(root):
    (root/"UCSDped2/Test/Test003").rename(root/"UCSDped2/Test/Test099")


@set_case("two clips with one number", "one clip numbered 01", "as well")
def _(root):
    shutil.copytree(root/"UCSDped2/Train/Train001", root/"UCSDped2/Train/01")


@set_case("no labels at all", "set", "labels", "none", write=write_ano_pred)
def _(root):
    shutil.rmtree(root/"testing/test_pixel_mask")


# --- UCSD's label script

case.section = "Labels: UCSD's script"

def script(edit):
    def damage(root):
        path = root/"UCSDped2/Test/UCSDped2.m"
        path.write_text(edit(path.read_text()))
    return damage


set_case("label script with a command in it", "UCSDped2.m", "gt_frame", "system")(script(lambda text: text + "system('touch owned');\n"))
set_case("label script with an expression for a range", "UCSDped2.m", "gt_frame", "3:end")(script(lambda text: text.replace("3:5", "3:end")))
set_case("label script cut off in a line", "UCSDped2.m", "gt_frame", "line 4")(script(lambda text: text[:-6]))
set_case("label script one clip short", "UCSDped2.m", "3 clips", "found 2")(script(lambda text: "\n".join(text.splitlines()[:-1])))
set_case("label range behind the end of the clip", "UCSDped2.m", "frames 1 to 8", "3:9")(script(lambda text: text.replace("3:5", "3:9")))
set_case("label range that counts from 0", "UCSDped2.m", "frames 1 to 8", "0:2")(script(lambda text: text.replace("1:2", "0:2")))
set_case("label range backwards", "UCSDped2.m", "frames 1 to 8", "5:3")(script(lambda text: text.replace("3:5", "5:3")))
set_case("labels of another data set, right in length", "UCSDped2.m", "15 abnormal frames", "found 14")(script(lambda text: text.replace("3:5", "3:4")))
set_case("labels all zero", "UCSDped2.m", "abnormal", "found")(script(lambda text: "\n".join(line.split("[")[0] + "[];" if "[" in line else line for line in text.splitlines())))


@set_case("label script that is no text", "UCSDped2.m", "text")
def _(root):
    (root/"UCSDped2/Test/UCSDped2.m").write_bytes(b"\xff\xfe\x80\x81"*20)


# --- masks as labels

case.section = "Labels: masks"

@set_case("masks of a clip are missing", "set", "masks of clip 02", "none", source="masks")
def _(root):
    shutil.rmtree(root/"UCSDped2/Test/Test002_gt")


@set_case("one mask too few", "Test002_gt", "8 labels", "found 7", source="masks")
def _(root):
    (root/"UCSDped2/Test/Test002_gt/008.bmp").unlink()


@set_case("masks of two sizes", "Test002_gt", "masks of one size", "(10, 10)", source="masks")
def _(root):
    cv2.imwrite(str(root/"UCSDped2/Test/Test002_gt/003.bmp"), np.zeros((10, 10), np.uint8))


@set_case("truncated mask", "003.bmp", "whole image", source="masks")
def _(root):
    change(root/"UCSDped2/Test/Test002_gt/003.bmp", half)


@case("pixel masks of another size than the frames", "01.npy", "8 masks of 24x32", "8 of 12x16", doctor="ped2")
def _(folder, patch):
    root = write_ano_pred(folder/"set")
    patch.setitem(datasets.EXPECTED, "ped2", expected(("frame_mask",)))
    np.save(root/"testing/test_pixel_mask/01.npy", tiny_masks("01")[:, ::2, ::2])
    load_benchmark("ped2", root).mask("01")


@case("one pixel mask too few", "01.npy", "8 masks of 24x32", "7 of 24x32", doctor="ped2")
def _(folder, patch):
    root = write_ano_pred(folder/"set")
    patch.setitem(datasets.EXPECTED, "ped2", expected(("frame_mask",)))
    np.save(root/"testing/test_pixel_mask/01.npy", tiny_masks("01")[:-1])
    load_benchmark("ped2", root).mask("01")


@case("truncated pixel masks", "01.npy", "array of plain numbers", doctor="ped2")
def _(folder, patch):
    root = write_ano_pred(folder/"set")
    patch.setitem(datasets.EXPECTED, "ped2", expected(("frame_mask",)))
    change(root/"testing/test_pixel_mask/01.npy", half)
    load_benchmark("ped2", root).mask("01")


# --- .mat files

case.section = "Labels: .mat"

def with_mat(damage):
    def run(root):
        shutil.rmtree(root/"testing/test_pixel_mask")
        damage(write_mat(root/"labels/ped2.mat"))
    return run


def ped2_mat(name, *words):
    return lambda damage: set_case(name, "ped2.mat", *words, write=write_ano_pred)(with_mat(damage))


ped2_mat("truncated mat", "a .mat file", "cannot be read")(lambda path: change(path, half))
ped2_mat("mat of zero bytes", "a .mat file", "0 bytes")(lambda path: change(path, lambda whole: b""))
ped2_mat("text under the name of a mat", "a .mat file", "cannot be read")(lambda path: change(path, lambda whole: b"gt = 1"*100))
ped2_mat("mat with its middle overwritten", "a .mat file")(lambda path: change(path, lambda whole: whole[:200] + b"\xff"*200 + whole[400:]))
ped2_mat("mat without the labels' variable", "the variable gt", "found other")(lambda path: savemat(path, {"other": np.zeros(3)}))
ped2_mat("mat one clip short", "3 clips", "found 2")(lambda path: savemat(path, {"gt": cell([np.array([[1], [2]])]*2)}))
ped2_mat("mat with a matrix in place of cells", "3 clips", "found 0")(lambda path: savemat(path, {"gt": np.zeros((2, 3))}))
ped2_mat("mat whose cells are no ranges", "2xK", "(3, 4)")(lambda path: savemat(path, {"gt": cell([np.ones((3, 4))]*3)}))
ped2_mat("mat whose cells are text", "2xK", "<U5")(lambda path: savemat(path, {"gt": cell(["1:180"]*3)}))
ped2_mat("mat range behind the end of the clip", "frames 1 to 8", "1:9")(lambda path: savemat(path, {"gt": cell([np.array([[1], [9]])]*3)}))


# --- arrays of labels

case.section = "Labels: arrays"

def ped2_npy(name, *words):
    def add(make):
        def damage(root):
            shutil.rmtree(root/"testing/test_pixel_mask")
            make(root/"frame_labels_ped2.npy", np.concatenate([datasets.from_ranges(ranges, LENGTH, "") for ranges in RANGES.values()]))
        return set_case(name, "frame_labels_ped2.npy", *words, write=write_ano_pred)(damage)
    return add


ped2_npy("labels one short", "24 labels", "found 23")(lambda path, labels: np.save(path, labels[:-1]))
ped2_npy("labels one long", "24 labels", "found 25")(lambda path, labels: np.save(path, np.append(labels, 0)))
ped2_npy("labels all zero, as an array", "abnormal frames", "found 0")(lambda path, labels: np.save(path, 0*labels))
ped2_npy("labels all one", "15 abnormal frames", "found 24")(lambda path, labels: np.save(path, 0*labels + 1))
ped2_npy("labels inverted", "15 abnormal frames", "found 9")(lambda path, labels: np.save(path, 1 - labels))
ped2_npy("labels with a 2", "labels 0 and 1", "[2]")(lambda path, labels: np.save(path, np.append(labels[:-1], 2)))
ped2_npy("labels with NaN", "labels 0 and 1", "nan")(lambda path, labels: np.save(path, np.append(labels[:-1], np.nan)))
ped2_npy("labels as text", "labels 0 and 1")(lambda path, labels: np.save(path, labels.astype(str)))
ped2_npy("truncated npy", "array of plain numbers")(lambda path, labels: (np.save(path, labels), change(path, lambda whole: whole[:-5])))
ped2_npy("npy of zero bytes", "array of plain numbers", "No data")(lambda path, labels: path.write_bytes(b""))
ped2_npy("npy of pickled objects", "array of plain numbers", "pickle")(lambda path, labels: np.save(path, cell([1, 2]), allow_pickle=True))


def shanghaitech(name, *words):
    def add(damage):
        return set_case(name, *words, write=lambda root: write_ano_pred(root, training="videos"), labels=("frame_mask", "npy"), as_set="shanghaitech")(damage)
    return add


@shanghaitech("frame labels of a clip are missing", "test_frame_mask", "02.npy", "2 other arrays")
def _(root):
    (root/"testing/test_frame_mask/02.npy").unlink()


@shanghaitech("frame labels of a clip that is not there", "04.npy", "labels of a test clip", "no clip")
def _(root):
    shutil.copy(root/"testing/test_frame_mask/02.npy", root/"testing/test_frame_mask/04.npy")


@shanghaitech("frame labels of a clip one short", "02.npy", "8 labels", "found 7")
def _(root):
    np.save(root/"testing/test_frame_mask/02.npy", np.ones(7, np.uint8))


# --- Avenue

case.section = "Labels: Avenue"

def avenue(name, *words, **options):
    return set_case(name, *words, write=write_avenue, labels=("volLabel", "ano_pred"), as_set="avenue", **options)


@avenue("other labels than Avenue's own, and nobody asked for them", "labels (volLabel)", "other labels", "labels='ano_pred'")
def _(root):
    shutil.rmtree(root/"ground_truth_demo")
    write_mat(root/"avenue.mat")


@avenue("Avenue's other labels asked for, but not there", "labels (ano_pred)", "labels='volLabel' is there", source="ano_pred")
def _(root):
    pass


@avenue("avenue.mat of vectors, a clip missing", "avenue.mat", "03", source="ano_pred")
def _(root):
    savemat(root/"avenue.mat", {name: np.ones((1, LENGTH)) for name in ("01", "02")})


@avenue("avenue.mat of vectors, one frame short", "avenue.mat", "clip 02", "8 labels", "found 7", source="ano_pred")
def _(root):
    savemat(root/"avenue.mat", {name: np.ones((1, LENGTH - (name == "02"))) for name in RANGES})


@avenue("volLabel one mask short", "2_label.mat", "8 labels", "found 7")
def _(root):
    savemat(root/"ground_truth_demo/testing_label_mask/2_label.mat", {"volLabel": cell(list(tiny_masks("02")[:-1].astype(np.uint8)))})


@avenue("volLabel under another name", "2_label.mat", "volLabel", "found masks")
def _(root):
    savemat(root/"ground_truth_demo/testing_label_mask/2_label.mat", {"masks": np.zeros((3, 3))})


@avenue("volLabel that holds one array", "2_label.mat", "masks of one size")
def _(root):
    savemat(root/"ground_truth_demo/testing_label_mask/2_label.mat", {"volLabel": np.zeros((LENGTH, 24, 32))})


@avenue("a video of Avenue cut off", "02.avi", "8 frames")
def _(root):
    change(root/"testing_videos/02.avi", lambda whole: whole[:int(len(whole)*0.7)])


# --- names, archives, downloads

case.section = "Names, downloads and archives"

@case("unknown data set", "'ped3'", "ped2", kind=SettingsError)
def _(folder, patch):
    load_benchmark("ped3", folder)


@case("unknown label source", "'volLabels'", "gt_frame", kind=SettingsError)
def _(folder, patch):
    patch.setitem(datasets.EXPECTED, "ped2", expected(UCSD))
    load_benchmark("ped2", write_ped2(folder/"set"), labels="volLabels")


@case("no folder given and VAD_NB_DATA not set", "'ped2'", "VAD_NB_DATA", kind=SettingsError)
def _(folder, patch):
    patch.delenv("VAD_NB_DATA", raising=False)
    load_benchmark("ped2")


@case("download of a set that is had by hand", "'shanghaitech'", "https://", kind=SettingsError)
def _(folder, patch):
    download("shanghaitech", folder)


@case("download with another hash", "UCSD_Anomaly_Dataset.tar.gz", "published hash", "does not match")
def _(folder, patch):
    def retrieve(url, known_hash, path, fname, progressbar):
        raise ValueError(f"SHA256 hash of downloaded file ({fname}) does not match the known hash")
    patch.setattr(downloads.pooch, "retrieve", retrieve)
    download("ped2", folder/"set")


def archive_case(name, *words):
    def add(make):
        def run(folder, patch):
            (folder/"in").mkdir()
            unpack(make(folder), folder/"in/set")
        return case(name, *words)(run)
    return add


def zipped(folder, *names, attributes=0):
    with zipfile.ZipFile(folder/"bad.zip", "w") as bundle:
        bundle.writestr("fine.txt", "x")
        for name in names:
            entry = zipfile.ZipInfo(name)
            entry.external_attr = attributes
            bundle.writestr(entry, "/etc/passwd")
    return folder/"bad.zip"


def tarred(folder, name, kind=tarfile.REGTYPE, target=""):
    with tarfile.open(folder/"bad.tar.gz", "w:gz") as bundle:
        for member in (tarfile.TarInfo("fine.txt"), tarfile.TarInfo(name)):
            if member.name == name:
                member.type, member.linkname = kind, target
            bundle.addfile(member, io.BytesIO())
    return folder/"bad.tar.gz"


archive_case("zip that writes outside", "bad.zip", "../../outside.txt")(lambda folder: zipped(folder, "../../outside.txt"))
archive_case("zip with an absolute path", "bad.zip", "/outside.txt")(lambda folder: zipped(folder, "/outside.txt"))
archive_case("zip with a backslash path outside", "bad.zip", "outside.txt")(lambda folder: zipped(folder, "..\\..\\outside.txt"))
archive_case("zip with a link", "bad.zip", "a link")(lambda folder: zipped(folder, "link", attributes=(stat.S_IFLNK | 0o777) << 16))
archive_case("tar that writes outside", "bad.tar.gz", "../../outside.txt")(lambda folder: tarred(folder, "../../outside.txt"))
archive_case("tar with an absolute path", "bad.tar.gz", "/outside.txt")(lambda folder: tarred(folder, "/outside.txt"))
archive_case("tar with a symbolic link", "bad.tar.gz", "a link")(lambda folder: tarred(folder, "link", tarfile.SYMTYPE, "/etc"))
archive_case("tar with a hard link", "bad.tar.gz", "a link")(lambda folder: tarred(folder, "link", tarfile.LNKTYPE, "fine.txt"))
archive_case("tar with a device", "bad.tar.gz", "device")(lambda folder: tarred(folder, "null", tarfile.CHRTYPE))
archive_case("truncated zip", "bad.zip", "a whole archive")(lambda folder: change(zipped(folder, "a" * 90), half))
archive_case("truncated tar", "bad.tar.gz", "a whole archive")(lambda folder: change(tarred(folder, "a.txt"), half))
archive_case("web page under the name of an archive", "bad.zip", "a whole archive")(lambda folder: change(zipped(folder), lambda whole: b"<html>404</html>"*99))


# --- the tests ------------------------------------------------------------------------------------------------------------------------

@pytest.mark.parametrize("one", CASES, ids=lambda one: one.name)
@pytest.mark.filterwarnings("error")
def test_broken_input(one, tmp_path, monkeypatch):
    error = provoke(one, tmp_path, monkeypatch)
    for stored in (tmp_path/"cache").rglob("*.npy"):  # clips opened before the broken one: whole, or not there
        assert np.load(stored, allow_pickle=False).ndim == 4
    assert not list(tmp_path.parent.rglob("outside.txt")) and not Path("/outside.txt").exists() and not Path("owned").exists()
    if (tmp_path/"in").exists():
        assert not list((tmp_path/"in").iterdir())
    if one.doctor:
        report = doctor(one.doctor, tmp_path/("nowhere" if "nowhere" in str(error) else "set"))
        assert not report.ok and "NOT OK" in str(report), str(report)


def test_names_are_unique_and_many():
    assert len({one.name for one in CASES}) == len(CASES) >= 60


@pytest.mark.parametrize("suffix, edit", [("png", half), ("png", lambda whole: b"")])
def test_nothing_of_a_broken_clip_is_cached(suffix, edit, tmp_path, monkeypatch):
    monkeypatch.setenv("VAD_NB_CACHE", str(tmp_path/"cache"))
    with pytest.raises(DataError):
        broken_picture(suffix, edit)(tmp_path, monkeypatch)
    assert not list((tmp_path/"cache").rglob("*.npy"))


@pytest.mark.parametrize("seed", range(40))
def test_random_damage_is_refused_or_harmless(seed, tmp_path, monkeypatch):
    "Whatever happens to one file: a typed error or the right counts, and the doctor never raises."
    rng = np.random.default_rng(seed)
    monkeypatch.setenv("VAD_NB_CACHE", str(tmp_path/"cache"))
    name, write, labels = [("ped2", write_ped2, UCSD), ("avenue", write_avenue, ("volLabel", "ano_pred")), ("ped2", write_ano_pred, ("frame_mask", "masks"))][seed % 3]
    monkeypatch.setitem(datasets.EXPECTED, name, expected(labels))
    root = write(tmp_path/"set")
    victim = rng.choice(sorted(path for path in root.rglob("*") if path.is_file()))
    whole = bytearray(victim.read_bytes())
    place = int(rng.integers(len(whole)))
    [lambda: victim.unlink(), lambda: victim.rename(victim.with_name("9" + victim.name)), lambda: victim.write_bytes(whole[:place]),
     lambda: victim.write_bytes(whole[:place] + bytes(rng.bytes(20)) + whole[place + 20:]), lambda: victim.write_bytes(rng.bytes(300))][rng.integers(5)]()
    try:
        loaded = load_benchmark(name, root)
        assert sum(map(len, loaded.test)) == 24 and sum(int(truth.sum()) for truth in loaded.labels.values()) == 15
    except VadNbError as error:
        assert "\n" not in str(error)
    assert str(doctor(name, root)) and not list(tmp_path.rglob("*.part"))
