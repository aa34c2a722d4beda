"""Serving the app: one process for oneself, or several workers behind a proxy."""

from __future__ import annotations

import ipaddress
import logging
import signal
import sys
from collections.abc import Sequence
from pathlib import Path

from tells.dashboard.app import make_app
from tells.dashboard.packed import COMMAND, NOTICE, packed_demo_where_empty

_OPEN = (
    "warning: {host} can be reached from other machines, and this app has no login: whoever reaches it reads every "
    "prompt and reply of these experiments"
)


def is_loopback(host: str) -> bool:
    """Whether only this machine reaches a host."""
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def serve(
    root: Path, *, host: str, port: int, base_path: str, frame_ancestors: Sequence[str], workers: int, public: bool
) -> None:
    """Serve until interrupted.

    Args:
        root: the folder that holds experiments/ and logs/.
        host: to listen on; anything but this machine itself needs `public`.
        port: to listen on.
        base_path: the address below which it is served.
        frame_ancestors: who may show it in a frame.
        workers: processes; more than one by gunicorn.
        public: the explicit wish to be reached from other machines.

    Raises:
        ValueError: another host than this machine without `public`.
        SharingError: there are no results, and the packed demo run cannot be unpacked.
    """
    if not is_loopback(host):
        if not public:
            raise ValueError(
                f"--host {host} opens the app to other machines, and it has no login: add --public if so meant"
            )
        print(_OPEN.format(host=host), file=sys.stderr)
    with packed_demo_where_empty(root) as packed:
        if packed:
            print(f"{NOTICE} `{COMMAND}`.", flush=True)
        app = make_app(root, base_path=base_path, frame_ancestors=frame_ancestors, packed=packed)
        print(f"http://{host}:{port}{base_path}", flush=True)
        if workers > 1:
            _serve_with_gunicorn(app.server, f"{host}:{port}", workers)
            return
        logging.getLogger("werkzeug").setLevel(logging.WARNING)
        # So that a packed run is removed then as well.
        signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
        app.run(host=host, port=str(port), debug=False, use_reloader=False)


def _serve_with_gunicorn(server: object, bind: str, workers: int) -> None:
    from gunicorn.app.base import BaseApplication

    class Application(BaseApplication):
        def load_config(self) -> None:
            for name, value in {"bind": bind, "workers": workers, "threads": 4, "worker_class": "gthread"}.items():
                self.cfg.set(name, value)

        def load(self) -> object:
            return server

    Application().run()
