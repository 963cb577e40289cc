"""The log-density network, its loss and its scores, against the published loop."""
from dataclasses import replace

import numpy as np
import pytest
import torch
from sklearn.metrics import roc_auc_score
from sklearn.mixture import GaussianMixture

from vad_nb.core import SettingsError, TrainingError, reduced_precision
from vad_nb.data.mixtures import Mixture, hard_set, toy_set
from vad_nb.methods.mulde import (
    Aggregate, GeluSlope, LogDensity, MuldeObjective, MuldeSettings, ScoreNetwork, all_scales,
    density_map, fit_features, make_network, scale_grid, score_matching_loss, truth_errors)
from vad_nb.methods.sigma import gaussian_weight, make_sampler, square_weight

SMALL = MuldeSettings(units=(32, 32), epochs=3, batch_size=500)


# ---- the published loop, in its plain form: the oracle, and what benchmark_mulde.py compares with

def published_loss(network, x, noise, sigma, weight=square_weight, beta=.1):
    "A gradient of a gradient."
    noisy = (x + sigma[:, None]*noise).requires_grad_()
    slope, = torch.autograd.grad(network(noisy, sigma).sum(), noisy, create_graph=True)
    return (weight(sigma)*((slope - noise/sigma[:, None])**2).sum(1)).mean()/2 + beta/2*(network(x, sigma)**2).mean()


def published_step(network, optimizer, x, random, low=1e-3, high=1., beta=.1):
    "One step: scales from numpy, a gradient of a gradient, the norm of every gradient brought to the host, numbers in lists."
    sigma = torch.from_numpy(np.exp(random.uniform(np.log(low), np.log(high), len(x)))).float()
    loss = published_loss(network, x, torch.randn_like(x), sigma, beta=beta)
    optimizer.zero_grad()
    loss.backward()
    norms = [p.grad.norm().item() for p in network.parameters()]
    optimizer.step()
    return loss.item(), norms


def published_scores(network, x, sigmas):
    "One pass with a graph for each scale, numbers collected sample by sample; -> (N, L) log-densities and squared norms."
    densities, norms = [], []
    for sigma in sigmas:
        clean = x.clone().requires_grad_()
        density = network(clean, sigma.expand(len(x)))
        slope, = torch.autograd.grad(density.sum(), clean, create_graph=True, retain_graph=True)
        densities.append([value.item() for value in density])
        norms.append([value.item() for value in (slope**2).sum(1)])
    return torch.tensor(densities).T, torch.tensor(norms).T


def gradients(network, loss):
    network.zero_grad()
    loss.backward()
    return [torch.zeros_like(p) if p.grad is None else p.grad.clone() for p in network.parameters()]


def batch(rows, dims, dtype=torch.float32, seed=0):
    generator = torch.Generator().manual_seed(seed)
    x, noise = (torch.randn(rows, dims, generator=generator, dtype=dtype) for _ in range(2))
    return x, noise, torch.rand(rows, generator=generator, dtype=dtype)*.999 + 1e-3


# ---- network and loss

def test_gelu_slope_has_exact_derivatives():
    z, delta = (torch.randn(50, dtype=torch.float64, requires_grad=True) for _ in range(2))
    assert torch.autograd.gradcheck(GeluSlope.apply, (delta, z))
    plain, = torch.autograd.grad(torch.nn.functional.gelu(z).sum(), z)
    assert torch.allclose(GeluSlope.apply(torch.ones_like(z), z), plain)


@pytest.mark.parametrize("units", [(16,), (24, 16), (16, 24, 8)])
@pytest.mark.parametrize("dims", [1, 5])
def test_slope_is_the_gradient(dims, units):
    torch.manual_seed(1)
    network, (x, _, sigma) = LogDensity(dims, units).double(), batch(40, dims, torch.float64)
    automatic, = torch.autograd.grad(network(x.requires_grad_(), sigma, torch.float64).sum(), x)
    assert torch.allclose(network.slope(x, sigma, torch.float64), automatic, rtol=1e-10, atol=1e-12)


@pytest.mark.parametrize("weight", [square_weight, gaussian_weight])
@pytest.mark.parametrize("beta", [0., .1])
@pytest.mark.parametrize("dtype, tolerance", [(torch.float64, 1e-10), (torch.float32, 1e-5)])
def test_loss_and_gradients_are_the_published_ones(weight, beta, dtype, tolerance):
    torch.manual_seed(2)
    network, (x, noise, sigma) = LogDensity(4, (48, 32)).to(dtype), batch(300, 4, dtype)
    published = published_loss(lambda x, sigma: network(x, sigma, dtype), x, noise, sigma, weight, beta)
    ours = score_matching_loss(network, x, noise, sigma, weight, beta, dtype)["loss"]
    assert torch.isclose(ours, published, rtol=tolerance)
    for one, two in zip(gradients(network, ours), gradients(network, published)):
        assert torch.allclose(one, two, rtol=tolerance, atol=tolerance*float(two.abs().max()))


