"""How long the confidence of a study's traces takes: 10,000 traces of 256 tokens, 20 log-probabilities a step."""

import time

import numpy as np

from tells.safety.confidence import KINDS, batch_trace_confidence, token_confidence, trace_confidence

TRACES, TOKENS, K, WINDOW, TARGET_SECONDS, ALONE = 10_000, 256, 20, 32, 2.0, 500


def main() -> None:
    """Print the figures."""
    generator = np.random.default_rng(0)
    topk = -generator.random((TRACES * TOKENS, K), dtype=np.float32) * 12
    lengths = np.full(TRACES, TOKENS)
    start = time.perf_counter()
    confidence = token_confidence(topk, k=K)
    tokens = time.perf_counter() - start
    start = time.perf_counter()
    batch_trace_confidence(confidence, lengths, window=WINDOW)
    traces = time.perf_counter() - start
    start = time.perf_counter()
    for trace in range(ALONE):
        for kind in KINDS:
            trace_confidence(confidence[trace * TOKENS : (trace + 1) * TOKENS], kind, window=WINDOW)
    alone = (time.perf_counter() - start) * TRACES / ALONE
    print(f"{TRACES} traces x {TOKENS} tokens x {K}, groups of {WINDOW}, {len(KINDS)} kinds")
    print(f"  confidence of tokens          {tokens:6.3f} s")
    print(f"  confidence of traces, batched {traces:6.3f} s")
    print(f"  one trace and kind at a time  {alone:6.3f} s   {alone / traces:.0f} times as long")
    verdict = "met" if tokens + traces < TARGET_SECONDS else "MISSED"
    print(f"  target: tokens and traces together under {TARGET_SECONDS:.0f} s: {verdict}")


if __name__ == "__main__":
    main()
