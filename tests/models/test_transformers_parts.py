"""A model is loaded without what its jobs never use, and nothing is missing to those who use it later."""

from __future__ import annotations

import importlib.util
import json
import subprocess
import sys

import pytest

from tells.models.random_model import save_random_model

UNUSED = ("torch._dynamo", "torch.distributed.tensor", "sklearn", "scipy.optimize", "boto3")
LOAD = """
import sys
from tells.models.engines.hf import HfEngine
from tells.models.engines import Request
from tells.config import GenerationConfig
from tells.models.loading import load_model

engine = HfEngine(load_model(sys.argv[1], device="cpu"))
runs = engine.generate([Request((1, 2, 3), 0)], GenerationConfig(max_new_tokens=3), top_logprobs=2)
assert len(runs[0].token_ids) == 3
"""
LATER = """
import torch, transformers
from transformers import masking_utils, utils
from tells.models import transformers_parts

assert not [name for name, module in sys.modules.items() if isinstance(module, transformers_parts._StandIn)]
assert (utils.is_sklearn_available(), utils.is_torch_distributed_available()) == (True, True)
for mark in (torch.compiler.disable, torch.compiler.allow_in_graph):
    assert mark.__module__ == "torch.compiler"
indexing = masking_utils.TransformGetItemToIndex()
assert type(indexing).__module__ == "torch._dynamo._trace_wrapped_higher_order_op"
assert torch.compile(lambda value: value + 1, backend="eager")(torch.ones(2)).tolist() == [2, 2]
"""


def run(code: str, *arguments: str) -> str:
    done = subprocess.run([sys.executable, "-c", code, *arguments], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.fixture(scope="module")
def manifest(tmp_path_factory: pytest.TempPathFactory) -> str:
    folder = tmp_path_factory.mktemp("model")
    save_random_model(folder / "files", architecture="llama")
    facts = {"name": "small", "revision": "1", "dtype": "float32", "path": str(folder / "files")}
    (folder / "model.json").write_text(json.dumps({**facts, "trust_remote_code": False}))
    return str(folder / "model.json")


def test_a_model_generates_without_what_it_never_uses(manifest: str):
    found = run(f"{LOAD}\nprint(*(name for name in {UNUSED} if name in sys.modules))", manifest)
    assert found.split() == []


def test_what_was_left_out_is_there_for_others_later(manifest: str):
    run(LOAD + LATER, manifest)


def test_any_other_name_of_the_compiler_is_the_real_one():
    run(
        "import sys\nfrom tells.models.transformers_parts import without_compiler, _StandIn\nimport torch\n"
        "with without_compiler():\n"
        "    assert isinstance(torch._dynamo, _StandIn)\n"
        "    config = torch._dynamo.config\n"
        "assert torch._dynamo.config is config\n"
        "assert sys.modules['torch._dynamo'] is torch._dynamo\n"
        "assert not isinstance(torch._dynamo, _StandIn)\n"
        "from torch._dynamo._trace_wrapped_higher_order_op import trace_wrapped\n"
    )


def test_a_compiler_that_is_loaded_already_stays_in_its_place():
    run(
        "import torch, torch._dynamo\ncompiler = torch._dynamo\n"
        "from tells.models.transformers_parts import without_compiler\n"
        "with without_compiler():\n    assert torch._dynamo is compiler\n"
        "assert torch._dynamo is compiler\n"
    )


def test_a_block_that_fails_leaves_nothing_replaced():
    run(
        "import sys, torch\nfrom tells.models.transformers_parts import without_compiler\n"
        "disable = torch.compiler.disable\n"
        "try:\n    with without_compiler():\n        raise ValueError\nexcept ValueError:\n    pass\n"
        "assert torch.compiler.disable is disable\nassert 'torch._dynamo' not in sys.modules\n"
        "assert '_dynamo' not in vars(torch)\n"
    )


def test_marks_do_nothing_with_and_without_arguments():
    from tells.models.transformers_parts import _marked

    def function() -> None: ...

    assert _marked(function) is function
    assert _marked(recursive=False)(function) is function
    assert _marked(function, True, wrapping=False) is function


def test_what_is_said_to_be_unused_is_installed():
    """Else the first test would prove nothing."""
    assert [name for name in UNUSED if importlib.util.find_spec(name) is None] in ([], ["boto3"])
