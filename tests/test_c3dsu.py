"""C3DSU against the published parameter counts and a second way to compute every part."""
import pytest
import torch
from torch import nn

from vad_nb.speed.c3dsu import Published
from vad_nb.methods.c3dsu import (
    C3DSU, ConvBlock, UNet, count_macs, count_parameters, folded, one_launch)


@pytest.mark.parametrize("settings, official, unused", [
    (dict(), 99_001_808, 6), (dict(channels=1), 98_906_090, 2), (dict(width=64), 1_566_008, 6),
    (dict(kernels=(3,) * 4), 52_279_549, 6), (dict(width=64, kernels=(3,) * 4), 828_037, 6)])
def test_parameter_counts_are_those_of_the_official_code(settings, official, unused):
    with torch.device("meta"):
        assert count_parameters(C3DSU(**settings)) + unused == official


def test_unet_parameter_count():
    with torch.device("meta"):
        assert count_parameters(UNet()) + 6 == 89_600_528


@pytest.mark.parametrize("frames, channels, kernels", [(3, 3, (3, 5, 7)), (5, 1, (3, 5, 7)), (3, 3, (3, 3, 3, 3)), (1, 3, (3, 5, 7))])
def test_network_equals_the_published_form(frames, channels, kernels):
    torch.manual_seed(0)
    net = C3DSU(16, channels, frames, kernels).eval()
    x = torch.rand(2, channels, frames, 32, 48)
    with torch.no_grad():
        assert torch.allclose(net(x), Published(net).eval()(x), atol=1e-5)


def test_gradients_equal_the_published_form():
    torch.manual_seed(0)
    net = C3DSU(16).double().eval()
    x = torch.rand(1, 3, 3, 16, 16, dtype=torch.double)
    net(x).square().sum().backward()
    ours = [p.grad.clone() for p in net.decoder.parameters()]
    net.zero_grad()
    Published(net).double().eval()(x).square().sum().backward()
    assert all(torch.allclose(a, b.grad, atol=1e-8) for a, b in zip(ours, net.decoder.parameters()))


@pytest.mark.parametrize("kernels", [(3, 5, 7), (3, 3, 3, 3), (1, 9)])
def test_one_launch_equals_branches(kernels):
    torch.manual_seed(0)
    block = ConvBlock(3, 4, kernels)
    x = torch.rand(2, 3, 12, 20)
    assert torch.allclose(one_launch(block.branches, x), torch.cat([branch(x) for branch in block.branches], 1), atol=1e-5)


def test_reduced_precision_stays_near_full_precision():
    torch.manual_seed(0)
    net, x = C3DSU(64).eval(), torch.rand(1, 3, 3, 64, 64)
    with torch.no_grad():
        full = net(x)
        with torch.autocast("cpu", torch.bfloat16):
            reduced = net(x)
    assert reduced.dtype == torch.float32 and (full - reduced).abs().max() < 0.01


def test_an_even_number_of_frames_is_refused():
    with pytest.raises(ValueError, match="odd.*4"):
        C3DSU(16, frames=4)


def test_macs_of_one_convolution_by_hand():
    net = C3DSU(16).eval()
    by_hand = 0
    for block, (h, w), c in zip(net.encoder, [(32, 32), (16, 16), (8, 8), (4, 4)], [3, 2, 4, 8]):
        out = block.branches[0].out_channels
        by_hand += 3 * (h * w * out * c * (9 + 25 + 49) + h * w // 4 * out * 3 * out * 4)
    assert count_macs(net, 32, 32)["encoder"] == by_hand


@pytest.mark.parametrize("make", [lambda: C3DSU(16), lambda: UNet(16), lambda: C3DSU(16, 1, 5, (3, 3, 3, 3))])
def test_folded_batch_norm_equals_the_network(make):
    torch.manual_seed(0)
    net = make()
    T = max(net.frames, 3)
    with torch.no_grad():
        for _ in range(3):
            net(torch.rand(2, net.channels, T, 32, 48))
        for name, p in net.named_parameters():
            if "norm" in name:
                p.uniform_(0.5, 1.5)
        before = [p.clone() for p in net.state_dict().values()]
        net.eval()
        fast, x = folded(net), torch.rand(2, net.channels, T, 32, 48)
        assert torch.allclose(fast(x), net(x), atol=1e-5)
    assert not any(isinstance(m, nn.BatchNorm2d) for m in fast.modules())
    assert all(torch.equal(a, b) for a, b in zip(before, net.state_dict().values()))
