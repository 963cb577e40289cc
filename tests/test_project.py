"""The project as a whole: modules and notebooks in step, the direction of imports, the README, the wheel, and what the package must never do."""
import ast
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest
from readme import readme

ROOT = Path(__file__).parent.parent
NOTEBOOKS = sorted(path for path in (ROOT / "nbs").rglob("*.ipynb") if ".ipynb_checkpoints" not in path.parts)
MODULES = sorted(path for path in (ROOT / "vad_nb").rglob("*.py") if path.name not in ("__init__.py", "_modidx.py"))


def module_of(notebook: Path) -> str | None:
    "What a notebook exports to, as vad_nb.data.video; None when it exports nothing."
    import nbformat
    for cell in nbformat.read(notebook, 4).cells:
        for line in cell.source.splitlines():
            if line.startswith("#| default_exp "):
                return "vad_nb." + line.split()[-1]
    return None


def test_modules_are_what_the_notebooks_export(tmp_path):
    from nbdev.export import nb_export
    for notebook in NOTEBOOKS:
        if module_of(notebook):
            nb_export(notebook, lib_path=tmp_path / "vad_nb")
    made = {path.relative_to(tmp_path): path for path in tmp_path.rglob("*.py") if path.name not in ("__init__.py", "_modidx.py")}
    there = {path.relative_to(ROOT): path for path in MODULES}
    assert made.keys() == there.keys()
    differing = [str(name) for name in made if made[name].read_text() != there[name].read_text()]
    assert not differing, f"run nbdev-export: {differing}"


@pytest.mark.parametrize("notebook", NOTEBOOKS, ids=lambda path: path.stem)
def test_notebook_is_clean_and_reads_without_being_run(notebook, tmp_path):
    import nbformat
    from nbdev.clean import clean_nb
    from fastcore.nbio import read_nb
    before, after = read_nb(notebook), read_nb(notebook)
    clean_nb(after)
    assert before == after, f"run nbdev-clean --fname {notebook.name}"
    cells = [cell for cell in nbformat.read(notebook, 4).cells if cell.cell_type == "code"]
    outputs = [output for cell in cells for output in cell.get("outputs", [])]
    assert not any(output.output_type == "error" for output in outputs)
    if module_of(notebook):
        assert outputs, "no stored outputs: run nbdev-test --save"


@pytest.mark.parametrize("notebook", NOTEBOOKS, ids=lambda path: path.stem)
def test_notebook_runs(notebook):
    from nbdev.test import test_nb
    passed, seconds = test_nb(notebook)
    assert passed


def imports(path: Path) -> set:
    "Modules of the package that a module imports, relative imports resolved."
    found, package = set(), ".".join(path.relative_to(ROOT).with_suffix("").parts[:-1])
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        if isinstance(node, ast.ImportFrom):
            base = node.module or ""
            if node.level:
                parts = package.split(".")[:len(package.split(".")) - node.level + 1]
                base = ".".join(parts + ([node.module] if node.module else []))
            found |= {base} | {f"{base}.{alias.name}" for alias in node.names}
    return found


def test_a_module_imports_only_from_rooms_above_its_own():
    numbers = {module_of(notebook): notebook.stem.split("_")[0] for notebook in NOTEBOOKS if module_of(notebook)}
    assert len(set(numbers.values())) == len(numbers), "two rooms have one number"
    for name, number in numbers.items():
        path = ROOT / (name.replace(".", "/") + ".py")
        below = {other for other in imports(path) & numbers.keys() if numbers[other] >= number and other != name}
        assert not below, f"{name} ({number}) imports {below}"


def test_the_package_imports_without_notebooks_tools_and_without_torch_at_the_top():
    code = ("import sys; import vad_nb; assert 'torch' not in sys.modules; "
            "sys.modules.update(dict.fromkeys(['nbdev', 'fastcore', 'IPython', 'ipywidgets', 'jupyterlab'])); "
            "import vad_nb.cli, vad_nb.methods.catalog, vad_nb.figures.trainings, vad_nb.evaluate")
    subprocess.run([sys.executable, "-c", code], check=True, cwd=ROOT.parent)


def test_readme_is_made_from_the_index():
    assert (ROOT / "README.md").read_text() == readme(), "run make readme"


def test_nothing_unpickles_or_evaluates_text():
    allowed_torch_load = {"train.py"}
    for path in MODULES:
        for node in ast.walk(ast.parse(path.read_text())):
            if not isinstance(node, ast.Call):
                continue
            name = ast.unparse(node.func)
            keywords = {keyword.arg: ast.unparse(keyword.value) for keyword in node.keywords}
            assert name not in ("eval", "exec", "compile", "__import__"), f"{path.name}: {name}"
            assert name.split(".")[0] not in ("pickle", "dill", "marshal", "shelve", "joblib"), f"{path.name}: {name}"
            assert name != "yaml.load" and keywords.get("allow_pickle", "False") == "False", f"{path.name}: {name}"
            if name == "torch.load":
                assert path.name in allowed_torch_load and keywords.get("weights_only") == "True", f"{path.name}: {name}"
            if name == "np.load":
                assert keywords.get("allow_pickle") == "False", f"{path.name}: say allow_pickle=False"


def test_public_functions_say_what_they_do():
    silent = []
    for path in MODULES:
        for node in ast.parse(path.read_text()).body:
            if isinstance(node, (ast.FunctionDef, ast.ClassDef)) and not node.name.startswith("_") and not ast.get_docstring(node):
                if node.end_lineno - node.lineno > 6:
                    silent.append(f"{path.name}: {node.name}")
    assert not silent


def test_wheel_holds_all_subpackages_and_the_presets(tmp_path):
    subprocess.run([sys.executable, "-m", "pip", "wheel", "-q", "--no-deps", "--no-build-isolation", "-w", tmp_path, ROOT], check=True)
    names = zipfile.ZipFile(next(tmp_path.glob("*.whl"))).namelist()
    for name in ("vad_nb/settings.ini", "vad_nb/data/video.py", "vad_nb/methods/ddl.py", "vad_nb/figures/fig4_training_effects.py"):
        assert name in names
