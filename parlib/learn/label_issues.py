"""Labels that are most likely wrong, by confident learning on out-of-fold scores of the linear probe."""

import warnings
from collections.abc import Sequence

import numpy as np
import pandas as pd
from sklearn.model_selection import StratifiedGroupKFold, cross_val_predict

from parlib.data.formats import some
from parlib.errors import BadInput
from parlib.learn.baselines import logistic_probe
from parlib.learn.inputs import Split


def label_issues(split: Split, attributes: Sequence[str] | None = None, folds: int = 5) -> pd.DataFrame:
    """Every known label of a split, per attribute the most suspicious first.

    The probe that scores an image has not seen it, nor other images of its person. Labels are ranked by their quality,
    the probability of the label itself; `issue` are those that confident learning prunes by the estimated noise rate
    (Northcutt et al., JAIR 2021). On labels flipped on purpose the adjusted quality of `cleanlab.rank` ranks far worse.

    Args:
        split: of `prepare`.
        attributes: default all. Attributes with an answer that fewer than two people have are left out, with a warning.
        folds: at most; fewer where an answer is too rare.

    Returns:
        DataFrame: `row` of the image in the split, `attribute`, `label` (1 or 0), `score` (probability of yes),
        `quality` (0 to 1), `issue` (whether it is likely wrong), `agree` (share of the person's other known labels
        that are the same; nan where there are none).

    Raises:
        BadInput: no cleanlab, or an unknown attribute.
    """
    try:
        from cleanlab.filter import find_label_issues
    except ImportError:
        raise BadInput("wrong labels are found by cleanlab: pip install 'parlib[explore]'") from None
    people = np.arange(len(split.labels)) if split.identity is None else pd.factorize(np.asarray(split.identity))[0]
    features, tables, left_out = split.store.pooled.numpy(), [], []
    for attribute in split.schema.names if attributes is None else attributes:
        a = split.schema.index(attribute)
        rows = np.flatnonzero(split.labels[:, a] >= 0)
        label, person = split.labels[rows, a].astype(int), people[rows]
        most = min([folds, *(len(np.unique(person[label == answer])) for answer in (0, 1))])
        if most < 2:
            left_out.append(attribute)
            continue
        parts = StratifiedGroupKFold(most, shuffle=True, random_state=0)
        probe, known = logistic_probe(), features[rows]
        with warnings.catch_warnings(action="ignore"):  # not converged, or an uneven fold: still scores to rank by
            both = cross_val_predict(probe, known, label, groups=person, cv=parts, method="predict_proba")
            found = find_label_issues(label, both, filter_by="prune_by_noise_rate", n_jobs=1)
        table = pd.DataFrame({"row": rows, "attribute": attribute, "label": label, "score": both[:, 1]})
        table["quality"], table["issue"] = both[np.arange(len(label)), label], found
        others = table.groupby(person)["label"].transform("size") - 1
        equal = table.groupby([person, label])["label"].transform("size") - 1
        tables.append(table.assign(agree=equal / others.where(others > 0)).sort_values("quality", kind="stable"))
    if left_out:
        names = some(left_out)
        warnings.warn(f"{len(left_out)} attributes are left out, too rare to be scored: {names}", stacklevel=2)
    columns = ["row", "attribute", "label", "score", "quality", "issue", "agree"]
    return pd.concat(tables or [pd.DataFrame(columns=columns)], ignore_index=True)
