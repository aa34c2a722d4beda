"""Reading definitions from YAML, and saying everything that is wrong with them at once."""

from __future__ import annotations

import re
from collections.abc import Hashable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import yaml
from pydantic import BaseModel, ValidationError

from tells.config import references
from tells.config.base import SLUG
from tells.config.experiment import Experiment
from tells.config.models import ModelEntry
from tells.config.site import Site

Model = TypeVar("Model", bound=BaseModel)
_SITE = "config/config.yaml"


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
        self.problems = list(dict.fromkeys(problems))
        lines = "\n".join(f"  - {problem}" for problem in self.problems)
        super().__init__(f"{len(self.problems)} configuration problem(s):\n{lines}")


# Where PyYAML was built with libyaml, ten times as fast; every definition is read at every start.
_SafeLoader: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)


class UniqueKeyLoader(_SafeLoader):
    """YAML in which the same key twice is an error, not the last one winning."""

    def __init__(self, stream: Any) -> None:
        super().__init__(stream)
        self._checked: set[int] = set()

    def flatten_mapping(self, node: yaml.MappingNode) -> None:
        """Resolve merge keys; raises on a repeated key."""
        # A merge leaves the keys it brings in the node, where the node's own may repeat them: look before the first.
        if id(node) not in self._checked:
            self._checked.add(id(node))
            self._refuse_repeated_keys(node)
        super().flatten_mapping(node)

    def _refuse_repeated_keys(self, node: yaml.MappingNode) -> None:
        seen: set[Any] = set()
        for key_node, _ in node.value:
            merge = key_node.tag == "tag:yaml.org,2002:merge"
            key = "<<" if merge else self.construct_object(key_node, deep=True)
            if not isinstance(key, Hashable):
                continue
            if key in seen:
                raise yaml.constructor.ConstructorError(None, None, f"key {key!r} stands twice", key_node.start_mark)
            seen.add(key)


def load_workflow(root: Path, overrides: Mapping[str, Any] | None = None) -> tuple[Site, dict[str, Experiment]]:
    """The site and every experiment it names, checked together with the model catalogue.

    Args:
        root: the folder that holds config/ and experiments/.
        overrides: keys of the site that stand before the file's (`--config`).

    Raises:
        ConfigError: all problems of all files at once.
    """
    site, problems = _read_site(root, overrides)
    models, model_problems = _read_models(root / site.models, site.models)
    experiments, experiment_problems = _read_experiments(root, site.experiment_names())
    problems += model_problems + experiment_problems
    for experiment in experiments.values():
        problems += _reference_problems(root, experiment, models, site.models)
    if problems:
        raise ConfigError(problems)
    return site, experiments


def load_site(root: Path, overrides: Mapping[str, Any] | None = None) -> Site:
    """config/config.yaml with `overrides` on top.

    Raises:
        ConfigError: all its problems.
    """
    site, problems = _read_site(root, overrides)
    if problems:
        raise ConfigError(problems)
    return site


def load_models(path: Path) -> dict[str, ModelEntry]:
    """The catalogue of models by name.

    Raises:
        ConfigError: all its problems.
    """
    models, problems = _read_models(path, str(path))
    if problems:
        raise ConfigError(problems)
    return {name: entry for name, entry in models.items() if entry is not None}


def load_experiments(root: Path, names: Iterable[str]) -> dict[str, Experiment]:
    """Experiments by name; one file can give several (`models: [a, b]` gives `NAME-a` and `NAME-b`).

    Raises:
        ConfigError: all problems of all their files.
    """
    experiments, problems = _read_experiments(root, names)
    if problems:
        raise ConfigError(problems)
    return experiments


def select_experiments(root: Path) -> list[str]:
    """Names of all definitions in experiments/."""
    return sorted(path.stem for path in (root / "experiments").glob("*.yaml"))


def definition_files(root: Path, name: str) -> list[str]:
    """Files that define an experiment, its own first, then what it extends; paths below the top of the clone.

    Raises:
        ConfigError: there is no such experiment, or one of its files cannot be read.
    """
    _load_experiment(root, name)
    if not (root / f"experiments/{name}.yaml").exists():
        name = next(parent for parent in _parents(root, name) if name in _expanded(root, parent))
    _, sources = _extended(root, f"experiments/{name}.yaml", ())
    return [file for file, _ in sources]


