"""The stored figures against their tables, and the caption and references beside each."""
import re
from pathlib import Path

import pytest

from vad_nb.cli import main
from vad_nb.core import DataError, write_table
from vad_nb.figures.check import check_figures, numbers_again
from vad_nb.plot import ONE_COLUMN, TWO_COLUMNS, latex, new_figure, read_figures, save_figure, style, write_captions

FIGURES = Path(__file__).parent.parent/"figures"


def test_the_numbers_of_stored_figures_are_those_of_their_tables():
    found = check_figures(FIGURES)
    assert {check.figure for check in found} >= {"fig4", "fig5", "fig6", "fig7", "fig8"}
    assert [str(check) for check in found if check.what in ("files", "numbers") and check.ok is False] == []
    assert {check.figure for check in found if check.what == "picture" and check.ok is None} == {"fig4", "fig7", "fig8"}   # said, not passed over
    assert {check.figure for check in found if check.what == "picture" and check.ok} == {check.figure for check in found} - {"fig4", "fig7", "fig8"}


def test_numbers_against_numbers_typed_by_hand():
    table = dict(window=["a", "b"], masked_clean_error=["0", "0"], masked_noisy_error=["0.2", "0.4"], masked_restored_error=["0.1", "0.5"])
    assert numbers_again("fig4", table) == pytest.approx(dict(windows=2, to_noisy=0.3, to_clean=0.3, share_nearer_to_clean=0.5))


def test_a_changed_table_and_a_missing_picture_are_named(tmp_path, capsys):
    with style():
        figure = new_figure()
        figure.subplots().plot([0, 1])
    save_figure(figure, tmp_path, "fig7", "50 % of a_b & more.", {}, object_over_rest={"with DDL": 2.0}, data="none")
    write_table([{"network": "with DDL", "mean_residual_inside": 0.3, "mean_residual_outside": 0.1}], tmp_path/"data"/"fig7.csv")
    (tmp_path/"fig7.svg").unlink()
    assert main(["figures", "--check", "--out", str(tmp_path)]) == 1
    said = capsys.readouterr().out
    assert "missing: svg" in said and "2 in the JSON, 3 from the table" in said and "not checked" in said
    with pytest.raises(DataError, match="vad-nb figures"):
        check_figures(tmp_path/"data")


def test_caption_and_references_are_latex(tmp_path):
    with style():
        figure = new_figure(ONE_COLUMN)
        figure.subplots().plot([0, 1])
    save_figure(figure, tmp_path, "fig5", "50 % of a_b & more: 3\u00d73.", {}, data="ped2", preset="small")
    text, entries = (tmp_path/"captions.tex").read_text(), (tmp_path/"figures.bib").read_text()
    assert r"50 \% of a\_b \& more: 3$\times$3." in text and r"width=\columnwidth" in text and r"\begin{figure}" in text
    assert set(re.findall(r"\\cite\{(\w+)\}", text)) == set(re.findall(r"@\w+\{(\w+),", entries))
    assert entries.count("{") == entries.count("}")
    assert latex("\\~^$") == r"\textbackslash{}\textasciitilde{}\textasciicircum{}\$"


def test_fonts_are_embedded_in_stored_figures():
    for name in read_figures(FIGURES):
        pdf = (FIGURES/f"{name}.pdf").read_bytes()
        assert b"/FontFile2" in pdf and b"/Type3" not in pdf, name


def test_a_figure_replaces_its_own_entry_and_keeps_the_others(tmp_path):
    for name, caption, width in (("b", "First.", ONE_COLUMN), ("a", "Wide.", TWO_COLUMNS), ("b", "Second.", ONE_COLUMN)):
        save_figure(new_figure(width), tmp_path, name, caption, {}, data="none")
    assert {name: one["caption"] for name, one in read_figures(tmp_path).items()} == {"a": "Wide.", "b": "Second."}
    text = (tmp_path/"captions.tex").read_text()
    assert text.count("vadcaption-b") == text.count("vadfigure-b") == 1 and "First." not in text
    assert text.count(r"\begin{figure*}") == text.count(r"\end{figure*}") == 1 and text.count(r"\begin{figure}") == 1
    assert sorted(path.name for path in tmp_path.iterdir()) == sorted(
        [f"{name}.{ending}" for name in "ab" for ending in ("pdf", "png", "svg")] + ["captions.tex", "figures.bib", "figures.json"])


def test_captions_and_references_are_those_of_the_stored_figures(tmp_path):
    (tmp_path/"figures.json").write_text((FIGURES/"figures.json").read_text())
    write_captions(tmp_path)
    for name in ("captions.tex", "figures.bib"):
        assert (tmp_path/name).read_text() == (FIGURES/name).read_text()


@pytest.mark.parametrize("content", ["{", "[]", '{"fig5": 3}', "["*100_000, "\udcff"])
def test_a_broken_list_of_figures_is_named_and_not_overwritten(tmp_path, content):
    path = tmp_path/"figures.json"
    path.write_bytes(content.encode("utf-8", "surrogateescape"))
    with pytest.raises(DataError, match="figures.json.*delete it"):
        save_figure(new_figure(), tmp_path, "fig5", "A caption.", {})
    assert path.read_bytes() == content.encode("utf-8", "surrogateescape")
