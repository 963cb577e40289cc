"The hard instance bank: one row a normal video, renewed when it should be; its losses; and that nothing else differs from the host."
import numpy as np
import pytest
import torch

from vad_nb.core import SettingsError, load_preset
from vad_nb.data.bag_sets import synthetic_bags
from vad_nb.methods.mil import HOSTS, Videos
from vad_nb.methods.xel import (
    BANKED, BankObjective, MILBank, MILBankSettings, hardest_clips, margin_at,
    margin_loss, validation_loss)
from vad_nb.training.run import Run, read_history

SCENE = synthetic_bags()


def make(update="epoch", **settings):
    torch.manual_seed(0)
    videos = Videos(SCENE.train)
    return BankObjective(load_preset(MILBankSettings, "smoke", dict(epochs=10, update=update, **settings)), videos), videos


def test_losses_against_loops():
    hard, top = torch.rand(7), torch.rand(3)
    assert torch.isclose(validation_loss(hard), sum(abs(s - 0) for s in hard) / 7)
    assert torch.isclose(margin_loss(hard, top, .8), sum(max(0, .8 - t + s) for t in top for s in hard) / 21)


def test_margin_schedule_of_both_data_sets():
    assert [margin_at(step, 750) for step in (0, 749, 750, 1499, 1500, 4500, 5249, 5250, 49_999)] == [0, 0, .5, .5, .6, 1., 1., 1., 1.]
    assert [margin_at(step, 7500, 7500) for step in (7499, 7500, 45_000, 10**7)] == [0, .5, 1., 1.]


def test_bank_holds_the_strangest_clip_of_every_normal_video():
    objective, videos = make()
    rows = hardest_clips(objective.head, videos, chunk=100)
    assert objective.head.training and len(rows) == len(videos.normal_ids)
    objective.head.eval()
    for row, video in zip(rows.tolist(), videos.normal_ids.tolist()):
        assert row - videos.starts[video] == objective.head(torch.from_numpy(SCENE.train[video].features))[0].argmax()


def test_no_bank_loss_in_the_warm_up_and_a_full_bank_after_it():
    objective, videos = make()
    items = torch.cat([videos.abnormal_ids[:5], videos.normal_ids[:5]])
    for step in range(objective.warm_up):
        values = objective(items)
        assert values["validation"] == values["margin"] == 0 and (objective.bank == -1).all()
    expected = hardest_clips(objective.head, videos)
    values = objective(items)
    assert torch.equal(objective.bank, expected) and values["validation"] > 0 and values["epsilon"] == .5
    assert int(objective.steps) == objective.warm_up + 1


def test_epoch_wise_renews_at_the_start_of_an_epoch_only():
    objective, videos = make()
    objective.steps.fill_(objective.warm_up + 5)
    objective.begin_epoch()
    before = objective.bank.clone()
    torch.nn.init.normal_(objective.head.first.weight)
    objective(torch.cat([videos.abnormal_ids[:5], videos.normal_ids[:5]]))
    assert torch.equal(before, objective.bank)
    objective.begin_epoch()
    assert not torch.equal(before, objective.bank)


def test_batch_wise_overwrites_only_the_rows_of_the_batch():
    objective, videos = make("batch")
    objective.step = objective.warm_up
    items = torch.cat([videos.abnormal_ids[:5], videos.normal_ids[[2, 30, 99]]])
    objective.rebuild()
    before, objective.step = objective.bank.clone(), objective.warm_up + 1
    torch.nn.init.normal_(objective.head.first.weight)
    objective(items)
    changed = (objective.bank != before).nonzero()[:, 0].tolist()
    assert changed and set(changed) <= {2, 30, 99}
    for row in range(200):
        video = videos.normal_ids[row]
        assert videos.starts[video] <= objective.bank[row] < videos.starts[video] + videos.lengths[video]
    objective.begin_epoch()
    assert torch.equal(objective.bank[[0, 1]], before[[0, 1]])


@pytest.mark.parametrize("losses", ["validation", "margin", "both"])
def test_gradient_of_the_bank(losses):
    objective, videos = make(losses=losses, dropout=0.)
    objective.step = objective.warm_up
    values = objective(torch.cat([videos.abnormal_ids[:5], videos.normal_ids[:5]]))
    assert (values["validation"] > 0) == (losses in ("both", "validation")) and (values["margin"] > 0) == (losses in ("both", "margin"))
    assert torch.isclose(values["loss"], values["host"] + values["validation"] + values["margin"] + objective.decay())


def test_host_and_bank_start_alike_and_part_after_the_warm_up(tmp_path):
    overrides = dict(epochs=20)
    plain = HOSTS["mil"](load_preset(HOSTS["mil"].settings_class, "smoke", overrides)).fit(SCENE, Run(tmp_path / "plain"), 1)
    bank = MILBank(load_preset(MILBankSettings, "smoke", overrides)).fit(SCENE, Run(tmp_path / "bank"), 1)
    one, two = read_history(plain.history_file)["host"], read_history(bank.history_file)["host"]
    warm = round(.15 * len(one))
    assert np.array_equal(one[:warm + 1], two[:warm + 1]) and not np.array_equal(one, two)


@pytest.mark.parametrize("name", BANKED)
@pytest.mark.parametrize("update", ["epoch", "batch"])
def test_resume_is_no_interruption(name, update, tmp_path):
    settings = load_preset(BANKED[name].settings_class, "smoke", dict(epochs=6, update=update))

    class Stopped(Exception):
        pass

    class Stops(BANKED[name]):
        calls = 0

        def epoch_batches(self, objective, generator):
            self.calls += 1
            if self.calls == 4:
                raise Stopped
            return super().epoch_batches(objective, generator)

    through = BANKED[name](settings).fit(SCENE, Run(tmp_path / "a"), 2)
    with pytest.raises(Stopped):
        Stops(settings).fit(SCENE, Run(tmp_path / "b"), 2)
    resumed = BANKED[name](settings).fit(SCENE, Run(tmp_path / "b"), 2, resume=True)
    assert through.weights.read_bytes() == resumed.weights.read_bytes()
    again = BANKED[name](settings).load(resumed)
    assert np.isfinite(again.score(SCENE.test[0])).all() and again.names == (name, f"both-{update}")


def test_unknown_settings_are_refused():
    for wrong in (dict(losses="some"), dict(update="never")):
        with pytest.raises(SettingsError, match=str(next(iter(wrong.values())))):
            MILBank(MILBankSettings(**wrong))
