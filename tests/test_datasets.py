"""data.datasets from outside: every layout, label source and count; what is broken is in test_broken_data.py."""
import tarfile
import zipfile

import numpy as np
import pytest
from scipy.io import savemat
from tiny_benchmarks import (LABELS, LENGTH, RANGES, UCSD, expected, tiny_frames, tiny_masks, write_ano_pred, write_avenue, write_images,
                             write_mat, write_ped2, write_video)

from vad_nb.core import SettingsError
from vad_nb.data import datasets, downloads, scene_files
from vad_nb.data.datasets import (
    EXPECTED, Findings, clip_name, frame_mask_labels, inspect, load_benchmark,
    parse_gt_frames, read_npy)
from vad_nb.data.doctor import doctor
from vad_nb.data.downloads import download, unpack


@pytest.fixture(autouse=True)
def own_cache(tmp_path, monkeypatch):
    monkeypatch.setenv("VAD_NB_CACHE", str(tmp_path/"cache"))


@pytest.fixture
def tiny(monkeypatch):
    "Make a tiny set the expected content of a benchmark."
    def make(name, labels, **changes):
        monkeypatch.setitem(datasets.EXPECTED, name, expected(labels, **changes))
    return make


def check(benchmark, names=tuple(RANGES)):
    assert [clip.name for clip in benchmark.test] == list(names) == list(benchmark.labels)
    assert benchmark.real and len(benchmark.train) == 2 and all(len(clip) == LENGTH for clip in benchmark.train + benchmark.test)
    for name, clip in zip(names, RANGES):
        assert benchmark.labels[name].dtype == np.uint8 and np.array_equal(benchmark.labels[name], LABELS[clip])
    for number, clip in enumerate(benchmark.test, 11):
        assert np.abs(clip.frames.mean(3) - tiny_frames(number)).mean() < 8


@pytest.mark.parametrize("suffix", ["tif", "png", "bmp"])
def test_ucsd_layout(tmp_path, tiny, suffix):
    tiny("ped2", UCSD)
    benchmark = load_benchmark("ped2", write_ped2(tmp_path/"set", suffix))
    check(benchmark)
    assert benchmark.label_source == "gt_frame" and benchmark.train[0].fps == 10
    for name in RANGES:
        assert benchmark.mask(name).dtype == bool and np.array_equal(benchmark.mask(name), tiny_masks(name))
    assert [clip.name for clip in benchmark.train] == ["01", "02"]


@pytest.mark.parametrize("place", ["", "UCSDped2", "UCSDped2/Test/.."])
def test_root_may_be_the_archive_or_the_set(tmp_path, tiny, place):
    tiny("ped2", UCSD)
    check(load_benchmark("ped2", write_ped2(tmp_path/"set")/place))


def test_hidden_files_of_the_archive(tmp_path, tiny):
    tiny("ped2", UCSD)
    root = write_ped2(tmp_path/"set")/"UCSDped2"
    for path in ("._Train", "Train/._Train001", "Train/Train001/._001.png", "Test/._UCSDped2.m", "Test/.DS_Store", "Test/Test001_gt/._001.bmp"):
        (root/path).write_bytes(b"\0\5\x16\7")
    check(load_benchmark("ped2", root))


@pytest.mark.parametrize("source", UCSD)
def test_ucsd_label_sources_agree(tmp_path, tiny, source):
    tiny("ped2", UCSD)
    root = write_ped2(tmp_path/"set")
    write_mat(root/"labels/ped2.mat")
    np.save(root/"frame_labels_ped2.npy", np.concatenate(list(LABELS.values()))[None].astype(np.int64))
    benchmark = load_benchmark("ped2", root, labels=source)
    check(benchmark)
    assert benchmark.label_source == source
    report = doctor("ped2", root)
    assert report.ok and sum("otherwise" in item.what for item in report.items) == 3


def test_doctor_sees_labels_that_disagree(tmp_path, tiny):
    tiny("ped2", UCSD)
    root = write_ped2(tmp_path/"set")
    np.save(root/"frame_labels_ped2.npy", np.roll(np.concatenate(list(LABELS.values())), 1))
    report = doctor("ped2", root)
    assert not report.ok and "frames labelled otherwise by npy" in str(report) and "is wrong" in str(report)


