"""Cases of broken input: what is broken, and what must be said. `python tools/broken.py` writes all of them with their messages into docs/broken_inputs.md."""
import platform
import re
import sys
import tempfile
import warnings
from collections import Counter
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path

import pytest

from vad_nb.core import DataError, VadNbError

ROOT = Path(__file__).parent.parent
PAGE = ROOT / "docs" / "broken_inputs.md"


@dataclass(frozen=True)
class Case:
    name:str
    words:tuple        # must stand in the error's text: the file, the expectation, the find
    run:callable       # (folder, patch): makes the broken thing and uses it; must raise
    kind:type          # the error's type
    doctor:str = None  # a benchmark whose copy in `folder` the doctor must call ill, without raising
    section:str = ""   # of the page


class Cases(list):
    "A list that a decorator fills."
    section = ""

    def __call__(self, name, *words, kind=DataError, doctor=None):
        def add(run):
            self.append(Case(name, words, run, kind, doctor, self.section))
            return run
        return add


def change(path, edit):
    path.write_bytes(edit(path.read_bytes()))
    return path


def half(whole):
    return whole[:len(whole)//2]


def provoke(one, folder, patch):
    "Run a case in an empty folder with a cache of its own; its error."
    patch.setenv("VAD_NB_CACHE", str(folder/"cache"))
    with pytest.raises(one.kind) as caught:
        one.run(folder, patch)
    error = caught.value
    assert isinstance(error, VadNbError) and "\n" not in str(error)
    missing = [word for word in one.words if word not in str(error)]
    assert not missing, f"{missing} not in: {error}"
    assert not list(folder.rglob("*.part")), "something half-written stayed"
    return error


def cases():
    "Those of both test files; beside them lie the helpers that they use."
    sys.path[:0] = [str(ROOT/"tests"), str(ROOT/"tests/helpers")]
    import test_broken_data
    import test_broken_files
    return [*test_broken_data.CASES, *test_broken_files.CASES]


def message(one):
    "The error of a case as the page shows it; a silent pass fails here."
    with tempfile.TemporaryDirectory() as folder, pytest.MonkeyPatch.context() as patch, warnings.catch_warnings():
        warnings.simplefilter("ignore")
        text = str(provoke(one, Path(folder).resolve(), patch)).replace(str(Path(folder).resolve()), "...")
    return re.sub(r"([^\x20-\x7e])", lambda found: f"\\x{ord(found[0]):02x}", text)


def versions():
    packages = ("numpy", "scipy", "torch", "safetensors", "opencv-python-headless")
    return f"Python {platform.python_version()}, " + ", ".join(f"{name} {metadata.version(name)}" for name in packages)


def page():
    "The whole page as Markdown."
    rows = [(one, message(one)) for one in cases()]
    lines = ["# Broken input", "",
             f"{len(rows)} broken files, folders, archives and values, and the one line that `vad-nb` says to each: the file, what was expected there, what was found, and, where it helps, what to do. "
             "No case passes in silence and none leaves a half-written file; the tests provoke each one, and this page is written by them (`make broken`).", "",
             "`...` stands for the folder in which the data lie.", ""]
    for section, count in Counter(one.section for one, _ in rows).items():
        lines += [f"## {section}: {count}", "", "| what is broken | what is said |", "|---|---|"]
        lines += [f"| {one.name} | `` {text.replace('|', chr(92) + '|')} `` |" for one, text in rows if one.section == section] + [""]
    return "\n".join([*lines, f"Where a library's own words are passed on, they are those of {versions()}.", ""])


if __name__ == "__main__":
    PAGE.parent.mkdir(exist_ok=True)
    PAGE.write_text(page(), encoding="utf-8")
    print(f"{PAGE}: {len(cases())} cases")
