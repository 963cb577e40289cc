"""Same seed, same bytes: the whole way from training to the figures' tables, in processes of their own that hash differently."""
import os
import subprocess
import sys

WAY = """
import sys
from pathlib import Path
from vad_nb.cli import main
out = Path(sys.argv[1])
assert main(["figures", "5", "--set", "size=32x48", "width=8", "epochs=1", "batch_size=60", "--device", "cpu", "--runs", str(out/"runs"), "--out", str(out/"figures")]) == 0
run = next(path for path in sorted((out/"runs").iterdir()) if (path/"weights.safetensors").exists())
assert main(["score", str(run), "--device", "cpu", "--out", str(out/"scores.csv")]) == 0
(out/"scores.csv.json").unlink()   # holds the time and the seconds
assert main(["evaluate", str(out/"scores.csv"), "--json", str(out/"report.json"), "--plot", str(out/"roc.png")]) == 0
"""


def test_two_processes_leave_the_same_bytes(tmp_path):
    for number in "12":
        subprocess.run([sys.executable, "-c", WAY, tmp_path / number], check=True, capture_output=True,
                       env=dict(os.environ, PYTHONHASHSEED=number, OMP_NUM_THREADS="1", TQDM_DISABLE="1", MPLBACKEND="Agg"))
    files = {path.relative_to(tmp_path / "1"): path for path in sorted((tmp_path / "1").rglob("*")) if path.suffix in (".safetensors", ".csv", ".png", ".svg") or path.name in ("config.json", "report.json")}
    kinds = {path.suffix for path in files}
    assert {".safetensors", ".csv", ".png", ".svg", ".json"} <= kinds and any("figures/data" in path.as_posix() for path in files)
    differing = [str(name) for name, path in files.items() if path.read_bytes() != (tmp_path / "2" / name).read_bytes()]
    assert not differing
