"""The loop: resuming, refusing, and files that do not lie."""
import os

import pytest
import torch
from torch import nn

from vad_nb.core import DataError, SettingsError, TrainingError
from vad_nb.training.run import (
    History, Run, write_or_check_config, halve_weights, load_state, load_weights, read_history, save_weights)
from vad_nb.training.train import train, learning_rate_factor


class Toy(nn.Module):
    def __init__(self, skipped=0):
        super().__init__()
        torch.manual_seed(0)
        self.net, self.skipped = nn.Sequential(nn.Linear(4, 8), nn.BatchNorm1d(8), nn.Dropout(0.5), nn.Linear(8, 1)), skipped

    def forward(self, batch, generator):
        x = torch.randn(len(batch), 4, generator=generator)
        return dict(loss=(self.net(x)[:, 0] - x.sum(1)).square().mean(), samples=len(batch), skipped=self.skipped * len(batch))


def batches(epoch, generator):
    return list(torch.randperm(40, generator=generator).split(8))


def fit(folder, epochs=4, objective=None, **options):
    run = Run(folder)
    write_or_check_config(run, dict(method="toy"), options.get("resume", False))
    return run, train(run, objective or Toy(), batches, epochs, 0.01, **options)


class Stop(Exception):
    pass


@pytest.mark.parametrize("average", [0.0, 0.9])
@pytest.mark.parametrize("stop", [0, 1, 2])
def test_resume_equals_no_interruption(tmp_path, average, stop):
    def stopper(epoch):
        if epoch == stop:
            raise Stop
    run, through = fit(tmp_path / "a", average=average)
    with pytest.raises(Stop):
        fit(tmp_path / "b", average=average, after_epoch=stopper)
    resumed_run, resumed = fit(tmp_path / "b", average=average, resume=True)
    assert all(torch.equal(a, b) for a, b in zip(through.state_dict().values(), resumed.state_dict().values()))
    assert run.history_file.read_bytes() == resumed_run.history_file.read_bytes()


def test_same_seed_same_bytes_other_seed_other_bytes(tmp_path):
    histories = [fit(tmp_path / name, random_seed=seed)[0].history_file.read_bytes() for name, seed in (("a", 3), ("b", 3), ("c", 4))]
    assert histories[0] == histories[1] != histories[2]


def test_a_folder_holds_one_training(tmp_path):
    write_or_check_config(Run(tmp_path), dict(method="toy", settings=dict(size=(8, 8))))
    write_or_check_config(Run(tmp_path), dict(method="toy", settings=dict(size=(8, 8))), resume=True)
    with pytest.raises(SettingsError, match="--resume"):
        write_or_check_config(Run(tmp_path), dict(method="toy", settings=dict(size=(8, 8))))
    with pytest.raises(SettingsError, match="expected settings.*8, 8.*found.*9, 9"):
        write_or_check_config(Run(tmp_path), dict(method="toy", settings=dict(size=(9, 9))), resume=True)


def test_what_a_killed_training_was_writing_is_cleared_away(tmp_path):
    write_or_check_config(Run(tmp_path), dict(method="toy"))
    (tmp_path / ".training_state.pt.1-2.part").write_bytes(b"half")
    write_or_check_config(Run(tmp_path), dict(method="toy"), resume=True)
    assert [path.name for path in tmp_path.iterdir()] == ["config.json"]


def test_skipping_more_than_half_is_an_error_and_saves_nothing(tmp_path):
    with pytest.raises(TrainingError, match="skipped 40 of 40"):
        fit(tmp_path, objective=Toy(skipped=1))
    assert not (tmp_path / "weights.safetensors").exists() and not (tmp_path / "training_state.pt").exists()


def test_an_epoch_without_a_step_is_an_error(tmp_path):
    with pytest.raises(TrainingError, match="took no step"):
        train(Run(tmp_path), Toy(), lambda epoch, generator: [], 1, 0.01)


