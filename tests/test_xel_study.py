"""The study of cross-epoch learning made anew: settings as published, its plan and rows, verdicts."""
from collections import Counter
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from scipy import stats
from sklearn.metrics import roc_auc_score

from vad_nb import uncertainty, verify
from vad_nb.cli import main
from vad_nb.core import DataError, SettingsError, load_preset, seed_everything
from vad_nb.data.bags import Bag, expand, synthetic_bags
from vad_nb.methods import xel_study, xel_verdicts
from vad_nb.methods.mil import ARNetSettings, MILSettings, SRFSettings, Videos, WeakObjective
from vad_nb.methods.xel_study import (
    STUDY_HOSTS, Training, key_of, keep_scores, kept_scores, make_method, one_fold, read_line,
    read_rows, read_study_plan, run_study, study_metrics, write_rows)
from vad_nb.training import epoch_generator, make_optimizer

STORED = Path(__file__).parent.parent/"figures"/"data"/"xel_study.csv"
LINE = "mil,srf synthetic-ws-2 none,both-epoch-1 epochs=1 seeds=0"


def named():
    return "an example"


def bags_like_shanghaitech():
    generator = np.random.default_rng(0)
    return [Bag(str(k), k < 63, generator.standard_normal((4, 8))) for k in range(63 + 175)]


@pytest.mark.parametrize("kind, steps", [(SRFSettings, 5103), (ARNetSettings, 4760), (MILSettings, 1998)])
def test_paper_takes_the_published_steps_on_shanghaitech(kind, steps):
    settings = load_preset(kind, "paper", dict(hidden=8))
    assert WeakObjective(settings, Videos(bags_like_shanghaitech())).total == steps
    assert settings.schedule == "constant"


@pytest.mark.parametrize("kind", [MILSettings, SRFSettings, ARNetSettings])
def test_small_is_never_weaker_than_smoke(kind):
    videos = Videos(bags_like_shanghaitech())
    smoke, small = (load_preset(kind, preset) for preset in ("smoke", "small"))
    steps = [WeakObjective(one, videos).total for one in (smoke, small)]
    assert steps[1] >= steps[0] and small.hidden >= smoke.hidden


def test_paper_has_the_published_constants():
    srf, arnet, mil = (load_preset(kind, "paper") for kind in (SRFSettings, ARNetSettings, MILSettings))
    assert (srf.learning_rate, srf.beta, srf.eps, srf.batch_size) == (5e-5, .5, 1e-10, 1)
    assert (mil.optimizer, mil.learning_rate, mil.eps) == ("adagrad", .01, 1e-8)
    assert (arnet.learning_rate, arnet.hidden, arnet.batch_size) == (1e-4, 1024, 30)
    assert srf.decay_biases and arnet.decay_biases and not mil.decay_biases


def test_decay_in_the_loss_is_adams_weight_decay():
    videos = Videos(bags_like_shanghaitech())
    heads = []
    for inside in (True, False):
        seed_everything(0)
        settings = load_preset(ARNetSettings, "paper", dict(hidden=8, dropout=0.))
        decay = 2*settings.weight_decay
        objective = WeakObjective(replace(settings, weight_decay=settings.weight_decay*inside), videos)
        optimizer = torch.optim.Adam(objective.parameters(), 1e-2, weight_decay=0 if inside else decay)
        items = torch.cat([videos.abnormal_ids[:5], videos.normal_ids[:5]])
        for _ in range(10):
            optimizer.zero_grad()
            objective(items, epoch_generator(0, 0))["loss"].backward()
            optimizer.step()
        heads.append(torch.cat([value.flatten() for value in objective.head.parameters()]))
    assert torch.allclose(*heads, atol=1e-5)


def test_optimizers_by_name():
    weights = [torch.nn.Parameter(torch.ones(2))]
    assert isinstance(make_optimizer(weights, .1, "adagrad"), torch.optim.Adagrad)
    with pytest.raises(SettingsError, match="adam or adagrad"):
        make_optimizer(weights, .1, "sgd")


def test_every_training_of_the_plan_can_be_made():
    plan = read_study_plan("xel")
    assert max(Counter(map(key_of, plan)).values()) == 1
    for host, form, settings in {(one.host, one.form, one.settings) for one in plan}:
        method = make_method(Training("synthetic-ws-2", host, form, settings))
        if form != "none":
            assert method.settings.lambda_v == method.settings.lambda_m == float(form.split("-")[2])


