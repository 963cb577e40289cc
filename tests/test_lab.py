"""JupyterLab as a reader uses it: open a notebook, Run All Cells in the menu, no error in any output."""
import json
import os
import shutil
import subprocess
import sys
import time
from pathlib import Path

import pytest
from browser import open_chromium

ROOT = Path(__file__).parent.parent


@pytest.fixture
def lab(tmp_path):
    "A server of its own over a copy of the tutorials, with nothing of the user's settings."
    pytest.importorskip("jupyterlab")
    shutil.copytree(ROOT/"nbs"/"tutorials", tmp_path/"copy"/"nbs"/"tutorials", ignore=shutil.ignore_patterns(".ipynb_checkpoints"))
    shutil.copytree(ROOT/"figures"/"data", tmp_path/"copy"/"figures"/"data")
    settings = {f"JUPYTER_{name}_DIR": str(tmp_path/name.lower()) for name in ("CONFIG", "DATA", "RUNTIME")} | {"JUPYTERLAB_SETTINGS_DIR": str(tmp_path/"settings"), "JUPYTERLAB_WORKSPACES_DIR": str(tmp_path/"spaces")}
    environment = {name: value for name, value in os.environ.items() if name != "MPLBACKEND"} | settings
    environment["PYTHONPATH"] = os.pathsep.join([str(ROOT), *filter(None, [os.environ.get("PYTHONPATH")])])
    log = (tmp_path/"lab.log").open("w")
    server = subprocess.Popen([sys.executable, "-m", "jupyterlab", "--no-browser", "--allow-root", "--port=0", "--ip=127.0.0.1", "--IdentityProvider.token=", "--expose-app-in-browser",
                               f"--ServerApp.root_dir={tmp_path/'copy'}", "--LabApp.news_url=None", "--LabApp.check_for_updates_class=jupyterlab.NeverCheckForUpdate"],
                              env=environment, stdout=log, stderr=log)
    try:
        for _ in range(240):
            found = list((tmp_path/"runtime").glob("jpserver-*.json"))
            if found and (text := found[0].read_text()):
                yield json.loads(text)["url"]
                break
            assert server.poll() is None, (tmp_path/"lab.log").read_text()[-2000:]
            time.sleep(.5)
        else:
            pytest.fail("JupyterLab did not start within two minutes: " + (tmp_path/"lab.log").read_text()[-2000:])
    finally:
        server.terminate()
        server.wait(30)
        log.close()


CELLS = """const panel = [...window.jupyterapp.shell.widgets('main')].find(one => one.content?.widgets);
if (!panel) return null;
const cells = panel.content.widgets.filter(cell => cell.model.type === 'code');
return {status: panel.sessionContext.session?.kernel?.status ?? '', ready: panel.sessionContext.isReady,
        count: cells.map(cell => cell.model.executionCount ?? 0), outputs: cells.flatMap(cell => cell.model.outputs.toJSON())};"""


def wait_for(what, seconds, reason):
    for _ in range(int(seconds*2)):
        if value := what():
            return value
        time.sleep(.5)
    pytest.fail(reason)


@pytest.mark.xdist_group("trainings")   # the notebooks' training lies in the cache by then
@pytest.mark.parametrize("tutorial, pictures", [("01_ten_minutes", 5), ("02_your_own_camera", 1), ("03_reading_a_results_table", 2)])
def test_run_all_cells_in_jupyterlab(lab, tmp_path, tutorial, pictures):
    browser = open_chromium(tmp_path)
    try:
        browser.get(f"{lab}lab/tree/nbs/tutorials/{tutorial}.ipynb")
        state = lambda: browser.execute_script("if (!window.jupyterapp) return null;" + CELLS)
        wait_for(lambda: (now := state()) and now["ready"] and now["status"] == "idle", 90, "the notebook did not open with a kernel")
        browser.find_element("xpath", "//div[contains(@class, 'lm-MenuBar-itemLabel') and text()='Run']").click()
        wait_for(lambda: browser.find_elements("xpath", "//div[contains(@class, 'lm-Menu-itemLabel') and text()='Run All Cells']"), 20, "no menu")[0].click()
        done = wait_for(lambda: (now := state()) and all(now["count"]) and now["status"] == "idle" and now, 300, f"the notebook did not end: {state()}")
        assert [output for output in done["outputs"] if output["output_type"] == "error"] == []
        kinds = [kind for output in done["outputs"] for kind in output.get("data", {})]
        assert sum(kind.startswith("image/") for kind in kinds) >= pictures
        assert any("application/vnd.jupyter.widget-view+json" in output.get("data", {}) for output in done["outputs"]), "no slider"
    finally:
        browser.save_screenshot(str(tmp_path/"lab.png"))
        browser.quit()
