"""The readers of files that users bring: how to make a good file, and how it is read.

One table for the random faults of `test_hostile.py` and for the coverage-guided ones of `run.py`.
"""

import json
import shutil
import time
from functools import cache

import pandas as pd
import yaml
from PIL import Image

import parlib
from parlib.data import check, load_benchmark
from parlib.data.formats import read_table
from parlib.data.images import open_image
from parlib.data.partition import read_index
from parlib.encode.prompts import load_prompts
from parlib.files import read_json
from parlib.measure.records import read_records
from parlib.measure.tables import attribute_table, benchmark_table, render
from parlib.schema import Schema, schema
from parlib.use.boxes import read_boxes
from parlib.use.crops import crops_of
from parlib.use.model import EXAMPLES, SHIPPED, card, load

NAMES = [f"{number:05d}.png" for number in range(1, 6)]
nano = cache(parlib.load_encoder)


def written(path, text):
    path.parent.mkdir(exist_ok=True)
    path.write_text(text)
    return path


def coco(folder):
    people = {
        "images": [{"id": 1, "file_name": "a.png"}],
        "annotations": [{"id": 1, "image_id": 1, "category_id": 1, "bbox": [1, 2, 3, 4]}],
        "categories": [{"id": 1, "name": "person"}],
    }
    return written(folder / "a.json", json.dumps(people))


def cut(path):
    """Boxes read and put to a picture, as `parlib predict --boxes` does."""
    boxes = read_boxes(path)
    return crops_of([("a.png", Image.new("RGB", (8, 8)))], boxes)


def model_folder(folder, name):
    shutil.copytree(SHIPPED["nano-pa100k"], folder / "model", dirs_exist_ok=True)
    return folder / "model" / name


def model_with_more(folder, name):
    load(model_folder(folder, name).parent, encoder=nano()).with_phrases({"scarf": "a red scarf"}).save_pretrained(
        folder / "model"
    )
    return folder / "model" / name


def read_model(path):
    return load(path.parent, encoder=nano())


def tables(path):
    """Records as every table shows them."""
    records, made = read_records(path), []
    for table in (benchmark_table, attribute_table):
        made += [render(table(records, "pa100k"), form, "note") for form in ("markdown", "latex", "csv", "html")]
    return made


def tree(folder, name):
    """A user's own tree, with a schema."""
    about = {"name": "own", "attributes": [{"name": "hat", "prompt": "a hat"}, "bag"]}
    written(folder / "tree" / "schema.yaml", yaml.safe_dump(about))
    written(folder / "tree" / "metadata.csv", "image,identity,split,hat,bag\na.png,1,train,1,0\nb.png,2,test,,-1\n")
    return folder / "tree" / name


def pa100k(folder):
    head = "Image," + ",".join(schema("pa100k").names)
    for i, split in enumerate(("train", "val", "test")):
        written(folder / "tree" / f"{split}.csv", f"{head}\n{i}.jpg{',1' * 13}{',0' * 13}\n")
    return folder / "tree" / "train.csv"


def read_tree(path):
    report = check(path.parent)
    report.to_text(), json.dumps(report.to_dict())
    kind = report.kind or "folder"
    return load_benchmark(kind, path.parent, "train", images=False)[:]


def own_schema(path):
    return Schema.from_yaml(path)


def read_schema(path):
    made = own_schema(path)
    assert Schema.from_dict(json.loads(json.dumps(made.to_dict()))) == made
    for name in made.questions:
        made.view(name)
    return made.groups, load_prompts(made)


def saved(folder, suffix, **options):
    Image.open(EXAMPLES / "person-01.png").convert(options.pop("mode", "RGB")).resize((24, 48)).save(
        folder / f"a.{suffix}", **options
    )
    return folder / f"a.{suffix}"


def parquet(folder):
    pd.DataFrame({"image": ["a"], "hat": [1]}).to_parquet(folder / "a.parquet")
    return folder / "a.parquet"


# name -> (make a good file, read it). MATLAB files are not here: altered bytes can crash scipy, as SECURITY.md says.
READERS = {
    "csv": (lambda f: written(f / "a.csv", "image,hat,bag\na.png,1,0\nb.png,,-1\n"), read_table),
    "parquet": (parquet, read_table),
    "pa100k": (pa100k, read_tree),
    "folder": (lambda f: tree(f, "metadata.csv"), read_tree),
    "folder, schema": (lambda f: tree(f, "schema.yaml"), read_tree),
    "schema": (lambda f: written(f / "a.yaml", yaml.safe_dump(schema("pa100k").to_dict())), own_schema),
    "schema, used": (
        lambda f: written(f / "a.yaml", yaml.safe_dump({**schema("market1501").to_dict(), "name": "own"})),
        lambda p: own_schema(p).to_dict(),
    ),
    "index, json": (
        lambda f: written(f / "a.json", '{"train": [1, 2, "00003.png"], "val": [4], "test": [5]}'),
        lambda p: read_index(p, NAMES),
    ),
    "index, csv": (
        lambda f: written(f / "a.csv", "image,split\n00001.png,train\n2,train\n3,val\n4,test\n"),
        lambda p: read_index(p, NAMES),
    ),
    "record": (lambda f: model_folder(f, "test.json"), tables),
    "json": (coco, lambda p: read_json(p, "file")),
    "boxes, csv": (lambda f: written(f / "a.csv", "image,x,y,width,height\na.png,1,2,3,4\n"), cut),
    "boxes, coco": (coco, cut),
    "png": (lambda f: shutil.copy(EXAMPLES / "person-01.png", f / "a.png"), open_image),
    "png, palette": (lambda f: saved(f, "png", mode="P"), open_image),
    "jpg": (lambda f: saved(f, "jpg"), open_image),
    "jpg, progressive": (lambda f: saved(f, "jpg", progressive=True), open_image),
    "webp": (lambda f: saved(f, "webp"), open_image),
    "gif": (lambda f: saved(f, "gif"), open_image),
    "tiff": (lambda f: saved(f, "tiff", compression="tiff_lzw"), open_image),
    "bmp": (lambda f: saved(f, "bmp"), open_image),
    "model, config": (lambda f: model_folder(f, "config.json"), read_model),
    "model, run": (lambda f: model_folder(f, "run.json"), lambda p: card(read_model(p))),
    "model, added": (lambda f: model_with_more(f, "added.json"), lambda p: card(read_model(p))),
}


def _unlike_good(path, act):
    if path.read_bytes() != b"good":
        act()


def _work_long():
    end = time.process_time() + 6
    while time.process_time() < end:
        pass


def _refuse():
    raise ValueError("no BadInput")


# Readers in which the harness must find a fault.
BROKEN = {
    "a reader that raises": (lambda f: written(f / "a.txt", "good"), lambda p: _unlike_good(p, _refuse)),
    "a reader that hangs": (lambda f: written(f / "a.txt", "good"), lambda p: _unlike_good(p, _work_long)),
    "a reader that fills the memory": (
        lambda f: written(f / "a.txt", "good"),
        lambda p: _unlike_good(p, lambda: [bytearray(2**28) + b"1" for _ in range(20)] and time.sleep(2)),
    ),
}
