"""The checks of style and of type hints, as they are set in pyproject.toml."""
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent


@pytest.mark.parametrize("tool, words", [("ruff", ["check", "vad_nb", "nbs", "tests", "docs"]), ("mypy", [])])
def test_nothing_to_complain_about(tool, words, tmp_path):
    pytest.importorskip(tool, reason=f"{tool} is in the extra dev")
    where = ["--cache-dir", str(tmp_path)] if tool == "mypy" else ["--no-cache"]
    done = subprocess.run([sys.executable, "-m", tool, *words, *where], cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-1000:]