def test_loss_of_a_flat_network():
    "Where f is 0 the matching loss is half the mean squared noise, and every sample has unexplained its own."
    network, (x, noise, sigma) = LogDensity(3, (8,)), batch(5000, 3)
    for p in network.last.parameters(): torch.nn.init.zeros_(p)
    values = score_matching_loss(network, x, noise, sigma, square_weight)
    assert torch.isclose(values["matching"], noise.square().sum(1).mean()/2, rtol=1e-4) and values["penalty"] == 0
    assert torch.allclose(values["unexplained"], noise.square().mean(1), rtol=1e-3)


def test_penalty_is_half_beta_times_the_clean_square():
    network, (x, noise, sigma) = LogDensity(3, (8,)), batch(100, 3)
    assert torch.isclose(score_matching_loss(network, x, noise, sigma, square_weight, beta=.4)["penalty"], .2*network(x, sigma).square().mean())
    assert score_matching_loss(ScoreNetwork(3, (8,)), x, noise, sigma, square_weight, beta=.4)["penalty"] == 0


def test_bfloat16_is_near():
    torch.manual_seed(0)
    network, (x, noise, sigma) = LogDensity(2, (64, 64)), batch(500, 2)
    exact, rough = (gradients(network, score_matching_loss(network, x, noise, sigma, square_weight, dtype=dtype)["loss"]) for dtype in (torch.float32, torch.bfloat16))
    for one, two in zip(exact, rough): assert torch.nn.functional.cosine_similarity(one.flatten(), two.flatten(), 0) > .999


# ---- scores

@pytest.mark.parametrize("block", [1, 4096, 2**19])
def test_scores_are_the_published_ones(block):
    torch.manual_seed(3)
    network, x, sigmas = LogDensity(5, (40, 24)), batch(70, 5)[0], torch.linspace(.001, 1, 16)
    found = all_scales(network, x, sigmas, block=block)
    for ours, published in zip((found["log_density"], found["score_norm"]), published_scores(network, x, sigmas)):
        assert torch.allclose(ours, published, rtol=1e-5, atol=1e-5*float(published.abs().max())) and not ours.requires_grad
    alone = all_scales(network, x, sigmas, norms=False, block=block)
    assert list(alone) == ["log_density"] and torch.equal(alone["log_density"], found["log_density"])


def test_score_network_scores():
    torch.manual_seed(3)
    network, x, sigmas = ScoreNetwork(5, (16, 16)), batch(30, 5)[0], torch.tensor([.1, .7])
    found = all_scales(network, x, sigmas)
    assert list(found) == ["score_norm"]
    for i, sigma in enumerate(sigmas): assert torch.allclose(found["score_norm"][:, i], network.slope(x, sigma.expand(30)).square().sum(1), atol=1e-6)


def test_scale_grids():
    settings, sampler = MuldeSettings(), make_sampler("log-gaussian")
    grid = scale_grid(settings)
    assert len(grid) == 16 and grid[5] == torch.tensor(.334) and grid[0] == torch.tensor(.001) and grid[-1] == 1
    assert torch.allclose(scale_grid(replace(settings, grid="logspace")).log().diff(), torch.tensor(np.log(1000)/15).float(), rtol=1e-4)
    quantiles = scale_grid(replace(settings, grid="quantiles"), sampler)
    assert np.allclose(sampler.cumulative(quantiles.double().numpy()), (np.arange(16) + .5)/16, atol=1e-6)
    with pytest.raises(SettingsError, match="linspace"): scale_grid(replace(settings, grid="even"))


def test_aggregates():
    random = np.random.default_rng(0)
    training, scores = random.normal(5, [1, 2, 3, 4], (500, 4)), random.normal(6, 3, (50, 4))
    standard = (scores - training.mean(0))/training.std(0)
    for kind, plain in (("max", standard.max(1)), ("mean", standard.mean(1)), ("median", np.median(standard, 1))):
        assert np.allclose(Aggregate(kind).fit(training)(scores), plain)
    raw = GaussianMixture(3, random_state=4).fit(training)
    assert np.allclose(Aggregate("gmm3-raw").fit(training, 4)(scores), -raw.score_samples(scores), rtol=1e-4)
    for kind in Aggregate.KINDS:
        fitted = Aggregate(kind).fit(training)
        assert np.array_equal(fitted(scores), Aggregate(kind).fit(training)(scores))
        assert np.allclose(Aggregate(kind).load_state(fitted.state())(scores), fitted(scores))
    with pytest.raises(SettingsError, match="gmm5"): Aggregate("gmm4")


# ---- training

def test_same_random_seed_same_bytes():
    features = toy_set(train=1000, test=10).train
    one, two, other = (fit_features(features, SMALL, seed, "cpu").network.state_dict() for seed in (0, 0, 1))
    assert all(torch.equal(one[name], two[name]) for name in one)
    assert not torch.equal(one["last.weight"], other["last.weight"])


