"""Plans of trainings: done once, stopped in time, continued, and the same numbers wherever they run."""
import os
import subprocess
import sys

import pytest
import torch

from vad_nb.core import SettingsError, sections
from vad_nb.studies.trainings import Trainings
from vad_nb.evaluation.results import read_results
from vad_nb.apps.sweep import Job, place, read_line, read_plan, sweep
from vad_nb.training.run import Run

QUICK = "ddl synthetic size=32x48 width=8 epochs=1 anomaly=none seeds=0,1"
MEASURED = [name for name in ("method", "variant", "data", "random_seed", "micro_auc_raw", "micro_auc_median17", "macro_auc_skip")]


def measured(out):
    return [{name: row[name] for name in MEASURED} for row in read_results(out / "results.csv")]


@pytest.fixture(scope="module")
def done(tmp_path_factory):
    out = tmp_path_factory.mktemp("sweep")
    torch.set_num_threads(1)   # as the workers have: sums of other numbers of threads differ in their last digits
    assert sweep(read_line(QUICK, "smoke"), out, "cpu") == 0
    return out


def test_every_plan_of_the_settings_can_be_read():
    plans = [name.removeprefix("plan ") for name in sections() if name.startswith("plan ")]
    assert {"small", "paper"} <= set(plans)
    for plan in plans:
        jobs = read_plan(plan)
        assert len(jobs) == len(set(jobs)) and all(isinstance(job, Job) for job in jobs)


def test_an_unknown_plan_is_refused():
    with pytest.raises(SettingsError, match="small.*paper"):
        read_plan("huge")


def test_what_is_done_is_not_done_again(done, capsys):
    before = {path: path.stat().st_mtime_ns for path in done.rglob("*")}
    assert sweep(read_line(QUICK, "smoke"), done, "cpu") == 0
    assert "2 of 2 runs are done, 0 to do" in capsys.readouterr().out
    assert {path: path.stat().st_mtime_ns for path in done.rglob("*")} == before


def test_a_figure_finds_the_runs_of_a_sweep(done):
    method, run = Trainings(done, device="cpu").get("ddl", 1, size="32x48", width="8", epochs="1", anomaly="none")
    assert run.path.parent == done and not Run(run.path).state_file.exists()


def test_two_processes_get_the_same_numbers(done, tmp_path):
    assert sweep(read_line(QUICK, "smoke"), tmp_path, "cpu", jobs=2) == 0
    assert measured(tmp_path) == measured(done)


def test_trainings_side_by_side_share_the_cores(tmp_path):
    code = f"from vad_nb.apps.sweep import read_line, sweep; sweep(read_line({QUICK!r}, 'smoke'), {str(tmp_path)!r}, 'cpu', jobs=2)"
    environment = {name: value for name, value in os.environ.items() if not name.endswith("_NUM_THREADS")}
    subprocess.run([sys.executable, "-c", code], env=environment, check=True, capture_output=True)
    threads = [Run(path.parent).manifest["threads"] for path in tmp_path.glob("*/manifest.json")]
    assert threads == [max(1, os.cpu_count()//2)]*2


def test_no_job_begins_after_the_time_limit(tmp_path):
    assert sweep(read_line(QUICK, "smoke"), tmp_path, "cpu", minutes=0) == 2
    assert not list(tmp_path.glob("*"))


def test_a_dask_cluster_gets_the_same_numbers(done, tmp_path):
    distributed = pytest.importorskip("distributed")
    with distributed.LocalCluster(n_workers=2, threads_per_worker=1, dashboard_address=None) as cluster:
        assert sweep(read_line(QUICK, "smoke"), tmp_path, "cpu", jobs=2, cluster=cluster.scheduler_address) == 0
    assert measured(tmp_path) == measured(done)


def test_place_needs_no_data(tmp_path):
    path = place(Job("ddl", "ped2", "small", 3, (("anomaly", "sdl"),)), tmp_path)[1]
    assert path.name == "ped2_small_ddl_anomaly-sdl_seed-3"
