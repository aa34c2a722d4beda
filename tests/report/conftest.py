"""Made-up studies that the tests of figures, pages and exports share."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
from study_folders import plant


@pytest.fixture(scope="session")
def planted(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with three small studies, which no test may change."""
    return plant(tmp_path_factory.mktemp("planted"))


@pytest.fixture
def root(planted: Path, tmp_path: Path) -> Path:
    """A copy of it, which a test may change."""
    shutil.copytree(planted, tmp_path, dirs_exist_ok=True)
    return tmp_path
