"""The stored figures against their tables, and the caption and references beside each."""
import json
import re
from pathlib import Path

import pytest

from vad_nb.cli import main
from vad_nb.core import DataError, write_table
from vad_nb.figures.check import check_figures, numbers_again
from vad_nb.plot import ONE_COLUMN, latex, new_figure, save_figure, style

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
    text, entries = (tmp_path/"fig5.tex").read_text(), (tmp_path/"fig5.bib").read_text()
    assert r"50 \% of a\_b \& more: 3$\times$3." in text and r"width=\columnwidth" in text and r"\begin{figure}" in text
    assert set(re.findall(r"\\cite\{(\w+)\}", text)) == set(re.findall(r"@\w+\{(\w+),", entries))
    assert entries.count("{") == entries.count("}")
    assert latex("\\~^$") == r"\textbackslash{}\textasciitilde{}\textasciicircum{}\$"


def test_fonts_are_embedded_in_stored_figures():
    for path in FIGURES.glob("*.json"):
        if "caption" in json.loads(path.read_text()) and path.with_suffix(".pdf").exists():
            pdf = path.with_suffix(".pdf").read_bytes()
            assert b"/FontFile2" in pdf and b"/Type3" not in pdf, path.name
