"""A model's card, written from its records and from nothing else."""

import re
from typing import TYPE_CHECKING

from parlib.files import markdown_cell

if TYPE_CHECKING:
    from parlib.use.model import Model

_LICENCES = {
    "rendered": "rendered here; no third party's picture took part",
    "official": "the benchmark's, for research under its authors' terms; no picture of it travels along",
    "other": "the trainer's own tree",
}

_CARD = """---
library_name: parlib
pipeline_tag: image-classification
tags: [pedestrian-attribute-recognition, siglip]
{base}---
# {title}

{method} on the frozen encoder `{encoder}`: {attributes} attributes of a person in a crop, each with a probability, a
threshold and whether it is calibrated.

```python
import parlib

model = parlib.load("FOLDER")  # where this file lies, or its name at the hub
model(["person.png"])  # a DataFrame, a row an attribute
```

## Trained on

{trained}
- Encoder: `{encoder}`, revision {revision}, weights SHA-256 `{weights}`. It must be these weights: a head reads its own
  encoder's features only.
- Head: {head}. Seed {seed}; thresholds and temperature ({temperature}) fitted on val.
{notes}
## Scores

{scores}

## Attributes

{listed}

## For what, and for what not

Made to study attribute recognition and to redo its numbers. It tells how a person *looks* in a picture, by the labels
of one benchmark: "Female" or "AgeOver60" is an annotator's impression, not a fact about anyone. It fails more often for
rare attributes, other cameras and other people than it was trained on (see the scores for each attribute in the
records), and it was not examined for fairness between groups of people. Do not use it to identify, follow or judge
people, nor for decisions about them; many laws restrict inferring traits of people from pictures.

## Licences

Head: the licence its trainer gives it (MIT where it ships with parlib). Encoder: its own. Data: {licence}.
Only safetensors and JSON are in this folder; nothing here runs code when it is read.
"""


def card(model: "Model") -> str:
    """The text of README.md for a `Model`: data, protocol, scores with intervals, use and limits, licences."""
    setting, records = model.run.get("setting", {}), list(model.records.values())
    encoder = setting.get("encoder", model.encoder.name)
    about = {**(model.run.get("val") or {}), **(setting.get("trained_on") or {})}
    kind = about.get("kind", "other")
    trained = f"{about.get('benchmark', 'unknown data')}, {kind} tree, split train; best epoch chosen on val."
    if about.get("view"):
        trained += f" Attributes of the view {about['view']}."
    trained = f"- {markdown_cell(trained)}"
    if kind == "rendered":
        trained += " **Rendered people, no photographs: it is of no use on real pictures.**"
    hub = re.fullmatch(r"\w[\w.-]*/[\w.-]+", encoder)  # a line of YAML is made of it
    encoder = markdown_cell(encoder if hub else encoder.rpartition("/")[2])
    named = "\n".join(f"- **{markdown_cell(note)}**" for note in setting.get("notes") or ())
    return _CARD.format(
        base=f"base_model: {encoder}\n" if hub else "",
        title=f"{markdown_cell(about.get('benchmark', 'custom'))} attributes on {encoder}",
        method=model.head.method[0].upper() + model.head.method[1:],
        encoder=encoder,
        attributes=len(model.names),
        trained=trained,
        revision=markdown_cell(setting.get("revision") or "none")
        + ("" if hub else " (it ships with parlib)" if encoder == "nano" else " (a local folder)"),
        weights=markdown_cell(setting.get("weights", model.encoder.weights_hash)),
        head=model.head.describe(),
        seed=markdown_cell(setting.get("seed", "unknown")),
        temperature=f"{float(model.head.temperature):.3f}",
        notes=f"{named}\n" if named else "",
        scores="\n\n".join(map(_scores, records)) or "No evaluation was recorded.",
        listed=_attributes(model),
        licence=_LICENCES.get(kind, _LICENCES["other"]),
    )


def _scores(record):
    data, tuned, intervals = record["data"], record.get("tuned") or {}, record["intervals"]
    names = {"mA": "mA", "accuracy": "instance accuracy", "f1": "instance F1", "plain_accuracy": "plain accuracy"}
    names["mAP"] = "mAP"
    lines = []
    for key, name in names.items():
        if record["scores"].get(key) is None:
            continue
        low, high = intervals.get(key, (None, None))
        interval = "" if low is None else f"{100 * low:.1f} to {100 * high:.1f}"
        lines.append(f"| {name} | {100 * record['scores'][key]:.1f} | {interval} |")
    if tuned.get("mA") is not None:
        bounds = tuned.get("interval")
        interval = f"{100 * bounds[0]:.1f} to {100 * bounds[1]:.1f}" if bounds else ""
        lines.append(f"| mA at thresholds tuned on val | {100 * tuned['mA']:.1f} | {interval} |")
    crossed = " (another benchmark than trained on)" if data["benchmark"] != _trained_on(record) else ""
    told = (
        f"{data['benchmark']}, {data['kind']} tree, {data['split']}, {data['images']:,} images{crossed}; percent, "
        f"{record['protocol']}; 95 % intervals over another draw of {record['drawn']}."
    )
    head = f"{markdown_cell(told)}\n\n| score | value | interval |\n|---|---|---|"
    return "\n".join([head, *lines, f"\nRecord `{record['sha256'][:12]}`."])


def _trained_on(record):
    return (record["setting"].get("trained_on") or record["data"])["benchmark"]


def _attributes(model):
    lines = ["| attribute | prompt | threshold |", "|---|---|---|"]
    prompts = [*model.head.prompts, *(f"{' / '.join(a.phrases)} ({a.how})" for a in model.added)]
    rows = zip(model.names, prompts, model.thresholds, strict=True)
    return "\n".join([*lines, *(f"| {markdown_cell(n)} | {markdown_cell(p)} | {t:.2f} |" for n, p, t in rows)])
