"""README's results (from the stored records, between two markers) and costs: `python tools/readme.py` writes both."""

import json
import re
from pathlib import Path

import pandas as pd

from parlib.measure.records import read_records
from parlib.measure.tables import spread

ROOT = Path(__file__).resolve().parents[1]
COLUMNS = {
    "rendered PA-100K": ("small", "pa100k"),
    "rendered PETA": ("small", "peta"),
    "rendered Market-1501": ("small", "market1501"),
    "real crops": ("sample", "pa100k"),
}
METHODS = (
    *("constant predictor", "zero-shot", "k-NN", "linear probe", "linear probe (patches)", "MLP probe"),
    *("attentive probe", "efficient probe", "VLM-PAR head (paper)", "VLM-PAR head (compact)"),
    "prompt-query head (recommended)",
)
BEFORE = """\
Percent, tuned mA (mean of TPR and TNR, thresholds from val) / mAP (mean average precision), nano encoder, mean ±
standard deviation of {seeds} seeds (no ± where equal or one). A seed draws rendered people and weights of the head, on
real crops (1,400 / 199 / 200 of PA-100K's *training* part, people not kept apart) weights only. **No figure is one on
PA-100K, PETA or Market-1501.** "VLM-PAR head (paper)" is the head as described (patches query words), trained {epochs}
epochs, the others {others}; in the "prompt-query head" prompts query patches. PETA is its partition 0.
"""


def results():
    """The paragraph and table as Markdown text."""
    records = {folder: read_records(ROOT / "records" / folder) for folder in ("small", "sample")}
    rows = {method: {title: _cell(records, method, *place) for title, place in COLUMNS.items()} for method in METHODS}
    runs = {method: _runs(records["small"], method, "pa100k") for method in METHODS}
    epochs = {method: runs[method][0]["setting"]["training"]["epochs"] for method in METHODS[-3:]}
    seeds = len(runs[METHODS[-1]])
    table = pd.DataFrame(rows).T.rename_axis("method").to_markdown(disable_numparse=True)
    about = {"seeds": {3: "three"}.get(seeds, seeds), "epochs": epochs[METHODS[-3]], "others": epochs[METHODS[-1]]}
    return BEFORE.format(**about) + "\n" + table


def costs():
    """The table of what the paper's setting costs, as `benchmarks/costs.py` measured it, as Markdown text."""
    measured = json.loads((ROOT / "benchmarks" / "results" / "costs.json").read_text(encoding="utf-8"))
    where, found = measured["hardware"], measured["result"]
    gpu = where["gpu"] or "GPU: not measured"
    machine = f"{where['processor'].replace(' x ', ' cores of ')}, load {where['load_1min']:.1f}; {gpu}"
    title = f"what it costs: one seed, {found['training']['epochs']} epochs, peak memory ({machine})"
    rows = {}
    for name, cost in found["benchmarks"].items():
        features = cost["features"]
        row = {"features, once": f"{features['hours']:.1f} h, {features['disk'] / 1e9:.0f} GB on disk"}
        for head, of in cost["heads"].items():
            row[f"{head} head"] = f"{of['hours']:.1f} h, {of['memory'] / 1e9:.1f} GB"
        rows[f"{name}, {sum(cost['images'].values()):,} images"] = row
    return pd.DataFrame(rows).T.rename_axis(title).to_markdown(disable_numparse=True)


def _runs(records, method, benchmark):
    return [r for r in records if _name(r) == method and r["data"]["benchmark"] == benchmark and _is_own(r)]


def _name(record):
    preset = (record["setting"].get("head") or {}).get("preset")
    return f"{record['method']} ({preset})" if preset else record["method"]


def _is_own(record):
    return record["data"].get("partition") in (None, "0", 0)


def _cell(records, method, folder, benchmark):
    runs = _runs(records[folder], method, benchmark)
    values = [run["tuned"]["mA"] for run in runs], [run["scores"]["mAP"] for run in runs]
    return " / ".join(spread(each if len(set(each)) > 1 else each[:1]) for each in values)


def with_results(text):
    """README's text with the results between the markers, and the table of costs, as they are now."""
    marked = r"(<!-- results.*?-->\n).*?(<!-- /results -->)"
    text = re.sub(marked, lambda found: found[1] + results() + "\n" + found[2], text, flags=re.DOTALL)
    return re.sub(r"^\| what it costs.*\n(\|.*\n)*", lambda found: costs() + "\n", text, flags=re.MULTILINE)


if __name__ == "__main__":
    path = ROOT / "README.md"
    path.write_text(with_results(path.read_text(encoding="utf-8")), encoding="utf-8")
