"""The served engine: a client of a vLLM server that the user has started, so that a model is loaded once for all jobs.

It gives the same records as the engines of this process: token ids with EOS and stop string, text and stop strings
found in the ids by the same code, log-probabilities of the raw distribution. No weights are loaded here, only the
tokenizer. Finished runs are kept in a file until the job's table is written, so that a job whose server died goes on
where it was.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Coroutine, Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, TypeVar

from tells.config import EngineConfig, GenerationConfig
from tells.models.engines.base import Generation, Request, cut_at_stop
from tells.models.engines.finished_rows import FinishedRows
from tells.models.engines.served_client import ServerClient, ServerError
from tells.models.engines.served_model import Server, check_tokenizer, look_at_server, model_names, start_command
from tells.models.engines.served_protocol import Row, body_key, completion_body, read_answer
from tells.models.prompts import load_tokenizer
from tells.models.spans import decode_tokens
from tells.progress import progress
from tells.services import all_or_first_error
from tells.tables.files import read_json

logger = logging.getLogger(__name__)
Result = TypeVar("Result")


class ServedEngine:
    """Generates through a server.

    Args:
        manifest: the model's model.json: the server must serve that model.
        config: of kind served: address, key, limits.
        finished: file for finished runs; None keeps none.

    Raises:
        ServerError: the server does not answer, or is not the one that is needed.
    """

    name = "served"

    def __init__(self, manifest: str | Path, config: EngineConfig, *, finished: Path | None = None) -> None:
        self.manifest, self.config = read_json(manifest), config
        folder = Path(self.manifest["path"])
        if not folder.exists():
            raise FileNotFoundError(f"{manifest}: {folder} is gone; delete the manifest and fetch the model again")
        self.tokenizer = load_tokenizer(manifest)
        self.start = start_command(
            config,
            self.manifest["path"],
            self.manifest["name"],
            trust_remote_code=bool(self.manifest["trust_remote_code"]),
        )
        self._eos, self._vocabulary = _model_facts(folder, self.tokenizer)
        self._finished = FinishedRows(finished)
        self.server = _run(self._look())

    def facts(self) -> dict[str, Any]:
        """Engine, version of the server, and the model's name there; not the address, which decides nothing."""
        return {"engine": self.name, "server_version": self.server.version, "served_model": self.server.model}

    def generate(
        self, requests: Sequence[Request], settings: GenerationConfig, *, top_logprobs: int = 0
    ) -> list[Generation]:
        """Generate every request; see `Engine.generate`.

        Raises:
            ValueError: a request is steered or ends on its confidence, or prompt and answer do not fit the server.
            ServerError: the server does not answer any more, or refuses; what was finished is kept.
        """
        if not requests:
            return []
        self._refuse(requests, settings)
        rows = _run(self._draw(requests, settings, top_logprobs))
        return [self._generation(row, settings) for row in rows]

    def _refuse(self, requests: Sequence[Request], settings: GenerationConfig) -> None:
        """Say what a server cannot do, before anything is sent."""
        if any(request.steering is not None for request in requests):
            raise ValueError("a server does not change hidden states: steer with engine.kind hf")
        if any(request.stop_below is not None for request in requests):
            raise ValueError("a server does not end runs on their confidence: set engine.kind to hf or vllm")
        needed = max(len(request.prompt_token_ids) for request in requests) + settings.max_new_tokens
        if self.server.max_model_len is not None and needed > self.server.max_model_len:
            raise ValueError(
                f"the longest prompt and max_new_tokens are {needed} tokens, but the server takes "
                f"{self.server.max_model_len}: start it with --max-model-len {needed} or more, or lower max_new_tokens"
            )

    async def _look(self) -> Server:
        async with ServerClient(self.config, self.start) as client:
            server = await look_at_server(client, self.config, model_names(self.manifest), self.start)
            await check_tokenizer(client, server.model, self.tokenizer)
        logger.info("engine served: %s, %s", client.url, server)
        if not server.names_agree:
            logger.warning(
                "%s: nothing but the tokenizer shows that %s is %s", client.url, server.model, self.manifest["name"]
            )
        return server

    async def _draw(self, requests: Sequence[Request], settings: GenerationConfig, top_logprobs: int) -> list[Row]:
        server = self.server
        bodies = [
            completion_body(server.model, request, settings, top_logprobs=top_logprobs, eos_token_ids=self._eos)
            for request in requests
        ]
        keys = [body_key(body, server.root, server.version) for body in bodies]
        with self._finished.opened() as finished, progress(len(bodies), "sample", "runs") as advance:
            missing = {key: body for key, body in zip(keys, bodies, strict=True) if finished.get(key) is None}
            advance(len(bodies) - len(missing))
            if len(missing) < len(set(keys)):
                logger.info("%d of %d runs were finished before", len(bodies) - len(missing), len(bodies))
            try:
                await self._ask(missing, finished, advance)
            except ServerError as error:
                done = sum(finished.get(key) is not None for key in keys)
                kept = f"; {done} of {len(keys)} runs are kept for the next try" if finished.kept else ""
                raise ServerError(error.reason, f"{error.cure}{kept}") from None
            return [finished.get(key) for key in keys]

    async def _ask(self, missing: Mapping[str, Mapping[str, Any]], finished: FinishedRows, advance: Any) -> None:
        """Ask for all that is missing, in its order, so many at a time."""
        waiting = iter(missing.items())
        async with ServerClient(self.config, self.start) as client:

            async def work() -> None:
                for key, body in waiting:
                    finished.add(key, await client.ask("/v1/completions", self._reader(body), body))
                    advance(1)

            await all_or_first_error([work() for _ in range(min(self.config.concurrency, len(missing)))])
        if client.retried:
            logger.warning("%s: %d request(s) had to be sent again", client.url, client.retried)

    def _reader(self, body: Mapping[str, Any]) -> Any:
        return lambda answer: read_answer(answer, body, vocabulary=self._vocabulary)

    def _generation(self, row: Row, settings: GenerationConfig) -> Generation:
        text, _ = decode_tokens(self.tokenizer, row.token_ids)
        text = text[: cut_at_stop(text, settings.stop)]
        return Generation(row.token_ids, text, row.finish_reason, row.token_logprobs, row.topk_logprobs)


def _model_facts(folder: Path, tokenizer: Any) -> tuple[frozenset[int], int | None]:
    """Tokens that end a run, and how many there are at all, as the model's own files say."""
    config = read_json(folder / "config.json")
    generation = folder / "generation_config.json"
    listed = (read_json(generation) if generation.exists() else config).get("eos_token_id")
    ends = [*(listed if isinstance(listed, Iterable) else [listed]), tokenizer.eos_token_id]
    size = config.get("vocab_size") or config.get("text_config", {}).get("vocab_size")
    return frozenset(token for token in ends if token is not None), size


def _run(coroutine: Coroutine[Any, Any, Result]) -> Result:
    """Run to the end, also where a loop runs already, as in a notebook."""
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        running = False
    else:
        running = True
    if not running:
        return asyncio.run(coroutine)
    with ThreadPoolExecutor(1) as pool:
        return pool.submit(asyncio.run, coroutine).result()
