"""Who imports whom: layers point downward, and light modules load nothing heavy."""

from __future__ import annotations

import ast
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

LIBRARY = Path(__file__).parents[1] / "workflow/tells"
HEAVY = ("torch", "transformers", "snakemake", "sentence_transformers", "vllm", "huggingface_hub", "pandas")
STUDIES = ("uncertainty", "traits", "safety")
ABOVE_STUDIES = ("agreement", "report", "dashboard")
# What each package may import of the library, beside itself. Downward only.
ALLOWED = {
    "config": set(),
    "stats": set(),
    "stages": set(),
    "tables": {"stages"},
    "devices": set(),
    "jobs": {"tables", "startup", "devices"},
    "heads": {"tables", "jobs"},
    "progress": set(),
    "services": set(),
    "startup": set(),
    "shards": {"tables"},
    "sharing": {"config", "tables", "progress"},
    "models": {"config", "tables", "jobs", "progress", "services", "startup"},
    "judge": {"config", "tables", "jobs", "progress", "services", "stats", "startup"},
    **{
        study: {"config", "tables", "stats", "jobs", "progress", "shards", "startup", "models", "judge"}
        for study in STUDIES
    },
    "agreement": {"config", "tables", "stats", "jobs", "progress", "models", "judge", *STUDIES},
    "report": {"config", "tables", "stats", "stages", "jobs", "progress", *STUDIES, "agreement"},
}
# Commands and what they ask: they stand above the studies, and nothing of the library but each other imports them.
COMMANDS = {"cli", "cluster", "doctor", "plan", "examination", "servers", "storage"}
# A study's numbers are made without a model: each of these is light.
NUMERICS = {
    "uncertainty": ["clustering", "entropy"],
    "traits": ["metrics", "quality"],
    "safety": [
        "adaptive",
        "arms",
        "arms_summary",
        "confidence",
        "constant_classifier",
        "hypothesis",
        "online_arm",
        "outcomes",
        "pools",
        "rates",
        "reply_events",
        "strata",
        "sweep",
        "voting",
        "refusal",
        "refusal_patterns",
        "refusal_text",
        "classifiers",
        "label_agreement",
        "label_sheet",
    ],
    "agreement": [
        "block_permutation",
        "cells",
        "combined",
        "confidence_direction",
        "correlations",
        "notes",
        "records",
        "resampling",
        "results",
        "signals",
        "steered_outcomes",
        "steering_changes",
    ],
}


def modules() -> list[Path]:
    return sorted(LIBRARY.rglob("*.py"))


def dotted(path: Path) -> str:
    parts = path.relative_to(LIBRARY.parent).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def package(module: str) -> str:
    """The part of the library a module belongs to: `config` of `tells.config.load`."""
    return module.partition(".")[2].partition(".")[0]


def imports(path: Path) -> Iterator[str]:
    """Every module a file imports, at its top or within a function, relative imports resolved."""
    base = dotted(path).split(".")
    base = base if path.name == "__init__.py" else base[:-1]
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            start = ".".join(base[: len(base) - node.level + 1]) if node.level else ""
            origin = ".".join(part for part in (start, node.module) if part)
            yield origin
            yield from (f"{origin}.{alias.name}" for alias in node.names if origin == "tells")


def library_imports(path: Path) -> set[str]:
    """Packages of the library that a file imports, its own left out."""
    own = package(dotted(path))
    return {package(name) for name in imports(path) if name.split(".")[0] == "tells"} - {own, ""}


def light_modules() -> list[str]:
    """Modules that must load nothing heavy."""
    found = [name for name in map(dotted, modules()) if package(name) != "models"]
    own = ["tells.models", "tells.models.spans", "tells.models.materialise", "tells.models.engines.served"]
    return [*own, *found]


@pytest.fixture(scope="module")
def loaded() -> dict[str, list[str]]:
    """The heavy packages that each light module loads, in a fresh interpreter of its own."""
    # One interpreter for all shows at once whether any is heavy; only then is each looked at alone.
    names = light_modules()
    return {name: [] for name in names} if not _loads(*names) else {name: _loads(name) for name in names}


