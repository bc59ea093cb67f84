"""Writes the nano encoder's model card from measured figures only.

python tools/nano_card.py       # writes it again, with the table of heads from `records/small`
"""

import json
from pathlib import Path

from parlib.encode.encoder import load_encoder
from parlib.files import read_yaml
from parlib.measure.records import read_records
from parlib.measure.tables import OUR_METHODS, spread

ROOT = Path(__file__).resolve().parents[1]

_CARD = """---
license: mit
library_name: transformers
pipeline_tag: zero-shot-image-classification
language: [en, zh, es, it, fr, ar]
---
# siglip2-nano

A small SigLIP trained on rendered pedestrians only. It is not derived from SigLIP 2's weights, and its scores say
nothing about real photographs or about the paper's encoder. It lets you run the whole pipeline in minutes on a CPU,
without a download: the code that loads it, prompts it, stores its features and trains heads on them is the code that
real checkpoints use.

- Image tower: 4 layers of width 128 on 96 x 96 px in patches of 12 (64 tokens), attention pooling. Text tower: 2
  layers, 32 positions, byte-level BPE of {vocabulary} tokens, lower-cased, padded to the full length; the pooled
  text is the last position. {size:.1f} MB with everything, weights in fp16.
- Trained on {rendered_images:,} rendered people (renderer version {renderer}, seeds used for nothing else), each with
  one caption as people write them: one or two salient traits in one of six languages, fine ones such as glasses, views
  or footwear seldom, and of clothes that they are dark, light or bright more often than their colour. {wrong:.0%} of
  the captions describe somebody else, {background:.0%} only the background. No default prompt is among them.
- Loss: SigLIP's sigmoid loss over all pairs of a step. A caption fits the image that it was written for, right or
  wrong, and, unlike SigLIP's, every other image of which it is true: a short caption is true of many. Beside it a dense
  objective for the patches: a helper, dropped afterwards, reads from them which words {writers} English descriptions of
  the image hold, of {sentences} statements each, in which fine traits are named less often than salient ones, but
  colours as often. There are no labels, but captions and descriptions are written from what the renderer knows. The
  pooled feature learns from captions only.
- {steps:,} of {planned:,} planned steps of {batch} images and their captions: {cpu_minutes:.0f} minutes of CPU time
  ({threads} thread) after rendering.
- Made by `tools/pretrain_nano.py`; no pickle, no remote code.

## Measured

On {test:,} rendered people per benchmark, drawn with the label rates of its test split from seeds not used in training,
with the default prompts of `parlib.load_prompts`. Thresholds are tuned on {val:,} other people, the probes are fitted
on {train:,} others. mA / mAP in percent; a constant predictor scores mA 50.

| | {benchmarks} |
|---|{rule}|
{rows}

{attributes}

One run and one seed. Attributes with few positives in a test set of this size vary by several points;
`nan` means that the test set has no positive.
{heads}
## What was tried

Trials on rendered PA-100K, one seed each, tuned mA / mAP (the last two columns: tuned mA): thresholds tuned on val,
scored on 2,000 other people with val's label rates. The choice was made on these; test had no part in it.

{trials}
"""

_READ_OUTS = {
    "linear_probe": "linear probe on pooled features",
    "linear_probe_patches": "linear probe on the mean of the patches",
    "map_probe": "attentive probe on the patches",
}


def write(folder, about):
    """Write `README.md` and `measured.json` into the encoder's folder from the figures in `about`."""
    each = about["scores"]
    first = next(iter(each.values()))
    rows = [
        (f"zero-shot, prompts in `{code}`", [s["zero_shot"][code] for s in each.values()])
        for code in first["zero_shot"]
    ]
    rows += [(name, [s[key] for s in each.values()]) for key, name in _READ_OUTS.items()]
    if "ceiling" in about:
        name = f"same network trained end to end on labels, {about['ceiling_steps']:,} steps"
        rows.append((name, list(about["ceiling"].values())))
    lines = [
        f"| {name} | " + " | ".join(f"{s['mA']:.1f} / {s['mAP']:.1f}" for s in scores) + " |" for name, scores in rows
    ]
    vocabulary = len(json.loads((folder / "tokenizer.json").read_text(encoding="utf-8"))["model"]["vocab"])
    card = _CARD.format(
        **about,
        **first["images"],
        size=sum(path.stat().st_size for path in folder.iterdir()) / 2**20,
        vocabulary=vocabulary,
        benchmarks=" | ".join(f"rendered {name}" for name in each),
        rule="|".join("---" for _ in each),
        rows="\n".join(lines),
        heads=_heads(load_encoder(str(folder)).identity["weights"]),
        trials=_trials(),
        attributes="\n\n".join(_attributes(name, s["per_attribute"]) for name, s in each.items()),
    )
    (folder / "README.md").write_text(card, encoding="utf-8")
    (folder / "measured.json").write_text(json.dumps(about, indent=1) + "\n", encoding="utf-8")


def _attributes(benchmark, scores):
    rows = [f"| {a} | {mA:.1f} | {scores['linear_probe'][a]:.1f} |" for a, mA in scores["zero_shot"].items()]
    return "\n".join([f"| rendered {benchmark}, mA | zero-shot (en) | linear probe |", "|---|---|---|", *rows])


def _trials():
    """A table of `nano_trials.yaml`: what was changed, why, and what it scored."""
    trials = read_yaml(ROOT / "tools/nano_trials.yaml", "trials of pretraining")
    names = list(dict.fromkeys(name for trial in trials for name in trial["scores"]))
    lines = [f"| trial | {' | '.join(names)} |", "|---" * (1 + len(names)) + "|"]
    for trial in trials:
        cells = " | ".join(str(trial["scores"].get(name, "")) for name in names)
        lines.append(f"| {trial['what']} | {cells} |")
    return "\n".join(lines)


def _heads(weights):
    """A table of heads trained on these features, from the stored records of these weights; empty without records."""
    folder = ROOT / "records" / "small"
    records = read_records(folder) if folder.is_dir() else []
    means = {}
    for record in records:
        is_own = record["data"].get("partition") in (None, "0")  # of PETA the partition of the literature
        if is_own and record["setting"].get("weights", weights) == weights:
            preset = (record["setting"].get("head") or {}).get("preset")
            key = (OUR_METHODS.index(record["method"]), preset or "", record["method"])
            cell = means.setdefault(key, {}).setdefault(record["data"]["benchmark"], [])
            cell.append((record["tuned"]["mA"], record["scores"]["mAP"]))
    if not means:
        return ""
    benchmarks = list(next(iter(means.values())))
    rows = [f"| tuned mA / mAP | {' | '.join(f'rendered {name}' for name in benchmarks)} |", "|---|---|---|---|"]
    for (_, preset, method), cells in sorted(means.items()):
        shown = [" / ".join(spread(scores) for scores in zip(*cells[name], strict=True)) for name in benchmarks]
        rows.append(f"| {method}{f' ({preset})' if preset else ''} | {' | '.join(shown)} |")
    about = "Heads and baselines on other trees, mean ± standard deviation over three seeds (one where none is given):"
    return "\n".join([f"\n{about}\n", *rows])


if __name__ == "__main__":
    nano = ROOT / "parlib/assets/siglip2-nano"
    write(nano, json.loads((nano / "measured.json").read_text(encoding="utf-8")))
