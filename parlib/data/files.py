"""Annotation files: MATLAB structs and tables, read without trust and turned into label matrices."""

import os
import subprocess
import sys
from functools import cache
from pathlib import Path

import numpy as np

from parlib.errors import BadInput
from parlib.files import one_line

_MEMORY = 2 * 2**30  # bytes a MATLAB file may need to be read; PA-100K's needs a tenth of it


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
        if Path(path).suffix == ".parquet":
            import pyarrow.parquet

            return pyarrow.parquet.read_table(path).to_pandas(ignore_metadata=True)
        with open(path, "rb") as file:
            if file.readline(2**20).count(b",") > 10_000:
                raise ValueError("more than 10,000 columns")
        text = dict.fromkeys(("Image", "image", "file_name", "identity", "split"), str)
        return pd.read_csv(path, dtype=text)
    # pyarrow's errors are of many classes, only some of them ValueError.
    except Exception as error:
        raise BadInput(f"{path}: cannot be read as a table: {one_line(error)}") from error


def read_mat(path):
    """Variables of a MATLAB file; BadInput where it is not one or is damaged.

    Altered bytes can crash scipy's reader or make it ask for any amount of memory, so a process of its own with limits
    reads the file first; half a second, once a file.
    """
    from scipy.io import loadmat

    try:
        about = os.stat(path)
        _survives_reading(str(path), about.st_size, about.st_mtime_ns)
        found = loadmat(path)
    except BadInput:
        raise
    except FileNotFoundError:
        raise BadInput(f"no file {path}") from None
    except NotImplementedError:
        raise BadInput(f"{path}: is a MATLAB 7.3 (HDF5) file; save it again with `save -v7`") from None
    # scipy's parser raises whatever a truncated or foreign file trips it with: a dozen classes have been seen.
    except Exception as error:
        raise BadInput(
            f"{path}: is truncated or no MATLAB file ({type(error).__name__}: {error}); fetch it again"
        ) from error
    return {key: value for key, value in found.items() if not key.startswith("__")}


@cache
def _survives_reading(path, *version):
    code = f"import resource; resource.setrlimit(resource.RLIMIT_AS, ({_MEMORY}, {_MEMORY}))\n"
    code += "import sys, scipy.io\ntry: scipy.io.loadmat(sys.argv[1])\nexcept Exception: pass"  # told again here
    run = subprocess.run([sys.executable, "-c", code, path], capture_output=True, timeout=600, check=False)
    if run.returncode:
        raise BadInput(f"{path}: cannot be read safely (a trial run ended with {run.returncode}); fetch it again")


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
