"""The benchmark's own correctness: what it counts, what it compares, and that ours and published give the same numbers. No time is asserted."""
import json

import numpy as np
import pytest
import torch

from vad_nb.speed import c3dsu, ddl, harness, mulde
from vad_nb.speed.harness import Race, Side, count_work, families, largest_difference, race
from vad_nb.cli import main
from vad_nb.data.datasets import load_benchmark
from vad_nb.methods.c3dsu import C3DSU, count_macs
from vad_nb.methods.ddl import DDL, DDLObjective, DDLSettings, Windows
from vad_nb.methods.mulde import MuldeSettings, all_scales, make_network, scale_grid
from vad_nb.evaluation.scores import error_map, tile_scores

CPU = torch.device("cpu")


def test_operations_are_those_that_the_network_counts():
    net, x = C3DSU(16).eval(), torch.rand(1, 3, 3, 32, 48)
    with torch.no_grad():
        flops, moved = count_work(lambda: net(x))
    assert flops == 2 * sum(count_macs(net, 32, 48).values())
    assert moved > x.nbytes + sum(p.nbytes for p in net.parameters())


@pytest.mark.parametrize("work, flops, moved", [
    (lambda a, b: a @ b, 2 * 4 * 5 * 6, 4 * (20 + 30 + 24)), (lambda a, b: a.t(), 0, 0), (lambda a, b: a.view(20)[3:], 0, 0),
    (lambda a, b: a + 1, 0, 4 * 40), (lambda a, b: a.clone().mul_(2), 0, 4 * 40 + 4 * 40)])
def test_bytes_by_hand(work, flops, moved):
    a, b = torch.rand(4, 5), torch.rand(5, 6)
    assert count_work(lambda: work(a, b)) == (flops, moved)


def test_a_race_takes_turns_and_tells_ratio_and_disagreement():
    order = []
    one = race(lambda: order.append("ours"), lambda: order.append("theirs"), CPU, 3, case="c", setting="s", unit="u", samples=2, dtype="float32", mark=2., **largest_difference([1, 2], [1, 2.1]))
    assert order[:8] == ["ours", "theirs"] * 4 and not one.agrees
    side = Side((2., 1., 3.), (4., 2., 6.), 10**9, 10**9, 0.)
    fast = Race("case", "setting", "frames", 4, "float32", "", True, Side((.5, .25, 1.), (2., 2., 2.), 10**9, 10**8, 0.), side, 6.)
    text = fast.lines(dict(float32=4e9, copy=1e9))
    assert fast.ratio == 4 and fast.processor_ratio == 2 and "8.0 frames/s" in text and "50% of float32" in text and "NOT reached" in text and "10.00 times fewer bytes" in text


@pytest.mark.parametrize("shape, tile", [((32, 48), 8), ((32, 48), 16), ((48, 48), 16)])
def test_the_published_tilings_are_ours(shape, tile):
    torch.manual_seed(0)
    clean, recon = torch.rand(2, 5, 3, *shape)
    assert torch.allclose(c3dsu.published_score(clean, recon, tile), tile_scores(error_map(clean, recon), tile), atol=1e-6)


def test_scores_of_windows_decoded_anew_are_those_of_the_stream(tmp_path, monkeypatch):
    from vad_nb.data.scene_files import write_images
    from vad_nb.data.video import frame_files, read_image
    from vad_nb.methods import ddl as method_module
    monkeypatch.setattr(method_module, "reduced_precision", lambda device: False)
    torch.manual_seed(0)
    method = DDL(DDLSettings(size=(32, 48), width=16))
    method.objective = DDLObjective(method.settings).eval()
    write_images(tmp_path / "clip", load_benchmark("synthetic").test[0].frames[:11], "{:03d}.jpg")
    files = frame_files(tmp_path / "clip")
    ours = np.concatenate(list(method.score_stream((read_image(file) for file in files), 4)))
    for batch in (1, 4):
        assert np.allclose(ours, c3dsu.published_clip_scores(c3dsu.Published(method.objective.net).eval(), files, method.settings, CPU, batch), atol=1e-5)


def test_losses_and_the_slope_of_the_anomaly_weight_are_those_published():
    torch.manual_seed(0)
    settings = DDLSettings(size=(32, 48), width=16)
    objective = DDLObjective(settings, Windows(load_benchmark("synthetic").train[:1], settings, CPU)).train()
    assert ddl.same_losses(objective, torch.arange(4))["agrees"]


@pytest.mark.parametrize("norms", [True, False])
def test_scores_at_all_scales_are_those_published(norms):
    torch.manual_seed(0)
    settings, features = MuldeSettings(units=(32, 32)), torch.randn(50, 7)
    network = make_network(features, settings)
    x, sigmas = network.standardise(features), scale_grid(settings)
    found = all_scales(network, x, sigmas, norms)
    columns = torch.stack(list(found.values()), 2).flatten(1)
    assert largest_difference(columns.detach(), mulde.published_scores(mulde.plain_network(network), x, sigmas, norms))["agrees"]


def test_the_command_writes_what_it_prints(tmp_path, capsys, monkeypatch):
    def cases(device, preset):
        yield race(lambda: None, lambda: None, device, 2, case="nothing", setting=preset, unit="calls", samples=1, dtype="float32", **largest_difference([1.], [1.]))
    monkeypatch.setattr(harness, "families", lambda: dict(none=cases))
    monkeypatch.setattr(harness, "ceilings", lambda device: dict(float32=1e9, bfloat16=1e9, copy=1e9))
    assert main(["bench", "--device", "cpu", "--json", str(tmp_path / "bench.json")]) == 0
    assert "nothing (small)" in capsys.readouterr().out
    stored = json.loads((tmp_path / "bench.json").read_text())
    assert stored["races"][0]["case"] == "nothing" and stored["races"][0]["ratio"] > 0 and stored["ceilings"]["copy"] == 1e9
    assert main(["bench", "horses"]) == 2
    assert "expected one of all, c3dsu" in capsys.readouterr().err


def test_every_family_has_cases():
    assert {"c3dsu", "ddl", "mulde", "data"} <= families().keys()
