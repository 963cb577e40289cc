"""The documentation site: `python docs/build.py [folder]`, or `make docs`. Everything it needs lies in the site, nothing is fetched when it is read."""
import html
import inspect
import json
import re
import shutil
import sys
from importlib import import_module
from pathlib import Path

ROOT = Path(__file__).parent.parent
NOTEBOOKS = sorted(path for path in (ROOT/"nbs").rglob("*.ipynb") if ".ipynb_checkpoints" not in path.parts and path.stem != "index")


def first_lines(notebook: dict) -> tuple:
    "Title and one-sentence description of a notebook."
    text = "".join(notebook["cells"][0]["source"]).splitlines()
    return text[0].lstrip("# "), next((line.lstrip("> ") for line in text if line.startswith(">")), "")


def stage_notebook(path: Path, target: Path) -> dict:
    "A notebook as it is read: without the lines that only the export needs."
    notebook = json.loads(path.read_text(encoding="utf-8"))
    cells = []
    for cell in notebook["cells"]:
        lines = "".join(cell["source"]).splitlines(keepends=True)
        if any(line.startswith(("#| default_exp", "#| hide")) for line in lines):
            continue
        source = "".join(line for line in lines if not line.startswith("#|")).strip("\n")
        kept = dict(cell_type=cell["cell_type"], id=cell["id"], metadata={}, source=source)
        if cell["cell_type"] == "code":
            kept |= dict(execution_count=None, outputs=[output for output in cell["outputs"] if output.get("name") != "stderr"])
        cells.append(kept)
    target.parent.mkdir(parents=True, exist_ok=True)
    target.write_text(json.dumps(dict(cells=cells, metadata=notebook["metadata"], nbformat=4, nbformat_minor=5)), encoding="utf-8")
    return notebook


def module_of(notebook: dict) -> str | None:
    "The module that a notebook exports, as vad_nb.data.video."
    found = re.search(r"^#\| default_exp (\S+)", "\n".join("".join(cell["source"]) for cell in notebook["cells"] if cell["cell_type"] == "code"), re.M)
    return "vad_nb." + found[1] if found else None


def plain(text: str) -> str:
    "A comment from the code as Markdown: code and mathematics stay, what would be markup is escaped."
    parts = re.split(r"(`[^`]*`|\$[^$]+\$)", " ".join(str(text or "").split()))
    for k in range(0, len(parts), 2):
        parts[k] = re.sub(r"([*_\[\]])", r"\\\1", html.escape(parts[k], quote=False))
    return "".join(parts).replace("|", "\\|")


def code(text) -> str:
    return f"`{' '.join(str(text).split())[:60]}`".replace("|", "\\|") if str(text) else ""


def parameters(thing) -> list:
    "Rows of a table: name, type, default, meaning; with the shapes and units that stand beside each parameter in the code."
    from fastcore.docments import docments
    rows = ["| | type | default | |", "|---|---|---|---|"]
    for name, known in docments(thing, full=True, returns=True).items():
        if name in ("self", "cls"):
            continue
        kind = "" if known.anno is inspect._empty or known.anno is None else getattr(known.anno, "__name__", str(known.anno))
        default = "" if known.default is inspect._empty or name == "return" else repr(known.default)
        if name == "return" and not kind and not known.docment:
            continue
        rows.append(f"| {'*returns*' if name == 'return' else code(name)} | {code(kind)} | {code(default)} | {plain(known.docment)} |")
    return rows if len(rows) > 2 else []


def describe(name: str, thing, module) -> list:
    "One function, class or constant."
    if not callable(thing) or getattr(thing, "__module__", "") != module.__name__:
        text = ", ".join(map(str, thing)) if isinstance(thing, (dict, tuple, list, set, frozenset)) else str(thing)   # of a dictionary, what it can be asked for
        return [f"### `{name}`", "", "```text", text[:1500], "```", ""] if not callable(thing) else []
    try:
        signature = str(inspect.signature(thing))
    except ValueError:
        signature = "(...)"
    words = inspect.getdoc(thing) or ""
    if inspect.isclass(thing) and words.startswith(f"{name}("):   # a dataclass without a docstring
        words = ""
    lines = [f"### `{name}`", "", "```python", ("class " if inspect.isclass(thing) else "") + name + re.sub(r"\s+", " ", signature), "```", "", plain(words), ""]
    try:
        lines += parameters(thing) + [""]
    except Exception:   # a class without readable parameters has no table
        pass
    if inspect.isclass(thing):
        for method, function in vars(thing).items():
            if inspect.isfunction(function) and not method.startswith("_") and function.__doc__:
                lines += [f"**`{name}.{method}{re.sub(chr(10), ' ', str(inspect.signature(function)))}`**", "", plain(function.__doc__), "", *parameters(function), ""]
    return lines


