"""The parts of transformers that this project uses, imported without what comes along unused.

Every job that loads a model imports them. For assisted decoding, losses, masks and sharding that nobody here asks for,
transformers imports scikit-learn, SciPy's optimisers, torch's compiler and its distributed tensors, and accelerate
boto3: together nearly half of the seconds until a model can be loaded. They stay out here; whoever imports them later
finds them as they are.
"""

from __future__ import annotations

import contextlib
import importlib
import sys
from collections.abc import Callable, Iterator
from types import ModuleType
from typing import Any

import torch
from transformers import utils

__all__ = [
    "AttentionInterface",
    "AttentionMaskInterface",
    "AutoModel",
    "AutoModelForCausalLM",
    "AutoTokenizer",
    "sdpa_mask",
    "without_compiler",
]
_COMPILER = "torch._dynamo"
_INDEXING = f"{_COMPILER}._trace_wrapped_higher_order_op"


def _absent() -> bool:
    """What a check for an installed package is to say."""
    return False


def _marked(function: Callable | None = None, *_: Any, **__: Any) -> Callable:
    """Stands for decorators that only tell the compiler something: nothing here is compiled."""
    return (lambda decorated: decorated) if function is None else function


def _transform(*arguments: Any) -> Any:
    """Stands for the class that masks by vmap need: imports it when one is made."""
    return importlib.import_module(_INDEXING).TransformGetItemToIndex(*arguments)


class _StandIn(ModuleType):
    """A module with some names; for any other the real one is imported, so that nothing is ever missing."""

    def __init__(self, name: str, **names: Any) -> None:
        super().__init__(name)
        vars(self).update(names)

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):
            raise AttributeError(name)
        for place in (_COMPILER, _INDEXING):
            if isinstance(sys.modules.get(place), _StandIn):
                del sys.modules[place]
        return getattr(importlib.import_module(self.__name__), name)


@contextlib.contextmanager
def _replaced(owner: ModuleType, **attributes: Any) -> Iterator[None]:
    """Give a module other attributes while this block imports."""
    originals = {name: vars(owner).get(name) for name in attributes}
    vars(owner).update(attributes)
    try:
        yield
    finally:
        for name, original in originals.items():
            if original is not None:
                setattr(owner, name, original)
            elif vars(owner).get(name) is attributes[name]:
                delattr(owner, name)


@contextlib.contextmanager
def _in_the_place_of(modules: dict[str, ModuleType | None]) -> Iterator[None]:
    """Give what this block imports other modules (None: none at all) for those that are not loaded yet."""
    given = {name: module for name, module in modules.items() if name not in sys.modules}
    sys.modules.update(given)
    try:
        yield
    finally:
        for name, module in given.items():
            if sys.modules.get(name) is module:
                sys.modules.pop(name, None)


@contextlib.contextmanager
def without_compiler() -> Iterator[None]:
    """Let marks for torch's compiler do nothing in this block, where it is not loaded yet.

    A block in which a model is loaded: even the operators on tensors without memory, as which a model begins, are
    marked, and the first mark imports the compiler.
    """
    if _COMPILER in sys.modules:
        yield
        return
    compiler = _StandIn(_COMPILER, allow_in_graph=_marked, assume_constant_result=_marked, disable=_marked)
    indexing = _StandIn(_INDEXING, TransformGetItemToIndex=_transform)
    with (
        _replaced(torch, _dynamo=compiler),
        _replaced(torch.compiler, allow_in_graph=_marked, disable=_marked),
        _in_the_place_of({_COMPILER: compiler, _INDEXING: indexing}),
    ):
        yield


with (
    without_compiler(),
    _replaced(utils, is_scipy_available=_absent, is_sklearn_available=_absent, is_torch_distributed_available=_absent),
    _replaced(utils.import_utils, is_torch_distributed_available=_absent),
    _in_the_place_of({"boto3": None}),
):
    from transformers import AutoModel, AutoModelForCausalLM, AutoTokenizer
    from transformers.masking_utils import AttentionMaskInterface, sdpa_mask
    from transformers.modeling_utils import AttentionInterface
