"""How the notebooks are laid out: what keeps a page readable is checked here, and each message says what to do."""
import ast
import json
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
NOTEBOOKS = sorted(path.relative_to(ROOT/"nbs").with_suffix("").as_posix()
                   for path in (ROOT/"nbs").rglob("*.ipynb")
                   if ".ipynb_checkpoints" not in path.parts)
LONGEST = 25     # lines of a cell: what one sees without scrolling
COMPREHENSIONS = ast.ListComp, ast.SetComp, ast.DictComp, ast.GeneratorExp

every_notebook = pytest.mark.parametrize("name", NOTEBOOKS)


def cells(name: str) -> list:
    return json.loads((ROOT/"nbs"/f"{name}.ipynb").read_text(encoding="utf-8"))["cells"]


def code(name: str) -> list:   # (number of the cell, its text)
    return [(number, "".join(cell["source"])) for number, cell in enumerate(cells(name))
            if cell["cell_type"] == "code"]


def inside(node, kinds) -> list:
    "Nodes of some kinds below a node, without itself."
    return [other for other in ast.walk(node) if other is not node and isinstance(other, kinds)]


def nested(tree) -> list:
    return [node.lineno for node in ast.walk(tree)
            if isinstance(node, COMPREHENSIONS) and inside(node, COMPREHENSIONS)]


def hidden_assignments(tree) -> list:
    return [node.lineno for node in ast.walk(tree)
            if isinstance(node, ast.Call) and inside(node, ast.NamedExpr)]


def text_times_bool(tree) -> list:
    found = []
    for node in ast.walk(tree):
        if isinstance(node, ast.BinOp) and isinstance(node.op, ast.Mult):
            sides = node.left, node.right
            texts = [isinstance(side, ast.Constant) and isinstance(side.value, str)
                     or isinstance(side, ast.JoinedStr) for side in sides]
            truths = [isinstance(side, (ast.Compare, ast.BoolOp)) for side in sides]
            if any(texts) and any(truths):
                found.append(node.lineno)
    return found


@every_notebook
def test_a_cell_holds_one_idea(name):
    long = [f"cell {number}: {len(text.splitlines())} lines" for number, text in code(name)
            if len(text.splitlines()) > LONGEST]
    assert not long, (f"nbs/{name}.ipynb: {'; '.join(long)}; at most {LONGEST}: build it up over "
                      "several cells, plain functions first, then what calls them")


@every_notebook
@pytest.mark.parametrize("find, advice", [
    (nested, "a comprehension inside a comprehension: name the inner one, or write a loop"),
    (hidden_assignments, "an assignment inside a call: give the value a name before it"),
    (text_times_bool, "a text times a truth value: write the `if`")],
    ids=["nested", "walrus", "text times bool"])
def test_code_reads_from_left_to_right(name, find, advice):
    lines = [f"cell {number}, line {line}" for number, text in code(name)
             for line in find(ast.parse(text))]
    assert not lines, f"nbs/{name}.ipynb: {'; '.join(lines)}: {advice}"


@every_notebook
def test_a_notebook_ends_by_saying_what_was_seen(name):
    if name == "index":
        return
    last = [cell for cell in cells(name) if "".join(cell["source"]).strip()][-1]
    text = "".join(last["source"])
    assert last["cell_type"] == "markdown" and "## What we saw" in text and "**Next**" in text, (
        f"nbs/{name}.ipynb: end with a cell `## What we saw`, two to five sentences with the "
        "numbers just computed, and `**Next**: [title](link)`")


@every_notebook
def test_a_title_is_for_people(name):
    first = "".join(cells(name)[0]["source"]).splitlines()
    wide = [line for line in first if line.startswith(">") and len(line) > 97 and name != "index"]
    assert not wide, f"nbs/{name}.ipynb: {wide[0]!r} is a module's docstring: wrap it"
    title = re.sub(r" \(\w+\)$", "", first[0].removeprefix("# "))    # "Races (harness)"
    assert first[0].startswith("# ") and any(line.startswith("> ") for line in first[1:4]), (
        f"nbs/{name}.ipynb: begin with `# Title` and `> One sentence.`")
    assert name == "index" or (title[0].isupper() and "_" not in title), (
        f"nbs/{name}.ipynb: {title!r} is a module's name: a human title, the module below it")


@pytest.mark.parametrize("source, find", [
    ("[sum(x for x in row) for row in table]", nested),
    ("print(x := 3)", hidden_assignments), ("'s'*(n > 1)", text_times_bool)])
def test_the_checks_find_what_they_look_for(source, find):
    assert find(ast.parse(source)) == [1] and not find(ast.parse("print([x for x in row])"))
