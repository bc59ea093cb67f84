"""Facts about the real annotation files: `python tools/real_facts.py DATA_ROOT` writes `parlib/assets/real_facts.json`.

It holds counts only: positives and rates per attribute and split, exclusive sets, co-occurrence, identities, the leak
of PETA's partitions, how a public test list lies in them, and the report of `parlib audit` on each benchmark.
DATA_ROOT holds `pa100k/annotation.mat`, `peta/PETA.mat`, `market1501/market_attribute.mat` and
`lists/alm_PETA_test_list.txt`.
"""

import argparse
import hashlib
import json
import re
from pathlib import Path

import numpy as np

from parlib.data import audit_arrays, read_release
from parlib.data.formats import member, read_mat, read_table
from parlib.data.peta import SUBSETS, leak
from parlib.measure.audit import audit

OUT = Path(__file__).parents[1] / "parlib" / "assets" / "real_facts.json"
PARTITIONS = (0, 1, 2, 3, 4, "identity-disjoint-seed0")


def describe(release, splits):
    """Counts of one release: {"attributes", "rows", "positives", "rates", "exclusive"}, lists in attribute order."""
    out = {"attributes": release.schema.names, "rows": {}, "positives": {}, "rates": {}, "exclusive": {}}
    for split in splits:
        labels = release.listing(split).labels == 1
        out["rows"][split] = len(labels)
        out["positives"][split] = labels.sum(0).tolist()
        out["rates"][split] = labels.mean(0).round(5).tolist()
        for group in release.schema.exclusive:
            members = labels[:, [release.schema.index(name) for name in group.members]].sum(1)
            counts = {
                "none": int((members == 0).sum()),
                "one": int((members == 1).sum()),
                "more": int((members > 1).sum()),
            }
            out["exclusive"].setdefault(group.name, {})[split] = counts
    return out


def public_list(root, partitions):
    """How ALM's public test list of PETA lies in the official `partitions`, number -> `Release`.

    The list names files, PETA.mat numbers images by sub-dataset and person. Which rows of a person are listed is
    certain where all of them are. Elsewhere it is bounded: by the fewest and the most of them that can be in trainval,
    and the number expected if every choice of rows is as likely as another.
    """
    path, source = root / "lists" / "alm_PETA_test_list.txt", root / "peta" / "PETA.mat"
    data = np.asarray(member(member(read_mat(source), "peta", source), "data", source)).astype(int)
    people, person_of, rows = np.unique(data[:, 2:4], axis=0, return_inverse=True, return_counts=True)
    place = {tuple(person): i for i, person in enumerate(people.tolist())}
    listed = np.zeros(len(people), int)
    for image in read_table(path)["image"]:
        _, subset, _, name = image.split("/")
        listed[place[SUBSETS.index(subset) + 1, int(re.match(r"\d+", name)[0])]] += 1
    is_certain = listed == rows
    out = {
        "file": f"lists/{path.name}",
        "sha256": hashlib.sha256(path.read_bytes()).hexdigest(),
        "images": int(listed.sum()),
        "certain": int(listed[is_certain].sum()),
        "share_with_person_outside": round(float(listed[~is_certain].sum() / listed.sum()), 5),
        "in_trainval": {},
    }
    for number, release in partitions.items():
        numbers = [int(name.removesuffix(".png")) for name in release.listing("trainval").names]
        inside = np.bincount(person_of.ravel()[np.array(numbers) - 1], minlength=len(people))
        out["in_trainval"][str(number)] = {
            "certain": int(inside[is_certain].sum()),
            "fewest": int(np.maximum(0, listed - (rows - inside)).sum()),
            "most": int(np.minimum(listed, inside).sum()),
            "expected": round(float((listed * inside / rows).sum())),
        }
    return out


def facts(root):
    """Everything in `real_facts.json`, from the files below `root`."""
    files = {"pa100k": "annotation.mat", "peta": "PETA.mat", "market1501": "market_attribute.mat"}
    out = {"made_by": "python tools/real_facts.py DATA_ROOT", "sources": {}}
    for name, file in files.items():
        digest = hashlib.sha256((root / name / file).read_bytes()).hexdigest()
        out["sources"][name] = {"file": f"{name}/{file}", "sha256": digest}

    pa100k = read_release("pa100k", root / "pa100k", images=False)
    out["pa100k"] = describe(pa100k, ("train", "val", "trainval", "test"))
    labels = pa100k.listing("all").labels.astype(np.int64)
    out["pa100k"]["positives_an_image"] = round(float(labels.sum(1).mean()), 3)
    out["pa100k"]["together"] = (labels.T @ labels).tolist()  # images of all splits that have both, (26, 26)

    out["peta"] = {"partitions": {}, "leak": {}}
    official = {}
    for partition in PARTITIONS:
        peta = read_release("peta", root / "peta", images=False, partition=partition)
        out["peta"]["leak"][str(partition)] = round(leak(peta), 5)
        out["peta"]["partitions"][str(partition)] = describe(peta, ("train", "val", "trainval", "test"))
        del out["peta"]["partitions"][str(partition)]["attributes"]
        if partition in range(5):
            official[partition] = peta
    out["peta"]["public_list"] = public_list(root, official)
    out["peta"]["attributes"] = peta.schema.names
    out["peta"]["identities"] = len(set(peta.listing("all").identity))
    full = read_release("peta", root / "peta", images=False, attributes="105")
    out["peta"]["all_105"] = describe(full, ("all",))
    whole = full.listing("all")
    people = {}
    for person, row in zip(whole.identity, whole.labels, strict=True):
        people.setdefault(person, set()).add(row.tobytes())
    out["peta"]["identities_with_differing_labels"] = sum(len(rows) > 1 for rows in people.values())

    # Without images a row is a person: the number of images per person is known from file names only.
    market = read_release("market1501", root / "market1501", images=False)
    out["market1501"] = describe(market, ("trainval", "test"))
    for name in files:
        out[name]["audit"] = audit(**audit_arrays(name, root / name))
    return out


def to_json(data):
    """JSON with each innermost list or object on one line."""
    text = json.dumps(data, indent=1)
    return re.sub(r"[\[{][^\[\]{}]*[\]}]", lambda found: " ".join(found[0].split()), text) + "\n"


def main(about, count, out):
    """The command line of this tool and of `populations.py`: write what `count` returns for DATA_ROOT to `out`."""
    parser = argparse.ArgumentParser(description=about.splitlines()[0])
    parser.add_argument("root", type=Path, help="folder of pa100k/, peta/ and market1501/")
    out.write_text(to_json(count(parser.parse_args().root)), encoding="utf-8")
    print(f"wrote {out.name}, {out.stat().st_size:,} bytes")


if __name__ == "__main__":
    main(__doc__, facts, OUT)
