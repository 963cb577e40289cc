"""README.md from nbs/index.ipynb. `python tools/readme.py` writes it; a test checks that it is up to date."""
import re
from pathlib import Path

ROOT = Path(__file__).parent.parent


def readme() -> str:
    "The text of README.md."
    import nbformat
    from nbconvert import MarkdownExporter
    from nbconvert.preprocessors import TagRemovePreprocessor
    notebook = nbformat.read(ROOT / "nbs" / "index.ipynb", 4)
    for cell in notebook.cells:
        if cell.cell_type == "code" and "Markdown(" in cell.source:   # a table: its making is for the notebook, not for the README
            cell.metadata["tags"] = ["table"]
    exporter = MarkdownExporter()
    exporter.register_preprocessor(TagRemovePreprocessor(remove_input_tags={"table"}), enabled=True)
    text, _ = exporter.from_notebook_node(notebook)
    text = "\n".join(line.rstrip() for line in text.splitlines())
    while "\n\n\n" in text:
        text = text.replace("\n\n\n", "\n\n")
    text = re.sub(r"\]\((?!\w+:|#)(\.\./)?", lambda link: "](" if link[1] else "](nbs/", text)   # links are relative to nbs/ there, to the top here
    return "<!-- Made from nbs/index.ipynb by `make readme`. -->\n\n" + text.strip() + "\n"


if __name__ == "__main__":
    (ROOT / "README.md").write_text(readme())
    print(ROOT / "README.md")
