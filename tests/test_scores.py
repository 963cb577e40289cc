"""Tiles, filters and the csv form of scores: against brute force, and with files that are broken in every way."""
import numpy as np
import pytest
import torch
from test_broken_files import LABELS, WHOLE

from vad_nb.evaluation import scores as room
from vad_nb.core import DataError, SettingsError
from vad_nb.evaluation.scores import (
    Scores, error_map, pad_edges, read_labels_csv, smooth, tile_scores)



def brute_force_tiles(error, tile, shifted):
    height, width = error.shape
    starts = [(0, 0)] + ([(tile // 2, tile // 2)] if shifted else [])
    starts += [(top, left) for top in (0, height % tile) for left in (0, width % tile)]
    return max(error[y:y + tile, x:x + tile].mean().item() for top, left in starts
               for y in range(top, height - tile + 1, tile) for x in range(left, width - tile + 1, tile))


@pytest.mark.parametrize("shape", [(16, 16), (20, 24), (32, 32), (48, 64), (60, 90), (33, 47), (256, 256)])
@pytest.mark.parametrize("shifted", [False, True])
def test_tiles_equal_brute_force(shape, shifted):
    error = torch.rand(3, *shape, generator=torch.Generator().manual_seed(sum(shape)))
    want = [brute_force_tiles(one, 16, shifted) for one in error]
    assert np.allclose(tile_scores(error, shifted=shifted).numpy(), want, atol=1e-6)


def test_published_number_of_tiles(monkeypatch):
    counts, pool = [], torch.nn.functional.avg_pool2d
    monkeypatch.setattr(torch.nn.functional, "avg_pool2d", lambda x, k: (counts.append(pool(x, k)[0].numel()), pool(x, k))[1])
    tile_scores(torch.zeros(1, 256, 256))
    assert sorted(counts) == [225, 256]


def test_every_pixel_is_seen():
    for height, width in ((40, 56), (35, 50), (23, 17)):
        one_pixel = torch.eye(height * width).reshape(-1, height, width)
        assert (tile_scores(one_pixel, shifted=False) > 0).all()


def test_maps_smaller_than_a_tile_are_refused():
    with pytest.raises(SettingsError, match="16x16"):
        tile_scores(torch.zeros(1, 15, 64))


def test_error_map_divides_by_root_three_for_one_channel_too():
    assert error_map(torch.zeros(1, 1, 2, 2), torch.ones(1, 1, 2, 2)).allclose(torch.tensor(3.) ** -.5)
    clean, recon = torch.rand(2, 3, 4, 5), torch.rand(2, 3, 4, 5)
    assert error_map(clean, recon).allclose(((clean - recon) ** 2).sum(1).sqrt() / 3 ** .5)


def test_pad_edges():
    assert pad_edges([4, 5], 4).tolist() == [4, 4, 5, 5]
    assert pad_edges([4, 5], 5, first=3).tolist() == [4, 4, 4, 4, 5]
    for scores, length, first in (([], 3, None), ([1, 2], 1, None), ([1, 2], 3, None), ([1], 3, 3), ([1], 3, -1)):
        with pytest.raises(SettingsError):
            pad_edges(scores, length, first)


@pytest.mark.parametrize("length", [1, 2, 5, 17, 60])
def test_filters_equal_brute_force(length):
    values = np.random.default_rng(length).random(length)
    mirrored = np.concatenate([values[::-1], values] * 40 + [values[::-1]])   # d c b a a b c d d c b a ...
    middle = length * (2 * 20 + 1)
    assert np.array_equal(mirrored[middle:middle + length], values)
    want = [np.median(mirrored[middle + t - 8:middle + t + 9]) if length >= 9 else None for t in range(length)]
    if length >= 9:
        assert np.allclose(smooth(values, "median17"), want)
        weight = np.exp(-.5 * (np.arange(-12, 13) / 3) ** 2)
        weight /= weight.sum()
        assert np.allclose(smooth(values, "gaussian3"), [mirrored[middle + t - 12:middle + t + 13] @ weight for t in range(length)])
    held = np.r_[np.repeat(values[0], 40), values]
    assert np.allclose(smooth(values, "median17", causal=True), [np.median(held[t + 24:t + 41]) for t in range(length)])
    past = np.exp(-.5 * (np.arange(12, -1, -1) / 3) ** 2)
    assert np.allclose(smooth(values, "gaussian3", causal=True), [held[t + 28:t + 41] @ past / past.sum() for t in range(length)])


@pytest.mark.parametrize("kind", ["none", "median1", "median3", "median17", "gaussian0.5", "gaussian21"])
@pytest.mark.parametrize("causal", [False, True])
def test_filters_keep_constants_and_length(kind, causal):
    assert np.allclose(smooth(np.full(30, 2.5), kind, causal), 2.5)
    assert len(smooth(np.arange(4), kind, causal)) == 4


@pytest.mark.parametrize("kind", ["median", "median16", "median0", "gaussian", "gaussian0", "gauss3", "", "mean3", "median17 "])
def test_unknown_filters_are_refused(kind):
    with pytest.raises(SettingsError, match="median17 or gaussian3"):
        smooth(np.zeros(3), kind)


def test_files_that_cannot_be_opened(tmp_path):
    for path in (tmp_path / "absent.csv", tmp_path):
        with pytest.raises(DataError, match="csv file"):
            Scores.read_csv(path)


def test_what_a_whole_file_may_look_like(tmp_path):
    file = tmp_path / "scores.csv"
    lines = WHOLE.splitlines()
    for content in (WHOLE, "\ufeff" + WHOLE, WHOLE.replace("\n", "\r\n"), WHOLE + "\n\n", WHOLE.rstrip("\n"),
                    "\n".join([lines[0], *lines[:0:-1]]) + "\n"):
        file.write_bytes(content.encode())
        back = Scores.read_csv(file, LABELS).frames
        assert back["01"].tolist() == [.5, .25, .001] and back["02"].tolist() == [1, 2]


@pytest.mark.parametrize("content, lacking, said", [
    (WHOLE.replace("01,", "Test001,").replace("02,", "Test002,"), (0, 0), "matched by number: Test001 is 01"),
    (WHOLE.replace("01,", "1,").replace("02,", "2,"), (0, 0), "matched by number: 1 is 01"),
    ("video,frame,score\n01,1,.5\n01,2,.25\n01,3,.001\n02,1,1\n02,2,2\n", (0, 0), "counted from 1"),
    ("score\n.5\n.25\n.001\n1\n2\n", (0, 0), "one column of scores: clips taken in the order 01, 02"),
    ("score\n.25\n.001\n2\n", (1, 0), "no scores for the first 1 and last 0 frames"),
    ("video,frame,score\n01,0,.25\n01,1,.001\n02,0,2\n", (1, 0), "no scores for"),
    ("video,frame,score\n01,1,.25\n01,2,.001\n02,1,2\n", (1, 0), "counted from 1"),
    ("video,frame,score\n01,2,.25\n01,3,.001\n02,2,2\n", (1, 0), "counted from 2"),
])
def test_scores_of_others_are_read_in_the_one_way_that_fits_and_say_so(tmp_path, content, lacking, said):
    (tmp_path / "s.csv").write_text(content)
    scores = Scores.read_csv(tmp_path / "s.csv", LABELS, lacking)
    whole = dict(zip(LABELS, ([.5, .25, .001], [1, 2]) if lacking == (0, 0) else ([.25, .25, .001], [2, 2])))
    assert {name: values.tolist() for name, values in scores.frames.items()} == whole
    assert any(said in note for note in scores.provenance["read_as"])


def test_labels_come_back_as_bytes(tmp_path):
    (tmp_path / "labels.csv").write_text("video,frame,label\na,1,1\na,0,0\n")
    labels = read_labels_csv(tmp_path / "labels.csv")
    assert labels["a"].dtype == np.uint8 and labels["a"].tolist() == [0, 1]


def test_bits_survive_and_names_may_be_strange(tmp_path):
    generator = np.random.default_rng(0)
    frames = {name: generator.standard_normal(9) * 10. ** generator.integers(-300, 300, 9) for name in ("01", "a,b", 'quote"', "ü 1")}
    back = Scores.read_csv(Scores(frames, {"random_seed": 3}).write_csv(tmp_path / "s.csv"))
    assert list(back.frames) == list(frames) and all(np.array_equal(back.frames[name], frames[name]) for name in frames)
    assert back.provenance == {"random_seed": 3}
    assert sorted(path.name for path in tmp_path.iterdir()) == ["s.csv", "s.csv.json"]


def test_provenance_of_other_scores_is_not_believed(tmp_path):
    file = Scores({"01": [1., 2.]}, {"method": "ddl"}).write_csv(tmp_path / "s.csv")
    file.write_text("video,frame,score\n01,0,5\n01,1,6\n")
    with pytest.warns(UserWarning, match="unknown provenance"):
        assert Scores.read_csv(file).provenance == {}


def test_scores_are_checked_when_made_and_do_not_change_with_their_source():
    for frames in ({}, {"a": []}, {"a": [[1.]]}, {"a": [1., np.nan]}, {"a": [np.inf]}):
        with pytest.raises(DataError):
            Scores(frames)
    source = {"a": np.zeros(2)}
    made = Scores(source)
    source["a"][0] = 5
    assert made.frames["a"].tolist() == [0, 0]


def test_nothing_half_written(tmp_path, monkeypatch):
    monkeypatch.setattr(room.json, "dumps", lambda *_, **__: (_ for _ in ()).throw(OSError("disk full")))
    with pytest.raises(OSError):
        Scores({"a": [1.]}).write_csv(tmp_path / "s.csv")
    assert [path.name for path in tmp_path.iterdir() if path.suffix == ".part"] == []


def test_a_million_rows(tmp_path):
    generator = np.random.default_rng(0)
    scores = Scores({f"{video:04d}": generator.random(2500) for video in range(400)})
    file = scores.write_csv(tmp_path / "many.csv")
    back = Scores.read_csv(file, scores.frames)
    assert len(back) == 1_000_000 and all(np.array_equal(back.frames[name], values) for name, values in scores.frames.items())
