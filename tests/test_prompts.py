"""Prompts are complete, in order and distinct, in every language; what is missing is said by name."""

from pathlib import Path

import pytest

import parlib
from parlib.encode.prompts import languages, load_prompts
from parlib.errors import BadInput
from parlib.files import read_yaml
from parlib.schema import Attribute, Schema, schema

PROMPTS = Path(parlib.__file__).parent / "encode" / "prompts"
BENCHMARKS = {"pa100k": 26, "peta": 35, "market1501": 30, "rapv1": 51, "rapv2": 54, "upar": 40}


def test_six_languages():
    assert languages() == ["en", "ar", "es", "fr", "it", "zh"]


@pytest.mark.parametrize("language", languages())
@pytest.mark.parametrize("name", BENCHMARKS)
def test_one_distinct_prompt_for_each_attribute(name, language):
    yes, no = load_prompts(name, language), load_prompts(name, language, negative=True)
    assert len(yes) == len(no) == BENCHMARKS[name]
    assert len(set(yes)) == len(yes) and all(a != b for a, b in zip(yes, no, strict=True))
    assert yes == load_prompts(schema(name), language)


@pytest.mark.parametrize("name", BENCHMARKS)
def test_english_has_several_wordings(name):
    wordings = load_prompts(name, wording="all")
    assert all(len(each) == len(set(each)) >= 3 for each in wordings)
    assert [each[0] for each in wordings] == load_prompts(name)
    assert [each[1] for each in wordings] == load_prompts(name, wording=1)


def test_order_is_the_schemas():
    prompts = load_prompts("pa100k")
    assert prompts[7] == "a person wearing a hat"
    assert "striped" in prompts[schema("pa100k").index("UpperStride")]
    part = schema("pa100k").subset("pa100k", ["boots", "Hat"])
    assert load_prompts(part) == ["a person wearing boots", "a person wearing a hat"]


def test_a_schema_of_ones_own_brings_its_prompts():
    own = Schema("mine", (Attribute("umbrella", "umbrella", prompt="a person under an umbrella"),))
    assert load_prompts(own) == ["a person under an umbrella"]
    with pytest.raises(BadInput, match="umbrella"):
        load_prompts(own, "fr")
    with pytest.raises(BadInput, match="pa100k, peta, market1501"):
        load_prompts(Schema("mine", (Attribute("umbrella", "umbrella"),)))


def test_unknown_language_and_wording():
    with pytest.raises(BadInput, match="en, ar, es, fr, it, zh"):
        load_prompts("pa100k", "de")
    for wording in (-1, "second"):
        with pytest.raises(BadInput, match="wording"):
            load_prompts("pa100k", wording=wording)


@pytest.mark.parametrize("language", languages())
def test_every_file_has_exactly_one_whole_entry_for_each_attribute(language):
    blocks = read_yaml(PROMPTS / f"{language}.yaml", "prompts")
    assert isinstance(blocks.pop("language"), str)
    assert set(blocks) == set(BENCHMARKS)
    for name, block in blocks.items():
        assert set(block) == set(schema(name).names), name
        for attribute, entry in block.items():
            texts = [*entry["is"], entry["not"]]
            assert len(texts) > 1 and all(isinstance(text, str) and text.strip() for text in texts), (name, attribute)
