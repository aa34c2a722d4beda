"""The HTTP client under the SDKs: one pool of connections per event loop, and loggers that stay quiet."""

from __future__ import annotations

import functools
import logging
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import ssl

    import httpx2

# At lower levels these log addresses, headers and bodies of every request.
_LOGGERS = ("openai", "google_genai", "google.genai", "httpx", "httpx2", "httpcore", "httpcore2", "hpack", "h11")


def http_client(concurrency: int, timeout: float) -> httpx2.AsyncClient:
    """A client of as many connections as there are requests under way, all kept for the next request.

    It follows no redirects: a header with a key would go along.

    Args:
        concurrency: most connections.
        timeout: seconds for each step of a request.
    """
    import httpx2

    for name in _LOGGERS:
        logging.getLogger(name).setLevel(logging.WARNING)
    limits = httpx2.Limits(max_connections=concurrency, max_keepalive_connections=concurrency)
    return httpx2.AsyncClient(limits=limits, timeout=timeout, follow_redirects=False, verify=tls_context())


@functools.cache
def tls_context() -> ssl.SSLContext:
    """The certificates that are trusted: read once, as it takes longer than a request."""
    import httpx2

    return httpx2.create_ssl_context()
