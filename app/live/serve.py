"""Serve the champions of the registry as apps in the browser, on 127.0.0.1 until Ctrl-C: what `figment app` runs."""

import os
import signal
import sys
import tempfile
import threading
import webbrowser
from argparse import ArgumentParser
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from orchestration.bridge.graph import GraphError
from orchestration.checkout import find_root, open_project
from orchestration.cli.app import configure
from training.loop.devices import open_devices

HOST, MOST_WAITING = "127.0.0.1", 16


def launch(root: Path, uploads: str, *, port: int | None, newest: bool, device: Any) -> str:
    """Start the server in threads of this process; its address. uploads: for what is sent and drawn. Raises OSError where the port is taken."""
    # No settings of the surroundings (another host, a share link, a proxy's path), and nobody is told of its use: gradio reads them when imported.
    for name in [name for name in os.environ if name.startswith("GRADIO_")]:
        del os.environ[name]
    os.environ.update(GRADIO_ANALYTICS_ENABLED="False", HF_HUB_OFFLINE="1", HF_HUB_DISABLE_TELEMETRY="1", GRADIO_TEMP_DIR=uploads)
    from starlette.middleware import Middleware
    from starlette.middleware.trustedhost import TrustedHostMiddleware

    from app.live.inputs import MOST_PICTURE_BYTES
    from app.live.page import CSS, HEAD, THEME, build_page
    from app.live.served import Shelf

    # A page elsewhere whose name suddenly means this machine (DNS rebinding) would otherwise read from it.
    own_names = Middleware(TrustedHostMiddleware, allowed_hosts=[HOST, "localhost"])
    page = build_page(Shelf(open_project(root), newest=newest, device=device)).queue(max_size=MOST_WAITING, default_concurrency_limit=1)
    _, address, _ = page.launch(
        server_name=HOST, server_port=port, share=False, prevent_thread_lock=True, quiet=True, footer_links=[], run_history=False, ssr_mode=False,
        pwa=False, mcp_server=False, enable_monitoring=False, max_file_size=MOST_PICTURE_BYTES, max_threads=8, state_session_capacity=100,
        theme=THEME, css_paths=CSS, head=HEAD, app_kwargs={"middleware": [own_names]},
    )  # fmt: skip
    return str(address)


def main(argv: Sequence[str] | None = None) -> int:
    parser = ArgumentParser(description=(__doc__ or "").partition("\n")[0], allow_abbrev=False)
    parser.add_argument("--root", type=Path, metavar="DIR", help="the project's folder (default: the nearest one with a dvc.yaml)")
    configure(parser)
    arguments = parser.parse_args(argv)
    stopped = threading.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: stopped.set())
    with open_devices() as devices, tempfile.TemporaryDirectory(prefix="figment-app-", ignore_cleanup_errors=True) as uploads:
        try:
            address = launch(find_root(arguments.root), uploads, port=arguments.port, newest=arguments.newest, device=devices.device)
        except (GraphError, OSError) as error:
            print(f"figment: {' '.join(str(error).split())}", file=sys.stderr, flush=True)
            return 2
        print(f"{address}\nnothing that is shown there is real; stop with Ctrl-C", flush=True)
        if arguments.open:
            webbrowser.open(address)
        stopped.wait()
    return 0


if __name__ == "__main__":
    code = main()
    # At once: an interpreter that ends in good order pulls the ground from under a request at work in a thread, and PyTorch aborts.
    os._exit(code)
