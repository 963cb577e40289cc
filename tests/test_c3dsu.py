"""C3DSU against the published parameter counts and a second way to compute every part."""
import pytest
import torch
from torch import nn
from torch.nn import functional as F

from vad_nb.methods.c3dsu import C3DSU, ConvBlock, UNet, count_macs, count_parameters, folded, one_launch


@pytest.mark.parametrize("settings, official, unused", [
    (dict(), 99_001_808, 6), (dict(channels=1), 98_906_090, 2), (dict(width=64), 1_566_008, 6),
    (dict(kernels=(3,) * 4), 52_279_549, 6), (dict(width=64, kernels=(3,) * 4), 828_037, 6)])
def test_parameter_counts_are_those_of_the_official_code(settings, official, unused):
    with torch.device("meta"):
        assert count_parameters(C3DSU(**settings)) + unused == official


def test_unet_parameter_count():
    with torch.device("meta"):
        assert count_parameters(UNet()) + 6 == 89_600_528


class Published(nn.Module):
    "The network as published: space-to-depth with 1x1 convolutions, Conv3d skips over all frames of which the middle is kept."
    def __init__(self, net: C3DSU):
        super().__init__()
        self.net = net
        self.skips = nn.ModuleList()
        for skip in net.skips:
            c, T = skip.out_channels, net.frames
            conv = nn.Conv3d(c, c, (T, 3, 3), padding=(T // 2, 1, 1))
            conv.weight.data = skip.weight.data.view(c, T, c, 3, 3).transpose(1, 2).clone()
            conv.bias.data = skip.bias.data
            self.skips.append(conv)

    def block(self, block, x):
        x = F.relu(block.norm(torch.cat([branch(x) for branch in block.branches], 1)))
        if block.up:
            x = block.mix(nn.PixelShuffle(2)(x))
        else:
            weight = block.mix.weight.flatten(1)[..., None, None]
            x = F.conv2d(nn.PixelUnshuffle(2)(x), weight, block.mix.bias)
        return x if block.mix_norm is None else F.relu(block.mix_norm(x))

    def forward(self, x):
        B, C, T, H, W = x.shape
        h, skips = x.transpose(1, 2).flatten(0, 1), []
        for block, conv in zip(self.net.encoder, self.skips):
            h = self.block(block, h)
            skips.append(conv(h.view(B, T, *h.shape[1:]).transpose(1, 2))[:, :, T // 2])
        x = self.block(self.net.decoder[0], skips[3])
        for block, skip in zip(self.net.decoder[1:], skips[2::-1]):
            x = self.block(block, torch.cat([x, skip], 1))
        return torch.sigmoid(x)


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