def test_seeds_are_outermost_so_that_what_is_there_is_paired():
    block = xel_study.study_blocks("xel")["srf"]
    assert [one.random_seed for one in block] == sorted(one.random_seed for one in block)
    assert len({(one.host, one.form) for one in block if one.random_seed == 0}) == 8


@pytest.mark.parametrize("line", ["mil synthetic-ws", "mil synthetic-ws none epochs", "mil x none seeds=a"])
def test_a_wrong_line_is_named(line):
    with pytest.raises(SettingsError, match="expected"):
        read_line(line, "smoke")


@pytest.mark.parametrize("host, form", [("xel", "none"), ("srf", "both"), ("srf", "hard-epoch-1")])
def test_a_wrong_host_or_form_is_named(host, form):
    with pytest.raises(SettingsError, match="expected"):
        Training("synthetic-ws", host, form)


def test_focal_loss_weighs_cross_entropy():
    scores = torch.rand(100)*.98
    plain = F.binary_cross_entropy(scores, torch.zeros(100), reduction="none")
    assert torch.allclose(xel_study.focal_loss(scores, 0), plain.mean(), rtol=1e-4)
    assert torch.allclose(xel_study.focal_loss(scores), (scores**2*plain).mean(), rtol=1e-4)


def test_rivals_draw_one_clip_of_every_normal_video():
    videos = Videos(synthetic_bags().train)
    settings = make_method(Training("synthetic-ws", "mil", "drawn-step-1", "hidden=8")).settings
    drawn, hard = (kind(settings, videos) for kind in (xel_study.DrawnObjective, xel_study.HardObjective))
    first = drawn.bank_scores(), drawn.bank.clone()
    ids = videos.normal_ids
    assert ((videos.starts[ids] <= drawn.bank) & (drawn.bank < videos.starts[ids] + videos.lengths[ids])).all()
    drawn.rebuild()
    assert len(first[0]) == 200 and not torch.equal(first[1], drawn.bank)
    assert len(hard.bank_scores()) == 50


def test_folds_part_training_videos_by_label():
    scene = synthetic_bags()
    folds = [one_fold(scene, f"{part}/3", 5) for part in range(3)]
    names = [bag.name for fold in folds for bag in fold.test]
    assert sorted(names) == sorted(bag.name for bag in scene.train)
    for fold in folds:
        assert sum(bag.abnormal for bag in fold.test) == 20
        assert not {bag.name for bag in fold.test} & {bag.name for bag in fold.train}


def test_raw_features_have_no_distances(data_folder):
    whole, raw = (xel_study.study_bags(name, 0) for name in ("shanghaitech-ws", "shanghaitech-ws-raw"))
    assert (whole.size, raw.size) == (90, 54) and raw.fingerprint != whole.fingerprint
    assert np.array_equal(raw.test[0].features[:, 0], whole.test[0].features[:, 6])
    with pytest.raises(DataError, match="features"):
        xel_study.without_distances(raw)


def test_kept_scores_keep_their_order():
    scores = torch.sigmoid(torch.linspace(-86, 16, 50_000)).numpy()
    kept = keep_scores(scores).astype(int)
    assert (np.diff(kept) >= 0).all() and np.diff(kept)[:40_000].min() > 0
    near = np.abs(np.log(kept_scores(kept)) - np.log(scores.astype(float)))
    assert near.max() < .002
    assert len(set(keep_scores([0, .5, 1]))) == 3


def test_metrics_against_scikit_learn():
    scene, generator = synthetic_bags(1.5, 3), np.random.default_rng(0)
    values = generator.random(sum(map(len, scene.test)))
    found = study_metrics(values, scene)
    clips = xel_study.by_bag(values, scene.test)
    y = np.concatenate([scene.labels[bag.name] for bag in scene.test])
    s = np.concatenate([expand(clips[bag.name], bag.frames) for bag in scene.test])
    assert found["auc"] == pytest.approx(roc_auc_score(y, s))
    assert found["tpr"] == (s[y == 1] >= .5).mean() and found["far"] == (s[y == 0] >= .5).mean()
    assert found["inter"] == pytest.approx(s[y == 1].mean() - s[y == 0].mean())
    top = [clips[bag.name].max() for bag in scene.test]
    assert found["video_auc"] == pytest.approx(roc_auc_score([bag.abnormal for bag in scene.test], top))


