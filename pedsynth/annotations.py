"""The annotation files of the three releases, field for field, for the people of a `Plan`."""

import numpy as np
from scipy.io import savemat

from parlib.schema import schema
from pedsynth.layouts import SPLITS

# The order of fields in the two halves of Market-1501's file, after age, backpack, bag and handbag.
_WORN, _WHO = ["clothes", "down", "up"], ["hair", "hat", "gender"]
_COLOURS = {
    "test": (
        "upblack upwhite upred uppurple upyellow upgray upblue upgreen downblack downwhite downpink downpurple "
        "downyellow downgray downblue downgreen downbrown"
    ),
    "train": (
        "downblack downblue downbrown downgray downgreen downpink downpurple downwhite downyellow upblack upblue "
        "upgreen upgray uppurple upred upwhite upyellow"
    ),
}


def write_annotations(plan, root):
    """Write `annotation.mat`, `PETA.mat` or `market_attribute.mat` into `root`."""
    _WRITERS[plan.benchmark](plan, root)


def _pa100k(plan, root):
    content, table = {"attributes": _cells(schema("pa100k").names)}, plan.table().astype(np.uint8)
    for split in SPLITS:
        shots = [shot for shot in plan.shots if shot.split == split]
        content[f"{split}_images_name"] = _cells(shot.path.split("/")[1] for shot in shots)
        content[f"{split}_label"] = table[[shot.who for shot in shots]]
    save_mat(root / "annotation.mat", content)


def _peta(plan, root):
    table, parts = plan.table("peta105"), np.empty((5, 1), object)
    for number, partition in enumerate(plan.partitions):
        parts[number, 0] = {split: images[:, None].astype(np.uint16) for split, images in partition.items()}
    peta = {
        "data": np.hstack([np.array(plan.rows), table[[shot.who for shot in plan.shots]]]).astype(np.uint16),
        "attribute": _cells(schema("peta105").names),
        "selected_attribute": np.arange(5, 40, dtype=np.uint8)[None],
        "partion_attribute": parts,
    }
    save_mat(root / "PETA.mat", {"peta": peta})


def _market1501(plan, root):
    table, known, halves = plan.table(), schema("market1501"), {}
    ages = next(group.members for group in known.exclusive if group.name == "age")
    for half in ("test", "train"):
        rows = table[[plan.who[name] for name in plan.halves[half]]]
        age = 1 + rows[:, [known.index(name) for name in ages]].argmax(1)
        colours = _COLOURS[half].split()
        rest = [*_WORN, *_WHO, *colours] if half == "test" else [*colours, *_WORN, *_WHO]
        coded = {name: 1 + rows[:, known.index(name)] for name in ["backpack", "bag", "handbag", *rest]}
        ids = np.empty((1, len(rows)), object)
        ids[0, :] = plan.halves[half]
        fields = {name: values[None].astype(np.uint8) for name, values in {"age": age, **coded}.items()}
        halves[half] = {**fields, "image_index": ids}
    save_mat(root / "market_attribute.mat", {"market_attribute": halves})


def _rap(plan, root):
    """Fields in the order of the release, as far as its README and public loaders tell it."""
    is_first = plan.benchmark == "rapv1"
    who, count = [shot.who for shot in plan.shots], len(plan.shots)
    known = schema("rapv1" if is_first else "rapv2all").names
    table = plan.table("rapv1" if is_first else "rapv2all")[who].astype(np.uint8)
    known = [*known, *(f"extra-{i}" for i in range((92 if is_first else 152) - len(known)))]
    table = np.hstack([table, np.zeros((count, len(known) - table.shape[1]), np.uint8)])
    table[::20, 0] = 2  # uncertain
    names, parts = _cells(shot.path.split("/")[1] for shot in plan.shots), np.empty((5, 1), object)
    for number, partition in enumerate(plan.partitions):
        rows = {split: images[None].astype(np.uint32) for split, images in partition.items()}
        both = {"train": np.sort(np.hstack([rows["train"], rows["val"]])), "test": rows["test"]}
        parts[number, 0] = both if is_first else {f"{split}_index": rows[split] for split in ("train", "test", "val")}
    if is_first:
        content = {"partion": parts, "label": table, "attribute_chinese": _cells(known), "attribute_eng": _cells(known)}
        content |= {
            "attribute_exp": _cells(known[:51]),
            "imagesname": names,
            "position": np.ones((count, 16), np.int32),
        }
    else:
        selected = np.arange(1, 55, dtype=np.uint8)[None]
        people = np.where(np.arange(count) % 4 == 3, -1, np.array(who) + 1).astype(np.int32)[:, None]
        content = {"name": names, "data": table, "attribute": _cells(known), "selected_attribute": selected}
        content |= {"partition_attribute": parts.T, "person_identity": people}
    (root / "RAP_annotation").mkdir(exist_ok=True)
    save_mat(root / "RAP_annotation" / "RAP_annotation.mat", {"RAP_annotation": content})


_WRITERS = {"pa100k": _pa100k, "peta": _peta, "market1501": _market1501, "rapv1": _rap, "rapv2": _rap}


def _cells(texts):
    """Strings as MATLAB's N x 1 cell array of 1 x 1 cells, the nesting of the official file."""
    texts = list(texts)
    cells = np.empty((len(texts), 1), object)
    for row, text in enumerate(texts):
        cells[row, 0] = np.array([text])
    return cells


def save_mat(path, content):
    """`scipy.io.savemat` without its time stamp, so that the same content gives the same bytes."""
    savemat(path, content, do_compression=True)
    with open(path, "r+b") as file:
        file.write(b"MATLAB 5.0 MAT-file, rendered by parlib".ljust(116))
