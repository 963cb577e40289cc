"""Noise scales: densities, quantiles and draws of every sampler against each other and against closed forms."""
import math

import numpy as np
import pytest
import torch
from scipy.integrate import quad
from scipy.stats import chisquare, kstest, lognorm, loguniform

from vad_nb.core import SettingsError
from vad_nb.data.mixtures import Mixture as PointMixture
from vad_nb.data.mixtures import hard_set, toy_set
from vad_nb.methods.sigma import (
    SAMPLERS, Adaptive, Emphasis, LogGaussian, LogUniform, Mixture, gaussian_weight,
    log_gaussian_parameters, make_sampler, make_weight, square_weight)

NAMES = [*SAMPLERS, "log-uniform+log-gaussian", "log-uniform+log-gaussian@0.2", "log-gaussian-log+emphasis", "log-uniform+adaptive@0.7"]


def ready(name):
    "The sampler of that name; an adaptive one has seen a loss that falls with the scale."
    sampler, generator = make_sampler(name), torch.Generator().manual_seed(5)
    for _ in range(300):
        sigma = sampler.sample(512, generator)
        sampler.update(sigma, 1/(1 + 20*sigma**2))
    return sampler


@pytest.mark.parametrize("name", NAMES)
def test_draws_follow_the_cumulative_distribution(name):
    sampler = ready(name)
    draws = sampler.sample(20_000, torch.Generator().manual_seed(0)).double().numpy()
    assert draws.min() > 0 and np.isfinite(draws).all()
    assert kstest(draws, sampler.cumulative).pvalue > 1e-3


@pytest.mark.parametrize("name", NAMES)
def test_histogram_follows_the_density(name):
    sampler = ready(name)
    draws = sampler.sample(20_000, torch.Generator().manual_seed(1)).double().numpy()
    edges = np.unique(np.quantile(draws, np.linspace(.01, .99, 31)))  # inner cells, all well filled
    fine = np.geomspace(edges[:-1], edges[1:], 2001)                 # midpoints rule in ln sigma within every cell
    middle = np.sqrt(fine[1:]*fine[:-1])
    share = (sampler.density(middle)*middle*np.diff(np.log(fine), axis=0)).sum(0)
    found = np.histogram(draws, edges)[0]
    rest, rest_share = 20_000 - found.sum(), 1 - share.sum()
    assert chisquare([*found, rest], 20_000*np.array([*share, rest_share])).pvalue > 1e-3


@pytest.mark.parametrize("name", NAMES)
def test_quantiles_invert_the_cumulative_distribution(name):
    sampler, share = ready(name), np.array([.003, .05, .31, .5, .77, .95, .997])
    sigma = sampler.quantile(share)
    assert (np.diff(sigma) > 0).all()
    assert np.allclose(sampler.cumulative(sigma), share, atol=1e-8)


@pytest.mark.parametrize("name", NAMES)
def test_density_is_the_slope_of_the_cumulative_distribution(name):
    sampler = ready(name)
    sigma = sampler.quantile(np.array([.11, .34, .52, .83])) # not at the edge of a bin
    step = 1e-5*sigma
    slope = (sampler.cumulative(sigma + step) - sampler.cumulative(sigma - step))/(2*step)
    assert np.allclose(sampler.density(sigma), slope, rtol=3e-3)


def test_against_scipy():
    sigma, share = np.geomspace(.002, .9, 9), np.linspace(.1, .9, 9)
    ours, theirs = LogUniform(1e-3, 1), loguniform(1e-3, 1)
    assert np.allclose(ours.density(sigma), theirs.pdf(sigma)) and np.allclose(ours.quantile(share), theirs.ppf(share))
    ours = LogGaussian.reading("moments")
    theirs = lognorm(ours.log_spread, scale=math.exp(ours.log_mean))
    assert np.allclose(ours.density(sigma), theirs.pdf(sigma)) and np.allclose(ours.quantile(share), theirs.ppf(share))


@pytest.mark.parametrize("reading, spread, median, low, high", [
    ("log", .075, .330, .285, .382), ("linear", .2192, .330, .215, .507), ("moments", .2244, .322, .207, .500)])
def test_the_three_readings(reading, spread, median, low, high):
    "The report's 0.33 and 0.075: width in ln sigma, median, central 95 %."
    assert abs(log_gaussian_parameters(reading=reading)[1] - spread) < 5e-5
    assert np.allclose(LogGaussian.reading(reading).quantile([.025, .5, .975]), [low, median, high], atol=6e-4)


def test_readings_keep_their_promises():
    moments, linear = (lognorm(s, scale=math.exp(m)) for m, s in map(lambda r: log_gaussian_parameters(reading=r), ("moments", "linear")))
    assert np.allclose([moments.mean(), moments.std()], [.33, .075])
    assert np.allclose([linear.median(), linear.std()], [.33, .075])


def test_the_mistaken_edit_leaves_the_range_of_scales():
    assert 1.38 < LogGaussian(.33, .075).quantile(.5) < 1.40 and LogGaussian(.33, .075).quantile(.001) > 1


