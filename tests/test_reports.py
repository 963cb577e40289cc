"""Protocols, floors, reports, comparisons and files: what stands around a number."""
import json
import warnings
from types import SimpleNamespace

import numpy as np
import pytest
from scipy import stats
from sklearn.metrics import roc_auc_score

from vad_nb.evaluation import protocols as room
from vad_nb.core import DataError, SettingsError
from vad_nb.evaluation.protocols import (
    POOLINGS, PROTOCOLS, Protocol, apply_protocol, floors, frame_difference, prepare)
from vad_nb.evaluation.reports import (
    compare, evaluate, evaluate_files, spread, threshold_from_normal)
from vad_nb.evaluation.metrics import per_video_minmax
from vad_nb.evaluation.scores import Scores, smooth

PED2_LENGTHS = (180, 180, 150, 180, 150, 180, 180, 180, 120, 150, 180, 180)
COMPANIONS = ("protocol", "labels:", "random seed", "[", "bootstrap over")


def example(random_seed=0, quality=1., length=60, **provenance):
    generator = np.random.default_rng(random_seed)
    labels, scores = {}, {}
    for number in range(8):
        name = f"{number // 4 + 1:02d}_{number:03d}"
        labels[name] = np.zeros(length, np.uint8)
        if number % 4:
            labels[name][10 + number:30 + number] = 1
        scores[name] = quality * labels[name] + generator.standard_normal(length)
    return Scores(scores, dict(method=f"method {random_seed}", random_seed=random_seed, real=False, **provenance)), labels


def quick(scores, labels, protocol="vad-nb", **settings):
    return evaluate(scores, labels, protocol, **dict(dict(label_source="test", draws=60, progress=False), **settings))


def test_the_named_protocols_are_there():
    assert {"ddl-paper", "mulde-paper", "ai-vad", "mnad", "sultani", "xel", "vad-nb"} <= set(PROTOCOLS)
    assert all(name == protocol.name and protocol.origin for name, protocol in PROTOCOLS.items())


@pytest.mark.parametrize("settings", [{"pooling": "macro"}, {"normalisation": "global"}, {"smoothing": "median16"}, {"trim": (1,)}, {"trim": (-1, 0)}])
def test_a_protocol_that_does_not_exist_is_refused(settings):
    with pytest.raises(SettingsError):
        Protocol("x", **settings)
    with pytest.raises(SettingsError, match="ddl-paper"):
        room.choose_protocol("ddl")


def test_the_order_is_trim_stretch_filter():
    values = np.random.default_rng(0).random(50)
    cut = values[4:-2]
    assert np.array_equal(apply_protocol(values, Protocol("x", trim=(4, 2), smoothing="median17", normalisation="per_video_minmax")), per_video_minmax(smooth(cut, "median17")))
    assert np.array_equal(apply_protocol(values, Protocol("x", trim=(4, 2), smoothing="gaussian3", normalisation="per_video_minmax_first")), smooth(per_video_minmax(cut), "gaussian3"))
    assert np.array_equal(apply_protocol(values, Protocol("x", smoothing="gaussian3", causal=True)), smooth(values, "gaussian3", causal=True))


def test_a_constant_video_becomes_zeros():
    with np.errstate(all="raise"):
        assert per_video_minmax(np.full(5, 3.)).tolist() == [0] * 5


def test_trimming_cuts_scores_and_labels_alike_and_never_a_whole_clip():
    scores, labels = example()
    frames = prepare(scores.frames, labels, PROTOCOLS["memae"])
    assert len(frames.scores) == len(frames.labels) == 8 * (60 - 15)
    with pytest.raises(DataError, match="more than 15 frames"):
        prepare({"a": np.zeros(15)}, {"a": np.zeros(15)}, PROTOCOLS["memae"])


@pytest.mark.parametrize("change,word", [
    (lambda labels: labels.update({"01_000": labels["01_000"][:-1]}), "59 frames"),
    (lambda labels: labels.update({"01_000": np.r_[labels["01_000"], 0]}), "61 frames"),
    (lambda labels: labels.pop("01_000"), "01_000"),
    (lambda labels: labels.update({"13": np.zeros(3)}), "13"),
    (lambda labels: labels.update({name: np.zeros(60) for name in labels}), "normal and abnormal"),
    (lambda labels: labels.update({"01_000": np.full(60, 2)}), "0 or 1"),
], ids=["one short", "one long", "one clip fewer", "of another data set", "all zero", "not 0 or 1"])
def test_labels_that_do_not_fit_are_refused(change, word):
    scores, labels = example()
    change(labels)
    with pytest.raises(DataError, match=word):
        quick(scores, labels)


