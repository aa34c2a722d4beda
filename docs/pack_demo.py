"""Pack the finished demo for the dashboard: `make pack-demo`, after `make demo`, when results or their code changed."""

from __future__ import annotations

import sys
from pathlib import Path

from tells.config import ConfigError, load_experiments
from tells.dashboard.packed import PACKED_DEMO
from tells.sharing.manifest import SharingError
from tells.sharing.pack import pack_run

EXPERIMENT = "demo"
# The prompts of other benchmarks are not this project's to give away.
BENCHMARKS = {"builtin"}


def main() -> int:
    """Write the archive; returns the exit code."""
    root = Path.cwd()
    try:
        safety = load_experiments(root, [EXPERIMENT])[EXPERIMENT].safety
        if foreign := {*safety.collections} - BENCHMARKS if safety else set():
            raise SharingError(f"{EXPERIMENT} asks {', '.join(sorted(foreign))}, which may not be packed")
        size = pack_run(root, EXPERIMENT, PACKED_DEMO)
    except (ConfigError, SharingError) as error:
        print(error, file=sys.stderr)
        return 1
    print(f"{PACKED_DEMO.relative_to(root) if PACKED_DEMO.is_relative_to(root) else PACKED_DEMO}: {size:,} bytes")
    return 0


if __name__ == "__main__":
    sys.exit(main())