def test_same_generator_same_scales():
    for name in NAMES:
        one, two = (ready(name).sample(100, torch.Generator().manual_seed(3)) for _ in range(2))
        assert torch.equal(one, two) and one.dtype == torch.float32


def test_mixture_is_its_parts():
    mixture = Mixture(LogUniform(), LogGaussian.reading("moments"), .3)
    sigma = np.geomspace(.002, .9, 7)
    assert np.allclose(mixture.density(sigma), .7*mixture.first.density(sigma) + .3*mixture.second.density(sigma))


def test_weights():
    sigma = torch.tensor([.1, .33, .6])
    assert torch.allclose(square_weight(sigma), sigma**2)
    assert torch.allclose(gaussian_weight(sigma)/sigma**2, torch.exp(-(sigma - .33)**2/(2*.075**2)))
    assert torch.isclose(gaussian_weight(sigma)[1], sigma[1]**2)


def test_emphasis_is_sampler_times_weight():
    emphasis, sampler = Emphasis(LogUniform()), LogUniform()
    def product(s): return float(sampler.density(s))*math.exp(-(s - .33)**2/(2*.075**2))
    total = quad(product, 1e-3, 1, points=[.2, .33, .5])[0]
    assert abs(emphasis.total - total) < 1e-5
    for sigma in (.15, .33, .45):
        assert abs(emphasis.density(np.array(sigma)) - product(sigma)/total) < 1e-3*product(sigma)/total + 1e-3
        assert abs(emphasis.cumulative(sigma) - quad(product, 1e-3, sigma)[0]/total) < 1e-3


def test_adaptive_starts_log_uniform_and_keeps_its_floor():
    sampler = Adaptive(rule="loss")
    assert np.allclose(sampler.quantile([.1, .5, .9]), LogUniform().quantile([.1, .5, .9]))
    for _ in range(2000): sampler.update(torch.full((64,), .5), torch.full((64,), 100.))
    assert sampler.shares.argmax() == np.searchsorted(sampler.edges, math.log(.5)) - 1
    assert np.isclose(sampler.shares.sum(), 1) and sampler.shares.min() >= sampler.floor/sampler.bins
    assert sampler.loss[0] == 1 # a bin without samples forgets nothing


def test_adaptive_state_restores_the_draws():
    for name in ("adaptive", "adaptive-explained", "log-uniform+adaptive"):
        old, new = ready(name), make_sampler(name)
        new.load_state(old.state())
        one, two = (sampler.sample(50, torch.Generator().manual_seed(2)) for sampler in (old, new))
        assert torch.equal(one, two)


@pytest.mark.parametrize("name, word", [("normal", "log-uniform"), ("log-uniform+normal", "log-gaussian"),
                                        ("log-uniform+log-gaussian@2", "between 0 and 1"), ("log-uniform+log-gaussian@x", "number")])
def test_unknown_names_are_refused(name, word):
    with pytest.raises(SettingsError, match=word): make_sampler(name)


def test_unknown_weight_rule_and_reading_are_refused():
    with pytest.raises(SettingsError, match="gaussian"): make_weight("cubic")
    with pytest.raises(SettingsError, match="explained"): Adaptive(rule="best")
    with pytest.raises(SettingsError, match="moments"): log_gaussian_parameters(reading="median")


def test_noised_mixture_against_a_sum_over_noise():
    "The closed form of the noised density equals the mean of the clean density over noise."
    mixture = PointMixture(np.array([[0., 1.], [2., 0.]]), np.array([[.5, .8], [.4, .3]]), np.array([.6, .4]))
    x, random = mixture.sample(5, 0).astype(np.float64), np.random.default_rng(0)
    noisy = x[:, None] + .7*random.standard_normal((1, 200_000, 2))
    mean = np.exp(-mixture.energy(noisy.reshape(-1, 2), 0.)).reshape(5, -1).mean(1)
    assert np.allclose(mean, np.exp(-mixture.energy(x, .7)), rtol=.02)


def test_standardised_mixture_is_the_mixture_of_standardised_points():
    mixture, mean, std = hard_set(train=10, test=10).normal, np.arange(16)/10, np.linspace(.5, 2, 16)
    x = mixture.sample(50, 1).astype(np.float64)
    assert np.allclose(mixture.standardise(mean, std).energy((x - mean)/std, 0), mixture.energy(x, 0) - np.log(std).sum())


def test_toy_set_is_reproducible_and_as_published():
    one, two = toy_set(3, train=500, test=200), toy_set(3, train=500, test=200)
    assert np.array_equal(one.train, two.train) and np.array_equal(one.test, two.test)
    assert len(one.normal.centers) == 4 and len(one.anomalous.centers) == 9 and one.labels.tolist() == [0]*200 + [1]*200
    assert np.allclose(np.abs(one.normal.centers).max(1), 4/2**.5) and np.allclose(one.normal.spreads, .3/2**.5)