def _read_site(root: Path, overrides: Mapping[str, Any] | None) -> tuple[Site, list[Problem]]:
    """The site and its problems; a key with a problem takes its default, so that other files are checked as well."""
    content: dict[str, Any] = dict(overrides or {})
    try:
        content = {**_read_yaml(root / _SITE, _SITE), **content}
        return _validate(Site, content, _SITE), []
    except ConfigError as error:
        wrong = {problem.key.partition(".")[0] for problem in error.problems}
        sound = {key: value for key, value in content.items() if key not in wrong}
        sound.setdefault("experiments", select_experiments(root))
        return Site.model_validate(sound), error.problems


def _read_models(path: Path, shown: str) -> tuple[dict[str, ModelEntry | None], list[Problem]]:
    """The entries by name, None in the place of one with a problem; and the problems."""
    models: dict[str, ModelEntry | None] = {}
    problems: list[Problem] = []
    try:
        content = _read_yaml(path, shown)
    except ConfigError as error:
        return models, error.problems
    for key, entry in content.items():
        name = str(key)
        models[name] = None
        if not re.fullmatch(SLUG, name):
            message = "a model's name is made of small letters, digits, dots, dashes and underscores"
            problems.append(Problem(shown, name, message))
        try:
            models[name] = _validate(ModelEntry, entry, shown, prefix=name)
        except ConfigError as error:
            problems += error.problems
    return models, problems


def _read_experiments(root: Path, names: Iterable[str]) -> tuple[dict[str, Experiment], list[Problem]]:
    """The experiments without a problem, and the problems of the others."""
    experiments: dict[str, Experiment] = {}
    problems: list[Problem] = []
    for name in names:
        try:
            experiments |= _load_experiment(root, name)
        except ConfigError as error:
            problems += error.problems
    return experiments, problems


def _load_experiment(root: Path, name: str) -> dict[str, Experiment]:
    """What a name stands for: a file, with all its variants, or a single variant of a file with `models`."""
    file = f"experiments/{name}.yaml"
    if not re.fullmatch(SLUG, name):
        message = "an experiment's name is made of small letters, digits, dots, dashes and underscores"
        raise ConfigError([Problem(file, "", message)])
    if (root / file).exists():
        return _expanded(root, name)
    variants: list[str] = []
    for candidate in _parents(root, name):
        expanded = _expanded(root, candidate)
        if name in expanded:
            return {name: expanded[name]}
        variants += [variant for variant in expanded if variant != candidate]
    known = ", ".join([*select_experiments(root), *variants]) or "none"
    raise ConfigError([Problem(file, "", f"no such experiment; experiments/ holds: {known}")])


def _parents(root: Path, variant: str) -> list[str]:
    """Experiments whose variant this may be, the longest name first."""
    return [name for name in reversed(select_experiments(root)) if variant.startswith(f"{name}-")]


def _expanded(root: Path, stem: str) -> dict[str, Experiment]:
    file = f"experiments/{stem}.yaml"
    content, sources = _extended(root, file, ())
    if "name" in content:
        origin = _origin(sources, ("name",))
        raise ConfigError([Problem(origin, "name", "is the name of the file, and must not stand in it")])
    models = content.pop("models", None)
    if models is None:
        return {stem: _experiment(stem, content, sources)}
    if not isinstance(models, list) or not models or "model" in content:
        message = "must be a list of model names, in the place of `model`"
        raise ConfigError([Problem(_origin(sources, ("models",)), "models", message)])
    problems: list[Problem] = []
    variants: dict[str, Experiment] = {}
    for model in models:
        name = f"{stem}-{model}"
        if (root / f"experiments/{name}.yaml").exists():
            problems.append(Problem(file, "models", f"gives {name}, which experiments/{name}.yaml defines as well"))
        try:
            variants[name] = _experiment(name, {"model": model, **content}, sources)
        except ConfigError as error:
            problems += error.problems
    if problems:
        raise ConfigError(problems)
    return variants


def _experiment(name: str, content: Mapping[str, Any], sources: Sequence[tuple[str, Any]]) -> Experiment:
    """Validate; a problem is put down to the file of the `extends` chain in which its key stands."""
    try:
        return _validate(Experiment, {"name": name, **content}, sources[0][0])
    except ConfigError as error:
        raise ConfigError(
            Problem(_origin(sources, problem.key.split(".")), problem.key, problem.message)
            for problem in error.problems
        ) from None


