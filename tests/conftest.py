"""Fixtures shared by the tests."""

import os
from pathlib import Path

import pytest


@pytest.fixture(scope="session")
def real_data():
    """Folder of the real annotation files and images; they belong to third parties and are not in the repository."""
    path = Path(os.environ.get("PARLIB_TEST_DATA") or Path(__file__).parents[1].parent / "shared" / "data")
    if not path.is_dir():
        reason = f"real files not found at {path}; set PARLIB_TEST_DATA to run this test"
        (pytest.fail if os.environ.get("CI") else pytest.skip)(reason)
    return path


def _rendered(tmp_path_factory, benchmark):
    from pedsynth import synthesize

    root = tmp_path_factory.mktemp("rendered") / benchmark
    return synthesize(benchmark, root, train=40, val=24, test=24, workers=1, progress=False)


@pytest.fixture(scope="session")
def rendered(tmp_path_factory):
    """A small rendered PA-100K: 40 / 24 / 24 images."""
    return _rendered(tmp_path_factory, "pa100k")


@pytest.fixture(scope="session")
def rendered_peta(tmp_path_factory):
    """A small rendered PETA: 40 / 24 / 24 images in each partition."""
    return _rendered(tmp_path_factory, "peta")


@pytest.fixture(scope="session")
def rendered_market(tmp_path_factory):
    """A small rendered Market-1501: 40 / 24 / 24 images that are read, and two each of junk and distractors."""
    return _rendered(tmp_path_factory, "market1501")