def test_no_number_without_its_companions():
    scores, labels = example()
    report = quick(scores, labels)
    number = report["micro_auc"]
    for text in (str(number), repr(number), str(report), repr(report), f"{number}"):
        assert all(word in text for word in COMPANIONS) and "built-in scene" in text and "random" in text and "position" in text
    with pytest.raises(TypeError):
        format(number, ".3f")
    assert float(number) == pytest.approx(roc_auc_score(np.concatenate(list(labels.values())), np.concatenate(list(scores.frames.values()))), abs=1e-12)
    for real, words in ((True, "real data"), (None, "not stated")):
        plain = Scores(scores.frames)
        assert words in str(quick(plain, labels, real=real)) and "random seeds not stated" in str(quick(plain, labels, real=real))


def test_a_single_video_has_no_interval_and_says_so():
    report = quick(Scores({"a": [1, 2, 3, 4]}), {"a": np.array([0, 0, 1, 1])})
    assert np.isnan(report["micro_auc"].low) and "a single video" in str(report["micro_auc"])
    json.dumps(report.to_json(), allow_nan=False)


def test_random_seeds_get_a_mean_and_a_t_interval():
    _, labels = example()
    runs = [example(seed)[0] for seed in range(4)]
    report = quick(runs, labels)
    singles = [float(quick(run, labels)["micro_auc"]) for run in runs]
    number = report["micro_auc"]
    assert float(number) == pytest.approx(np.mean(singles))
    assert number.over_seeds == pytest.approx(stats.t.interval(.95, 3, np.mean(singles), stats.sem(singles)))
    assert "0, 1, 2, 3" in str(number) and "over random seeds" in str(number)


def test_paired_differences():
    scores, labels = example()
    same = compare(quick(scores, labels), quick(scores, labels))
    assert all(float(number) == 0 == number.low == number.high for number in same.differences.values())
    better = Scores({name: values + .7 * labels[name] for name, values in scores.frames.items()}, dict(scores.provenance, method="better"))
    first, second = quick(scores, labels, draws=300), quick(better, labels, draws=300)
    found = compare(first, second)
    number = found["micro_auc"]
    assert float(number) == pytest.approx(float(second["micro_auc"]) - float(first["micro_auc"]))
    assert np.allclose((number.low, number.high), np.percentile(second.draws["micro_auc"] - first.draws["micro_auc"], (2.5, 97.5)))
    assert number.low > 0 and found.better["micro_auc"] == 1 and number.high - number.low < first["micro_auc"].high - first["micro_auc"].low
    assert all(word in str(found) for word in COMPANIONS)
    for other in (quick(scores, labels, "ddl-paper"), quick(scores, labels, draws=61), quick(scores, {name: 1 - label for name, label in labels.items()})):
        with pytest.raises(SettingsError, match="paired"):
            compare(quick(scores, labels), other)


def test_the_interval_covers_the_truth_about_as_often_as_it_says():
    truth, hits, trials = stats.norm.cdf(.8 / 2 ** .5), 0, 40
    for trial in range(trials):
        generator = np.random.default_rng(trial)
        labels = {f"{v}": (np.arange(40) >= 20).astype(np.uint8) for v in range(40)}
        scores = Scores({name: .8 * label + generator.standard_normal(40) for name, label in labels.items()})
        number = quick(scores, labels, metrics=("micro_auc",), draws=200)["micro_auc"]
        hits += number.low <= truth <= number.high
    assert hits / trials > .85


def test_padded_macro_warns_with_its_random_floor():
    scores, labels = example()
    with pytest.warns(UserWarning, match="random scorer gets 6"):
        report = quick(scores, labels, "ai-vad-macro")
    assert any("biased" in note for note in report.notes)


def test_floors():
    _, labels = example(length=400)
    clips = {name: SimpleNamespace(frames=np.random.default_rng(0).integers(0, 255, (400, 4, 5, 1), dtype=np.uint8), fps=25.) for name in labels}
    found = floors(labels, PROTOCOLS["vad-nb"], clips=clips)
    assert set(found) == {"random", "position", "difference"}
    for name in ("micro_auc", "micro_auc_minmax", "macro_auc_skip", "median_of_scenes", "auc_abnormal", "eer"):
        assert .49 < found["random"][name] < .51
    position = np.concatenate([np.arange(400) / 400] * 8)
    assert found["position"]["micro_auc"] == pytest.approx(roc_auc_score(np.concatenate(list(labels.values())), position))
    assert "far" not in found["random"]   # a threshold means nothing for other scores


