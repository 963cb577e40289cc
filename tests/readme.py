"""README.md from nbs/index.ipynb. `python tests/readme.py` writes it; a test checks that it is up to date."""
from pathlib import Path

ROOT = Path(__file__).parent.parent


def readme() -> str:
    "The text of README.md."
    from nbconvert import MarkdownExporter
    text, _ = MarkdownExporter(exclude_output_prompt=True, exclude_input_prompt=True).from_filename(str(ROOT / "nbs" / "index.ipynb"))
    text = "\n".join(line.rstrip() for line in text.splitlines())
    while "\n\n\n" in text:
        text = text.replace("\n\n\n", "\n\n")
    text = text.replace("](../", "](")
    return "<!-- Made from nbs/index.ipynb by `make readme`. -->\n\n" + text.strip() + "\n"


if __name__ == "__main__":
    (ROOT / "README.md").write_text(readme())
    print(ROOT / "README.md")