@pytest.mark.parametrize("network", ["log-density", "score"])
@pytest.mark.parametrize("sampler", ["adaptive", "log-uniform+log-gaussian"])
def test_training_lowers_the_loss(network, sampler):
    epochs, features = [], toy_set(train=2000, test=10).train
    settings = replace(SMALL, network=network, sampler=sampler, epochs=40, learning_rate=5e-3, average=.9)
    fitted = fit_features(features, settings, device="cpu", after_epoch=lambda epoch, fitted, losses: epochs.append(epoch))
    x, generator = fitted.network.standardise(torch.from_numpy(features)), torch.Generator().manual_seed(9)
    noise, sigma = torch.randn(x.shape, generator=generator), make_sampler("log-uniform", .1, 1).sample(len(x), generator)
    after = score_matching_loss(fitted.network, x, noise, sigma, square_weight)["matching"]
    assert epochs == list(range(1, 41)) and after < .85*noise.square().sum(1).mean()/2 # what a flat network would have


def test_objective_state_holds_the_sampler(tmp_path):
    settings = replace(SMALL, sampler="adaptive")
    features = torch.from_numpy(toy_set(train=1000, test=10).train)
    trained = MuldeObjective(make_network(features, settings), settings)
    for _ in range(5): trained(trained.network.standardise(features), torch.Generator().manual_seed(0))
    torch.save(trained.state_dict(), tmp_path/"state.pt")
    fresh = MuldeObjective(make_network(torch.randn(9, 2), settings), settings)
    fresh.load_state_dict(torch.load(tmp_path/"state.pt", weights_only=True))
    assert np.array_equal(fresh.sampler.shares, trained.sampler.shares) and not np.allclose(fresh.sampler.loss, 1)
    assert torch.equal(fresh.network.mean, trained.network.mean)


def test_broken_features_and_settings_are_refused():
    features = toy_set(train=300, test=10).train
    with pytest.raises(TrainingError, match="loss is"): fit_features(np.where(np.arange(600).reshape(300, 2) == 7, np.nan, features), SMALL, device="cpu")
    for wrong, word in ((dict(network="mlp"), "log-density"), (dict(sampler="normal"), "log-uniform"), (dict(weight="one"), "square")):
        with pytest.raises(SettingsError, match=word): fit_features(features, replace(SMALL, **wrong), device="cpu")


def test_truth_of_a_single_gaussian():
    "After a short training f follows the exact energy of a Gaussian, and its slope the exact score."
    mixture = Mixture(np.zeros((1, 2)), np.ones((1, 2)), np.ones(1))
    settings = MuldeSettings(units=(64, 64), epochs=25, batch_size=500, learning_rate=5e-3, beta=0.)
    network = fit_features(mixture.sample(5000, 0), settings, device="cpu", dtype=torch.float32).network
    exact = mixture.standardise(network.mean.double().numpy(), network.std.double().numpy())
    rows = truth_errors(network, exact, (.1, .33, 1.))
    assert min(row["cosine"] for row in rows) > .97 and max(row["rmse"]/row["spread"] for row in rows) < .3


def test_truth_errors_of_the_truth_are_zero():
    mixture = hard_set(train=10, test=10, dims=3).normal
    class Exact:
        def __call__(self, x, sigma): return torch.from_numpy(mixture.energy(x.double().numpy(), float(sigma[0]))) + 7
        def slope(self, x, sigma): return torch.from_numpy(mixture.score(x.double().numpy(), float(sigma[0])))
    for row in truth_errors(Exact(), mixture, (.01, .5), points=50): assert row["rmse"] < 1e-9 and row["cosine"] > 1 - 1e-9


def test_density_map_reads_rows_as_x():
    torch.manual_seed(0)
    network = LogDensity(2, (16,))
    mesh, values = density_map(network, .3, margin=2, size=5)
    assert torch.allclose(values[4, 0], network(network.standardise(torch.tensor([[2., -2.]])), torch.tensor([.3]))[0], atol=1e-6)


@pytest.mark.skipif(not reduced_precision(torch.device("cpu")), reason="this processor does not compute in bfloat16")
def test_bfloat16_keeps_the_area():
    "The area under the curve with half-width products, in training and in scoring, stays within 1e-3."
    data, settings = toy_set(train=4000, test=2000), MuldeSettings(units=(64, 64), epochs=20, batch_size=500, learning_rate=5e-3)
    network = fit_features(data.train, settings, device="cpu", dtype=torch.bfloat16).network
    x, sigmas = network.standardise(torch.from_numpy(data.test)), scale_grid(settings)[3:]
    exact, rough = (all_scales(network, x, sigmas, dtype=dtype) for dtype in (torch.float32, torch.bfloat16))
    for score in exact:
        for one, two in zip(exact[score].T, rough[score].T): assert abs(roc_auc_score(data.labels, one) - roc_auc_score(data.labels, two)) < 1e-3