def api_page(name: str, notebook: Path, target: Path) -> None:
    "Everything public of one module."
    module = import_module(name)
    lines = [f"# {name}", "", plain(module.__doc__), "", f"Made by the notebook [{notebook.parent.name}/{notebook.stem}](../notebooks/{notebook.relative_to(ROOT/'nbs').as_posix()}).", ""]
    for one in module.__all__:
        lines += describe(one, getattr(module, one), module)
    target.parent.mkdir(parents=True, exist_ok=True)
    target.write_text("\n".join(lines), encoding="utf-8")


def package_page(target: Path) -> None:
    "What `import vad_nb` gives, in the order in which a script uses it."
    import vad_nb
    stub = (ROOT/"vad_nb"/"__init__.pyi").read_text(encoding="utf-8")
    lines = ["# The package in one page", "", "`import vad_nb` gives these names; each module is imported when one of its names is first used.", ""]
    for name in re.findall(r" as (\w+)", stub):
        thing = getattr(vad_nb, name)
        lines += describe(name, thing, import_module(thing.__module__))
        lines += [f"From [{thing.__module__}](api/{thing.__module__}.md).", ""]
    target.write_text("\n".join(lines), encoding="utf-8")


def results_page(target: Path) -> None:
    "Stored results, figures with their captions, and a card for every training behind them."
    from vad_nb.evaluation.results import model_card
    from vad_nb.evaluation.results import COLUMNS, read_results
    from vad_nb.plot import read_figures
    lines = ["# Results", "", "Everything here was written by a command from stored runs; nothing was typed in. AUC as shares of 1.", "", "## Table of results", ""]
    rows = [row for row in read_results(ROOT/"figures"/"data"/"results.csv") if row["method"] != "ddl-proxy"]   # of that study the figures show all
    lines += ["| " + " | ".join(COLUMNS) + " |", "|" + "---|"*len(COLUMNS)] + ["| " + " | ".join(row.values()) + " |" for row in rows] + ["", "## Figures", ""]
    (target.parent/"figures").mkdir(exist_ok=True)
    for name, known in read_figures(ROOT/"figures").items():
        picture = ROOT/"figures"/f"{name}.png"
        if "caption" in known and picture.exists():
            shutil.copy(picture, target.parent/"figures"/picture.name)
            lines += [f"![{plain(known['caption'])}](figures/{picture.name})", "", f"*{name}*: {plain(known['caption'])} Table: " + "`" + known.get("table_hash", "") + "`", ""]
    lines += ["## Model cards", ""]
    for row in rows:
        lines += [model_card(row, level=3), ""]
    target.write_text("\n".join(lines), encoding="utf-8")


def benchmarks_page(target: Path) -> None:
    "Ours against published, from the stored benchmarks."
    from statistics import median
    known = json.loads((ROOT/"figures"/"data"/"benchmarks.json").read_text(encoding="utf-8"))
    limits = ", ".join(f"{name} {value/1e9:.0f} {'GB/s' if name == 'copy' else 'GFLOP/s'}" for name, value in known["ceilings"].items())
    lines = ["# Benchmarks", "", f"`vad-nb bench all --preset {known['preset']}` on {known['device']}, {known['threads']} threads ({known['platform']}, {known['cores']} cores, torch {known['packages']['torch']}), "
             f"commit {known['commit']}, {known['time'][:10]}. Measured limits in the same run: {limits}. Each case runs ours and the same mathematics as published in turns; medians. "
             "Where a mark is not reached, the counted operations say why.", "",
             "| case | setting | ours, a second | published (or as named), a second | times as fast | mark | operations, ours : published | same numbers |", "|---|---|---|---|---|---|---|---|"]
    for race in known["races"]:
        pair = [race[side] for side in ("ours", "published")]
        seconds = [median(side["seconds"]) for side in pair]
        flops = f"{pair[0]['flops']/1e9:.2f} : {pair[1]['flops']/1e9:.2f} GFLOP" if pair[1].get("flops") else ""
        mark = f"{race['mark']:g}, {'reached' if seconds[1]/seconds[0] >= race['mark'] else 'not reached'}" if race.get("mark") else ""
        case = race["case"] + (f", against {race['against']}" if race.get("against", "published") != "published" else "")
        lines.append("| " + " | ".join([case, race["setting"], *(f"{race['samples']/one:.1f} {race['unit']}" for one in seconds), f"{seconds[1]/seconds[0]:.2f}", mark, flops, race["agreement"]]) + " |")
    target.write_text("\n".join(lines) + "\n", encoding="utf-8")


