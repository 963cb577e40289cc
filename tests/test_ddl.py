"""DDL against loops written word for word, its limits, and what must not count as a training."""
import numpy as np
import pytest
import torch

from vad_nb.core import SettingsError, TrainingError
from vad_nb.data.linking import Tracks
from vad_nb.data.video import Clip
from vad_nb.methods.ddl import DDL, DDLObjective, DDLSettings, Windows
from vad_nb.methods.ddl_losses import (
    box_mask, distinction_loss, draw_noise, pixel_distance, pseudo_anomaly)
from vad_nb.training.run import Run
from vad_nb.training.train import epoch_generator, train

CPU = torch.device("cpu")
SMALL = dict(size=(32, 48), width=8, epochs=1, batch_size=4)


def a_clip(length=8, name="a", channels=3):
    return Clip(name, np.random.default_rng(0).integers(0, 256, (length, 32, 48, channels), dtype=np.uint8), 25.0)


def one_object(frames, track=0):
    frames = np.asarray(frames)
    return Tracks(frames, np.full(len(frames), track), np.tile(np.array([[0.25, 0.25, 0.5, 0.75]], np.float32), (len(frames), 1)))


@pytest.mark.parametrize("seed", range(20))
def test_box_mask_equals_slicing(seed):
    rng = np.random.default_rng(seed)
    boxes = np.sort(rng.random((3, 2, 2, 2)), axis=2).reshape(3, 2, 4)[..., [0, 1, 2, 3]]
    mask = box_mask(torch.tensor(boxes, dtype=torch.float32), 20, 30)
    expected = np.zeros((3, 1, 2, 20, 30))
    for b in range(3):
        for t in range(2):
            x0, y0, x1, y1 = (np.float32(boxes[b, t]) * np.float32([30, 20, 30, 20])).astype(int)
            expected[b, 0, t, y0:y1, x0:x1] = 1
    assert np.array_equal(mask.numpy(), expected)


@pytest.mark.parametrize("seed", range(5))
def test_distinction_loss_equals_loops(seed):
    generator = epoch_generator(seed, 0)
    clean, pseudo, recon = (torch.rand(2, 3, 5, 6, generator=generator) for _ in range(3))
    mask = (torch.rand(2, 1, 5, 6, generator=generator) < 0.3).float()
    ratios, near, far = [], 0, 0
    for b in range(2):
        for i in range(5):
            for j in range(6):
                if mask[b, 0, i, j]:
                    p = ((clean[b, :, i, j] - recon[b, :, i, j]) ** 2).mean().sqrt()
                    n = ((pseudo[b, :, i, j] - recon[b, :, i, j]) ** 2).mean().sqrt()
                    ratios.append((p + 1e-6) / (n + 1e-6))
                    near, far = near + 3 * p ** 2, far + 3 * n ** 2
    assert torch.isclose(distinction_loss(clean, pseudo, recon, mask), torch.stack(ratios).mean(), rtol=1e-5)
    assert torch.isclose(distinction_loss(clean, pseudo, recon, mask, "ratio_of_norms"), near.sqrt() / far.sqrt(), rtol=1e-4)


@pytest.mark.parametrize("form", ["per_pixel", "ratio_of_norms"])
def test_gradients_are_finite_where_a_distance_is_zero(form):
    clean = torch.rand(1, 3, 4, 4)
    recon = clean.clone().requires_grad_()
    distinction_loss(clean, clean + 0.1, recon, torch.ones(1, 1, 4, 4), form).backward()
    assert recon.grad.isfinite().all()


def test_reconstruction_distance_is_the_root_mean_square_over_channels():
    a, b = torch.rand(2, 3, 4, 4), torch.rand(2, 3, 4, 4)
    assert torch.allclose(pixel_distance(a, b), (a - b).square().mean(1).sqrt())


@pytest.mark.parametrize("law, mean, low, high", [("uniform", 0.5, 0, 1), ("normal", 0.5, 0, 1)])
def test_noise_laws(law, mean, low, high):
    noise = draw_noise(torch.zeros(2, 3, 3, 64, 64), epoch_generator(0, 0), law)
    assert abs(noise.mean() - mean) < 0.01 and noise.min() >= low and noise.max() <= high
    assert abs(noise.std() - (1 / 12 ** 0.5 if law == "uniform" else 0.24)) < 0.01
    assert not torch.equal(noise[:, 0], noise[:, 1]), "channels are independent"


