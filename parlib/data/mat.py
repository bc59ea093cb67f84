"""MATLAB files, read by scipy in a process of its own: altered bytes can crash its reader, or corrupt its memory.

Run as a script it prints a file's variables as JSON; `read` gives them back as scipy's `loadmat` would have.
"""

import base64
import json
import subprocess
import sys

import numpy as np

MEMORY = 2 * 2**30  # bytes the reading process may take; PA-100K's file needs a tenth of it
MOST = 2**27  # bytes it may hand over


def read(path):
    """Variables of the file; ValueError in one line where scipy refuses or does not survive it."""
    run = subprocess.run([sys.executable, "-I", __file__, str(path)], capture_output=True, timeout=600, check=False)
    if run.returncode:
        said = run.stderr.decode(errors="replace").strip().splitlines()
        raise ValueError(said[-1] if run.returncode == 1 and said else f"its reader ended with {run.returncode}")
    return {name: _decoded(value) for name, value in json.loads(run.stdout).items()}


def _encoded(value):
    value = np.asarray(value)
    if value.dtype.names:
        fields = {name: [_encoded(one) for one in value[name].ravel()] for name in value.dtype.names}
        return {"shape": value.shape, "fields": fields}
    if value.dtype.kind == "O" and all(np.shape(c) == (1,) and c.dtype.kind == "U" for c in value.flat):
        return {"shape": value.shape, "names": [one[0] for one in value.flat]}  # a list of image names: 100,000 of them
    if value.dtype.kind == "O":
        return {"shape": value.shape, "cells": [_encoded(one) for one in value.ravel()]}
    if value.dtype.kind == "U":
        return {"shape": value.shape, "texts": value.ravel().tolist()}
    return {"shape": value.shape, "dtype": value.dtype.str, "bytes": base64.b64encode(value.tobytes()).decode()}


def _decoded(value):
    shape = tuple(value["shape"])
    if "texts" in value:
        return np.array(value["texts"], dtype=None if value["texts"] else "U1").reshape(shape)
    if "bytes" in value:
        return np.frombuffer(base64.b64decode(value["bytes"]), value["dtype"]).reshape(shape)
    if "cells" in value or "names" in value:
        cells = value.get("cells") or value.get("names") or []
        out = np.empty(len(cells), object)
        for i, one in enumerate(cells):  # one by one: numpy would make a table of cells of one shape
            out[i] = np.array([one]) if "names" in value else _decoded(one)
        return out.reshape(shape)
    fields = value["fields"]
    out = np.empty(int(np.prod(shape)), [(name, object) for name in fields])
    for name, column in fields.items():
        for i, one in enumerate(column):
            out[name][i] = _decoded(one)
    return out.reshape(shape)


if __name__ == "__main__":
    import resource

    from scipy.io import loadmat

    resource.setrlimit(resource.RLIMIT_AS, (MEMORY, MEMORY))
    try:
        found = loadmat(sys.argv[1])
        if sum(np.asarray(value).nbytes for value in found.values()) > MOST:
            raise ValueError("more than 128 MB in it")
        said = json.dumps({name: _encoded(value) for name, value in found.items() if not name.startswith("__")})
        if len(said) > MOST:
            raise ValueError("more than 128 MB in it")
        sys.stdout.write(said)
    except NotImplementedError:
        sys.exit("is a MATLAB 7.3 (HDF5) file; save it again with `save -v7`")
    # scipy's parser raises whatever a truncated or foreign file trips it with: a dozen classes have been seen.
    except BaseException as error:
        sys.exit(f"is truncated or no MATLAB file ({type(error).__name__}: {' '.join(str(error).split())[:300]})")
