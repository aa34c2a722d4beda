"""What every answer of the server carries, and what is refused: no foreign script, no frame, no path outside."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path, PurePosixPath
from urllib.parse import unquote

from flask import Flask, Response, abort, request

_HEADERS = {
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "same-origin",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Permissions-Policy": "camera=(), geolocation=(), microphone=()",
}


def policy(script_hashes: Sequence[str], frame_ancestors: Sequence[str]) -> str:
    """The Content-Security-Policy.

    Args:
        script_hashes: of the scripts that the page itself holds, as `sha256-…` in quotes.
        frame_ancestors: who may show the app in a frame, as the policy writes it: `'none'`, `'self'`, origins.
    """
    rules = {
        "default-src": ["'self'"],
        # Plotly compiles its WebGL drawing at run time, which needs eval; no text of a model ever reaches a script.
        "script-src": ["'self'", "'unsafe-eval'", *script_hashes],
        "style-src": ["'self'", "'unsafe-inline'"],
        "img-src": ["'self'", "data:", "blob:"],
        "font-src": ["'self'", "data:"],
        "connect-src": ["'self'"],
        "worker-src": ["'self'", "blob:"],
        "object-src": ["'none'"],
        "base-uri": ["'self'"],
        "form-action": ["'self'"],
        "frame-ancestors": list(frame_ancestors),
    }
    return "; ".join(f"{name} {' '.join(values)}" for name, values in rules.items())


def harden(server: Flask, script_hashes: Callable[[], Sequence[str]], frame_ancestors: Sequence[str]) -> None:
    """Add the headers to every answer, and refuse addresses that climb out of the app.

    Args:
        server: what answers.
        script_hashes: of the page's own scripts, asked for when an answer goes out: Dash adds some at the first one.
        frame_ancestors: as for `policy`.
    """

    @server.before_request
    def refuse_climbing() -> None:
        if climbs(request.path):
            abort(404)

    @server.after_request
    def add_headers(response: Response) -> Response:
        headers = {**_HEADERS, "Content-Security-Policy": policy(script_hashes(), frame_ancestors)}
        for name, value in headers.items():
            response.headers.setdefault(name, value)
        if list(frame_ancestors) == ["'none'"]:
            response.headers.setdefault("X-Frame-Options", "DENY")
        return response


def climbs(path: str) -> bool:
    """Whether an address, however it is encoded, has a step upwards or an absolute or hidden part within."""
    while (decoded := unquote(path)) != path:
        path = decoded
    parts = path.replace("\\", "/").split("/")[1:]
    return "\0" in path or any(part in ("..", ".") for part in parts) or "" in parts[:-1]


def within(folder: Path, relative: str) -> Path | None:
    """A file below a folder by its relative path; None where the path is no such one, links that lead out included."""
    steps = PurePosixPath(relative)
    if not relative or steps.is_absolute() or "\0" in relative or "\\" in relative:
        return None
    if any(step in ("..", ".") or step.startswith(".") for step in relative.split("/")):
        return None
    path = folder / steps
    try:
        resolved = path.resolve(strict=True)
    except (OSError, RuntimeError):
        return None
    return path if resolved.is_file() and resolved.is_relative_to(folder.resolve()) else None
