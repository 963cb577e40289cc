"The study of cross-epoch learning: metrics and intervals against scikit-learn and SciPy, verdicts with both signs, files from a table, the published step."
import numpy as np
import pytest
from scipy import stats
from scipy.io import savemat
from sklearn.metrics import roc_auc_score, roc_curve

from vad_nb.speed.xel import agreement, sized_bags
from vad_nb.core import DataError
from vad_nb.figures import xel_tables
from vad_nb.studies.trainings import Trainings
from vad_nb.methods.mil import Videos
from vad_nb.studies.bank import (
    BUGS, COLUMNS, MAIN, METRICS, RATES, BANK_VARIANTS, Variant, paired, read_study,
    weak_metrics, write_study)


def made_up_rows(gain, data="synthetic-ws", seeds=5, variants=BANK_VARIANTS + BUGS):
    "Rows whose banked variants differ from the plain ones by `gain` and a little noise."
    generator, roc = np.random.default_rng(0), " ".join(f"{value:.4f}" for value in RATES**.5)
    return [dict(data=data, host=one.host, losses=one.losses, update=one.update, bug=one.bug, preset="smoke", random_seed=seed, steps=10., seconds=1., commit="", roc=roc,
                 **{metric: .5 + .1 * seed / seeds + (gain if one.losses != "none" else 0) + .002 * generator.standard_normal() for metric in METRICS})
            for one in variants for seed in range(seeds)]


def test_metrics_against_scikit_learn():
    generator = np.random.default_rng(0)
    labels = {name: (generator.random(400) < .2).astype(int) for name in "ab"} | {"c": np.zeros(300, int)}
    scores = {name: generator.random(len(label)) + .3 * label for name, label in labels.items()}
    y, s = (np.concatenate([part[name] for name in "abc"]) for part in (labels, scores))
    found = weak_metrics(scores, labels)
    assert found["auc"] == pytest.approx(roc_auc_score(y, s))
    assert found["far"] == (s[y == 0] > .5).mean() and found["tpr"] == (s[y == 1] > .5).mean() and found["far_normal_videos"] == (scores["c"] > .5).mean()
    fpr, tpr, _ = roc_curve(y, s, drop_intermediate=False)
    assert np.allclose(np.array(found["roc"].split(), float), np.interp(RATES, fpr, tpr), atol=.01)
    assert found["tpr_at_fpr_10"] == pytest.approx(tpr[fpr <= .1].max(), abs=.01)


def test_paired_interval_is_the_t_interval():
    rows = made_up_rows(.03)
    one, two = ([row["auc"] for row in rows if (row["host"], row["losses"], row["update"]) == key] for key in (("mil", "none", "-"), ("mil", "both", "epoch")))
    mean, low, high, pairs = paired(rows, "auc", "synthetic-ws", Variant("mil"), Variant("mil", "both", "epoch"))
    known = stats.ttest_rel(two, one).confidence_interval()
    assert (low, high) == pytest.approx(tuple(known)) and mean == pytest.approx(np.mean(two) - np.mean(one)) and pairs == 5


@pytest.mark.parametrize("gain, verdict", [(.05, "held"), (-.05, "contrary"), (0., "not held")])
def test_verdicts(gain, verdict):
    found = xel_tables.bank_claims(made_up_rows(gain))
    raised = [one for one in found if one["claim"].startswith("XEL raises the frame AUC")]
    assert len(raised) == 3 and {one["verdict"] for one in raised} == {verdict}
    alarms = {one["verdict"] for one in found if "false alarms" in one["claim"] and one["data"] == "synthetic-ws"}
    assert alarms == {{"held": "contrary", "contrary": "held"}.get(verdict, verdict)}
    assert {one["verdict"] for one in found if one["data"] == "not here"} == {"not testable"}


def test_one_pair_proves_nothing():
    assert {one["verdict"] for one in xel_tables.bank_claims(made_up_rows(.05, seeds=1))} == {"not testable"}


def test_table_and_files(tmp_path):
    rows = [row for data in ("synthetic-ws", "synthetic-ws-0", "ped2-ws") for row in made_up_rows(.02, data)]
    write_study(tmp_path / "data" / "xel.csv", rows)
    assert len(read_study(tmp_path / "data" / "xel.csv")) == len(rows)
    text = xel_tables.make(Trainings(tmp_path / "runs"), tmp_path).read_text()
    assert "derived" in text and "doubtful" in text and "unreadable" in text
    assert {"xel_roc.png", "xel_sweep.png", "xel_pipeline.png"} <= {path.name for path in tmp_path.iterdir()}
    (tmp_path / "wrong.csv").write_text("data,host\n")
    with pytest.raises(DataError, match="columns"):
        read_study(tmp_path / "wrong.csv")
    assert len(COLUMNS) == len(set(COLUMNS)) and set(MAIN) <= set(BANK_VARIANTS)


def test_published_curves_keep_their_area(tmp_path):
    x = np.linspace(0, 1, 50)
    for k, stem in enumerate(xel_tables.PUBLISHED):
        y = (x > 0).astype(np.uint8) if k == 0 else x ** (1 / (k + 1))
        savemat(tmp_path / f"{stem}.mat", dict(X=x[:, None], Y=y[:, None], AUC=np.trapezoid(y.astype(float), x) if hasattr(np, "trapezoid") else np.trapz(y.astype(float), x)))
    xel_tables.store_published(tmp_path, tmp_path / "roc.csv")
    found = xel_tables.published_curves(tmp_path / "roc.csv")
    assert list(found) == list(xel_tables.PUBLISHED.values()) and all(np.all(np.diff(tpr) >= 0) and tpr[-1] == 1 for tpr, _ in found.values())
    savemat(tmp_path / "6_C3D_Final_L1L2.mat", dict(X=x, Y=x, AUC=.7))
    with pytest.raises(DataError, match="0.700000"):
        xel_tables.store_published(tmp_path, tmp_path / "roc.csv")
    assert xel_tables.published_curves(tmp_path / "none.csv") == {}


def test_derived_cells_are_sums_of_the_posters_text():
    "What the poster states as gains, added to its plain cells, gives the printed cells of MIL and the derived ones of the others."
    auc = {row[0]: [float(cell) for cell in row[2:4]] for row in xel_tables.TABLE_1 if "-" not in row[2:4]}
    for host, name in xel_tables.NAMES.items():
        assert np.allclose(np.add(auc[name], xel_tables.GAINS[host]), auc[f"{name} + XEL"], atol=.006)


def test_published_step_gives_the_same_losses():
    given, own = agreement(Videos(sized_bags(12, 12, 64)), 8)
    assert given < 1e-5 and own < .05