def test_avenue_layout(tmp_path, tiny):
    tiny("avenue", ("volLabel", "ano_pred"))
    benchmark = load_benchmark("avenue", write_avenue(tmp_path/"set"))
    check(benchmark)
    assert benchmark.label_source == "volLabel" and benchmark.test[0].fps == 25
    assert np.array_equal(benchmark.mask("02"), tiny_masks("02"))


@pytest.mark.parametrize("form", ["ranges", "vectors", "array"])
def test_avenue_ano_pred_labels(tmp_path, tiny, form):
    tiny("avenue", ("volLabel", "ano_pred"))
    root = write_avenue(tmp_path/"set")
    if form == "ranges":
        write_mat(root/"avenue.mat")
    if form == "vectors":
        savemat(root/"avenue.mat", {name: labels[None].astype(float) for name, labels in LABELS.items()})
    if form == "array":
        np.save(root/"frame_labels_avenue.npy", np.concatenate(list(LABELS.values())))
    benchmark = load_benchmark("avenue", root, labels="ano_pred")
    check(benchmark)
    assert benchmark.label_source == "ano_pred"
    assert load_benchmark("avenue", root).label_source == "volLabel"


@pytest.mark.parametrize("training", ["frames", "videos"])
def test_shanghaitech_layout(tmp_path, tiny, training):
    tiny("shanghaitech", ("frame_mask", "npy"), test_lengths={})
    names = ("01_0014", "01_0051", "12_0003")
    benchmark = load_benchmark("shanghaitech", write_ano_pred(tmp_path/"set", names, training))
    check(benchmark, names)
    assert benchmark.label_source == "frame_mask" and np.array_equal(benchmark.mask("01_0051"), tiny_masks("02"))


def test_ano_pred_layout_with_size(tmp_path, tiny):
    tiny("ped2", ("frame_mask", "masks"))
    root = write_ano_pred(tmp_path/"set")
    check(load_benchmark("ped2", root))
    small = load_benchmark("ped2", root, size=(12, 16))
    assert small.train[0].frames.shape == (8, 12, 16, 1) and small.mask("01").shape == (8, 12, 16) and small.mask("01").any()
    assert small.fingerprint == load_benchmark("ped2", root).fingerprint


def test_a_set_without_masks(tmp_path, tiny):
    tiny("ped2", UCSD)
    root = tmp_path/"set"
    for number in (1, 2):
        write_video(root/f"training/{number:02d}.avi", tiny_frames(number))
    for number, name in enumerate(RANGES, 11):
        write_images(root/"testing"/name, tiny_frames(number))
    write_mat(root/"ped2.mat")
    benchmark = load_benchmark("ped2", root)
    check(benchmark)
    assert benchmark.mask("01") is None and benchmark.label_source == "mat"


def test_part_of_avenue(tmp_path, tiny):
    "Only the clips that are there are compared."
    tiny("avenue-part", ("volLabel", "ano_pred"), train_clips=None, test_clips=None, train_frames=None, test_frames=None, abnormal={}, one_class={})
    root = write_avenue(tmp_path/"set")
    (root/"testing_videos/02.avi").unlink()
    benchmark = load_benchmark("avenue-part", root)
    assert [clip.name for clip in benchmark.test] == ["01", "03"] == list(benchmark.labels)


def test_folder_of_normal_videos(tmp_path):
    write_images(tmp_path/"set/walk", tiny_frames())
    write_video(tmp_path/"set/film.avi", tiny_frames())
    benchmark = load_benchmark("folder", tmp_path/"set")
    assert [clip.name for clip in benchmark.train] == ["film", "walk"] and benchmark.test == () and benchmark.labels == {} and benchmark.label_source == "none"
    assert [clip.name for clip in load_benchmark("folder", tmp_path/"set/walk").train] == ["walk"]
    assert doctor("folder", tmp_path/"set").ok
    with pytest.raises(SettingsError):
        load_benchmark("folder")


def test_fingerprint_changes_with_frames_and_labels(tmp_path, tiny):
    tiny("ped2", UCSD)
    root = write_ped2(tmp_path/"set")
    before = load_benchmark("ped2", root).fingerprint
    assert before == load_benchmark("ped2", root).fingerprint == load_benchmark("ped2", root/"UCSDped2").fingerprint
    script = root/"UCSDped2/Test/UCSDped2.m"
    script.write_text(script.read_text().replace("3:5", "4:6"))
    labels = load_benchmark("ped2", root).fingerprint
    write_images(root/"UCSDped2/Train/Train001", tiny_frames(99), first=1)
    assert len({before, labels, load_benchmark("ped2", root).fingerprint}) == 3