def test_the_weight_gets_the_gradient_of_the_definition():
    clean, noise, mask = torch.rand(1, 3, 3, 4, 4), torch.rand(1, 3, 3, 4, 4), torch.ones(1, 1, 3, 4, 4)
    weight = torch.tensor(0.3, requires_grad=True)
    pseudo_anomaly(clean, mask, noise, weight).sum().backward()
    assert torch.isclose(weight.grad, (noise - clean).sum(), rtol=1e-4)


def test_a_window_has_the_objects_that_are_in_all_its_frames():
    settings = DDLSettings(**SMALL)
    windows = Windows([a_clip(6)], settings, CPU, {"a": one_object([0, 1, 2, 3])})
    assert windows.counts.tolist() == [1, 1, 0, 0] and windows.names[1] == "a[1:4]"
    boxes = windows.box(torch.arange(4), epoch_generator(0, 0))
    assert boxes[:2].any() and not boxes[2:].any()


def test_candidates_are_drawn_uniformly_and_from_their_own_window():
    tracks = Tracks(np.repeat(np.arange(3), 4), np.tile(np.arange(4), 3), np.tile(np.arange(1, 5, dtype=np.float32)[:, None] / 8, (3, 4)))
    other = one_object(range(3))
    windows = Windows([a_clip(3), a_clip(3, "b")], DDLSettings(**SMALL), CPU, {"a": tracks, "b": other})
    drawn = windows.box(torch.zeros(4000, dtype=torch.long), epoch_generator(0, 0))[:, 0, 0] * 8
    assert np.allclose(np.bincount(drawn.long().numpy(), minlength=5)[1:] / 4000, 0.25, atol=0.03)
    assert torch.equal(windows.box(torch.ones(1, dtype=torch.long), epoch_generator(0, 0))[0, 0], torch.tensor([0.25, 0.25, 0.5, 0.75]))


def test_empty_masks_are_counted_item_by_item_and_still_reconstructed():
    settings = DDLSettings(**SMALL)
    torch.manual_seed(0)
    objective = DDLObjective(settings, Windows([a_clip(8)], settings, CPU, {"a": one_object([0, 1, 2])}))
    values = objective(torch.tensor([0, 5]), epoch_generator(0, 0))
    assert values["samples"] == 2 and values["skipped"] == 1 and values["reconstruction"] > 0 and values["distinction"] > 0


def test_boxes_of_other_data_are_an_error(tmp_path):
    settings = DDLSettings(**SMALL)
    windows = Windows([a_clip(8)], settings, CPU, {"a": one_object([])})
    with pytest.raises(TrainingError, match="skipped 6 of 6.*boxes"):
        train(Run(tmp_path), DDLObjective(settings, windows), lambda epoch, generator: [torch.arange(6)], 1, 0.01)
    assert not (tmp_path / "weights.safetensors").exists()


@pytest.mark.parametrize("anomaly, columns", [("ddl", {"sigma", "distinction"}), ("sdl", {"sigma", "distinction"}), ("none", set())])
def test_ablations(anomaly, columns):
    settings = DDLSettings(**SMALL, anomaly=anomaly)
    torch.manual_seed(0)
    objective = DDLObjective(settings, Windows([a_clip(8)], settings, CPU, {"a": one_object(range(8))}))
    values = objective(torch.arange(3), epoch_generator(0, 0))
    values["loss"].backward()
    assert columns <= values.keys() and ("sigma" in values) == bool(columns)
    assert (objective.l.grad is not None) == (anomaly == "ddl")
    if anomaly == "sdl":
        assert values["sigma"] == 0.5


@pytest.mark.parametrize("network", ["c3dsu", "unet"])
@pytest.mark.parametrize("batch", [1, 2, 3, 7, 50])
def test_scoring_encodes_once_and_gives_what_every_window_gives(network, batch):
    torch.manual_seed(0)
    method = DDL(DDLSettings(**SMALL, network=network))
    method.objective = DDLObjective(method.settings).eval()
    clip, x = a_clip(9), torch.from_numpy(a_clip(9).frames).permute(3, 0, 1, 2)[None] / 255
    with torch.no_grad(), torch.autocast("cpu", torch.bfloat16, enabled=torch.cpu._is_avx512_bf16_supported()):
        each = torch.cat([method.objective.net(x[:, :, k:k + 3]) for k in range(7)]).float()
    pairs = list(method.reconstruct(clip, batch))
    assert torch.allclose(torch.cat([recon for _, recon in pairs]), each, atol=2e-2)
    assert torch.allclose(torch.cat([clean for clean, _ in pairs]), x[0, :, 1:-1].transpose(0, 1))
    assert len(method.score(clip)) == 9