@pytest.fixture
def table(tmp_path):
    path = tmp_path/"xel_study.csv"
    assert run_study(read_line(LINE, "smoke"), path, commit=named) == 0
    return path


def test_a_study_goes_on_and_names_other_code(table, capsys, monkeypatch):
    plan, before = read_line(LINE, "smoke"), table.read_bytes()
    monkeypatch.setattr(xel_study, "train_one", lambda *_: pytest.fail("trained again"))
    assert run_study(plan, table, commit=named) == 0 and table.read_bytes() == before
    rows = read_rows(table)
    write_rows(table, [rows[0] | dict(probe="1 2"), *rows[1:]])
    with pytest.raises(DataError, match="1 of other code.*--anew"):
        run_study(plan, table, commit=named)
    monkeypatch.undo()
    assert run_study(plan, table, anew=True, commit=named) == 0
    same = [{**row, "seconds": 0} for row in read_rows(table)]
    assert same == [{**row, "seconds": 0} for row in rows]


def test_no_training_begins_that_would_not_fit(table):
    plan = read_line(LINE.replace("seeds=0", "seeds=0-1"), "smoke")
    rows = [row | dict(seconds=1e4) for row in read_rows(table)]
    write_rows(table, rows)
    assert run_study(plan, table, minutes=1, commit=named) == 4


@pytest.mark.parametrize("found", ["", "0123456789+"])
def test_rows_of_an_unclean_tree_are_not_recorded(found, monkeypatch, tmp_path):
    monkeypatch.setattr(xel_study, "git_commit", lambda: found)
    with pytest.raises(SettingsError, match="clean checkout"):
        run_study(read_line(LINE, "smoke"), tmp_path/"x.csv")
    assert not list(tmp_path.iterdir())


def test_scores_that_are_not_the_rows_own_are_refused(table):
    row = read_rows(table)[0]
    file = xel_study.score_file(table, row)
    whole = np.load(file, allow_pickle=False)
    np.save(file, whole[::-1])
    with pytest.raises(DataError, match=row["scores"]):
        xel_study.read_scores(table, row)
    file.write_bytes(file.read_bytes()[:100])
    with pytest.raises(DataError, match="scores"):
        xel_study.read_scores(table, row)


def test_a_table_of_something_else_is_refused(tmp_path):
    (tmp_path/"x.csv").write_text("data,host\n")
    with pytest.raises(DataError, match="columns"):
        read_rows(tmp_path/"x.csv")


def test_verify_of_three_stored_rows_that_take_seconds():
    quick = [row for row in read_rows(STORED) if row["settings"] == "epochs=2"][:3]
    assert len(quick) == 3
    for row in quick:
        again = verify.train_again(row)
        assert again.ok, str(again)


def test_verify_by_command(table, capsys):
    assert main(["verify", str(table), "--rows", "2"]) == 0
    assert "2 of 2 equal to the last digit" in capsys.readouterr().out
    rows = read_rows(table)
    write_rows(table, [row | dict(auc=row["auc"] - 1e-6) for row in rows])
    assert main(["verify", str(table), "--rows", "1"]) == 2
    write_rows(table, [row | dict(data_fingerprint="other") for row in rows])
    assert main(["verify", str(table)]) == 2
    assert main(["verify", str(table), "--seconds", "0"]) == 2
    assert "fingerprint other" in capsys.readouterr().err


def test_stored_rows_are_of_the_code_that_is_here():
    rows = read_rows(STORED)
    xel_study.check_rows(STORED, rows)
    for row in rows:
        if row["fold"] == "-":
            xel_study.read_scores(STORED, row)
    assert not any(row["commit"].endswith("+") for row in rows)