def _loads(*names: str) -> list[str]:
    code = "import sys, importlib\nfor name in sys.argv[1:]: importlib.import_module(name)\nprint(*sys.modules)"
    return sorted({*HEAVY} & {*_output(code, *names).split()})


def _output(code: str, *arguments: str) -> str:
    done = subprocess.run([sys.executable, "-c", code, *arguments], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


@pytest.mark.parametrize("module", light_modules())
def test_a_light_module_loads_nothing_heavy(module: str, loaded: dict[str, list[str]]):
    assert loaded[module] == []


@pytest.mark.parametrize("study", [*STUDIES, "agreement"])
def test_the_numerics_of_a_study_are_light(study: str):
    numerics = {f"tells.{study}.{name}" for name in NUMERICS[study]}
    assert numerics <= {*light_modules()}, "renamed? name it in NUMERICS as it is called now"


def test_numerics_name_neither_a_heavy_package_nor_models_at_any_place():
    for path in modules():
        study, name = package(dotted(path)), path.stem
        if name in NUMERICS.get(study, ()):
            assert not {one.split(".")[0] for one in imports(path)} & {*HEAVY}, dotted(path)
            assert "models" not in library_imports(path), dotted(path)


def test_a_heavy_package_is_noticed_where_it_is_loaded():
    assert "huggingface_hub" in _loads("huggingface_hub.constants")


def test_the_library_never_sees_snakemake():
    seen = [dotted(path) for path in modules() if any(name.split(".")[0] == "snakemake" for name in imports(path))]
    assert seen == []


def test_the_library_never_uses_the_object_that_scripts_get():
    users = []
    for path in modules():
        names = [node for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))) if isinstance(node, ast.Name)]
        own = {node.id for node in names if isinstance(node.ctx, ast.Store)}
        users += [f"{dotted(path)}:{node.lineno}" for node in names if node.id == "snakemake" and node.id not in own]
    assert users == []


@pytest.mark.parametrize("path", modules(), ids=dotted)
def test_a_module_imports_only_what_is_below_it(path: Path):
    own = package(dotted(path))
    if own in ALLOWED:
        assert library_imports(path) <= ALLOWED[own]


def test_every_part_of_the_library_has_a_layer():
    parts = {package(dotted(path)) for path in modules()} - {""}
    assert parts - {*ALLOWED} - COMMANDS - {*ABOVE_STUDIES} == set()
    assert {*ALLOWED} | COMMANDS <= parts | {*ABOVE_STUDIES}


@pytest.mark.parametrize("path", modules(), ids=dotted)
def test_only_commands_import_commands(path: Path):
    if package(dotted(path)) not in COMMANDS:
        assert not library_imports(path) & COMMANDS


@pytest.mark.parametrize("study", STUDIES)
def test_studies_never_import_each_other_or_what_is_above(study: str):
    forbidden = {*STUDIES, *ABOVE_STUDIES} - {study}
    for path in modules():
        if package(dotted(path)) == study:
            assert not library_imports(path) & forbidden, dotted(path)


def test_torch_modules_live_in_models_alone():
    def at_top(path: Path) -> set[str]:
        body = ast.parse(path.read_text(encoding="utf-8")).body
        names = [node.module or "" for node in body if isinstance(node, ast.ImportFrom)]
        names += [alias.name for node in body if isinstance(node, ast.Import) for alias in node.names]
        return {name.split(".")[0] for name in names}

    assert [dotted(path) for path in modules() if package(dotted(path)) != "models" and at_top(path) & {*HEAVY}] == []


def test_imports_are_found_wherever_they_stand(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(sys.modules[__name__], "LIBRARY", tmp_path / "tells")
    path = tmp_path / "tells/stats/metrics.py"
    path.parent.mkdir(parents=True)
    path.write_text(
        "import numpy\nfrom tells import models\nfrom ..traits import vectors\n"
        "def f():\n    import tells.judge.runner\n    from . import inputs\n"
    )
    assert library_imports(path) == {"models", "traits", "judge"}