def test_nan_names_step_learning_rate_batch_and_checkpoint(tmp_path):
    class Exploding(Toy):
        def forward(self, batch, generator):
            values = super().forward(batch, generator)
            self.steps = getattr(self, "steps", 0) + 1
            return dict(values, loss=values["loss"] * (float("nan") if self.steps == 8 else 1))
    with pytest.raises(TrainingError, match=r"step 7 \(epoch 1, learning rate 0.01, batch of items \d+.*training_state.pt"):
        fit(tmp_path, objective=Exploding(), describe=lambda batch: f"items {', '.join(map(str, batch.tolist()))}")


def test_history_keeps_the_rows_it_is_told_to(tmp_path):
    history = History(tmp_path / "history.csv")
    for step in range(5):
        history.add(step=step, loss=torch.tensor(step / 3))
    history.flush()
    history = History(tmp_path / "history.csv", steps=2)
    history.add(step=2, loss=9.0)
    history.flush()
    assert read_history(tmp_path / "history.csv")["loss"].tolist() == [0, pytest.approx(1 / 3, rel=1e-6), 9]


def test_history_keeps_the_value_that_a_step_had(tmp_path):
    "A parameter is changed in place by the next step: what was added before must not follow it."
    history, slope = History(tmp_path / "history.csv"), nn.Parameter(torch.zeros(()))
    for step in range(4):
        history.add(step=step, slope=slope)
        with torch.no_grad():
            slope += 1
    assert [row["slope"] for row in history.flush()] == [0, 1, 2, 3]
    assert read_history(tmp_path / "history.csv")["slope"].tolist() == [0, 1, 2, 3]


def test_step_schedule_is_steplr():
    for epochs in (1, 3, 10, 50):
        parameter = nn.Parameter(torch.zeros(1))
        optimizer = torch.optim.SGD([parameter], 1.0)
        schedule = torch.optim.lr_scheduler.StepLR(optimizer, max(1, int(0.8 * epochs)), 0.5)
        for epoch in range(epochs):
            assert optimizer.param_groups[0]["lr"] == learning_rate_factor("step", epoch / epochs + 0.3 / epochs, epochs)
            optimizer.step()
            schedule.step()


def test_weights_that_do_not_fit_are_named(tmp_path):
    save_weights(nn.Linear(3, 2), tmp_path / "w.safetensors")
    with pytest.raises(DataError, match="w.safetensors.*2 tensors of Linear.*weight"):
        load_weights(nn.Linear(4, 2), tmp_path / "w.safetensors")


@pytest.mark.parametrize("content", [b"", b"not safetensors", b"\xff" * 64])
def test_broken_weights_and_states_are_data_errors(tmp_path, content):
    (tmp_path / "f").write_bytes(content)
    for reader in (lambda: load_weights(nn.Linear(1, 1), tmp_path / "f"), lambda: load_state(tmp_path / "f")):
        with pytest.raises(DataError, match="expected"):
            reader()


def test_a_state_with_code_in_it_does_not_run(tmp_path):
    class Malicious:
        def __reduce__(self):
            return os.system, (f"touch {tmp_path / 'owned'}",)
    torch.save(dict(objective=Malicious()), tmp_path / "training_state.pt")
    with pytest.raises(DataError):
        load_state(tmp_path / "training_state.pt")
    assert not (tmp_path / "owned").exists()


def test_halved_weights_keep_vectors_and_stay_within_half_precision(tmp_path):
    torch.manual_seed(0)
    net = torch.nn.Sequential(torch.nn.Conv2d(3, 8, 3), torch.nn.BatchNorm2d(8))
    save_weights(net, tmp_path / "weights.safetensors")
    whole = (tmp_path / "weights.safetensors").stat().st_size
    halve_weights(tmp_path / "weights.safetensors")
    again = load_weights(torch.nn.Sequential(torch.nn.Conv2d(3, 8, 3), torch.nn.BatchNorm2d(8)), tmp_path / "weights.safetensors")
    assert (tmp_path / "weights.safetensors").stat().st_size < 0.8*whole
    for name, value in net.state_dict().items():
        assert torch.equal(value, again.state_dict()[name]) if value.ndim < 2 else torch.allclose(value, again.state_dict()[name], rtol=1e-3, atol=1e-7)