def study_rows(gain, seeds=5, data="synthetic-ws-2"):
    "Rows of made-up numbers, whose banked form differs by `gain`."
    generator, rows = np.random.default_rng(0), []
    for seed in range(seeds):
        for form in ("none", "both-epoch-1"):
            row = dict.fromkeys(xel_study.STUDY_COLUMNS, "-")
            more = gain*(form != "none") + .002*generator.standard_normal()
            row |= {metric: .5 + .02*seed + more for metric in xel_study.STUDY_METRICS}
            rows.append(row | dict(data=data, host="srf", form=form, random_seed=seed, steps=1,
                                   seconds=1., threads=1, scores=f"{form}{seed}"))
    return rows


@pytest.mark.parametrize("gain, said", [(.05, "held"), (-.05, "contrary"), (0., "equal")])
def test_verdicts(gain, said, tmp_path, monkeypatch):
    monkeypatch.setattr(xel_verdicts, "check_rows", lambda *_: None)
    write_rows(tmp_path/"x.csv", study_rows(gain))
    rows = xel_verdicts.verdict_rows(xel_verdicts.Study(tmp_path/"x.csv"), "made-up bags")
    by_metric = {row["contrast"].metric: row for row in rows}
    assert by_metric["auc"]["verdict"] == said
    values = [one["auc"] - two["auc"] for one, two in zip(*(
        [row for row in study_rows(gain) if row["form"] == form] for form in ("both-epoch-1", "none")))]
    known = stats.ttest_1samp(values, 0)
    found = by_metric["auc"]["difference"]
    assert found.p == pytest.approx(known.pvalue, rel=1e-3)
    turned = {"held": "contrary", "contrary": "held", "equal": "undecided"}[said]
    assert by_metric["intra"]["verdict"] == turned


def test_two_seeds_are_no_verdict(tmp_path, monkeypatch):
    monkeypatch.setattr(xel_verdicts, "check_rows", lambda *_: None)
    write_rows(tmp_path/"x.csv", study_rows(.05, seeds=2))
    rows = xel_verdicts.verdict_rows(xel_verdicts.Study(tmp_path/"x.csv"), "made-up bags")
    assert {row["verdict"] for row in rows} == {"needs seeds"}


def test_lambda_is_chosen_by_folds_of_training_videos():
    value = {"none": .7, "both-epoch-0.1": .9, "both-epoch-0.3": .8, "both-epoch-1": .6}
    rows = [dict(data="shanghaitech-ws", host="srf", form=form, random_seed=0, fold=f"{part}/3", video_auc=auc)
            for form, auc in value.items() for part in range(3)]
    assert xel_verdicts.chosen_weight(rows, "shanghaitech-ws", "srf") == "0.1"
    assert xel_verdicts.chosen_weight(rows, "ped2-ws", "mil") == "0.1"
    assert xel_verdicts.chosen_weight(rows[:-3], "shanghaitech-ws", "srf") == ""


def test_the_command_prints_verdicts(table, capsys):
    assert main(["study", "xel", "--verdicts", "--out", str(table)]) == 0
    assert "4 rows" in capsys.readouterr().out


def test_intervals_of_a_share_stay_inside_and_widen():
    generator = np.random.default_rng(0)
    for _ in range(50):
        theta, left = generator.random(), generator.random(8)
        low, high = uncertainty.one_interval(theta, theta + .02*(left - .5), 5)
        assert 0 <= low <= theta <= high <= 1
    alone = uncertainty.one_interval(.9, [.88, .9, .93, .89], 4)
    seeds = uncertainty.seeds_interval([.8, .9, 1.], [.88, .9, .93, .89], 4)
    assert seeds[1] - seeds[0] > alone[1] - alone[0]
    assert np.isnan(uncertainty.one_interval(.9, [.88, np.nan, .9], 3)).all()
    assert np.isnan(uncertainty.one_interval(.9, [.88, .9, .9], 1.5)).all()
    assert np.isnan(uncertainty.effective_videos([1, 2], [0, 0]))


def test_holm_is_the_textbooks():
    p = np.random.default_rng(0).random(20)**3
    order = sorted(range(20), key=lambda i: p[i])
    worst, known = 0., {}
    for rank, i in enumerate(order):
        worst = max(worst, min(1, p[i]*(20 - rank)))
        known[i] = worst
    assert np.allclose(uncertainty.holm(p), [known[i] for i in range(20)])


def test_hosts_have_their_own_probes():
    assert len({xel_study.probe(host, "none") for host in STUDY_HOSTS}) == len(STUDY_HOSTS)
