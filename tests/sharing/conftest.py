"""A clone with a finished run, one without, and a folder to which the run was pushed."""

from __future__ import annotations

from pathlib import Path

import pytest
from sharing_helpers import NAME, make_empty_clone, make_run

from tells.sharing.push import push


@pytest.fixture
def here(tmp_path: Path) -> Path:
    return make_run(tmp_path / "here")


@pytest.fixture
def there(tmp_path: Path) -> Path:
    return make_empty_clone(tmp_path / "there")


@pytest.fixture
def shared(here: Path, tmp_path: Path) -> Path:
    """The folder of a run that has been pushed."""
    push(here, NAME, str(tmp_path / "shared"))
    return tmp_path / "shared" / NAME
