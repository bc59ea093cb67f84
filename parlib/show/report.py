"""The report that a run ends with: REPORT.md and report.html, from records alone."""

import base64
import io
import os
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import jinja2
import pandas as pd
from markdown_it import MarkdownIt

from parlib.errors import BadInput
from parlib.files import ASSETS, json_text, markdown_cell, read_yaml, write_atomic
from parlib.measure import tables
from parlib.measure.claims import CLAIMS, LEVEL, verdicts
from parlib.measure.metrics import PROTOCOLS
from parlib.measure.records import has_scores, read_scores
from parlib.measure.rows import VLM_PAR_CLAIM, by_method, grouped, kind_of
from parlib.measure.subgroups import readable, subgroups
from parlib.show.figures.results import calibration, claims, strengths

_KINDS, _READINGS = read_yaml(ASSETS / "report.yaml", "words of the report").values()
_PRINTED_BESIDE = ("constant predictor", "linear probe", "VLM-PAR head")


def write_report(
    records: Sequence[dict[str, Any]], out: str | os.PathLike, plan: pd.DataFrame | None = None
) -> tuple[Path, Path]:
    """Write `REPORT.md` with its figures, and `report.html` which embeds them, to the folder `out`; return both paths.

    `records`: from `read_records`, BadInput without any; `plan`: one row per cell with what it took, shown as it is.
    """
    if not records:
        raise BadInput("no records to report on; `parlib reproduce` makes them")
    pictures: dict[str, bytes] = {}

    def figure(name, made):
        name, file = re.sub(r"[^\w-]", "-", name), io.BytesIO()
        made.savefig(file, format="png", dpi=110)
        pictures[f"{name}.png"] = file.getvalue()
        return f"![{name}]({name}.png)"

    plain = [r for r in records if tables.part_of(r) == "test"]
    crossed = [r for r in records if tables.part_of(r).startswith("test in view")]
    own_words = [r for r in plain if _has_own_words(r)]
    judged = verdicts(records)
    measures = pd.DataFrame(CLAIMS["measures"]).T.rename(columns={"is": "what it is"}).rename_axis("measure")
    environment = jinja2.Environment(trim_blocks=True, undefined=jinja2.StrictUndefined)  # no HTML is made by it
    environment.filters |= {"table": tables.render, "cell": markdown_cell}
    text = environment.from_string((ASSETS / "report.md").read_text(encoding="utf-8")).render(
        records=records,
        where="; ".join(_KINDS[kind] for kind in sorted(set(map(kind_of, records)))),
        printed=_printed_numbers(own_words),
        claims=CLAIMS,
        level=f"{100 * LEVEL:.2f} %",
        judged=[_judged(i, part, figure) for i, (_, part) in enumerate(judged.groupby(["data", "encoder"]))],
        measures=measures,
        side_by_side=tables.literature_table(own_words),
        benchmarks=[_benchmark(plain, name, figure) for name in dict.fromkeys(r["data"]["benchmark"] for r in plain)],
        subgroups=_subgroups(own_words),
        crossed={method: _crossed(of_one) for method, of_one in by_method(crossed).items()},
        missing=judged[judged["verdict"] == "not run"][["data", "encoder", "missing"]].rename_axis("claim"),
        plan=plan,
        made_on=dict.fromkeys(json_text(r[part], None) for part in ("made_with", "hardware") for r in records),
        notes=vars(tables),
    )
    page = re.sub(r"(<td[^>]*)>([^<]{60,})</td>", r'\1 class="long">\2</td>', MarkdownIt("js-default").render(text))
    for name, content in pictures.items():
        write_atomic(Path(out) / name, content)
        page = page.replace(f'src="{name}"', f'src="data:image/png;base64,{base64.b64encode(content).decode()}"')
    style = (ASSETS / "report.css").read_text(encoding="utf-8")
    head = f'<!doctype html>\n<meta charset="utf-8"><title>VLM-PAR, claim by claim</title><style>{style}</style>\n'
    written = Path(out) / "REPORT.md", Path(out) / "report.html"
    write_atomic(written[0], text)
    write_atomic(written[1], head + page.replace(" ± ", " ±\N{NO-BREAK SPACE}"))
    return written


