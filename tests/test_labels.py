"""Codes of labels are declared or unmistakable: what is read, and what is refused by name."""

import numpy as np
import pandas as pd
import pytest

from parlib.data.formats import to_labels
from parlib.errors import BadInput
from parlib.schema import Schema


def read(cells, codes=None, notes=None):
    """Labels of one column `hat`."""
    schema = Schema.from_dict({"attributes": ["hat"], **({"codes": codes} if codes else {})})
    return to_labels(pd.DataFrame({"hat": cells}), schema, "labels.csv", [] if notes is None else notes)[:, 0].tolist()


@pytest.mark.parametrize(
    ("cells", "labels"),
    [
        (["1", "0", ""], [1, 0, -1]),
        (["1.0", "0.0", "1"], [1, 0, 1]),
        ([1, 0, 1], [1, 0, 1]),
        ([1.0, 0.0, np.nan], [1, 0, -1]),
        ([True, False, None], [1, 0, -1]),
        (["yes", "No", "YES "], [1, 0, 1]),
        (["True", "false", "TRUE"], [1, 0, 1]),
        (["yes", "0", "NA"], [1, 0, -1]),
        (["1", "", "1"], [1, -1, 1]),
        (["0", "-1", "1"], [0, -1, 1]),
        (["no", "-1", "nan"], [0, -1, -1]),
    ],
)
def test_what_cannot_be_mistaken_is_read(cells, labels):
    assert read(cells) == labels


@pytest.mark.parametrize(
    ("cells", "match"),
    [
        (["1", "-1"], "column hat, row 2: the meaning of -1 is not declared \\(values: 1, -1\\); .*codes: {yes: 2"),
        (["1", "2", "1"], "column hat, row 2: the meaning of 2"),
        (["-1", "-1"], "row 1: the meaning of -1"),
        (["0", "1", "2"], "column hat, row 3: the meaning of 2"),
        ([2, 2, 2], "row 1: the meaning of 2"),
        (["0", "1", "0.7"], r"row 3: 0\.7 is a soft label; choose a limit"),
        ([0.25, 0.75], r"row 1: 0\.25 is a soft label"),
        (["0", "55", "100"], "row 2: 55 is a percentage, a count or a measure"),
        (["12.5", "0"], r"row 1: 12\.5 is a percentage, a count or a measure"),
        (["yes", "no", "maybe"], "row 3: 'maybe' is neither yes nor no"),
        (["1", "0", "none"], "row 3: 'none' is neither yes nor no"),
        (["1", "0", "inf"], "inf"),
    ],
)
def test_what_can_be_mistaken_is_refused_by_column_values_and_row(cells, match):
    with pytest.raises(BadInput, match=match):
        read(cells)


@pytest.mark.parametrize(
    ("cells", "codes", "labels"),
    [
        (["2", "1", "0"], {"yes": 2, "no": 1, "unknown": 0}, [1, 0, -1]),
        (["2", "1", ""], {"yes": 2, "no": 1}, [1, 0, -1]),
        (["1", "-1", "0"], {"yes": 1, "no": -1, "unknown": 0}, [1, 0, -1]),
        (["1", "0", "2"], {"unknown": 2}, [1, 0, -1]),
        (["0", "1", "2", "3"], {"yes": [2, 3], "no": [0, 1]}, [0, 0, 1, 1]),
        (["F", "m", "?"], {"yes": "f", "no": "M", "unknown": "?"}, [1, 0, -1]),
        (["1", "", "1"], {"yes": 1, "no": ""}, [1, 0, 1]),
        ([2.0, 1.0], {"yes": 2, "no": 1}, [1, 0]),
        (["yes", "no"], {True: True, False: False}, [1, 0]),  # as YAML reads yes: yes, no: no
    ],
)
def test_declared_codes_are_read(cells, codes, labels):
    assert read(cells, codes) == labels


def test_codes_of_one_attribute_go_before_those_of_all():
    about = {"attributes": [{"name": "a", "codes": {"yes": 1, "no": -1}}, "b"], "codes": {"yes": 2, "no": 1}}
    table = pd.DataFrame({"a": ["1", "-1"], "b": ["1", "2"]})
    assert to_labels(table, Schema.from_dict(about), "t", []).tolist() == [[1, 0], [0, 1]]


@pytest.mark.parametrize(
    ("cells", "codes", "match"),
    [
        (["2", "1", "3"], {"yes": 2, "no": 1}, "column hat, row 3: its codes do not declare '3'"),
        (["2", "1", "0"], {"yes": 2, "no": 1}, "row 3: its codes do not declare '0'"),
        (["1", "-1"], {"unknown": 2}, "row 2: its codes do not declare '-1'"),
        (["1"], {"yes": 1, "no": 1}, "code 1 means both yes and no"),
        (["1"], {"unknown": 0}, "code 0 means both no and unknown"),
    ],
)
def test_codes_that_do_not_fit_are_refused(cells, codes, match):
    with pytest.raises(BadInput, match=match):
        read(cells, codes)


def test_minus_one_beside_0_is_said_to_be_unknown():
    notes = []
    read(["0", "-1", "1"], notes=notes)
    assert notes == ["-1 is read as unknown, in hat; where it means no: codes: {yes: 1, no: -1}."]


def test_arrays_of_matlab():
    table, schema = (
        pd.DataFrame(np.eye(2, dtype=np.uint8), columns=["a", "b"]),
        Schema.from_dict({"attributes": ["a", "b"]}),
    )
    assert to_labels(table, schema, "x.mat", []).tolist() == [[1, 0], [0, 1]]
    with pytest.raises(BadInput, match=r"x\.mat: column a, row \d+: .*1, -1"):
        to_labels(table.astype(np.int8) * 2 - 1, schema, "x.mat", [])
