"""The report that a run ends with: REPORT.md and report.html, from records alone."""

import base64
import html
import io
import os
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pandas as pd
from matplotlib.figure import Figure

from parlib.errors import BadInput
from parlib.files import json_text, write_atomic
from parlib.measure.claims import CLAIMS, LEVEL, verdicts
from parlib.measure.metrics import PROTOCOLS
from parlib.measure.published import VLM_PAR_CLAIM
from parlib.measure.records import has_scores, read_scores
from parlib.measure.rows import grouped, kind_of
from parlib.measure.tables import (
    CROSS_NOTE,
    LITERATURE_NOTE,
    NOTE,
    attribute_table,
    benchmark_table,
    cross_domain_table,
    literature_table,
    render,
    spread,
)
from parlib.show.figures.measure import calibration, claims, strengths

_KINDS = {
    "rendered": "rendered people: no number here is a result on PA-100K, PETA or Market-1501",
    "other": "real images that are not an official test set: no number here is a benchmark result",
    "own": "a user's own images",
    "official": "the official test images",
}
_READINGS = {
    "mA": "mA",
    "plain_accuracy": "plain accuracy",
    "accuracy": "instance accuracy",
    "f1": "instance F1",
    "mAP": "mAP",
}
_STYLE = """body { font: 15px/1.5 system-ui, sans-serif; max-width: 75em; margin: 2em auto; color: #222 }
table { border-collapse: collapse; font-size: 13px; display: block; overflow-x: auto }
td, th { border-bottom: 1px solid #ddd; padding: .2em .6em; text-align: left; vertical-align: top }
td { white-space: nowrap } td.long { white-space: normal; min-width: 22em }
img { max-width: 100% } p.note { color: #666; font-size: 13px }"""


class _Page:
    """Headings, paragraphs, tables and figures, as Markdown and as HTML."""

    def __init__(self):
        self.markdown: list[str] = []
        self.html: list[str] = []
        self.figures: dict[str, bytes] = {}

    def heading(self, text: str, level: int = 2) -> None:
        self.markdown.append(f"{'#' * level} {text}")
        self.html.append(f"<h{level}>{html.escape(text)}</h{level}>")

    def text(self, text: str, kind: str = "") -> None:
        self.markdown.append(text)
        self.html.append(f'<p class="{kind}">{html.escape(text)}</p>')

    def table(self, table: pd.DataFrame, note: str = "") -> None:
        self.markdown.append(render(table, "markdown"))
        cells = render(table, "html")
        self.html.append(re.sub(r"<td>\s*([^<]{59,}?\S)\s*</td>", r'<td class="long">\1</td>', cells))
        if note:
            self.text(note, "note")

    def figure(self, name: str, made: Figure) -> None:
        file = io.BytesIO()
        made.savefig(file, format="png", dpi=110)
        self.figures[f"{name}.png"] = file.getvalue()
        self.markdown.append(f"![{name}]({name}.png)")
        picture = base64.b64encode(file.getvalue()).decode()
        self.html.append(f'<img alt="{html.escape(name)}" src="data:image/png;base64,{picture}">')


def write_report(
    records: Sequence[dict[str, Any]], out: str | os.PathLike, plan: pd.DataFrame | None = None
) -> tuple[Path, Path]:
    """Write `REPORT.md` with its figures, and `report.html` in which they are embedded, to the folder `out`.

    Args:
        records: from `read_records`; a report says what is missing among them.
        plan: one row per cell with what it took, shown as it is.

    Returns:
        The paths of REPORT.md and report.html.

    Raises:
        BadInput: no records.
    """
    if not records:
        raise BadInput("no records to report on; `parlib reproduce` makes them")
    page, kinds = _Page(), sorted(set(map(kind_of, records)))
    where = "; ".join(_KINDS[kind] for kind in kinds)
    page.heading("VLM-PAR, claim by claim", 1)
    page.text(f"From {len(records)} records, of {where}. Every number is computed from them; nothing is typed in.")
    judged = verdicts(records)
    _printed_numbers(page, records)
    _claims(page, judged)
    _tables(page, records)
    page.heading("Not run")
    lines = judged[judged["verdict"] == "not run"][["data", "encoder", "missing"]].rename_axis("claim")
    page.table(lines, "What each claim lacks. The tables above name methods that were not run.")
    page.heading("Plan, versions, hardware")
    if plan is not None:
        page.table(plan)
    for part in ("made_with", "hardware"):
        for line in dict.fromkeys(json_text(record[part], None) for record in records):
            page.text(line)
    folder = Path(out)
    for name, content in page.figures.items():
        write_atomic(folder / name, content)
    write_atomic(folder / "REPORT.md", "\n\n".join(page.markdown) + "\n")
    head = f'<meta charset="utf-8"><title>VLM-PAR, claim by claim</title><style>{_STYLE}</style>'
    write_atomic(folder / "report.html", f"<!doctype html>\n{head}\n" + "\n".join(page.html) + "\n")
    return folder / "REPORT.md", folder / "report.html"