def test_frame_difference():
    frames = np.array([0, 10, 250, 250], np.uint8)[:, None, None, None] * np.ones((1, 2, 3, 1), np.uint8)
    assert frame_difference(frames).tolist() == [10, 10, 240, 0]
    assert frame_difference(frames[:1]).tolist() == [0]


def test_threshold_metrics_and_alarms():
    scores, labels = example()
    clips = {name: SimpleNamespace(frames=np.zeros((60, 2, 2, 1), np.uint8), fps=10.) for name in labels}
    report = quick(scores, labels, "xel", clips=clips)
    pooled, truth = np.concatenate(list(scores.frames.values())), np.concatenate(list(labels.values()))
    assert float(report["far"]) == np.mean(pooled[truth == 0] >= .5) and float(report["tpr"]) == np.mean(pooled[truth == 1] >= .5)
    assert float(report["alarms_per_hour"]) > 0 and any("threshold" in note for note in report.notes)
    assert "far" not in quick(scores, labels).numbers
    assert "threshold 2" in str(quick(scores, labels, threshold=2.)["far"])


def test_threshold_from_normal_scores():
    normal = Scores({"a": np.arange(101.), "b": np.full(1, 50.)})
    assert threshold_from_normal(normal, .5) == 50


def test_scenes_need_names_that_hold_them():
    scores = Scores({"a": [1, 2, 3], "b": [1, 2, 3]})
    labels = {"a": np.array([0, 0, 1]), "b": np.array([0, 1, 1])}
    with pytest.raises(SettingsError, match="scene"):
        quick(scores, labels, "ddl-paper-shanghaitech")
    assert "median_of_scenes" not in quick(scores, labels).numbers


def test_spread_holds_every_protocol_and_agrees_with_each():
    scores, labels = example()
    table = spread(scores, labels, progress=False, label_source="test", draws=20)
    assert {report.conditions.protocol.name for report in table.reports} >= set(PROTOCOLS)
    for report in table.reports[::9]:
        protocol = report.conditions.protocol
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            alone = quick(scores, labels, protocol, draws=20)
        assert float(alone.headline) == pytest.approx(float(report.headline), abs=1e-12)
        assert list(report.numbers) == [POOLINGS[protocol.pooling]]
    text = str(table)
    assert all(word in text for word in ("per_video_minmax_first", "gaussian21", "macro_pad01", "causal", "random", "position", "[", "labels: test", "biased"))


@pytest.fixture
def files(tmp_path):
    _, labels = example()
    rows = "".join(f"{name},{frame},{one}\n" for name, label in labels.items() for frame, one in enumerate(label))
    (tmp_path / "labels.csv").write_text("video,frame,label\n" + rows)
    return [example(seed)[0].write_csv(tmp_path / f"s{seed}.csv") for seed in range(3)], tmp_path / "labels.csv", tmp_path


def test_files_side_by_side(files):
    paths, labels, folder = files
    whole = evaluate_files(paths, labels, with_spread=False, json_path=folder / "out.json", roc_path=folder / "roc.png", draws=50, progress=False)
    assert [report.method for report in whole.reports] == ["method 0", "method 1", "method 2"] and len(whole.comparisons) == 2
    stored = json.loads((folder / "out.json").read_text())
    first = stored["reports"][0]
    assert first["protocol"]["name"] == "vad-nb" and first["label_source"] == "labels.csv" and first["real"] is False and first["random_seeds"] == [0]
    assert set(first["metrics"]["micro_auc"]) == {"value", "low", "high", "over_seeds", "floors"}
    assert (folder / "roc.png").read_bytes()[:4] == b"\x89PNG"
    assert evaluate_files(paths, labels, random_seeds=True, draws=20, progress=False).reports[0].conditions.random_seeds == (0, 1, 2)


def test_figures_of_other_kinds(files):
    paths, labels, folder = files
    for kind, start in (("svg", b"<?xml"), ("pdf", b"%PDF")):
        evaluate_files(paths[:1], labels, roc_path=folder / f"roc.{kind}", draws=5, progress=False)
        assert (folder / f"roc.{kind}").read_bytes().startswith(start)
    with pytest.raises(SettingsError, match=".png"):
        evaluate_files(paths[:1], labels, roc_path=folder / "roc.bmp", draws=5, progress=False)