def _printed_numbers(records):
    """The paper's three numbers beside ours in each metric they could be."""
    rows = []
    for benchmark, printed in VLM_PAR_CLAIM.items():
        about = {"benchmark": benchmark, 'printed as "mA"': f"{printed:.2f}"}
        of_it = [r for r in records if r["data"]["benchmark"] == benchmark and r["method"] in _PRINTED_BESIDE]
        groups = sorted(grouped(of_it), key=lambda group: _PRINTED_BESIDE.index(group.method))
        for group in groups:
            cells = tables.spreads(group.records)
            row = {**about, "ours": group.name, "data": group.data}
            row |= {text: cells[name] for name, text in _READINGS.items()}
            views = [name for name, protocol in PROTOCOLS.items() if protocol.view and benchmark == "market1501"]
            for name in views if all(map(has_scores, group.records)) else ():
                arrays = map(read_scores, group.records)
                scores = [PROTOCOLS[name](one["labels"], one["scores"]).plain_accuracy for one in arrays]
                row[f"plain accuracy, {name}"] = tables.spread(scores)
            rows.append(row)
        if not groups:
            rows.append({**about, "ours": "not run"})
    return pd.DataFrame(rows).fillna("").set_index("benchmark")


def _judged(number, part, figure):
    """The verdicts on one kind of data with one encoder."""
    data, encoder = part[["data", "encoder"]].iloc[0]
    caption = f"Encoder {encoder} on {_KINDS.get(data, data)}. Intervals {100 * LEVEL:.2f} %."
    shown = part[["statement", "verdict"]].copy()
    numbers = part[["difference", "low", "high"]].to_numpy()
    shown["difference"] = [f"{d:+.2f} [{low:+.2f}, {high:+.2f}]" if d == d else "" for d, low, high in numbers]
    return {
        "data": data,
        "encoder": encoder,
        "caption": caption,
        "figure": figure(f"claims-{data}-{number}", claims(part, caption=caption)),
        "table": shown.join(part[["unit", "head", "against", "missing", "seeds", "records"]]),
    }


def _benchmark(records, name, figure):
    """A benchmark's table, and per kind of data the figures of the recommended head beside the plain baselines."""
    of_it = [r for r in records if r["data"]["benchmark"] == name]
    figures = []
    for kind in sorted(set(map(kind_of, of_it))):
        used = [r for r in of_it if kind_of(r) == kind and r["method"] != "VLM-PAR head" and _is_plain(r)]
        try:
            table = tables.attribute_table(used, name) if used else pd.DataFrame()
        except BadInput as error:
            figures.append(f"No table of attributes: {markdown_cell(error)}")
            continue
        if "lead" in table:
            figures.append(figure(f"attributes-{name}-{kind}", strengths(table)))
            reliability = calibration(used, "Reliability of the probabilities")
            figures.append(figure(f"calibration-{name}-{kind}", reliability))
    return {"name": name, "table": tables.benchmark_table(of_it, name), "figures": figures}


def _subgroups(records):
    """Title -> table of subgroups, of one head (the recommended one where it has scores) and one seed per benchmark."""
    heads = [r for r in records if r["setting"].get("head") and has_scores(r)]
    heads.sort(key=lambda r: (r["setting"]["head"].get("preset") != "recommended", r["setting"].get("seed") or 0))
    first = {(r["data"]["benchmark"], kind_of(r), r["data"].get("partition")): r for r in reversed(heads)}
    found = {}
    for (benchmark, kind, partition), record in sorted(first.items(), key=str):
        where = f"{benchmark}{f', partition {partition}' if partition else ''}, {kind} images"
        how = f"{record['setting']['head'].get('preset')}, seed {record['setting'].get('seed')}"
        table = readable(subgroups(record))
        if len(table):
            found[f"{where}: {record['method']} ({how})"] = table
    return found


def _crossed(records):
    """The matrix of domains and, where heads were trained on all others, their scores by attribute; or what lacks."""
    try:
        return tables.cross_domain_table(records, "tuned mA"), tables.left_out_table(records, "tuned mA")
    except BadInput as error:
        return str(error)


def _has_own_words(record):
    return (record["setting"].get("head") or {}).get("words", "own") == "own"


def _is_plain(record):
    trained = record["setting"].get("trained_on") or {}
    whole = record["data"].get("partition") in (None, "0") and trained.get("split", "train") == "train"
    return whole and _has_own_words(record)
