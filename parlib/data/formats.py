"""Annotation files as people have them (tables, text lists, MATLAB structs), and how their cells become labels."""

import csv
import io
import json
import os
import re
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow.parquet as pq

from parlib.data.images import SUFFIXES
from parlib.errors import BadInput
from parlib.files import reading

TABLES = (".csv", ".tsv", ".txt", ".parquet", ".jsonl")
# A row of a text list, such as `images/1.png 0 1 1` or `images/1.png`.
_LISTED = re.compile(rf'"?(.+?(?:{"|".join(map(re.escape, SUFFIXES))}))"?(?:[\s,;]+([^A-Za-z]+))?', re.IGNORECASE)
_MEANINGS = {"yes": 1, "no": 0, "unknown": -1}
_WORDS = {"yes": ("1", "yes", "true"), "no": ("0", "no", "false"), "unknown": ()}
EMPTY = ("", "nan", "na", "n/a", "null", "<na>", "unknown")
_REMEDY = (
    "write 1, 0 and empty, or declare what means what in schema.yaml, such as codes: {yes: 2, no: 1, unknown: 0}; a "
    "column that is no attribute is left out by listing the attributes there"
)


def holds(folder):
    """What a folder has in it, for an error message."""
    if not Path(folder).is_dir():
        return "no such folder"
    entries = sorted(os.listdir(folder))
    names = [name for name in entries if not _LISTED.fullmatch(name)]
    pictures = [f"{len(entries) - len(names):,} picture(s)"] if len(names) < len(entries) else []
    return ", ".join([*([some(names, 8)] if names else []), *pictures]) or "an empty folder"


def located(root, find, what):
    """`root` where it is a file, or the annotation file that a reader's `find` finds below it; BadInput for none."""
    source = Path(root) if Path(root).is_file() else find(root)
    if source is None:
        raise BadInput(f"{root}: no {what}, found {holds(root)}")
    return source


def some(names, most=6):
    """The first of `names`, and how many more there are."""
    return ", ".join(names[:most]) + (f" and {len(names) - most} more" if len(names) > most else "")


def folded(name):
    """A name without capitals and punctuation."""
    return "".join(letter for letter in str(name).lower() if letter.isalnum())


def read_table(path):
    """A table of labels, boxes or splits as a DataFrame.

    Text files (CSV with commas, semicolons or tabs, UTF-8 or UTF-16) give text in every cell, so that "NA" and "007"
    stay what they are. A list `picture 0 1 1` without a header gets the columns image, attribute-1, attribute-2;
    CelebA's, with a count and a header of attributes alone, is read too. Parquet and JSON lines give the types they
    hold, whole numbers as int. A column without a name, such as the index that pandas writes, is named "Unnamed: 0".

    Raises:
        BadInput: no such file, another format, rows of different lengths, two columns of one name.
    """
    path = Path(path)
    with reading(path, "table", "save it as CSV with one header, in UTF-8"):
        if path.suffix.lower() == ".parquet":
            frame = pq.read_table(path).to_pandas(integer_object_nulls=True, ignore_metadata=True)
        elif path.suffix.lower() == ".jsonl":
            lines = _text(path.read_bytes()).split("\n")
            frame = pd.DataFrame([json.loads(line) for line in lines if line.strip()], dtype=object)
        else:
            names, rows = _delimited(_text(path.read_bytes()))
            for row, cells in enumerate(rows, 1):
                if len(cells) != len(names):
                    count = f"row {row} has {len(cells)} cells, the header {len(names)}"
                    raise BadInput(f"{path}: {count}; write one for each column, empty where it is unknown")
            frame = pd.DataFrame(rows, columns=names, dtype=str)
        names = [str(name) for name in frame.columns]
        if not names or len(set(names)) < len(names):
            raise ValueError("it has no column, or two of one name")
        return frame.set_axis(names, axis=1)


def header(path):
    """Column names of a table, from its first line; [] if the file is not a table."""
    try:
        if path.suffix.lower() == ".parquet":
            return pq.read_schema(path).names
        with open(path, "rb") as file:
            lines = _text(file.read(2**16), "ignore").lstrip("\n").split("\n")
        if path.suffix.lower() == ".jsonl":
            return list(json.loads(lines[0]))
        return _delimited("\n".join(lines[:2]))[0]
    except (OSError, ValueError):
        return []


def _text(content, errors="strict"):
    """Decoded text with "\\n" at the end of lines; the encoding is UTF-16 where a byte order mark says so, or UTF-8."""
    encoding = "utf-16" if content[:2] in (b"\xff\xfe", b"\xfe\xff") else "utf-8-sig"
    return content.decode(encoding, errors).replace("\r\n", "\n").replace("\r", "\n")


def _delimited(text):
    """(column names, rows of cells) of text with a header, or of a list of pictures without one."""
    lines = text.lstrip("\n").split("\n")
    if _LISTED.fullmatch(lines[0].strip()):
        return _listed(lines)
    if lines[0].strip() and all(line.strip().isdigit() for line in lines if line.strip()):  # numbers of pictures
        return ["image"], [[line.strip()] for line in lines if line.strip()]
    counted = lines[0].strip().isdigit() and len(lines) > 1  # CelebA: the number of rows, then attributes alone
    line = lines[counted].removeprefix("#").strip(" ")
    separator = max(",;\t", key=line.count)
    if separator not in line:
        lines, line, separator = [" ".join(line.split()) for line in lines], " ".join(line.split()), " "
    names = [name.strip() for name in next(csv.reader([line], delimiter=separator), [])]
    names = [*(["image"] if counted else []), *(name or f"Unnamed: {i}" for i, name in enumerate(names))]
    body = io.StringIO("\n".join(lines[counted + 1 :]))
    rows = csv.reader(body, delimiter=separator, skipinitialspace=True)
    return names, [cells for cells in rows if cells not in ([], [""])]