def test_a_benchmark_gives_labels_source_and_clips(files):
    paths, _, _ = files
    _, labels = example()
    clips = tuple(SimpleNamespace(name=name, frames=np.random.default_rng(0).integers(0, 9, (60, 2, 2, 1), dtype=np.uint8), fps=10.) for name in labels)
    benchmark = SimpleNamespace(labels=labels, label_source="exact", real=False, test=clips, name="built in")
    report = evaluate_files(paths[:1], benchmark, "sultani", draws=5, progress=False).reports[0]
    assert report.conditions.label_source == "built in (exact)" and report.conditions.real is False
    assert "difference" in report["micro_auc"].floors and "alarms_per_hour" in report.numbers


def test_files_that_lack_frames_by_declaration(files):
    paths, labels, folder = files
    whole, truth = example(1)
    short = Scores({name: values[8:-7] for name, values in whole.frames.items()}).write_csv(folder / "short.csv")
    with pytest.raises(DataError, match="60 frames"):
        evaluate_files([short], labels, draws=5, progress=False)
    report = evaluate_files([short], labels, "memae", lacking=(8, 7), draws=5, progress=False).reports[0]
    assert float(report["micro_auc"]) == pytest.approx(float(quick(whole, truth, "memae")["micro_auc"]), abs=1e-12)


def test_selection_is_not_claimed_for_scores_of_unknown_origin(files):
    paths, labels, folder = files
    (folder / "theirs.csv").write_bytes(paths[0].read_bytes())
    ours, theirs = evaluate_files([paths[0], folder / "theirs.csv"], labels, draws=20, progress=False).reports
    assert "selection: last epoch" in str(ours) and "selection: not stated" in str(theirs)
    assert float(compare(ours, theirs)["micro_auc"]) == 0     # still the same protocol


def test_what_was_read_otherwise_stands_in_the_report_and_the_spread_drops_what_is_lacking(files):
    paths, labels, folder = files
    whole, truth = example(1)
    (folder / "bare.csv").write_text("score\n" + "".join(f"{value}\n" for name in truth for value in whole.frames[name][8:-7].tolist()))
    found = evaluate_files([folder / "bare.csv"], labels, lacking=(8, 7), with_spread=True, draws=5, progress=False)
    assert "one column of scores" in str(found) and "first 8 and last 7" in str(found)
    unnamed = [one for one in found.spreads[0].reports if one.conditions.protocol.name == "-"]
    assert {one.conditions.protocol.trim for one in unnamed} == {(8, 7)} and unnamed[0].conditions.frames == 8 * 45
    assert float(unnamed[0]["micro_auc"]) == pytest.approx(float(quick(whole, truth, Protocol("x", trim=(8, 7)))["micro_auc"]), abs=1e-12)


def ped2(data_folder):
    flat = np.load(data_folder / "ped2" / "labels" / "frame_labels_ped2.npy", allow_pickle=False).ravel()
    return dict(zip((f"{number:02d}" for number in range(1, 13)), np.split(flat, np.cumsum(PED2_LENGTHS)[:-1])))


def test_known_floors_of_ped2(data_folder):
    labels = ped2(data_folder)
    assert sum(label.sum() for label in labels.values()) == 1648
    found, cut = floors(labels, PROTOCOLS["vad-nb"]), floors({name: label[8:-7] for name, label in labels.items()}, PROTOCOLS["vad-nb"])
    assert round(100 * found["position"]["micro_auc"], 1) == 74.9     # all 2,010 frames
    assert round(100 * cut["position"]["micro_auc"], 1) == 77.7       # the 1,830 frames that a window of 16 leaves
    for one, first, last in ((found, 0, 180), (cut, 8, -7)):   # the padded macro of a scorer that wins half of each video's pairs
        counts = [(len(label[first:last]) - label[first:last].sum(), label[first:last].sum()) for label in labels.values()]
        assert one["random"]["macro_auc_pad01"] == pytest.approx(np.mean([(n * p / 2 + n + p + 1) / ((n + 1) * (p + 1)) for n, p in counts]), abs=1e-9)
    assert 68.5 < 100 * found["random"]["macro_auc_pad01"] < 68.6
    assert all(abs(one["random"][name] - .5) < 1e-9 for one in (found, cut) for name in ("micro_auc", "macro_auc_skip", "auc_abnormal"))
    report = quick(Scores({name: np.random.default_rng(0).random(len(label)) for name, label in labels.items()}), labels, real=True)
    assert any("4 of 12 videos" in note and "08, 09, 10, 11" in note for note in report.notes)
