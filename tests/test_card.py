"""A card is filled from run and records alone, and its header is valid YAML."""

import pytest

import parlib


@pytest.fixture(scope="module")
def model():
    return parlib.load("nano-pa100k")


def test_the_card_is_written_from_the_record(model, tmp_path):
    model.save_pretrained(tmp_path / "saved")
    text, record = (tmp_path / "saved" / "README.md").read_text(), model.records["test.json"]
    assert f"| mA at thresholds tuned on val | {100 * record['tuned']['mA']:.1f} |" in text
    low, high = record["intervals"]["f1"]
    assert f"{100 * low:.1f} to {100 * high:.1f}" in text and record["sha256"][:12] in text
    assert "no photographs" in text and "Do not use it to identify" in text and model.encoder.weights_hash in text
