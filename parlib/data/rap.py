"""RAPv1 and RAPv2: 41,585 and 84,928 images of shoppers, 51 and 54 attributes in use, five random partitions each.

The fields are those of the releases' README and of the loaders of github.com/valencebond/Rethinking_of_PAR.
"""

from pathlib import Path

import numpy as np

from parlib.data.formats import labelled, located, member, read_mat, to_labels
from parlib.data.images import folders_below
from parlib.data.partition import choose
from parlib.data.release import Listing, Release
from parlib.errors import BadInput
from parlib.schema import schema

ANNOTATIONS = "RAP_annotation.mat"
# Fields of the struct: names of images, labels, names of attributes, partitions; and those of a partition.
FIELDS = {
    "rapv1": ("imagesname", "label", "attribute_eng", "partion", {"train": "train", "test": "test"}),
    "rapv2": ("name", "data", "attribute", "partition_attribute", {s: f"{s}_index" for s in ("train", "val", "test")}),
}
EXPECTED = {
    "rapv1": {"trainval": 33_268, "test": 8_317, "all": 41_585},
    "rapv2": {"train": 50_957, "val": 16_986, "test": 16_985, "trainval": 67_943, "all": 84_928},
}
SCHEMAS = {"rapv1": {"51": "rapv1"}, "rapv2": {"54": "rapv2", "53": "rapv2zs", "111": "rapv2all"}}


def read(root, images=True, version="rapv1", partition=0, attributes=None):
    """Splits `train`, `val`, `test` of the tree that has `RAP_annotation/RAP_annotation.mat` and `RAP_dataset/`.

    Code 2 (uncertain) is unknown. Identity is RAPv2's `person_identity`; the many images without one (below 1) are a
    person each, and RAPv1 has none.

    Args:
        version: `"rapv1"` or `"rapv2"`; benchmark names are these.
        partition: see `partition.choose`; RAPv1 has no val, it is dealt out of train.
        attributes: `"51"` of RAPv1; of RAPv2 `"54"`, `"53"` (all but Age46-60, as RAP_ZS is scored, which is what an
            index file stands for if nothing else is set) or `"111"`, every yes-or-no one.
    """
    source = located(root, find, f"RAP: looked for RAP_annotation/{ANNOTATIONS}")
    lists = SCHEMAS[version]
    if attributes is None:
        attributes = "53" if version == "rapv2" and Path(str(partition)).suffix else next(iter(lists))
    if str(attributes) not in lists:
        raise BadInput(f"{version} has no attribute list {attributes!r}; there is {', '.join(lists)}")
    chosen, rap = schema(lists[str(attributes)]), member(read_mat(source), "RAP_annotation", source)
    other = "rapv1" if version == "rapv2" else "rapv2"
    fields = FIELDS[version]
    if FIELDS[other][0] in (rap.dtype.names or ()):
        raise BadInput(f"{source}: is {other}'s file, not {version}'s; read it with --benchmark {other}")
    names, table, where = labelled(rap, *fields[:3], source)
    notes: list[str] = []
    whole = Listing(names, to_labels(table, chosen, where, notes))
    if version == "rapv2":
        people = np.ravel(member(rap, "person_identity", source)).astype(int)
        if len(people) != len(names):
            raise BadInput(f"{source}: {len(people)} identities for {len(names)} images; fetch it again")
        both = zip(people, names, strict=True)
        whole.identity = [str(person) if person > 0 else f"nobody else: {name}" for person, name in both]
    official = np.ravel(member(rap, fields[3], source))
    base = source.parent.parent if source.parent.name == "RAP_annotation" else source.parent
    folders = ("RAP_dataset", "images", ".")
    release = Release(version, base, source, chosen, {"all": whole}, folders, EXPECTED[version], notes)
    return choose(release, partition, official, fields[4])


def find(root, depth=1):
    """Path of the annotation file in `root`, or up to `depth` levels down and in a folder of its own there, or None."""
    places = (folder / name for folder in folders_below(root, depth) for name in ("RAP_annotation", "."))
    return next((place / ANNOTATIONS for place in places if (place / ANNOTATIONS).is_file()), None)


def version_of(source):
    """`rapv1` or `rapv2`, whose names of fields the file has; `rapv1` for neither."""
    rap = member(read_mat(source), "RAP_annotation", source)
    return "rapv2" if FIELDS["rapv2"][0] in (rap.dtype.names or ()) else "rapv1"
