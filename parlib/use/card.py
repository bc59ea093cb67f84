"""A model's card: the template `assets/card.md`, filled from the model's run and records and from nothing else."""

import math
import re
from pathlib import Path
from typing import TYPE_CHECKING

from huggingface_hub import ModelCard, ModelCardData

from parlib.files import ASSETS, markdown_cell
from parlib.measure.records import has_scores
from parlib.measure.subgroups import readable, subgroups
from parlib.measure.tables import SUBGROUP_NOTE, render

if TYPE_CHECKING:
    from parlib.use.model import Model

_LICENCES = {
    "rendered": "rendered here; no third party's picture took part",
    "official": "the benchmark's, for research under its authors' terms; no picture of it is in this folder",
}
_SCORES = {"mA": "mA", "accuracy": "instance accuracy", "f1": "instance F1", "plain_accuracy": "plain accuracy"}


def card(model: "Model") -> ModelCard:
    """The README.md of a `Model`: data, protocol, scores with intervals, use and limits, licences."""
    setting = model.run.get("setting", {})
    trained_on = {**(model.run.get("val") or {}), **(setting.get("trained_on") or {})}
    encoder = setting.get("encoder", model.encoder.name)
    at_hub = re.fullmatch(r"\w[\w.-]*/[\w.-]+", encoder)
    local = "none (it ships with parlib)" if encoder == "nano" else "none (a local folder)"
    prompts = [*model.head.prompts, *(f"{' / '.join(a.phrases)} ({a.how})" for a in model.new_attributes)]
    return ModelCard.from_template(
        ModelCardData(
            library_name="parlib",
            pipeline_tag="image-classification",
            tags=["pedestrian-attribute-recognition", "siglip"],
            base_model=encoder if at_hub else None,
        ),
        template_path=str(ASSETS / "card.md"),
        cell=markdown_cell,
        subgroup_note=SUBGROUP_NOTE,
        model=model,
        setting=setting,
        benchmark=" + ".join(trained_on.get("domains") or [trained_on.get("benchmark", "unknown data")]),
        view=trained_on.get("view"),
        kind=model.kind or "unknown",
        encoder=markdown_cell(encoder if at_hub else Path(encoder).name),
        revision=setting.get("revision") or ("none" if at_hub else local),
        identity=setting.get("identity") or {"weights": setting.get("weights", model.encoder.identity["weights"])},
        method=model.head.method[0].upper() + model.head.method[1:],
        records=[_evaluation(record, trained_on.get("benchmark")) for record in model.records.values()],
        attributes=list(zip(model.names, prompts, model.thresholds, strict=True)),
        licence=_LICENCES.get(model.kind or "", "the trainer's own"),
    )


def _evaluation(record, trained_on):
    data, tuned = record["data"], record.get("tuned") or {}
    crossed = " (another benchmark than trained on)" if data["benchmark"] != trained_on else ""
    rows = [(name, record["scores"].get(key), record["intervals"].get(key)) for key, name in _SCORES.items()]
    rows += [("mAP", record["scores"].get("mAP"), record["intervals"].get("mAP"))]
    rows += [("mA at thresholds tuned on val", tuned.get("mA"), tuned.get("interval"))]
    tree = f"{data['benchmark']}, {data['kind']} tree, {data['split']}, {data['images']:,} images{crossed}"
    return {
        "words": f"{tree}; {record['protocol']}, in percent; 95 % intervals over another draw of {record['drawn']}.",
        "rows": [(name, _percent(value), " to ".join(map(_percent, ends or ()))) for name, value, ends in rows],
        "subgroups": render(readable(subgroups(record)), "markdown") if has_scores(record) else "",
        "undefined": record.get("undefined_attributes") or (),
        "digest": record["sha256"][:12],
    }


def _percent(value):
    return "not defined" if value is None or math.isnan(value) else f"{100 * value:.1f}"