@pytest.mark.parametrize("text, clips", [
    ("TestVideoFile = {};\nTestVideoFile{end+1}.gt_frame = [60:152];\n", [[(60, 152)]]),
    ("TestVideoFile{end+1}.gt_frame = [5:90, 140:200];", [[(5, 90), (140, 200)]]),
    ("TestVideoFile{end+1}.gt_frame = [1:48 53 : 98];\r\n", [[(1, 48), (53, 98)]]),
    ("TestVideoFile{ end + 1 }.gt_frame=[7];% one", [[(7, 7)]]),
    ("% nothing\n\nTestVideoFile{end+1}.gt_frame = [];", [[]]),
])
def test_parse_gt_frames(text, clips):
    assert parse_gt_frames(text) == clips


def test_clip_names():
    assert [clip_name("ped1", name) for name in ("Test001", "36", "Train034")] == ["01", "36", "34"]
    assert clip_name("shanghaitech", "01_0014") == "01_0014" and clip_name("synthetic", "001") == "001"


def test_counts_of_the_published_sets():
    ped2, avenue, ped1 = EXPECTED["ped2"], EXPECTED["avenue"], EXPECTED["ped1"]
    assert sum(ped2.test_lengths.values()) == 2010 and sum(avenue.test_lengths.values()) == 15324 and sum(ped1.test_lengths.values()) == 7200
    assert (ped2.test_lengths["09"], avenue.test_lengths["08"], avenue.test_lengths["21"]) == (120, 36, 76)
    assert avenue.abnormal == {"volLabel": 3712, "ano_pred": 3867} and avenue.train_frames is None


LAYOUTS = {"ucsd": ("ped2", "gt_frame"), "avenue": ("avenue", "volLabel"), "shanghaitech": ("shanghaitech", "frame_mask"), "ano_pred": ("synthetic", "mat")}


def test_the_built_in_scene_in_every_layout(tmp_path):
    loaded = []
    for layout, (name, source) in LAYOUTS.items():
        root = scene_files.write_scene(tmp_path/layout, layout, train_clips=1, test_clips=2, length=24, height=48, width=72)
        facts = expected((source,), size=(48, 72), train_clips=1, test_clips=2, train_frames=24, test_frames=48, test_lengths={}, abnormal={}, one_class={})
        loaded.append(inspect(name, root, source, None, facts, Findings(strict=True)))
        assert loaded[-1].real == (name != "synthetic") and loaded[-1].label_source == source
    for benchmark in loaded[1:]:
        for one, other in zip(loaded[0].test, benchmark.test):
            assert np.array_equal(loaded[0].labels[one.name], benchmark.labels[other.name]) and np.array_equal(loaded[0].mask(one.name), benchmark.mask(other.name))
            assert np.abs(one.frames.mean(3) - other.frames.mean(3)).mean() < 12


def test_unpack(tmp_path):
    write_ped2(tmp_path/"set")
    with zipfile.ZipFile(tmp_path/"a.zip", "w") as bundle:
        for path in (tmp_path/"set").rglob("*"):
            bundle.write(path, path.relative_to(tmp_path))
    with tarfile.open(tmp_path/"a.tar.gz", "w:gz") as bundle:
        bundle.add(tmp_path/"set", "set")
    for name in ("a.zip", "a.tar.gz"):
        out = unpack(tmp_path/name, tmp_path/("out " + name))
        files = sorted(path.relative_to(out) for path in out.rglob("*") if path.is_file())
        assert len(files) == 16 + 24 + 24 + 1 and all((out/path).read_bytes() == (tmp_path/path).read_bytes() for path in files)


def test_download_asks_for_the_published_hash_and_unpacks(tmp_path, tiny, monkeypatch):
    tiny("ped2", UCSD)
    write_ped2(tmp_path/"UCSD_Anomaly_Dataset.v1p2")
    asked = []
    def retrieve(url, known_hash, path, fname, progressbar):
        asked.append((url, known_hash))
        path.mkdir(exist_ok=True)
        with tarfile.open(path/fname, "w:gz") as bundle:
            bundle.add(tmp_path/"UCSD_Anomaly_Dataset.v1p2", "UCSD_Anomaly_Dataset.v1p2")
        return str(path/fname)
    monkeypatch.setattr(downloads.pooch, "retrieve", retrieve)
    root = download("ped2", tmp_path/"downloads")
    assert root == download("ped2", tmp_path/"downloads")  # a second time: nothing to do
    assert asked[0] == ("http://www.svcl.ucsd.edu/projects/anomaly/UCSD_Anomaly_Dataset.tar.gz", "sha256:2329af326951f5097fdd114c50e853957d3e569493a49d22fc082a9fd791915b")
    check(load_benchmark("ped2", root))


