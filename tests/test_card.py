"""A card is filled from run and records alone, and its header is valid YAML."""

import pytest
import yaml
from huggingface_hub import ModelCard

import parlib
from parlib.use.model import Model, card


@pytest.fixture(scope="module")
def model():
    return parlib.load("nano-pa100k")


def test_the_card_is_written_from_the_record(model, tmp_path):
    model.save_pretrained(tmp_path / "saved")
    text, record = (tmp_path / "saved" / "README.md").read_text(), model.records["test.json"]
    assert f"| mA at thresholds tuned on val | {100 * record['tuned']['mA']:.1f} |" in text
    low, high = record["intervals"]["f1"]
    assert f"{100 * low:.1f} to {100 * high:.1f}" in text and record["sha256"][:12] in text
    assert (
        "no photographs" in text and "Do not use it to identify" in text and model.encoder.identity["weights"] in text
    )


def test_no_readme_speaks_of_what_nobody_did(model, tmp_path):
    """The mixins of huggingface_hub write a card of their own where there is none."""
    made = model.with_phrases({"scarf | [x](y)": "a person with a <b>scarf</b>"})
    made.save_pretrained(tmp_path / "model")
    model.head.save_pretrained(tmp_path / "head")
    for folder in ("model", "head"):
        text = (tmp_path / folder / "README.md").read_text()
        assert "More Information Needed" not in text and "pushed to the Hub" not in text
        front = yaml.safe_load(text.removeprefix("---\n").split("\n---\n")[0])
        assert front["library_name"] == "parlib"
    text = ModelCard.load(tmp_path / "model" / "README.md").text
    assert "| scarf \\| [x]\\(y) | a person with a &lt;b>scarf&lt;/b> (zero-shot) | 0.50 |" in text


def test_the_base_model_stands_in_the_header_where_it_is_at_the_hub(model):
    setting = {**model.run["setting"], "encoder": "google/siglip2-base-patch16-224", "revision": "abc"}
    text = str(card(Model(model.encoder, model.head, {**model.run, "setting": setting})))
    front = yaml.safe_load(text.removeprefix("---\n").split("\n---\n")[0])
    assert front["base_model"] == "google/siglip2-base-patch16-224" and "revision abc" in text
    assert "No evaluation was recorded" in text
