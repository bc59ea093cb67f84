"""Every option of the head over several seeds, a record each: `python tools/ablations.py --root TREE`.

Records that are there are kept, so a stopped run goes on; remove one to make it anew. `ablation_table` refuses a folder
in which records of several encoders or trees lie. Rows of an earlier block or of NaFlex stand in one table with the
others, under the hash of the encoder that they were made from; the variant is in their `setting.head`.
"""

import argparse
import json
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path

import numpy as np
import torch
from tqdm import tqdm
from transformers import Siglip2Config, Siglip2Model
from transformers.models.siglip2.image_processing_pil_siglip2 import Siglip2ImageProcessorPil
from transformers.models.siglip2.processing_siglip2 import Siglip2Processor

from parlib.data import read_release
from parlib.encode.encoder import load_encoder
from parlib.learn.baselines import PROBES, linear_probe
from parlib.learn.inputs import encoder_setting, prepare
from parlib.learn.losses import LOSSES
from parlib.learn.run import new_head
from parlib.learn.train import TrainOptions, fit, predict
from parlib.measure.bootstrap import bootstrap
from parlib.measure.metrics import tune_thresholds
from parlib.measure.records import make_record, write_record
from parlib.measure.tables import REFERENCE
from parlib.profile import settings
from parlib.schema import schema

# What each row changes in the recommended head, or in how it is trained.
OPTIONS = {
    "recommended": {},
    "patches query (paper's, compact)": {"preset": "compact"},
    "patches and prompts query, width 64": {"queries": "both", "grid": 4, "width": 64},
    "MAP-pooled feature for patches": {"image": "pooled"},
    "frozen prompt tokens only": {"learnable_tokens": 0},
    "each attribute another's prompt": {"prompts": "shifted"},
    "mixer over attributes": {"mixer": 1},
    "patches averaged to 4 x 4": {"grid": 4},
    "16 learnable tokens": {"learnable_tokens": 16},
    "patches of block 2 of 4": {"encoder": {"layer": 2}},
    "patches of block 3 of 4": {"encoder": {"layer": 3}},
    "aspect ratio kept (NaFlex, same weights)": {"encoder": {"naflex": True}},
    "softmax within exclusive sets": {"exclusive": True},
    "no pooled residual": {"pooled_residual": False},
    "no LayerNorm on tokens": {"norm_tokens": False},
    "BatchNorm on logits": {"norm_logits": True},
    "no EMA of weights": {"training": {"ema": 0.0}},
    "mirrored views": {"training": {"mirrored": True}},
    "label-balanced sampling": {"training": {"sampling": "balanced"}},
    **{
        f"loss {loss}": {"training": {"loss": loss}}
        for loss in LOSSES
        if loss not in ("ce", settings("small").training["loss"])
    },
    **{name: {"probe": name} for name in PROBES},
}


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--root", type=Path, required=True)
    parser.add_argument("--benchmark", default="pa100k")
    parser.add_argument("--encoder", default="nano")
    parser.add_argument("--cache", type=Path, default=Path(".cache"))
    parser.add_argument("--out", type=Path, default=Path("records/ablation"))
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--options", nargs="+", default=list(OPTIONS), choices=list(OPTIONS))
    parser.add_argument("--workers", type=int, default=2)
    options = parser.parse_args()
    _load(options, progress=True)  # extracted once, before the workers ask for it
    jobs = [
        (name, seed) for name in options.options for seed in options.seeds if not _path(options, name, seed).exists()
    ]
    with ProcessPoolExecutor(options.workers, get_context("spawn"), _start, (options,)) as pool:
        list(tqdm(pool.map(_run, *zip(*jobs, strict=True)) if jobs else [], total=len(jobs), unit="run"))


def _path(options, name, seed=None):
    words = "-".join("".join(c if c.isalnum() else " " for c in name.lower()).split())
    return options.out / f"{words}{'' if seed is None else f'-seed{seed}'}.json"


