"The three hosts: losses against loops, padding that counts nowhere, the two bugs of the official code."
import itertools
from dataclasses import replace

import numpy as np
import pytest
import torch
from sklearn.cluster import KMeans

from vad_nb.core import SettingsError, TrainingError, load_preset
from vad_nb.data.bags import Bag
from vad_nb.data.bag_sets import synthetic_bags
from vad_nb.methods.mil import (
    HOSTS, MIL, Head, MILSettings, Videos, WeakObjective, arnet_loss, draw_batches, mil_loss,
    orient, srf_loss, two_means)
from vad_nb.training.run import Run


def batch(seed=0, videos=6, longest=9):
    generator = torch.Generator().manual_seed(seed)
    lengths = torch.randint(2, longest + 1, (videos,), generator=generator)
    lengths[0] = longest
    mask = torch.arange(longest) < lengths[:, None]
    abnormal = torch.arange(videos) < videos // 2
    return torch.rand(videos, longest, generator=generator, dtype=torch.float64), torch.randn(videos, longest, 5, generator=generator, dtype=torch.float64), mask, abnormal, lengths.tolist()


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("pairing", ["all", "index"])
def test_mil_loss_is_the_sum_over_pairs(seed, pairing):
    s, _, mask, abnormal, lengths = batch(seed)
    bags = [s[i, :lengths[i]] for i in range(6)]
    total = 0
    if pairing == "all":
        for n, a in itertools.product(range(3, 6), range(3)):
            total += max(0, 1 - bags[a].max() + bags[n].max()) / 3
        for a in range(3):
            total += 8e-5 * sum((bags[a][j] - bags[a][j + 1]) ** 2 for j in range(lengths[a] - 1)) + 8e-5 * bags[a].sum()
    else:
        for a in range(3):
            total += (max(0, 1 - bags[a].max() + bags[a + 3].max()) + 8e-5 * sum((bags[a][j] - bags[a][j + 1]) ** 2 for j in range(lengths[a] - 1)) + 8e-5 * bags[a].sum()) / 3
    assert torch.isclose(mil_loss(s, mask, abnormal, pairing), total / 3 if pairing == "all" else total)   # the published sum over 3 abnormal videos


