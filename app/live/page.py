"""The page of the apps: its words, its looks, its tabs."""

import html
from collections.abc import Callable, Sequence
from pathlib import Path

import gradio

from app.live.molecules import MODEL, molecules_tab
from app.live.papers import PICTURES, papers_tab
from app.live.served import NotServedError, Shelf
from app.live.texts import ABSTRACTS, TITLER, TITLES, abstracts_tab, captions_tab, titles_tab
from app.live.walks import OPEN, walks_tab

NOTICE = "Nothing here is real. Machines make up every paper, title, abstract, picture and molecule on this page; none exists, and none may be cited."
MOTTO = "The models behind the imaginary journal, at work."
HEAD = '<meta name="robots" content="noindex, nofollow"><meta name="referrer" content="no-referrer">'
CSS = Path(__file__).with_name("page.css")
# With fonts that every system has: nothing is fetched.
THEME = gradio.themes.Base(neutral_hue="stone", radius_size="sm", font=("system-ui", "sans-serif"), font_mono=("ui-monospace", "monospace"))
# Tab -> what fills it, and the models that it asks.
TABS: dict[str, tuple[Callable[[Shelf], None], Sequence[str]]] = {
    "Picture → title": (captions_tab, [TITLER]),
    "Title → abstract": (abstracts_tab, [ABSTRACTS]),
    "Abstract → title": (titles_tab, [TITLES]),
    "Papers": (papers_tab, [PICTURES, TITLER, ABSTRACTS]),
    "Molecules": (molecules_tab, [MODEL]),
    "Walks": (walks_tab, list(OPEN)),
}


def build_page(shelf: Shelf) -> gradio.Blocks:
    """All tabs. A tab whose model is missing says so each time the page is opened, and the others work."""
    with gradio.Blocks(title="Figment, live: nothing here is real", analytics_enabled=False, delete_cache=(600, 3600)) as page:
        gradio.HTML(f'<header class="masthead"><p class="notice" role="note">{NOTICE}</p><h1>Figment, live</h1><p class="motto">{MOTTO}</p></header>')
        for name, (fill, models) in TABS.items():
            with gradio.Tab(name):
                state = gradio.HTML()
                page.load(lambda models=models: _standing(shelf, models), None, state, api_visibility="private")
                fill(shelf)
    return page


def _standing(shelf: Shelf, models: Sequence[str]) -> str:
    """A tab's first lines: which versions answer, or what is missing."""
    lines = []
    for model in models:
        try:
            lines.append(f"<li>{html.escape(shelf.find(model).words)}</li>")
        except NotServedError as error:
            lines.append(f'<li class="missing">{html.escape(str(error))}</li>')
    return f'<ul class="standing">{"".join(lines)}</ul>'
