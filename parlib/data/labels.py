"""How the cells of a release become labels: 1 yes, 0 no, -1 unknown. Codes are declared or unmistakable."""

import numpy as np
import pandas as pd

from parlib.data.formats import some
from parlib.errors import BadInput

_MEANINGS = {"yes": 1, "no": 0, "unknown": -1}
_WORDS = {"yes": ("1", "yes", "true"), "no": ("0", "no", "false"), "unknown": ()}
_EMPTY = ("", "nan", "na", "n/a", "null", "<na>", "unknown")
_REMEDY = (
    "write 1, 0 and empty, or declare what means what in schema.yaml, such as codes: {yes: 2, no: 1, unknown: 0}; a "
    "column that is no attribute is left out by listing the attributes there"
)


def to_labels(values, names, where, schema=None, notes=None):
    """Cells of a release, an (N, A) array or table, as labels (N, A) int8.

    1, yes and true are yes; 0, no and false are no; empty is unknown. -1 is unknown in a column that holds 0 as well,
    which is added to `notes`. Everything else has to be declared by the `codes` of `schema`.

    Raises:
        BadInput: naming column, values and remedy, for undeclared codes, soft labels, percentages and words.
    """
    table = values if isinstance(values, pd.DataFrame) else pd.DataFrame(np.asarray(values))
    if table.shape[1] != len(names):
        raise BadInput(f"{where}: labels are {table.shape}, expected one row per image and {len(names)} columns")
    labels, with_minus = np.empty(table.shape, np.int8), []
    for j, name in enumerate(names):
        codes, column = schema.codes_of(name) if schema else {}, table.iloc[:, j]
        if column.dtype == object:  # 1, 1.0 and True would be one value
            column = column.map(lambda cell: cell if isinstance(cell, str | None) else str(cell))
        rows, values = pd.factorize(column, use_na_sentinel=False)  # (N,) numbers of the distinct values
        texts, meaning = [_text(value) for value in values], _meaning(codes, where)
        if not codes and "-1" in texts and {"0", "no", "false"} & set(texts):
            meaning["-1"] = -1
            with_minus.append(name)
        strange = [text for text in texts if text not in meaning]
        if strange:
            raise BadInput(f"{where}: column {name}, {_refusal(rows, texts, strange, codes)}")
        labels[:, j] = np.array([meaning[text] for text in texts], np.int8)[rows]
    if with_minus and notes is not None:
        notes.append(f"-1 is read as unknown, in {some(with_minus)}; where it means no: codes: {{yes: 1, no: -1}}.")
    return labels


def _meaning(codes, where):
    """Text of a cell -> label. 1 and 0 keep their meaning where no other code is declared for it."""
    out = dict.fromkeys(_EMPTY, -1)
    declared: dict[str, str] = {}
    for key, label in _MEANINGS.items():
        values = codes.get(key, _WORDS[key])
        for one in values if isinstance(values, list | tuple) else [values]:
            # YAML and JSON read a bare yes as true.
            for text in _WORDS["yes" if one else "no"][1:] if isinstance(one, bool) else [_text(one)]:
                if declared.setdefault(text, key) != key:
                    both = f"{declared[text]} and {key}"
                    raise BadInput(f"{where}: code {one} means both {both}; give each meaning its own code")
                out[text] = label
    return out


def _text(cell):
    """A cell as codes are compared: 2, 2.0 and "2" are "2", words are in lower case, missing is ""."""
    text = "" if cell is None else str(cell).strip().lower()
    number = _number(text)
    return text if number is None else f"{number:g}"


def _number(text):
    try:
        return float(text)
    except ValueError:
        return None


def _refusal(rows, texts, strange, codes):
    """First row of a column with one of the `strange` texts, what is wrong with it, and what to do."""
    numbers = [_number(text.rstrip("%")) for text in strange]
    first = strange[numbers.index(None)] if None in numbers else strange[0]
    row = f"row {int(np.flatnonzero(rows == texts.index(first))[0]) + 1}"
    values = some([text for text in texts if text])
    if codes:
        return f"{row}: its codes do not declare {first!r}; add it there, or correct it"
    if None in numbers:
        return f"{row}: {first!r} is neither yes nor no (values: {values}); {_REMEDY}"
    if "%" in first or max(numbers) > 9 or any(number % 1 for number in numbers):
        kind = "soft label" if all(0 <= number <= 1 for number in numbers) else "percentage, a count or a measure"
        return f"{row}: {first} is a {kind}; choose a limit and write 1 above it and 0 below"
    return f"{row}: the meaning of {first} is not declared (values: {values}); {_REMEDY}"
