import json
import pickle
from functools import partial

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from parlib.errors import BadInput
from parlib.files import read_yaml
from parlib.schema import SCHEMAS, Schema, schema

SIZES = {"pa100k": 26, "peta": 35, "peta105": 105, "market1501": 30, "upar": 40}
SIZES |= {"rapv1": 51, "rapv2": 54, "rapv2zs": 53, "rapv2all": 111}
GROUPS = {"head", "upper", "lower", "feet", "carrying", "age", "view", "gender", "colour", "body", "role", "action"}


@pytest.mark.parametrize("name", SCHEMAS)
def test_shipped_schema(name):
    found = schema(name)
    assert len(found) == SIZES[name] == len(set(found.names))
    assert set(found.groups) <= GROUPS
    assert sum(len(names) for names in found.groups.values()) == len(found)
    assert all(attribute.meaning != attribute.name for attribute in found.attributes)
    assert [found.index(n) for n in found.names] == list(range(len(found)))
    assert Schema.from_dict(json.loads(json.dumps(found.to_dict()))) == found
    assert pickle.loads(pickle.dumps(found)) == found
    assert hash(found) == hash(schema(name))


def test_pa100k_facts():
    pa = schema("pa100k")
    assert pa.names[0] == "Female" and pa.names[24:] == ["Skirt&Dress", "boots"]
    assert pa.attributes[pa.index("UpperStride")].meaning == "striped upper clothing"
    assert {s.name: s.exactly_one for s in pa.exclusive} == {
        "age": True,
        "view": True,
        "sleeve": True,
        "lower type": False,
    }
    order = pa.permutation("group")
    assert [pa.names[i] for i in order[:3]] == ["Hat", "Glasses", "ShortSleeve"] and pa.names[order[-1]] == "Back"


def test_peta_35_are_the_first_of_105():
    assert schema("peta").names == schema("peta105").names[:35]
    ages = next(s for s in schema("peta").exclusive if s.name == "age")
    assert len(ages.members) == 4 and not ages.exactly_one
    order = schema("peta").permutation("group")
    assert schema("peta").names[order[0]] == "accessoryHat" and schema("peta").names[order[-1]] == "personalMale"


def test_unknown_names_are_answered():
    with pytest.raises(BadInput, match="did you mean Hat"):
        schema("pa100k").index("hatt")
    with pytest.raises(BadInput, match=r"pa100k, peta.*rapv1"):
        schema("rap")
    with pytest.raises(BadInput, match="12"):
        schema("market1501").view("13")
    with pytest.raises(BadInput, match=r"no column order 'other'.*group"):
        schema("pa100k").permutation("other")


def test_market_views():
    market = schema("market1501")
    assert [len(market.view(name).columns) for name in ("12", "27", "30")] == [12, 27, 30]
    twelve = market.view("12")
    assert [c.name for c in twelve.columns] == [
        *("gender", "hair", "age", "up", "down", "clothes", "hat", "backpack", "bag", "handbag", "upcolor", "downcolor")
    ]
    labels = np.zeros((3, 30), np.int8)
    labels[0, [market.index("adult"), market.index("upwhite"), market.index("hat")]] = 1
    labels[1, 2:6] = -1
    asked = twelve(labels)
    assert asked[0].tolist() == [0, 0, 2, 0, 0, 0, 1, 0, 0, 0, 1, 9]
    assert asked[1, 2] == -1  # unknown
    assert asked[2, 2] == 4 and asked[2, 10] == 8  # none of the answers
    assert market.view("30").target == market and (market.view("30")(labels) == labels).all()
    with pytest.raises(BadInput, match=r"\(N, 30\)"):
        twelve(labels[:, :5])


def carried_by(view, name, *on):
    """What a view makes of one row of a benchmark that has only the named attributes."""
    source = schema(name)
    row = np.zeros((1, len(source)), np.int8)
    row[0, [source.index(a) for a in on]] = 1
    made = source.view(view)
    return dict(zip(made.target.names, made(row)[0].tolist(), strict=True))


def test_upar_is_read_from_what_a_benchmark_carries():
    one = partial(carried_by, "upar")
    carried = {name: sum(bool(c.terms) for c in schema(name).view("upar").columns) for name in SIZES if name[0] in "pm"}
    assert carried == {"pa100k": 13, "peta": 12, "peta105": 37, "market1501": 30}
    assert [len(schema(name).view("upar").columns) for name in ("rapv2", "rapv2zs", "rapv2all")] == [40] * 3
    assert one("rapv2all", "up-ColorRed")["UpperBody-Color-Red"] == 1 and one("rapv2")["UpperBody-Color-Red"] == -1
    assert one("rapv2", "Age17-30")["Age-Adult"] == one("market1501", "teenager")["Age-Young"] == 1
    assert one("rapv2", "lb-Dress")["LowerBody-Length-Short"] == -1
    glasses = one("pa100k", "Glasses"), one("pa100k")
    assert [one["Accessory-Glasses-Sun"] for one in glasses] == [-1, 0]
    labels = np.eye(40, dtype=np.int8)
    assert (schema("upar").view("upar")(labels) == labels).all()  # UPAR's own annotations
    with pytest.raises(BadInput, match=r"rapv1 has no view 'upar'; it has none"):
        schema("rapv1").view("upar")


