"""The JSON schemas: current, and of one mind with the loader."""

from __future__ import annotations

import json
from pathlib import Path

import jsonschema
import pytest
import yaml

from tells.config.load import UniqueKeyLoader
from tells.config.schemas import export_schemas, write_schemas

ROOT = Path(__file__).parents[2]
SCHEMAS = export_schemas()
FILES = [("config", ROOT / "config/config.yaml"), ("models", ROOT / "config/models.yaml")]
FILES += [("experiment", path) for path in sorted((ROOT / "experiments").glob("*.yaml"))]


def is_valid(name: str, content: object) -> bool:
    return jsonschema.Draft202012Validator(SCHEMAS[name]).is_valid(content)


@pytest.mark.parametrize("name", SCHEMAS)
def test_the_schema_files_are_current(name: str):
    stored = (ROOT / f"config/schemas/{name}.json").read_text(encoding="utf-8")
    assert json.loads(stored) == SCHEMAS[name], "run `tells schemas`"


def test_writing_gives_the_stored_files(tmp_path: Path):
    for path in write_schemas(tmp_path / "schemas"):
        assert path.read_bytes() == (ROOT / "config/schemas" / path.name).read_bytes()


@pytest.mark.parametrize("name", SCHEMAS)
def test_the_schemas_are_schemas(name: str):
    jsonschema.Draft202012Validator.check_schema(SCHEMAS[name])


@pytest.mark.parametrize(("name", "path"), FILES, ids=lambda value: getattr(value, "stem", value))
def test_the_projects_own_files_fit(name: str, path: Path):
    content = yaml.load(path.read_text(encoding="utf-8"), UniqueKeyLoader)
    jsonschema.Draft202012Validator(SCHEMAS[name]).validate(content)


@pytest.mark.parametrize(
    ("content", "valid"),
    [
        ({"model": "a"}, True),
        ({"models": ["a", "b"], "seed": 1}, True),
        ({"extends": "demo"}, True),
        ({"extends": "demo", "uncertainty": {"collections": {"sums": {"limit": 3}}}}, True),
        ({"extends": "demo", "uncertainty": None}, True),
        ({"seed": 1}, False),
        ({"model": "a", "models": ["b"]}, False),
        ({"models": []}, False),
        ({"name": "demo", "model": "a"}, False),
        ({"model": "a", "sede": 1}, False),
        ({"model": "a", "engine": {"kind": "other"}}, False),
    ],
)
def test_experiments_are_judged_as_they_are_written(content: dict, valid: bool):
    assert is_valid("experiment", content) is valid


@pytest.mark.parametrize(
    ("content", "valid"),
    [
        ({"a": {"source": "hub", "id": "owner/name"}}, True),
        ({"a": {"source": "hub"}}, False),
        ({"a": {"source": "pypi", "package": "p", "version": "1", "file": "f"}}, False),
        ({"A b": {"source": "hub", "id": "owner/name"}}, False),
        ({"a": {"source": "hub", "id": "owner/name", "task": "sing"}}, False),
    ],
)
def test_models_need_what_their_source_needs(content: dict, valid: bool):
    assert is_valid("models", content) is valid