@pytest.mark.parametrize("network, frames", [("c3dsu", 3), ("unet", 3), ("c3dsu", 5), ("c3dsu", 1)])
def test_scores_of_a_stream_are_those_of_the_clip_as_frames_arrive(network, frames):
    torch.manual_seed(0)
    method = DDL(DDLSettings(**SMALL, network=network, frames=frames))
    method.objective = DDLObjective(method.settings).eval()
    clip, known, taken = a_clip(9), [], 0
    def camera():
        nonlocal taken
        for frame in clip.frames:
            taken += 1
            yield frame
    for scores in method.score_stream(camera()):
        known += scores.tolist()
        assert len(known) == taken - frames + 1
    whole = method.score(clip)[frames//2:9 - frames//2]
    assert np.allclose(known, whole, atol=2e-3) and len(known) == len(whole)


def test_a_step_never_asks_the_device_for_a_number(tmp_path):
    "Between two looks at the losses nothing is brought to the host: on a GPU such a look waits for all work in flight."
    from torch.utils._python_dispatch import TorchDispatchMode
    asked = []
    class Watch(TorchDispatchMode):
        def __torch_dispatch__(self, function, types, arguments=(), options=None):
            if str(function).startswith(("aten._local_scalar_dense", "aten.nonzero", "aten.masked_select", "aten.is_nonzero")):
                asked.append(str(function))
            return function(*arguments, **(options or {}))
    settings = DDLSettings(**SMALL)
    objective = DDLObjective(settings, Windows([a_clip(8)], settings, CPU, {"a": one_object(range(8))}))
    counts = []
    def batches(epoch, generator):
        for k in range(4):
            counts.append(len(asked))
            yield torch.arange(k, k + 2)
    class Steps:
        def __len__(self): return 4
        def __iter__(self): return batches(0, None)
    run = Run(tmp_path)
    run.write_json("config.json", {})
    with Watch():
        train(run, objective, lambda epoch, generator: Steps(), 1, 0.01, average=0.9, flush_every=100)
    assert counts[1:] == [counts[1]]*3, asked


def test_sizes_that_do_not_halve_four_times_are_refused():
    with pytest.raises(SettingsError, match="100x100.*16"):
        DDL(DDLSettings(size=(100, 100)))
    with pytest.raises(SettingsError, match="width 4.*8"):
        DDL(DDLSettings(width=4))


def test_grey_clips_train_three_channels():
    windows = Windows([a_clip(5, channels=1)], DDLSettings(**SMALL), CPU, {"a": one_object(range(5))})
    x = windows.clean(torch.arange(2))
    assert x.shape == (2, 3, 3, 32, 48) and torch.equal(x[:, 0], x[:, 2])


def test_grey_learns_and_scores_luminance_alone(tmp_path):
    """Colour that leaves the luminance as it is changes nothing where `grey` is set, and something where it is not."""
    import cv2
    from vad_nb.data.video import clip_tensor
    clip = a_clip(6)
    grey = Clip("a", np.stack([cv2.cvtColor(frame, cv2.COLOR_RGB2GRAY)[..., None] for frame in clip.frames]), 25.0)
    settings = DDLSettings(**SMALL, grey=True)
    one, other = (Windows([each], settings, CPU, {"a": one_object(range(6))}) for each in (clip, grey))
    assert torch.equal(one.frames, other.frames) and one.frames.shape[1] == 1
    method = DDL(settings)
    torch.manual_seed(0)
    method.objective = DDLObjective(settings).eval()
    assert np.array_equal(method.score(clip), method.score(grey))
    coloured = DDL(DDLSettings(**SMALL))
    coloured.objective = method.objective
    assert not np.array_equal(coloured.score(clip), coloured.score(grey))
    assert torch.equal(clip_tensor(clip, (32, 48), 1), one.frames)


def test_an_epoch_of_some_windows_draws_them_anew(tmp_path):
    settings = DDLSettings(**dict(SMALL, epochs=3, batch_size=1), windows=5)
    method = DDL(settings)
    assert method.steps(type("Data", (), {"train": [a_clip(12)]})) == 15
    assert DDL(DDLSettings(**SMALL)).steps(type("Data", (), {"train": [a_clip(12)]})) == 3   # all ten, in batches of four