@pytest.mark.parametrize("seed", range(3))
def test_arnet_loss_is_the_loop_over_videos(seed):
    s, _, mask, abnormal, lengths = batch(seed)
    terms, variances = [], []
    for i in range(6):
        values = s[i, :lengths[i]].sort(descending=True).values[:-(-lengths[i] // 4)]
        terms += [-v.log() if abnormal[i] else -(1 - v).log() for v in values]
        if not abnormal[i]:
            variances.append(s[i, :lengths[i]].var())
    assert torch.isclose(arnet_loss(s, mask, abnormal), torch.stack(terms).mean() + 20 * torch.stack(variances).mean())


def losses(s, z, mask, abnormal):
    return [mil_loss(s, mask, abnormal), mil_loss(s, mask, abnormal, "index"), arnet_loss(s, mask, abnormal), srf_loss(s, z, mask, abnormal, torch.Generator().manual_seed(0))]


def test_padding_counts_nowhere():
    s, z, mask, abnormal, _ = batch()
    s.requires_grad_(), z.requires_grad_()
    first = losses(s, z, mask, abnormal)
    sum(first).backward()
    assert s.grad[~mask].abs().max() == 0 and z.grad[~mask].abs().max() == 0 and s.grad[mask].abs().max() > 0
    with torch.no_grad():
        other_s, other_z = torch.where(mask, s, .99), torch.where(mask[..., None], z, 100.)
    assert all(torch.isclose(a, b) for a, b in zip(first, losses(other_s, other_z, mask, abnormal)))


def test_two_means_finds_what_scikit_learn_finds():
    generator = torch.Generator().manual_seed(1)
    z = torch.cat([torch.randn(4, 20, 6, generator=generator), 4 + torch.randn(4, 10, 6, generator=generator)], 1)
    mask = torch.ones(4, 30, dtype=torch.bool)
    mask[2, 27:] = False
    split, distance = two_means(z, mask, generator)
    for i in range(4):
        points = z[i][mask[i]].numpy()
        known = KMeans(2, n_init=10, random_state=0).fit(points)
        same = (known.labels_ == split[i][mask[i]].numpy()).mean()
        assert same in (0, 1)
        assert np.isclose(np.linalg.norm(known.cluster_centers_[0] - known.cluster_centers_[1]), distance[i].item(), rtol=1e-4)


def test_two_means_finds_the_event_though_units_are_dropped():
    "With 60 % of the units dropped some clip is always far from all: no group may be that one alone."
    generator = torch.Generator().manual_seed(0)
    z = torch.relu(torch.randn(20, 40, 128, generator=generator))
    z[:, :8, :40] += 2                                                     # the event: 8 of 40 clips
    z = z * (torch.rand(z.shape, generator=generator) < .4) / .4
    split, _ = two_means(z, torch.ones(20, 40, dtype=torch.bool), generator)
    assert ((split[:, :8].mean(1) - split[:, 8:].mean(1)).abs() == 1).all()


def test_srf_loss_is_the_loop_over_videos():
    s, z, mask, abnormal, lengths = batch(4)
    found = srf_loss(s, z, mask, abnormal, torch.Generator().manual_seed(3))
    split, distance = two_means(z, mask, torch.Generator().manual_seed(3))
    total = 0
    for i in range(6):
        b, v = split[i, :lengths[i]], s[i, :lengths[i]]
        y = (b if v[b == 1].mean() >= v[b == 0].mean() else 1 - b) * abnormal[i]
        total += ((v - y) ** 2).mean() + .05 * (1 / (distance[i] + 1e-8) if abnormal[i] else min(distance[i], 1))
    assert torch.isclose(found, total / 3)


def test_gradient_flows_through_the_centres_unless_the_bug_is_on():
    _, z, mask, abnormal, _ = batch()
    s = torch.full(mask.shape, .5, dtype=z.dtype)
    for bug in (False, True):
        z = z.detach().requires_grad_()
        loss = srf_loss(s, z, mask, abnormal, torch.Generator().manual_seed(0), bug_detached=bug)
        assert loss.requires_grad != bug
        if not bug:
            loss.backward()
            assert z.grad.abs().max() > 0


@pytest.mark.parametrize("orientation", ["mean", "cosine"])
def test_orientation_is_the_loop_over_videos(orientation):
    s, _, mask, _, lengths = batch(2)
    split = (torch.rand(mask.shape, generator=torch.Generator().manual_seed(5)) < .5).float() * mask
    found = orient(split, s, mask, orientation)
    for i, length in enumerate(lengths):
        b, v = split[i, :length].double(), s[i, :length]
        one, other = (b @ v / b.sum(), (1 - b) @ v / (1 - b).sum()) if orientation == "mean" else (torch.cosine_similarity(b, v, 0), torch.cosine_similarity(1 - b, v, 0))
        if 0 < b.sum() < length:
            assert torch.equal(found[i, :length].double(), b if one >= other else 1 - b)
        assert not found[i, length:].any()


def test_official_complement_never_flips():
    generator = torch.Generator().manual_seed(0)
    split = (torch.rand(2000, 32, generator=generator) < .5).float()
    scores, mask = torch.rand(2000, 32, generator=generator), torch.ones(2000, 32, dtype=torch.bool)
    official = torch.cosine_similarity(split - 1, scores, dim=1) > torch.cosine_similarity(split, scores, dim=1)    # b - 1 for the complement
    assert not official.any() and torch.equal(orient(split, scores, mask, "never"), split)
    flipped = (orient(split, scores, mask) != split).any(1)
    assert 500 < flipped.sum() < 1500
    assert torch.equal(orient(split, scores, mask)[flipped], 1 - split[flipped])


def test_cosine_prefers_the_larger_group_and_the_mean_does_not():
    split, mask = (torch.arange(32) < 28).float()[None], torch.ones(1, 32, dtype=torch.bool)
    scores = .5 + .3 * (1 - split)                                        # the four clips of the event score higher
    assert torch.equal(orient(split, scores, mask, "cosine"), split) and torch.equal(orient(split, scores, mask, "mean"), 1 - split)


def test_pseudo_labels_are_those_of_the_video_for_a_while():
    settings = load_preset(HOSTS["srf"].settings_class, "smoke", dict(epochs=10, dropout=0.))
    s, z, mask, abnormal, _ = batch(3)
    early, late = (settings.loss(s, z, mask, abnormal, torch.Generator().manual_seed(1), settled) for settled in (False, True))
    assert early == srf_loss(s, z, mask, abnormal, torch.Generator().manual_seed(1), "video") and late == srf_loss(s, z, mask, abnormal, torch.Generator().manual_seed(1), "mean") != early
    objective = WeakObjective(settings, Videos(synthetic_bags().train))
    assert objective.total == 10 * 6


def test_equal_clips_do_not_break_the_clustering():
    z, mask = torch.zeros(2, 4, 3, requires_grad=True), torch.ones(2, 4, dtype=torch.bool)
    loss = srf_loss(torch.full((2, 4), .5, requires_grad=True), z, mask, torch.tensor([True, False]))
    loss.backward()
    assert torch.isfinite(loss) and torch.isfinite(z.grad).all()


def test_parameter_counts_and_published_width():
    assert sum(p.numel() for p in Head(4096).parameters()) == 4096 * 512 + 512 + 512 * 32 + 32 + 32 + 1
    assert sum(p.numel() for p in Head(2048, 2048, 0, .7).parameters()) == 2048 * 2048 + 2048 + 2048 + 1


def test_long_videos_are_cut_as_in_arnet():
    bags = [Bag(f"v{i}", i == 0, np.arange(500, dtype=np.float32)[:, None] + 1000 * i) for i in range(2)] + [Bag("short", False, np.full((7, 1), -1.))]
    videos = Videos(bags, longest=300)
    rows, mask = videos.rows(torch.arange(3), torch.Generator().manual_seed(0))
    values = videos.features[rows][..., 0]
    assert rows.shape == (3, 300) and mask.sum(1).tolist() == [300, 300, 7]
    assert (values[0].diff() >= 0).all() and values[0, 0] < 3 and values[0, -1] > 495       # spread over the whole video
    assert (values[1].diff() == 1).all() and values[1, 0] >= 1000                           # one piece of it
    assert videos.rows(torch.arange(2))[0].shape == (2, 500)


def test_an_epoch_shows_every_abnormal_video():
    videos = Videos(synthetic_bags().train)
    batches = draw_batches(videos, 25, 2, torch.Generator().manual_seed(0))
    strange = torch.cat([b[videos.abnormal[b]] for b in batches])
    assert torch.equal(strange.sort().values, videos.abnormal_ids.repeat_interleave(2))
    assert all((~videos.abnormal[b]).sum() == videos.abnormal[b].sum() == len(b[~videos.abnormal[b]].unique()) for b in batches)


def test_batched_scores_are_those_of_single_videos():
    bags = synthetic_bags().train
    objective = WeakObjective(load_preset(HOSTS["srf"].settings_class), Videos(bags)).eval()
    scores, z, mask, _ = objective.score_videos(torch.tensor([3, 90]))
    for row, i in enumerate((3, 90)):
        alone, hidden = objective.head(torch.from_numpy(bags[i].features))
        assert torch.allclose(scores[row, :len(alone)], alone, atol=1e-6) and torch.allclose(z[row, :len(alone)], hidden, atol=1e-6)
        assert mask[row].sum() == len(alone)


@pytest.mark.parametrize("name", HOSTS)
def test_same_seed_same_bytes_and_resume(name, tmp_path):
    scene = synthetic_bags()
    settings = load_preset(HOSTS[name].settings_class, "smoke", dict(epochs=4))
    runs = [HOSTS[name](settings).fit(scene, Run(tmp_path / str(i)), 3) for i in range(2)]
    assert runs[0].weights.read_bytes() == runs[1].weights.read_bytes()
    assert runs[0].history_file.read_bytes() == runs[1].history_file.read_bytes()
    score = HOSTS[name](settings).load(runs[0]).score(scene.test[0])
    assert len(score) == 16 * len(scene.test[0]) and np.isfinite(score).all() and 0 <= score.min() <= score.max() <= 1


def test_wrong_input_is_refused(tmp_path):
    with pytest.raises(SettingsError, match="pairing"):
        MIL(MILSettings(pairing="some"))
    with pytest.raises(SettingsError, match="orientation"):
        HOSTS["srf"](replace(HOSTS["srf"].settings_class(), orientation="up"))
    method = MIL(load_preset(MILSettings, "smoke", dict(epochs=1)))
    method.fit(synthetic_bags(), Run(tmp_path / "run"))
    with pytest.raises(TrainingError, match="16"):
        method.score(Bag("other", False, np.zeros((4, 5))))