@pytest.mark.real
def test_upar_has_the_columns_of_the_challenge(real_data):
    header = (real_data / "lists" / "upar_header_sample.csv").read_text().splitlines()[0]
    assert schema("upar").names == header.split(",")[1:]


@pytest.mark.long
@settings(deadline=None)  # a busy machine is no finding
@given(st.data())
def test_views_never_invent_an_answer(data):
    """A row of unknowns stays unknown, and any row gives values in range, in every view."""
    name = data.draw(st.sampled_from(["pa100k", "peta", "peta105", "market1501", "rapv2", "rapv2all"]))
    source = schema(name)
    row = np.array(
        [data.draw(st.lists(st.sampled_from([-1, 0, 1]), min_size=len(source), max_size=len(source)))], np.int8
    )
    for view in [source.view("upar"), *(source.view(v) for v in source.questions)]:
        assert (view(np.full_like(row, -1)) == -1).all()
        for column, value in zip(view.columns, view(row)[0], strict=True):
            assert -1 <= value <= (len(column.terms) if column.question else 1)


@settings(deadline=None)
@given(st.permutations(range(26)))
def test_permutation_keeps_columns(order):
    pa = Schema("x", schema("pa100k").attributes, permutations={"o": tuple(order)})
    labels = np.arange(26)[None]
    assert sorted(labels[:, pa.permutation("o")][0]) == list(range(26))


def test_own_yaml(tmp_path):
    path = tmp_path / "schema.yaml"
    path.write_text(
        "name: shop\nattributes:\n  - {name: apron, prompt: a person in an apron, group: upper}\n  - badge\n"
        "exclusive:\n  - {name: either, members: [apron, badge]}\n"
    )
    own = Schema.from_yaml(path)
    assert own.names == ["apron", "badge"] and own.attributes[0].meaning == "a person in an apron"
    assert own.attributes[0].prompt == "a person in an apron" and own.attributes[1].group == "other"


@pytest.mark.parametrize(
    ("text", "match"),
    [
        ("- a\n- b", "no schema"),
        ("name: x", "no schema.*attributes"),
        ("name: x\nattributes: []", "no attributes"),
        ("name: x\nattributes: [a, a]", "twice: a"),
        ("name: x\nattributes: [{meaning: y}]", "no schema.*name"),
        ("name: x\nattributes: [{name: a, colour: y}]", "no schema.*colour"),
        ("name: x\nattributes: [aa, b]\nexclusive: [{name: e, members: [aaa]}]", "did you mean aa"),
        ("name: x\nattributes: [a]\npermutations: {p: [1]}", "not a valid permutation"),
        ("name: [", "cannot be read"),
        ("name: x\nattributes: [a]\ncode: {yes: 1}", "unknown key code; known are name"),
        ("attributes: [a]\nexclusive: [{name: e, member: [a]}]", "unknown key member"),
        ("attributes: [a]\ncodes: {maybe: 1}", "codes is no schema: unknown key maybe; known are yes, no, unknown"),
        ("attributes: [a]\ncodes: 2", "2 is not a valid code mapping; write codes:"),
        ("attributes: [hat, no]", 'False is not a valid name; quote it: "yes", "no"'),
        ("attributes: [{name: a, prompt: 3}]", "meaning, group and prompt of a are texts"),
    ],
)
def test_broken_yaml(tmp_path, text, match):
    path = tmp_path / "schema.yaml"
    path.write_text(text)
    with pytest.raises(BadInput, match=match):
        Schema.from_yaml(path)


def test_codes_stay_what_they_are_through_json():
    own = Schema.from_dict(
        {"attributes": ["a", {"name": "b", "codes": {"yes": "f"}}], "codes": {True: 2, False: [0, 1]}}
    )
    assert Schema.from_dict(json.loads(json.dumps(own.to_dict()))) == own
    assert own.codes_of("a") == {"yes": 2, "no": [0, 1]} and own.codes_of("b") == {"yes": "f"}
    assert schema("pa100k").codes_of("Hat") == {} and "codes" not in schema("pa100k").to_dict()["attributes"][0]


def test_contradictions():
    sets = [
        {"name": "age", "members": ["young", "old"], "exactly_one": True},
        {"name": "top", "members": ["hat", "cap"]},
    ]
    own = Schema.from_dict({"attributes": ["young", "old", "hat", "cap"], "exclusive": sets})
    labels = np.array([[1, 0, 0, 0], [0, 0, 1, 1], [1, 1, 1, 0], [-1, 0, 1, -1]])
    broken = own.contradictions(labels)
    assert broken["age"].tolist() == [False, True, True, False]
    assert broken["top"].tolist() == [False, True, False, False]
    assert own.contradictions(labels == 1)["age"].tolist() == [False, True, True, True]


def test_missing_yaml(tmp_path):
    with pytest.raises(BadInput, match=r"gone\.yaml"):
        read_yaml(tmp_path / "gone.yaml", "schema")