def _printed_numbers(page, records):
    """The paper's three numbers beside ours in each metric they could be."""
    rows = []
    for benchmark, printed in VLM_PAR_CLAIM.items():
        of_it = [r for r in records if r["data"]["benchmark"] == benchmark and r["data"]["split"] == "test"]
        methods = ("constant predictor", "linear probe", "VLM-PAR head")
        groups = grouped(
            [r for r in of_it if r["method"] in methods and _has_own_words(r) and not r["data"].get("view")]
        )
        for group in sorted(groups, key=lambda group: methods.index(group.method)):
            row = {"benchmark": benchmark, 'printed as "mA"': f"{printed:.2f}", "ours": group.name, "data": group.data}
            row |= {text: spread([r["scores"][name] for r in group.records]) for name, text in _READINGS.items()}
            tuned = [r["tuned"]["mA"] for r in group.records if r["tuned"]]
            row["mA, tuned thresholds"] = spread(tuned) if tuned else ""
            for protocol in PROTOCOLS.values():
                if benchmark == "market1501" and protocol.view and all(map(has_scores, group.records)):
                    row[f"plain accuracy, {protocol.name}"] = spread(
                        [_plain_accuracy(r, protocol) for r in group.records]
                    )
            rows.append(row)
        if not groups:
            rows.append({"benchmark": benchmark, 'printed as "mA"': f"{printed:.2f}", "ours": "not run"})
    page.heading("The paper's three numbers, and ours in each metric they could be")
    note = "Percent; mean ± standard deviation over seeds. The printed numbers are called mA; the authors' public code "
    note += (
        "computes plain accuracy. Numbers of other images than the official ones say nothing about the printed ones."
    )
    page.table(pd.DataFrame(rows).fillna("").set_index("benchmark"), note)


def _plain_accuracy(record, protocol):
    arrays = read_scores(record)
    made = protocol.decide(arrays["labels"], arrays["scores"])
    return made.right.sum() / made.counted.sum()


def _claims(page, judged):
    page.heading("Claims and verdicts")
    page.text(f"{CLAIMS['rule']} {len(CLAIMS['claims'])} claims, so each interval has the level {100 * LEVEL:.2f} %.")
    for i, ((data, encoder), part) in enumerate(judged.groupby(["data", "encoder"])):
        caption = f"{encoder} on {_KINDS.get(data, data)}. Intervals {100 * LEVEL:.2f} %."
        page.heading(f"{data} images, encoder {encoder}", 3)
        page.figure(f"claims-{data}-{i}", claims(part, caption=caption))
        shown = part[["statement", "verdict"]].copy()
        numbers = part[["difference", "low", "high"]].to_numpy()
        shown["difference"] = [f"{d:+.2f} [{low:+.2f}, {high:+.2f}]" if d == d else "" for d, low, high in numbers]
        page.table(shown.join(part[["unit", "head", "against", "missing", "seeds", "records"]]), caption)
    measures = [{"measure": name, "unit": m["unit"], "what it is": m["is"]} for name, m in CLAIMS["measures"].items()]
    page.table(pd.DataFrame(measures).set_index("measure"))


def _tables(page, records):
    page.heading("Three benchmarks side by side")
    of_test = [r for r in records if r["data"]["split"] == "test" and "ablation" not in r["setting"]]
    plain = [r for r in of_test if not r["data"].get("view")]
    page.table(literature_table([r for r in plain if _has_own_words(r)]), LITERATURE_NOTE)
    for benchmark in dict.fromkeys(r["data"]["benchmark"] for r in plain):
        page.heading(f"{benchmark}", 3)
        page.table(benchmark_table(plain, benchmark), NOTE)
        for kind in sorted({kind_of(r) for r in plain if r["data"]["benchmark"] == benchmark}):
            of_kind = [r for r in plain if r["data"]["benchmark"] == benchmark and kind_of(r) == kind]
            _attributes(page, of_kind, f"{benchmark}-{kind}")
    crossed = [r for r in of_test if r["data"].get("view")]
    for method, group in _by_method(crossed).items():
        page.heading(f"Across domains: {method}", 3)
        try:
            page.table(cross_domain_table(group, "tuned mA"), CROSS_NOTE)
        except BadInput as error:
            page.text(f"No table: {error}")


def _attributes(page, records, name):
    """Attribute by attribute, and reliability, of the recommended head and the baselines in their plain form."""
    used = [r for r in records if r["method"] != "VLM-PAR head" and _is_plain(r)]
    try:
        table = attribute_table(used, used[0]["data"]["benchmark"]) if used else pd.DataFrame()
    except BadInput as error:
        page.text(f"No table of attributes: {error}")
        return
    if "lead" in table:
        page.figure(f"attributes-{name}", strengths(table))
        page.figure(f"calibration-{name}", calibration(used, "Reliability of the probabilities"))


def _has_own_words(record):
    return (record["setting"].get("head") or {}).get("words", "own") == "own"


def _is_plain(record):
    trained = record["setting"].get("trained_on") or {}
    whole = record["data"].get("partition") in (None, "0") and trained.get("split", "train") == "train"
    return whole and _has_own_words(record)


def _by_method(records):
    found: dict[str, list] = {}
    for record in records:
        preset = (record["setting"].get("head") or {}).get("preset")
        found.setdefault(" ".join(filter(None, (record["method"], preset))), []).append(record)
    return found
