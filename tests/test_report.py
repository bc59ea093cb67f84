"""The report: made of records alone, says what was not run and what the pictures are, and needs no other file."""

import numpy as np
import pandas as pd
import pytest

from parlib import BadInput, schema
from parlib.measure import records
from parlib.measure.claims import CLAIMS, verdicts
from parlib.measure.records import make_record
from parlib.measure.rows import VLM_PAR_CLAIM
from parlib.show.figures.results import claims
from parlib.show.report import write_report

NAMES = schema("market1501").names
LABELS = np.random.default_rng(0).integers(0, 2, (60, len(NAMES)))


@pytest.fixture(scope="module")
def made():
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(records, "_intervals", lambda *args, **options: {})
        return [
            *(record("linear probe", 0.5), record("constant predictor", 0, encoder="none")),
            *(record("VLM-PAR head", 1.5, "paper"), record("prompt-query head", 1.0, "recommended")),
        ]


@pytest.fixture(autouse=True)
def quick(monkeypatch):
    monkeypatch.setattr(records, "_intervals", lambda *args, **options: {})
    monkeypatch.setitem(CLAIMS, "resamples", 200)


def record(method, skill, preset=None, encoder="nano"):
    noise = np.random.default_rng(int(10 * skill)).normal(0, 1, LABELS.shape)
    data = {"benchmark": "market1501", "kind": "rendered", "split": "test", "items_sha256": "a", "labels_sha256": "b"}
    setting = {"encoder": encoder, "weights": "w", "seed": 0} | ({"head": {"preset": preset}} if preset else {})
    scores = 1 / (1 + np.exp(-(skill * (2 * LABELS - 1) + noise)))
    return make_record(method, setting, data, LABELS, scores, np.full(len(NAMES), 0.5), NAMES)


def test_the_report_holds_numbers_verdicts_tables_and_what_was_not_run(made, tmp_path):
    plan = pd.DataFrame({"seconds": ["12"]}, index=pd.Index(["market1501-paper-seed0"], name="cell"))
    markdown, page = (path.read_text(encoding="utf-8") for path in write_report(made, tmp_path / "out", plan))
    head = made[2]
    for text in (markdown, page):
        assert f"{100 * head['scores']['plain_accuracy']:.1f}" in text
        assert all(f"{printed:.2f}" in text for printed in VLM_PAR_CLAIM.values())
        assert all(
            claim["says"] in text.replace("&#x27;", "'").replace("&quot;", '"') for claim in CLAIMS["claims"].values()
        )
        assert "rendered people: no number here is a result on PA-100K" in text
        assert "not run" in text and "market1501-paper-seed0" in text and "scikit-learn" in text
        assert "plain accuracy, market-27" in text
    assert markdown.count("# Not run") == 1 and verdicts(made).loc["b3", "verdict"] in markdown


def test_the_page_needs_no_other_file_and_the_markdown_names_those_it_needs(made, tmp_path):
    markdown, page = write_report(made, tmp_path)
    text = page.read_text(encoding="utf-8")
    assert 'src="data:image/png;base64,' in text
    assert not any(mark in text for mark in ("http://", "https://", 'src="claims', "<script", "<link"))
    for line in markdown.read_text(encoding="utf-8").splitlines():
        if line.startswith("!["):
            assert (tmp_path / line.split("(")[1].rstrip(")")).is_file()


def test_the_same_records_give_the_same_report(made, tmp_path):
    first, second = (write_report(made, tmp_path / name)[1].read_bytes() for name in ("a", "b"))
    assert first == second


@pytest.mark.parametrize(
    "text", ["<b>x</b>", "![x](http://a/b.png)", "[x](http://a/b)", "<http://a/b>", "# x\n\n{{ 7*7 }}"]
)
def test_what_a_record_says_stays_text(tmp_path, text):
    made = [record(text, 1, text, encoder=text), record("VLM-PAR head", 1, text, encoder=text)]
    made[0]["data"]["benchmark"] = made[0]["hardware"]["cpu"] = text
    page = write_report(made, tmp_path / "out")[1].read_text(encoding="utf-8")
    assert "<b>" not in page and "<a " not in page and 'src="http' not in page and "<h1>x" not in page
    assert {path.parent for path in tmp_path.rglob("*.*")} == {tmp_path / "out"}


def test_no_record_is_an_error(tmp_path):
    with pytest.raises(BadInput, match="no records to report on"):
        write_report([], tmp_path)


def test_the_figure_shows_each_claim_as_its_interval_and_counts_verdicts(made):
    table = verdicts(made)
    figure = claims(table)
    (ax,) = figure.axes
    intervals = sorted(tuple(line.get_xdata()) for line in ax.lines[1:] if len(line.get_xdata()) == 2)
    ran = table[table["verdict"] != "not run"]
    assert intervals == sorted(ran[["low", "high"]].itertuples(index=False, name=None))
    counts = table["verdict"].value_counts()
    assert all(f"{n} {verdict}" in figure.get_suptitle() for verdict, n in counts.items())
    assert len(ax.get_yticks()) == len(CLAIMS["claims"])
