"""Serve the champions of the registry as apps in the browser, on 127.0.0.1 until Ctrl-C: what `figment app` runs.

python -m app.live.serve --open
python -m app.live.serve --port 7900 --newest
"""

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
from stages.ports import port_number

HOST = "127.0.0.1"
# People who wait at once; the next one is told to come back.
MOST_WAITING = 16


def launch(root: Path, *, port: int | None, newest: bool, device: Any, uploads: Path) -> str:
    """Start the server in threads of this process; its address. uploads: for what is sent and drawn. Raises OSError where the port is taken."""
    # No settings of the surroundings (another host, a share link, a proxy's path), and nobody is told of its use: gradio reads them when imported.
    for name in [name for name in os.environ if name.startswith("GRADIO_")]:
        del os.environ[name]
    os.environ.update(GRADIO_ANALYTICS_ENABLED="False", HF_HUB_OFFLINE="1", HF_HUB_DISABLE_TELEMETRY="1", GRADIO_TEMP_DIR=str(uploads))
    from starlette.middleware import Middleware
    from starlette.middleware.trustedhost import TrustedHostMiddleware

    from app.live.inputs import MOST_PICTURE_BYTES
    from app.live.page import CSS, HEAD, build_page, theme
    from app.live.served import Shelf

    # A page elsewhere whose name suddenly means this machine (DNS rebinding) would otherwise read from it.
    own_names = Middleware(TrustedHostMiddleware, allowed_hosts=[HOST, "localhost"])
    page = build_page(Shelf(open_project(root), newest=newest, device=device)).queue(max_size=MOST_WAITING, default_concurrency_limit=1)
    _, address, _ = page.launch(
        server_name=HOST, server_port=port, share=False, prevent_thread_lock=True, quiet=True, footer_links=[], run_history=False, ssr_mode=False,
        pwa=False, mcp_server=False, enable_monitoring=False, max_file_size=MOST_PICTURE_BYTES, max_threads=8, state_session_capacity=100,
        theme=theme(), css_paths=CSS, head=HEAD, app_kwargs={"middleware": [own_names]},
    )  # fmt: skip
    return str(address)


def main(argv: Sequence[str] | None = None) -> int:
    """Exit codes: 0 stopped, 2 the port is taken, there is no project, or the usage is wrong."""
    parser = ArgumentParser(description=(__doc__ or "").partition("\n")[0], allow_abbrev=False)
    parser.add_argument("--root", type=Path, metavar="DIR", help="the project's folder (default: the nearest one with a dvc.yaml)")
    parser.add_argument("--port", type=port_number, metavar="N", help="port on 127.0.0.1 (default: the first free one from 7860)")
    parser.add_argument("--open", action="store_true", help="open the page in the browser once it answers")
    parser.add_argument("--newest", action="store_true", help="where a model has no champion, show its newest version and say so")
    arguments = parser.parse_args(argv)
    stopped = threading.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: stopped.set())
    from training.loop.devices import open_devices

    with open_devices() as devices, tempfile.TemporaryDirectory(prefix="figment-app-", ignore_cleanup_errors=True) as uploads:
        try:
            address = launch(find_root(arguments.root), port=arguments.port, newest=arguments.newest, device=devices.device, uploads=Path(uploads))
        except (GraphError, OSError) as error:
            print(f"figment: {' '.join(str(error).split())}", file=sys.stderr, flush=True)
            return 2
        print(f"{address}\nnothing that is shown there is real; stop with Ctrl-C", flush=True)
        if arguments.open:
            webbrowser.open(address)
        stopped.wait()
    print("stopped", flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