def test_downloaded_avenue_is_found(tmp_path, tiny):
    "Its two archives unpack side by side."
    tiny("avenue", ("volLabel", "ano_pred"))
    write_avenue(tmp_path/"plain")
    (tmp_path/"avenue/Avenue_Dataset").mkdir(parents=True)
    (tmp_path/"avenue/ground_truth_demo").mkdir(parents=True)
    (tmp_path/"plain/ground_truth_demo").rename(tmp_path/"avenue/ground_truth_demo/ground_truth_demo")
    (tmp_path/"plain").rename(tmp_path/"avenue/Avenue_Dataset/Avenue Dataset")
    check(load_benchmark("avenue", tmp_path/"avenue"))


def test_a_report_reads_well(tmp_path, tiny):
    tiny("ped2", UCSD)
    root = write_ped2(tmp_path/"set")
    (root/"UCSDped2/Test/Test002/004.png").unlink()
    lines = str(doctor("ped2", root)).splitlines()
    assert "problem" in lines[0] and any("004.png missing" in line and "NOT OK" in line for line in lines) and any("to mend" in line for line in lines)
    assert sum("NOT OK" in line for line in lines) == 4  # the clip, the two counts, the labels that wait for it


# --- real data

@pytest.mark.parametrize("source", ["mat", "npy"])
def test_real_ped2(data_folder, monkeypatch, source):
    monkeypatch.delenv("VAD_NB_CACHE")
    benchmark = load_benchmark("ped2", labels=source)
    assert (len(benchmark.train), len(benchmark.test), sum(map(len, benchmark.train)), sum(map(len, benchmark.test))) == (16, 12, 2550, 2010)
    assert sum(int(labels.sum()) for labels in benchmark.labels.values()) == 1648
    assert [name for name, labels in benchmark.labels.items() if labels.min() == labels.max()] == ["08", "09", "10", "11"]
    assert benchmark.labels["01"][:60].sum() == 0 and benchmark.labels["01"][60:].all()
    assert benchmark.test[0].frames.shape == (180, 240, 360, 1)


def test_real_avenue_part(data_folder):
    benchmark = load_benchmark("avenue-part")
    assert {clip.name: len(clip) for clip in benchmark.test} == {"08": 36, "20": 273, "21": 76} and sum(map(len, benchmark.train)) == 389
    assert {name: int(labels.sum()) for name, labels in benchmark.labels.items()} == {"08": 36, "20": 154, "21": 53}
    assert np.array_equal(benchmark.mask("20").any((1, 2)), benchmark.labels["20"]) and benchmark.mask("20").shape == (273, 360, 640)
    assert doctor("avenue-part").ok and not doctor("avenue", data_folder/"avenue_part").ok


def test_real_shanghaitech_labels(data_folder):
    folder = data_folder/"shanghaitech_ws/test_frame_mask"
    labels = frame_mask_labels(folder, {path.stem: len(read_npy(path)) for path in folder.glob("*.npy")})
    assert (len(labels), sum(map(len, labels.values())), sum(int(truth.sum()) for truth in labels.values())) == (107, 40791, 17326)
    assert [name for name, truth in labels.items() if truth.min() == truth.max()] == ["04_0011"]
    assert not doctor("shanghaitech", data_folder/"shanghaitech_ws").ok


def test_two_processes_may_draw_the_scene_at_once(tmp_path, monkeypatch):
    from vad_nb.core import WriteError
    from vad_nb.data import datasets, downloads, scene_files
    def slower(folder, layout): # the other process has renamed its folder before this one does
        folder.mkdir(parents=True)
        raise WriteError(folder, "room and permission to write it", "Directory not empty")
    monkeypatch.setenv("VAD_NB_CACHE", str(tmp_path))
    monkeypatch.setattr(scene_files, "write_scene", slower)
    assert datasets.synthetic_root().is_dir()