def relink(text: str, folder: Path) -> str:
    "Links to what is no page of the site become plain text."
    def kept(found):
        target = found[2].split("#")[0]
        return found[0] if re.match(r"\w+:", found[2]) or not target or (folder/target).exists() else found[1]
    return re.sub(r"(?<!!)\[([^\]]*)\]\(([^)\s]+)\)", kept, text)


def toctree(caption: str, names: list, depth: int = 1) -> list:
    return ["```{toctree}", f":caption: {caption}", f":maxdepth: {depth}", "", *names, "```", ""]


def stage(folder: Path) -> None:
    "All pages as sources of the site."
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    shutil.copy(ROOT/"docs"/"conf.py", folder/"conf.py")
    tutorials, chapters, modules = [], {}, []
    for path in NOTEBOOKS:
        inside = path.relative_to(ROOT/"nbs")
        notebook = stage_notebook(path, folder/"notebooks"/inside)
        name = f"{first_lines(notebook)[0]} <notebooks/{inside.with_suffix('').as_posix()}>"
        (tutorials if inside.parts[0] == "tutorials" else chapters.setdefault(inside.parts[0], [])).append(name)
        if module := module_of(notebook):
            api_page(module, path, folder/"api"/f"{module}.md")
            modules.append(f"api/{module}")
    written = {page.name.lower(): page for page in sorted((ROOT/"docs").glob("*.md")) + [ROOT/"CONTRIBUTING.md", ROOT/"CHANGELOG.md"]}
    pages = {name: page.read_text(encoding="utf-8") for name, page in written.items()} | {"index.md": re.sub(r"^<!--.*-->\s*", "", (ROOT/"README.md").read_text(encoding="utf-8"))}
    for name in pages:
        (folder/name).touch()   # so that pages may name each other
    results_page(folder/"results.md")
    benchmarks_page(folder/"benchmarks.md")
    package_page(folder/"package.md")
    trees = toctree("Tutorials", tutorials) + [line for chapter, names in chapters.items() for line in toctree(chapter.replace("_", " "), names)] + toctree("Results", ["results", "benchmarks"]) + toctree("Project", [Path(name).stem for name in written]) + toctree("Modules", ["package", *modules])
    for name, text in pages.items():
        text = re.sub(r"\]\((?:\.\./)?nbs/", "](notebooks/", text)
        text = re.sub(r"\]\((?:\.\./|docs/)?([\w.]+\.md)", lambda found: f"]({found[1].lower()}", text)
        (folder/name).write_text(relink(text, folder) + ("\n\n" + "\n".join(trees) if name == "index.md" else ""), encoding="utf-8")


def build(site: Path) -> list:
    "The whole site, from stage to pages; the warnings of Sphinx, which should be none."
    from io import StringIO
    from sphinx.application import Sphinx
    from sphinx.util.docutils import docutils_namespace
    source, warnings = site.with_name(site.name + "-source"), StringIO()
    stage(source)
    shutil.rmtree(site, ignore_errors=True)
    with docutils_namespace():
        Sphinx(str(source), str(source), str(site), str(site.with_name(site.name + "-doctrees")), "html", status=None, warning=warnings).build()
    return [line for line in warnings.getvalue().splitlines() if line.strip()]


if __name__ == "__main__":
    site = Path(sys.argv[1] if len(sys.argv) > 1 else ROOT/"_docs"/"site").resolve()
    found = build(site)
    print(*found, sep="\n", file=sys.stderr)
    print(f"{len(list(site.rglob('*.html')))} pages: {site/'index.html'}")
    sys.exit(bool(found))
