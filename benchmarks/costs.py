"""What the paper's setting costs: `python benchmarks/costs.py` writes `results/costs.json`.

A trial by `parlib.learn.costs`, which `parlib reproduce --plan` prints, at the shapes of SigLIP 2 base (random weights)
and the numbers of images of the real benchmarks, which need not be here. PA-100K and PETA as counted in their
annotation files; Market-1501 by the release's images, of which 100 of 751 people of the training half are val.
"""

import json
import tempfile
from dataclasses import replace
from importlib.resources import files
from pathlib import Path

from encode import encoder_folder
from harness import write

from parlib.data.market1501 import IDENTITIES, IMAGES, VAL_IDENTITIES
from parlib.learn.costs import costs
from parlib.learn.plan import SPLITS, plan
from parlib.profile import settings

HEADS = ("paper", "compact", "recommended")


def full_sizes():
    """Images of each split of each real benchmark."""
    facts = json.loads((files("parlib") / "assets" / "real_facts.json").read_text())
    val = round(IMAGES["trainval"] * VAL_IDENTITIES / IDENTITIES["trainval"])
    market = {"train": IMAGES["trainval"] - val, "val": val, "test": IMAGES["test"]}
    counted = {
        "pa100k": facts["pa100k"]["rows"],
        "peta": facts["peta"]["partitions"]["0"]["rows"],
        "market1501": market,
    }
    return {name: {split: rows[split] for split in SPLITS} for name, rows in counted.items()}


def main():
    """Measure and write; returns nothing."""
    with tempfile.TemporaryDirectory() as folder:
        encoder = str(encoder_folder("base-224", Path(folder, "encoder")))
        places = {name: Path(folder, name) for name in ("data", "cache", "runs")}
        paper = replace(settings("paper"), encoder=encoder, revision=None, **places)
        # All benchmarks, whether or not their trees are here.
        cells = plan(replace(paper, data=None), methods=("constant", *HEADS), seeds=[0])
        sizes = full_sizes()
        table = costs(cells, paper, sizes)
    shown = ["hours", "memory", "disk"]
    result = {}
    for name, images in sizes.items():
        heads = {head: table.loc[f"{name}-{head}-seed0", shown].to_dict() for head in HEADS}
        features = table.loc[f"{name}-constant-seed0", shown].to_dict()  # the first cell encodes
        result[name] = {"images": images, "features": features, "heads": heads}
    whole = {"features": sum(each["features"]["hours"] for each in result.values())}
    whole |= {head: sum(each["heads"][head]["hours"] for each in result.values()) for head in HEADS}
    share = {name: round(100 * hours / sum(whole.values()), 1) for name, hours in whole.items()}
    head = cells[[cell.method.key for cell in cells].index("recommended")]
    write("costs", {"training": head.options(paper).to_dict(), "benchmarks": result, "profile": share})


if __name__ == "__main__":
    main()
