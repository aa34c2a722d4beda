"""Reading definitions from YAML, and saying everything that is wrong with them at once."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import yaml
from pydantic import BaseModel, ValidationError

from tells.config.experiment import Experiment
from tells.config.models import ModelEntry
from tells.config.site import Site

Model = TypeVar("Model", bound=BaseModel)


@dataclass(frozen=True)
class Problem:
    """One thing that is wrong: in which file, under which key, and what."""

    file: str
    key: str
    message: str

    def __str__(self) -> str:
        return f"{self.file}: {self.key}: {self.message}" if self.key else f"{self.file}: {self.message}"


class ConfigError(ValueError):
    """Every problem of the configuration at once."""

    def __init__(self, problems: Iterable[Problem]) -> None:
        self.problems = list(problems)
        lines = "\n".join(f"  - {problem}" for problem in self.problems)
        super().__init__(f"{len(self.problems)} configuration problem(s):\n{lines}")


class UniqueKeyLoader(yaml.SafeLoader):
    """YAML in which the same key twice is an error, not the last one winning."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        """Build a mapping; raises on a repeated key."""
        seen: set[Any] = set()
        for key_node, _ in node.value:
            if key_node.tag == "tag:yaml.org,2002:merge":
                continue
            key = self.construct_object(key_node, deep=True)
            if key in seen:
                raise yaml.constructor.ConstructorError(
                    None, None, f"key {key!r} stands twice", key_node.start_mark
                )
            seen.add(key)
        return super().construct_mapping(node, deep)


def load_workflow(
    root: Path, overrides: Mapping[str, Any] | None = None
) -> tuple[Site, dict[str, Experiment]]:
    """The site and every experiment it names, checked together with the model catalogue.

    Args:
        root: the folder that holds config/ and experiments/.
        overrides: keys of the site that stand before the file's (`--config`).

    Raises:
        ConfigError: all problems of all files at once.
    """
    site = load_site(root, overrides)
    problems: list[Problem] = []
    models: dict[str, ModelEntry] = {}
    experiments: dict[str, Experiment] = {}
    try:
        models = load_models(root / site.models)
    except ConfigError as error:
        problems += error.problems
    try:
        experiments = load_experiments(root, site.experiment_names())
    except ConfigError as error:
        problems += error.problems
    for experiment in experiments.values():
        problems += _reference_problems(root, experiment, models, site)
    if problems:
        raise ConfigError(problems)
    return site, experiments


def load_site(root: Path, overrides: Mapping[str, Any] | None = None) -> Site:
    """config/config.yaml with `overrides` on top."""
    path = root / "config/config.yaml"
    content = {**_read_yaml(path), **dict(overrides or {})}
    return _validate(Site, content, str(path.relative_to(root)))


def load_models(path: Path) -> dict[str, ModelEntry]:
    """The catalogue of models by name."""
    problems, models = [], {}
    for name, entry in _read_yaml(path).items():
        try:
            models[name] = _validate(ModelEntry, entry, path.name, prefix=name)
        except ConfigError as error:
            problems += error.problems
    if problems:
        raise ConfigError(problems)
    return models


def load_experiments(root: Path, names: Iterable[str]) -> dict[str, Experiment]:
    """Experiments by name; one file can give several (`models: [a, b]` gives `NAME-a` and `NAME-b`)."""
    problems: list[Problem] = []
    experiments: dict[str, Experiment] = {}
    for name in names:
        try:
            experiments |= _load_experiment(root, name)
        except ConfigError as error:
            problems += error.problems
    if problems:
        raise ConfigError(problems)
    return experiments


def select_experiments(root: Path) -> list[str]:
    """Names of all definitions in experiments/."""
    return sorted(path.stem for path in (root / "experiments").glob("*.yaml"))


def _load_experiment(root: Path, name: str) -> dict[str, Experiment]:
    file, variant = f"experiments/{name}.yaml", None
    if not (root / file).exists():
        for candidate in select_experiments(root):
            if name.startswith(f"{candidate}-"):
                file, variant = f"experiments/{candidate}.yaml", name
        if variant is None:
            known = ", ".join(select_experiments(root)) or "none"
            raise ConfigError([Problem(file, "", f"no such experiment; experiments/ holds: {known}")])
    content = _extended(root, file, ())
    models = content.pop("models", None)
    stem = Path(file).stem
    if models is None:
        return {stem: _validate(Experiment, {"name": stem, **content}, file)}
    if not isinstance(models, list) or not models or "model" in content:
        raise ConfigError([Problem(file, "models", "must be a list of model names, in the place of `model`")])
    expanded = {
        f"{stem}-{model}": _validate(Experiment, {"name": f"{stem}-{model}", "model": model, **content}, file)
        for model in models
    }
    if variant is None:
        return expanded
    if variant not in expanded:
        raise ConfigError([Problem(file, "models", f"gives {', '.join(expanded)}, not {variant}")])
    return {variant: expanded[variant]}


def _extended(root: Path, file: str, seen: tuple[str, ...]) -> dict[str, Any]:
    if file in seen:
        raise ConfigError([Problem(file, "extends", f"goes in a circle: {' -> '.join((*seen, file))}")])
    content = _read_yaml(root / file, file)
    parent = content.pop("extends", None)
    if parent is None:
        return content
    parent_file = f"experiments/{parent}.yaml"
    if not (root / parent_file).exists():
        raise ConfigError([Problem(file, "extends", f"{parent_file} does not exist")])
    inherited = _extended(root, parent_file, (*seen, file))
    if "models" in content:
        inherited.pop("model", None)
    if "model" in content:
        inherited.pop("models", None)
    return _merged(inherited, content)


def _merged(base: Mapping[str, Any], changes: Mapping[str, Any]) -> dict[str, Any]:
    result = dict(base)
    for key, value in changes.items():
        old = result.get(key)
        result[key] = (
            _merged(old, value) if isinstance(old, Mapping) and isinstance(value, Mapping) else value
        )
    return result


def _reference_problems(
    root: Path, experiment: Experiment, models: Mapping[str, ModelEntry], site: Site
) -> list[Problem]:
    file, problems = f"experiments/{experiment.name}.yaml", []
    if models and experiment.model not in models:
        known = ", ".join(models)
        problems.append(Problem(file, "model", f"{experiment.model} is not in {site.models}; it has {known}"))
    study = experiment.uncertainty
    for name, collection in study.collections.items() if study else ():
        for key in ("questions", "path", "samples"):
            value = getattr(collection, key)
            if value is not None and not (root / value).exists():
                problems.append(
                    Problem(file, f"uncertainty.collections.{name}.{key}", f"{value} does not exist")
                )
    return problems


def _read_yaml(path: Path, shown: str | None = None) -> dict[str, Any]:
    shown = shown or str(path)
    try:
        content = yaml.load(path.read_text(encoding="utf-8"), UniqueKeyLoader)
    except FileNotFoundError:
        raise ConfigError([Problem(shown, "", "no such file")]) from None
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise ConfigError([Problem(shown, "", f"not valid YAML: {' '.join(str(error).split())}")]) from None
    if content is None:
        return {}
    if not isinstance(content, dict):
        raise ConfigError([Problem(shown, "", "must be a mapping of keys to values")])
    return content


def _validate(model: type[Model], content: Any, file: str, prefix: str = "") -> Model:
    try:
        return model.model_validate(content)
    except ValidationError as error:
        raise ConfigError(
            Problem(
                file, ".".join([*([prefix] if prefix else []), *map(str, detail["loc"])]), _message(detail)
            )
            for detail in error.errors()
        ) from None


def _message(detail: Mapping[str, Any]) -> str:
    if detail["type"] == "extra_forbidden":
        return "unknown key; look for a misspelling, or at config/schemas/"
    if detail["type"] == "missing":
        return "required, but absent"
    message = detail["msg"].removeprefix("Value error, ")
    simple = isinstance(detail.get("input"), str | int | float | bool)
    return f"{message} (it is {detail['input']!r})" if simple else message
