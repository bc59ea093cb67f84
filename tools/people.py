"""What one answer per person is worth: `python tools/people.py` writes benchmarks/results/people.json.

On the rendered Market-1501 and PETA (by person: train, val and test share nobody) of the small profile, three seeds (a
seed draws people, cameras and weights). A head is trained on single images. How the scores of a person's images are
combined is chosen on val by the mean mAP of both benchmarks, and scored on test once, beside single images and the
plain mean of probabilities. Images of people with one image are left out. In Market-1501 all crops have one size.
"""

import itertools
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from scipy.special import expit, logit

from parlib.data import benchmark_root, read_release
from parlib.encode.encoder import load_encoder
from parlib.files import json_text, write_atomic
from parlib.learn.inputs import prepare
from parlib.learn.methods import find_methods, new_head
from parlib.learn.train import calibrate, fit, predict
from parlib.measure.bootstrap import bootstrap, persons
from parlib.measure.metrics import evaluate
from parlib.measure.records import hardware
from parlib.profile import profile
from parlib.use.people import weight

OUT = Path(__file__).resolve().parents[1] / "benchmarks" / "results" / "people.json"
TREES, SEEDS = {"market1501": None, "peta": "identity-disjoint-seed0"}, (0, 1, 2)
WAYS = list(itertools.product(("probability", "logit"), (0.0, 0.5, 1.0), (0.0, 0.5, 1.0, 2.0)))
PLAIN = ("probability", 0.0, 0.0)
ABOUT = (
    "Percent over images of people with several images, each image scored as its person; mA at the thresholds of the "
    "head, tuned on single images of val. gain: minus single images; more: minus the plain mean of probabilities; "
    "with paired 95 % bootstrap intervals over people. A way is (mean of, power of height, power of sharpness); "
    "sharpness is `parlib.use.people.weight`. on_val: mean mAP of both benchmarks and all seeds for each way."
)


def main():
    """Command line; returns nothing."""
    jobs = list(itertools.product(TREES, SEEDS))
    with ProcessPoolExecutor(2, get_context("spawn")) as pool:
        found = dict(zip(jobs, pool.map(_scored, *zip(*jobs, strict=True)), strict=True))
    on_val = {
        way: float(np.mean([_score(each["val"], way, each["thresholds"])["mAP"] for each in found.values()]))
        for way in WAYS
    }
    chosen, rows = max(on_val, key=on_val.get), []
    for (name, seed), each in found.items():
        labels, scores, who, _ = each["test"]
        row = {"benchmark": name, "seed": seed, "images": len(labels), "people": len(set(who))}
        row |= {"single": _percents(evaluate(labels, scores, each["thresholds"]).summary())}
        row |= {"combined": _score(each["test"], chosen, each["thresholds"])}
        ours, plain = (_combined(each["test"], way) for way in (chosen, PLAIN))
        for gap, other in (("gain", scores), ("more", plain)):
            options = {"threshold": each["thresholds"], "identities": who, "ranking": True, "resamples": 500}
            table = bootstrap(labels, ours, other, **options)
            row[gap] = {score: _percents(table.loc[score].to_dict()) for score in ("mA", "mAP")}
        rows.append(row)
    about = {"about": ABOUT, "profile": "small", "head": "recommended", "hardware": hardware(), "chosen": chosen}
    ranked = sorted(on_val.items(), key=lambda item: -item[1])
    about["on_val"] = [{"way": way, "mAP": round(value, 2)} for way, value in ranked]
    write_atomic(OUT, json_text({**about, "rows": rows}) + "\n")
    print(pd.json_normalize(rows).T.to_string(), chosen, ranked[:5])


def _scored(name, seed):
    """Split -> (labels, scores, people, (height, sharpness)) of people with several images; and thresholds (A,)."""
    torch.set_num_threads(1)
    made = profile("small", seed=seed, benchmark=name)
    encoder, (method,) = load_encoder(made.encoder), find_methods(["recommended"])
    release = read_release(name, benchmark_root(made), **({"partition": TREES[name]} if TREES[name] else {}))
    parts = {split: prepare(release, split, encoder, made.cache, made.dtype) for split in ("train", "val", "test")}
    head = new_head(parts["train"].schema, encoder, seed, preset="recommended")
    options = method.train_options(made.encoder)
    fit(head, parts["train"], parts["val"], options, seed)
    calibrate(head, parts["train"], parts["val"], options.mirrored)
    out = {"thresholds": head.thresholds.numpy()}
    for split in ("val", "test"):
        who, images = np.array(parts[split].identity), release.dataset(split)["image"]
        several = pd.Series(who).duplicated(keep=False).to_numpy()
        looks = np.array([(image.height, weight(image)) for image in images])
        scores = predict(head, parts[split].store, mirrored=options.mirrored)
        out[split] = [array[several] for array in (parts[split].labels, scores, who, looks)]
    return out


def _combined(part, way):
    """(n, A): for each image the scores of its person, combined as `way` says."""
    _, scores, who, looks = part
    mean_of, *powers = way
    number, counts = persons(who, len(who)), np.prod(looks ** np.array(powers), axis=1)
    values = logit(scores.astype(float).clip(1e-6, 1 - 1e-6)) if mean_of == "logit" else scores.astype(float)
    sums = pd.DataFrame(values * counts[:, None]).groupby(number).transform("sum").to_numpy()
    means = sums / pd.Series(counts).groupby(number).transform("sum").to_numpy()[:, None]
    return expit(means) if mean_of == "logit" else means.clip(0, 1)


def _score(part, way, thresholds):
    return _percents(evaluate(part[0], _combined(part, way), thresholds).summary())


def _percents(scores):
    kept = ("mA", "mAP", "value", "low", "high")
    return {name: round(100 * float(scores[name]), 2) for name in kept if name in scores}


if __name__ == "__main__":
    main()