def _listed(lines):
    rows = []
    for number, line in enumerate(lines, 1):
        if line.strip():
            found = _LISTED.fullmatch(line.strip())
            if not found:
                raise ValueError(f"line {number} is no picture with its labels: {line[:80]}")
            rows.append([found[1], *re.sub("[,;]", " ", found[2] or "").split()])
    return ["image", *(f"attribute-{i}" for i in range(1, len(rows[0])))], rows


def read_mat(path):
    """Variables of a MATLAB file, as `scipy.io.loadmat` gives them; BadInput where it is none or is damaged."""
    with reading(path, "MATLAB file", "fetch it again; a MATLAB 7.3 (HDF5) file has to be saved with `save -v7`"):
        from scipy.io import loadmat

        return loadmat(path)


def member(container, key, where):
    """`container[key]` of a MATLAB struct or of `read_mat`'s dict; BadInput lists what is there instead."""
    if isinstance(container, np.ndarray) and container.dtype.names and container.size == 1:
        container = {name: container.item()[i] for i, name in enumerate(container.dtype.names)}
    have = [name for name in container if name[:2] != "__"] if isinstance(container, dict) else []
    if key not in have:
        found = ", ".join(have) or "no fields at all"
        raise BadInput(f"{where}: looked for {key!r}, found {found}; is it another file?")
    return container[key]


def labelled(struct, names, labels, attributes, source):
    """(image names, table of labels, where it stands) of three fields of a MATLAB file, which must fit each other."""
    images, columns = (texts(member(struct, field, source)) for field in (names, attributes))
    values, where = member(struct, labels, source), f"{source}, {labels}"
    if np.shape(values) != (len(images), len(columns)):
        expected = f"{len(images)} rows, one per image name, and {len(columns)} columns"
        raise BadInput(f"{where}: labels are {np.shape(values)}, expected {expected}; fetch it again")
    return images, pd.DataFrame(values, columns=columns), where


def texts(cells):
    """A MATLAB cell array of strings -> list of str; an empty or non-text cell becomes ''."""
    out = []
    for cell in np.ravel(cells):
        while isinstance(cell, np.ndarray) and cell.size == 1:
            cell = cell.item()
        out.append(cell.strip() if isinstance(cell, str) else "")
    return out


def to_labels(table, schema, where, notes):
    """A table's columns of the attributes of `schema`, in any order, as labels (N, A) int8.

    1, yes and true are yes; 0, no and false are no; empty is unknown. -1 is unknown in a column that holds 0 as well.
    Everything else has to be declared by the `codes` of `schema`. `notes` gets what was guessed or left out: such -1,
    names in other capitals or punctuation, other columns.

    Raises:
        BadInput: naming column, values and remedy, for undeclared codes, soft labels, percentages and words.
    """
    names, found = schema.names, list(table)
    exact = {name: i for i, name in enumerate(found)}
    alike = {folded(name): i for i, name in reversed(list(enumerate(found)))}
    order = [exact.get(name, alike.get(folded(name), -1)) for name in names]
    lacks = [name for name, i in zip(names, order, strict=True) if i < 0]
    extra = [name for i, name in enumerate(found) if i not in order]
    if lacks:
        raise BadInput(f"{where}: not the attributes of {schema.name}: missing {lacks}, unknown {extra}")
    labels, with_minus = np.empty((len(table), len(names)), np.int8), []
    for j, (name, i) in enumerate(zip(names, order, strict=True)):
        codes, column = schema.codes_of(name), table.iloc[:, i]
        if column.dtype == object:  # 1, 1.0 and True would be one value
            column = column.map(lambda cell: cell if isinstance(cell, str | None) else str(cell))
        rows, values = pd.factorize(column, use_na_sentinel=False)  # (N,) numbers of the distinct values
        texts, meaning = [_cell_text(value) for value in values], _meaning(codes, where)
        if not codes and "-1" in texts and {"0", "no", "false"} & set(texts):
            meaning["-1"] = -1
            with_minus.append(name)
        strange = [text for text in texts if text not in meaning]
        if strange:
            raise BadInput(f"{where}: column {name}, {_refusal(rows, texts, strange, codes)}")
        labels[:, j] = np.array([meaning[text] for text in texts], np.int8)[rows]
    if with_minus:
        notes.append(f"-1 is read as unknown, in {some(with_minus)}; where it means no: codes: {{yes: 1, no: -1}}.")
    other = [f"{found[i]} as {name}" for name, i in zip(names, order, strict=True) if found[i] != name]
    if other:
        notes.append(f"Attributes read by another spelling: {', '.join(other)}.")
    if extra:
        notes.append(f"Attributes left out, not among the {len(names)} of {schema.name}: {some(extra)}.")
    return labels


def _meaning(codes, where):
    """Text of a cell -> label. 1 and 0 keep their meaning where no other code is declared for it."""
    out = dict.fromkeys(EMPTY, -1)
    declared: dict[str, str] = {}
    for key, label in _MEANINGS.items():
        values = codes.get(key, _WORDS[key])
        for one in values if isinstance(values, list | tuple) else [values]:
            # YAML and JSON read a bare yes as true.
            for text in _WORDS["yes" if one else "no"][1:] if isinstance(one, bool) else [_cell_text(one)]:
                if declared.setdefault(text, key) != key:
                    both = f"{declared[text]} and {key}"
                    raise BadInput(f"{where}: code {one} means both {both}; give each meaning its own code")
                out[text] = label
    return out


def _cell_text(cell):
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