def _extended(root: Path, file: str, seen: tuple[str, ...]) -> tuple[dict[str, Any], list[tuple[str, Any]]]:
    """A definition merged with those it extends, and the content of each of these files, its own first."""
    if file in seen:
        raise ConfigError([Problem(file, "extends", f"goes in a circle: {' -> '.join((*seen, file))}")])
    content = _read_yaml(root / file, file)
    parent = content.pop("extends", None)
    if parent is None:
        return content, [(file, content)]
    parent_file = f"experiments/{parent}.yaml"
    if not (root / parent_file).exists():
        raise ConfigError([Problem(file, "extends", f"{parent_file} does not exist")])
    inherited, sources = _extended(root, parent_file, (*seen, file))
    if "models" in content:
        inherited.pop("model", None)
    if "model" in content:
        inherited.pop("models", None)
    return _merged(inherited, content), [(file, content), *sources]


def _merged(base: Mapping[str, Any], changes: Mapping[str, Any]) -> dict[str, Any]:
    result = dict(base)
    for key, value in changes.items():
        old = result.get(key)
        result[key] = _merged(old, value) if isinstance(old, Mapping) and isinstance(value, Mapping) else value
    return result


def _origin(sources: Sequence[tuple[str, Any]], keys: Sequence[str]) -> str:
    """The file in which most of a key path stands; the first of them, where several hold as much."""

    def depth(content: Any) -> int:
        for count, key in enumerate(keys):
            if not isinstance(content, Mapping) or key not in content:
                return count
            content = content[key]
        return len(keys)

    return max(sources, key=lambda source: depth(source[1]))[0]


def _reference_problems(
    root: Path, experiment: Experiment, models: Mapping[str, ModelEntry | None], catalogue: str
) -> list[Problem]:
    """Names of models and files in an experiment that lead nowhere."""
    stem, key = experiment.name, "model"
    if not (root / f"experiments/{stem}.yaml").exists():
        stem = next(parent for parent in _parents(root, stem) if f"{parent}-{experiment.model}" == stem)
        key = "models"
    _, sources = _extended(root, f"experiments/{stem}.yaml", ())
    problems = []
    for keys, value in references.missing_files(root, experiment):
        problems.append(Problem(_origin(sources, keys), ".".join(keys), f"{value} does not exist"))
    for keys, name, task in references.needed_models(experiment, key) if models else ():
        found = models.get(name)
        if name not in models:
            message = f"{name} is not in {catalogue}; it has {', '.join(models)}"
        elif found is not None and found.task != task:
            message = f"{name} has the task {found.task} in {catalogue}; needed is one with {task}"
        else:
            continue
        problems.append(Problem(_origin(sources, keys.split(".")), keys, message))
    return problems


def _read_yaml(path: Path, shown: str) -> dict[str, Any]:
    try:
        content = yaml.load(path.read_text(encoding="utf-8"), UniqueKeyLoader)
    except FileNotFoundError:
        raise ConfigError([Problem(shown, "", "no such file")]) from None
    except OSError as error:
        raise ConfigError([Problem(shown, "", f"cannot be read: {error.strerror}")]) from None
    except (yaml.YAMLError, ValueError) as error:
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
            Problem(file, ".".join([*([prefix] if prefix else []), *_key_path(detail, content)]), _message(detail))
            for detail in error.errors()
        ) from None


def _key_path(detail: Mapping[str, Any], content: Any) -> list[str]:
    """The keys that lead to a problem, without the names pydantic gives to the branches of a union."""
    keys: list[str] = []
    for part in detail["loc"]:
        inside = isinstance(content, Mapping) and part in content
        inside |= isinstance(content, list | tuple) and isinstance(part, int) and part < len(content)
        if inside:
            content = content[part]
        elif not (detail["type"] == "missing" and part == detail["loc"][-1]):
            continue
        keys.append(str(part))
    return keys


def _message(detail: Mapping[str, Any]) -> str:
    if detail["type"] == "extra_forbidden":
        return "unknown key; look for a misspelling, or at config/schemas/"
    if detail["type"] == "missing":
        return "required, but absent"
    message = detail["msg"].removeprefix("Value error, ")
    simple = isinstance(detail.get("input"), str | int | float | bool)
    return f"{message} (it is {detail['input']!r})" if simple else message