def naflex(source, folder):
    """A NaFlex encoder of a fixed-resolution one's weights, nothing trained, saved to and loaded from `folder`.

    The patch convolution becomes the linear map it is; positions are interpolated to each crop's shape.
    """
    plain = load_encoder(source)
    config, weights = plain.model.config, plain.model.state_dict()
    vision = {k: v for k, v in config.vision_config.to_dict().items() if k not in ("image_size", "model_type")}
    vision["num_patches"] = plain.patches
    made = Siglip2Model(Siglip2Config(text_config=config.text_config.to_dict(), vision_config=vision))
    key = "vision_model.embeddings.patch_embedding.weight"
    weights[key] = weights[key].permute(0, 2, 3, 1).flatten(1)  # (D, 3, P, P) -> (D, P * P * 3)
    made.load_state_dict(weights)
    made.save_pretrained(folder)
    known = {k: plain.preprocessing[k] for k in ("image_mean", "image_std", "rescale_factor", "resample")}
    pixels = Siglip2ImageProcessorPil(patch_size=plain.patch_size, max_num_patches=plain.patches, **known)
    Siglip2Processor(pixels, plain.processor.tokenizer).save_pretrained(folder)
    encoder = load_encoder(str(folder))
    # transformers reads any NaFlex folder with Gemma's tokenizer class, which nano's vocabulary is not made for.
    encoder.processor.tokenizer = plain.processor.tokenizer
    return encoder


def _load(options, progress=False, **variant):
    torch.set_num_threads(1)
    wide = variant.pop("naflex", False)
    encoder = naflex(options.encoder, options.cache / "naflex") if wide else load_encoder(options.encoder, **variant)
    both = {"mirrored": True, "progress": progress}
    release = read_release(options.benchmark, options.root)
    return encoder, [prepare(release, split, encoder, options.cache, **both) for split in ("train", "val", "test")]


def _start(options):
    """A worker's own copy of all that its runs share, and the reference they are compared with."""
    global job
    job = {"options": options, "schema": schema(options.benchmark)}
    job["encoder"], job["parts"] = _load(options)
    train, val, test = job["parts"]
    on_val, on_test = linear_probe(train, [val.store, test.store])
    job["reference"] = {"other": on_test, "other_threshold": tune_thresholds(val.labels, on_val)}
    _record(REFERENCE, None, {"C": 0.1}, on_val, on_test)


def _run(name, seed):
    option = {**OPTIONS[name]}
    training = {**settings("small").training, **option.pop("training", {}), "threads": 1}
    shifted, probe = option.pop("prompts", None), option.pop("probe", None)
    variant = option.pop("encoder", None)
    encoder, parts = _load(job["options"], **variant) if variant else (job["encoder"], job["parts"])
    torch.manual_seed(seed)
    if probe:
        head = PROBES[probe](job["schema"].names, encoder.width)
    else:
        head = new_head(job["schema"], encoder, seed, **{"preset": "recommended", **option})
    if shifted:
        head.set_prompts(encoder.encode_prompts(head.prompts[1:] + head.prompts[:1]))
    options, (train, val, test) = TrainOptions(**training), parts
    fit(head, train, val, options, seed)
    scores = [predict(head, part.store, mirrored=options.mirrored) for part in (val, test)]
    _record(name, seed, {"head": OPTIONS[name], "training": options.to_dict(), "seed": seed}, *scores)


def _record(name, seed, setting, on_val, on_test):
    _, val, test = job["parts"]
    thresholds = tune_thresholds(val.labels, on_val)
    gaps = bootstrap(test.labels, on_test, threshold=thresholds, ranking=True, **job["reference"])
    gaps = gaps.rename(columns={"value": "difference"}).T
    # Decided at 0.5, where a softmax within a set says yes once at most.
    broken = np.any(list(job["schema"].contradictions(on_test > 0.5).values()), axis=0)
    compared = {"mA": gaps["mA"].to_dict(), "mAP": gaps["mAP"].to_dict(), "impossible": float(broken.mean())}
    about = {**encoder_setting(job["encoder"]), **json.loads(json.dumps(setting))}
    about["ablation"] = compared
    record = make_record(name, about, test.about, test.labels, on_test, thresholds, job["schema"].names)
    write_record(record, _path(job["options"], name, seed))


if __name__ == "__main__":
    main()
