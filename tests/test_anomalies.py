"""Anomalies that are blended in: against loops over pixels, in grey and in colour, and through a whole training."""
from types import SimpleNamespace

import numpy as np
import pytest
import torch

from vad_nb.core import SettingsError
from vad_nb.data.linking import Tracks
from vad_nb.data.video import Clip
from vad_nb.methods.anomalies import GAP, KINDS, box_coordinates, inserted, mosaic, shape
from vad_nb.methods.ddl import DDL, DDLObjective, DDLSettings, Windows
from vad_nb.training.run import Run
from vad_nb.training.train import epoch_generator

CPU = torch.device("cpu")
SETTINGS = DDLSettings(size=(32, 48), width=8, epochs=1, batch_size=4)


def made(channels=3, lengths=(24, 9), settings=SETTINGS):
    rng = np.random.default_rng(0)
    clips = [Clip(str(k), rng.integers(0, 256, (length, 32, 48, channels), dtype=np.uint8), 25.0) for k, length in enumerate(lengths)]
    box = np.array([[0.25, 0.25, 0.5, 0.75]], np.float32)
    windows = Windows(clips, settings, CPU, {clip.name: Tracks(np.arange(len(clip)), np.zeros(len(clip)), np.tile(box, (len(clip), 1))) for clip in clips})
    windows.__dict__["foreign"] = windows if channels == 3 else made(3)[0]   # no scene has to be drawn
    return windows, clips


def content(windows, kind, items, seed=0):
    return KINDS[kind](windows, items, windows.box(items, epoch_generator(0, 0)), epoch_generator(seed, 1))


@pytest.mark.parametrize("kind, moments", [("skipped", (-1, GAP, 1 + GAP)), ("frozen", (-GAP,) * 3), ("reversed", (GAP + 1, GAP, GAP - 1))])
def test_moments_equal_slicing_and_stay_in_their_clip(kind, moments):
    windows, clips = made()
    for item in range(len(windows)):
        clip, middle = (clips[0], item + 1) if item < 22 else (clips[1], item - 22 + 1)
        wanted = np.stack([clip.frames[min(max(middle + r, 0), len(clip) - 1)] for r in moments])
        found = content(windows, kind, torch.tensor([item]))[0].permute(1, 2, 3, 0)*255
        assert np.array_equal(found.round().numpy(), wanted)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("channels", [1, 3])
def test_every_kind_is_a_picture_and_repeats(kind, channels):
    windows, _ = made(channels)
    items = torch.tensor([0, 9, 21, 25])
    one, again = content(windows, kind, items), content(windows, kind, items)
    assert one.shape == (4, 3, 3, 32, 48) and one.isfinite().all() and one.min() >= 0 and one.max() <= 1 + 1e-6 and torch.equal(one, again)
    grey = torch.equal(one[:, 0], one[:, 1])
    assert grey == (channels == 1 and kind != "noise"), "grey video stays grey; noise has three channels, as published"


def test_coordinates_of_a_box_equal_loops():
    boxes = torch.tensor([[[0.25, 0.5, 0.75, 1.0]]*3])
    u, v = box_coordinates(boxes, 8, 12)
    for row in range(8):
        for column in range(12):
            x, y = (column + .5)/12, (row + .5)/8
            assert np.isclose(u[0, 0, 1, row, column], 2*(x - .25)/.5 - 1) and np.isclose(v[0, 0, 1, row, column], 2*(y - .5)/.5 - 1)


def test_a_foreign_object_is_sampled_where_its_box_is():
    windows, clips = made()
    item = torch.tensor([4])
    target = torch.tensor([[[0.5, 0.25, 0.75, 0.75]]*3])           # as large as the source, a quarter of the width to the right
    windows.__dict__["foreign"].counts = (torch.arange(len(windows)) == 7).long()
    found = inserted(windows, item, target, epoch_generator(0, 0))[0].permute(1, 2, 3, 0)*255
    wanted = np.roll(clips[0].frames[7:10].astype(float), 12, axis=2)
    assert np.abs(found.numpy() - wanted)[:, 8:24, 25:35].max() < .01


def test_a_mosaic_has_few_colours_and_a_shape_one():
    windows, _ = made()
    items, boxes = torch.tensor([3]), torch.tensor([[[0.2, 0.2, 0.8, 0.8]]*3])
    assert len(mosaic(windows, items, boxes, epoch_generator(0, 0))[0, 0].unique()) <= 16*24
    clean, made_up = windows.clean(items), shape(windows, items, boxes, epoch_generator(0, 0))
    changed = (made_up != clean).any(1)[0]
    assert changed.any() and all(len(made_up[0, c][changed].unique()) == 1 for c in range(3))
    x0, y0, x1, y1 = 9, 6, 39, 26
    outside = torch.ones_like(changed)
    outside[:, y0:y1, x0:x1] = False
    assert not (changed & outside).any()


@pytest.mark.parametrize("kind", KINDS)
def test_ddl_trains_with_every_kind(kind, tmp_path):
    settings = DDLSettings(size=(32, 48), width=8, batch_size=4, noise=kind, form="ratio_of_norms")
    windows, _ = made(settings=settings)
    objective = DDLObjective(settings, windows)
    found = objective(torch.tensor([1, 9, 20]), epoch_generator(0, 0))
    found["loss"].backward()
    assert torch.isfinite(found["loss"]) and found["skipped"] == 0 and torch.isfinite(objective.l.grad)
    clean = windows.clean(torch.tensor([1]))
    pseudo, mask = objective.blend(torch.tensor([1]), clean, epoch_generator(0, 0))
    assert torch.equal(pseudo*(1 - mask), clean*(1 - mask))


@pytest.mark.parametrize("start, rate", [(.5, 1.), (.9, 1.), (.1, .1), (.7, 10.)])
def test_start_and_rate_of_the_weight(start, rate):
    objective = DDLObjective(DDLSettings(width=8, start=start, rate=rate))
    assert np.isclose(objective.weight.item(), start)
    before, optimizer = torch.logit(objective.weight).item(), torch.optim.Adam([objective.l], lr=.01)
    objective.weight.backward()
    optimizer.step()
    assert np.isclose(before - torch.logit(objective.weight).item(), .01*rate, rtol=1e-3), "Adam's first step is the learning rate, whatever the scale"


@pytest.mark.parametrize("wrong", [dict(noise="fog"), dict(start=0.), dict(start=1.), dict(rate=0.), dict(rate=-1.)])
def test_wrong_settings_are_refused(wrong):
    with pytest.raises(SettingsError, match=next(iter(wrong))): DDL(DDLSettings(width=8, **wrong))


def test_a_training_with_another_kind_is_stored_and_opened(tmp_path):
    _, clips = made()
    tracks = {clip.name: Tracks(np.arange(len(clip)), np.zeros(len(clip)), np.tile(np.array([[.25, .25, .5, .75]], np.float32), (len(clip), 1))) for clip in clips}
    benchmark = SimpleNamespace(train=clips, name="a", real=False, fingerprint="")
    method = DDL(DDLSettings(size=(32, 48), width=8, epochs=1, batch_size=8, noise="frozen", form="ratio_of_norms"))
    run = method.fit(benchmark, Run(tmp_path/"run"), 0, tracks=tracks)
    assert run.config["settings"]["noise"] == "frozen"
    again = DDL(method.settings).load(run)
    assert np.array_equal(method.score(clips[0]), again.score(clips[0]))
