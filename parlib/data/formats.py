"""Annotation files: MATLAB structs and tables, read without trust and turned into label matrices."""

import subprocess
from pathlib import Path

import numpy as np

from parlib.data import mat
from parlib.errors import BadInput
from parlib.files import one_line, sized


def holds(folder):
    """What a folder has in it, for an error message."""
    folder = Path(folder)
    if not folder.is_dir():
        return "no such folder"
    names = sorted(entry.name for entry in folder.iterdir())
    return ", ".join(names[:8]) + (f" and {len(names) - 8} more" if len(names) > 8 else "") or "an empty folder"


def to_labels(values, columns, where):
    """Release values {0, 1, 2, -1}, array or table, empty as NaN -> (N, A) int8; 2 (uncertain) and empty are -1."""
    try:
        values = np.asarray(values)
        values = values if values.dtype.kind in "iu" else values.astype(np.float64)
    except (TypeError, ValueError) as error:
        raise BadInput(f"{where}: labels must be 1, 0, -1 or empty ({error}); text is no attribute") from error
    if values.ndim != 2 or values.shape[1] != len(columns):
        raise BadInput(f"{where}: labels are {values.shape}, expected one row an image and {len(columns)} columns")
    unknown = np.isnan(values) | (values == 2) | (values == -1)
    wrong = ~((values == 0) | (values == 1) | unknown)
    if wrong.any():
        row, column = np.argwhere(wrong)[0]
        raise BadInput(
            f"{where}: {wrong.sum()} label(s) are not 1, 0, -1 (unknown) or 2 (uncertain), first "
            f"{values[row, column]:g} in row {row + 1}, column {columns[column]}; correct or empty them"
        )
    labels = (values == 1).astype(np.int8)
    labels[unknown] = -1
    return labels


def column_order(names, schema, where):
    """Positions in a file's `names` of the schema's attributes, so that a reordered file is read right."""
    if len(names) != len(schema) or set(names) != set(schema.names):
        lacks, extra = sorted(set(schema.names) - set(names)), sorted(set(names) - set(schema.names))
        raise BadInput(f"{where}: not the attributes of {schema.name}: missing {lacks}, unknown {extra}")
    return [names.index(name) for name in schema.names]


def read_table(path):
    """A CSV or Parquet file as a DataFrame, image names and identities as text."""
    import pandas as pd

    try:
        if Path(sized(path)).suffix == ".parquet":
            frame = _read_parquet(path)
        else:
            with open(sized(path), encoding="utf-8", errors="replace") as file:
                for row, line in enumerate(file):
                    if line.count(",") > 10_000 or row > 16_000_000:
                        raise ValueError("more than 10,000 columns or 16 million rows")
            text = dict.fromkeys(("Image", "image", "file_name", "identity", "split"), str)
            if pd.read_csv(path, dtype=str, header=None, nrows=1).iloc[0].dropna().duplicated().any():
                raise ValueError("two columns have one name")  # pandas would rename one
            frame = pd.read_csv(path, dtype=text)
        if not isinstance(frame.index, pd.RangeIndex):
            raise ValueError("a row has more cells than the first one")
        if not frame.columns.is_unique:
            raise ValueError("two columns have one name")
        return frame
    # pyarrow's errors are of many classes, only some of them ValueError.
    except Exception as error:
        raise BadInput(f"{path}: cannot be read as a table: {one_line(error)}") from error


def _read_parquet(path):
    """A Parquet file as a DataFrame; ValueError for what would not fit the memory, told before it is made."""
    import pyarrow as pa
    import pyarrow.compute as pc
    import pyarrow.parquet as pq

    with pq.ParquetFile(path) as file:
        about, fields = file.metadata, file.schema_arrow
        sizes = sum(about.row_group(i).total_byte_size for i in range(about.num_row_groups))
        if about.num_columns > 10_000 or about.num_rows * about.num_columns > 5e7 or sizes > 2**28:
            raise ValueError("more than 10,000 columns, 50 million cells or 256 MB")
        if any(pa.types.is_nested(field.type) for field in fields):
            raise ValueError("cells that hold several values")
    # One long text may stand in a million rows: it is counted before it is written out in each.
    kinds = {f.name: f.type.value_type if pa.types.is_dictionary(f.type) else f.type for f in fields}
    texts = [name for name, kind in kinds.items() if pa.types.is_string(kind) or pa.types.is_large_string(kind)]
    table = pq.read_table(path, read_dictionary=texts)
    for name in texts:
        for chunk in table[name].chunks:
            if (pc.sum(pc.binary_length(chunk.dictionary).take(chunk.indices)).as_py() or 0) > 2**28:
                raise ValueError(f"more than 256 MB of text in {name}")
    return table.cast(pa.schema(kinds.items())).to_pandas(ignore_metadata=True)


def read_mat(path):
    """Variables of a MATLAB file as `scipy.io.loadmat` gives them; BadInput where it is not one or is damaged."""
    if not Path(path).is_file():
        raise BadInput(f"no file {path}")
    try:
        return mat.read(path)
    except (ValueError, OSError, RecursionError, subprocess.TimeoutExpired) as error:
        raise BadInput(f"{path}: {one_line(error)}; fetch it again") from error


def member(container, key, where):
    """`container[key]` of a MATLAB struct or of `read_mat`'s dict; BadInput lists what is there instead."""
    if isinstance(container, np.ndarray) and container.dtype.names and container.size == 1:
        container = {name: container.item()[i] for i, name in enumerate(container.dtype.names)}
    have = list(container) if isinstance(container, dict) else []
    if key not in have:
        raise BadInput(
            f"{where}: looked for {key!r}, found {', '.join(have) or 'no fields at all'}; is it another file?"
        )
    return container[key]


def texts(cells):
    """A MATLAB cell array of strings -> list of str; an empty or non-text cell becomes ''."""
    out = []
    for cell in np.ravel(cells):
        while isinstance(cell, np.ndarray) and cell.dtype == object and cell.size == 1:
            cell = cell.item()
        cell = np.asarray(cell)
        out.append(str(cell.ravel()[0]).strip() if cell.size == 1 and cell.dtype.kind == "U" else "")
    return out
