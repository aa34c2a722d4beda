"""JSON schemas of the YAML files, made from the typed definitions: for editors, and for people who look up a key.

The files in config/schemas are written by `tells schemas`. They describe a file as it is written,
before `extends` and `models` are resolved; the loader (`tells.config.load`) checks more than a schema can say.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from pydantic import BaseModel

from tells.config.base import SLUG
from tells.config.experiment import Experiment
from tells.config.models import NEEDS, ModelEntry
from tells.config.site import Site

_DIALECT = "https://json-schema.org/draft/2020-12/schema"


def export_schemas() -> dict[str, dict[str, Any]]:
    """Schemas by name: `experiment` (experiments/*.yaml), `models` (config/models.yaml), `config` (config/config.yaml).

    Returns:
        JSON schemas, draft 2020-12.
    """
    return {"config": _schema(Site), "experiment": _experiment_schema(), "models": _models_schema()}


def write_schemas(folder: str | Path) -> list[Path]:
    """Write every schema to `folder` as NAME.json.

    Args:
        folder: such as config/schemas; made if absent.

    Returns:
        The files.
    """
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    written = []
    for name, schema in export_schemas().items():
        path = folder / f"{name}.json"
        path.write_text(schema_text(schema), encoding="utf-8")
        written.append(path)
    return written


def schema_text(schema: Mapping[str, Any]) -> str:
    """A schema as its file holds it."""
    return json.dumps(schema, indent=2, ensure_ascii=False) + "\n"


def _schema(definition: type[BaseModel]) -> dict[str, Any]:
    return {"$schema": _DIALECT, **definition.model_json_schema()}


def _experiment_schema() -> dict[str, Any]:
    schema = _schema(Experiment)
    schema["description"] = "An experiment: one model (or several), one seed, and the studies to do with them."
    properties = schema["properties"]
    slug = {"type": "string", "pattern": f"^{SLUG}$"}
    del properties["name"]
    schema["properties"] = {
        "extends": {**slug, "description": "another experiment, of which this file holds the changed keys"},
        "model": properties.pop("model"),
        "models": {
            "type": "array",
            "items": slug,
            "minItems": 1,
            "description": "in the place of `model`: one experiment NAME-MODEL for each",
        },
        **properties,
    }
    # A file that extends another needs none of the keys that the other has.
    for definition in schema["$defs"].values():
        definition.pop("required", None)
    del schema["required"]
    schema["anyOf"] = [{"required": [key]} for key in ("extends", "model", "models")]
    schema["not"] = {"required": ["model", "models"]}
    return schema


def _models_schema() -> dict[str, Any]:
    entry = ModelEntry.model_json_schema()
    entry["allOf"] = [
        {"if": {"properties": {"source": {"const": source}}, "required": ["source"]}, "then": {"required": list(keys)}}
        for source, keys in NEEDS.items()
    ]
    return {
        "$schema": _DIALECT,
        "title": "Models",
        "description": "The catalogue of models: a name, where the model comes from, how it is to be used.",
        "type": "object",
        "propertyNames": {"pattern": f"^{SLUG}$"},
        "additionalProperties": {"$ref": "#/$defs/ModelEntry"},
        "$defs": {**entry.pop("$defs", {}), "ModelEntry": entry},
    }
