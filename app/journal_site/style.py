"""How the pages look, and what little they do. Kept in Python, so that an edit is an edit of the stage's code."""

ICON = (
    '<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 32 32"><rect width="32" height="32" rx="6" fill="#7a2e3a"/>'
    '<text x="16" y="24" font-family="Georgia,serif" font-size="23" font-style="italic" text-anchor="middle" fill="#fff">f</text></svg>\n'
)

# Colours are pairs, of light and of dark: the page follows the system until a reader has chosen (data-theme).
STYLE = """\
:root {
  color-scheme: light dark;
  --paper: light-dark(#fbfaf7, #16171a); --sheet: light-dark(#fff, #1f2125); --ink: light-dark(#22201d, #ece8df);
  --quiet: light-dark(#625d55, #aaa59b); --rule: light-dark(#dcd7cc, #3a3c42);
  --accent: light-dark(#7a2e3a, #eba3ad); --wash: light-dark(#f4e9e4, #33242a);
  --serif: "Iowan Old Style", "Palatino Linotype", Palatino, "Book Antiqua", "URW Palladio L", P052, Georgia, "Times New Roman", serif;
  --sans: system-ui, -apple-system, "Segoe UI", Roboto, "Helvetica Neue", Arial, sans-serif; }
:root[data-theme=light] { color-scheme: light; } :root[data-theme=dark] { color-scheme: dark; } *, ::before, ::after { box-sizing: border-box; }
body { margin: 0; text-size-adjust: 100%; background: var(--paper); color: var(--ink); font: 1.0625rem/1.6 var(--serif); overflow-wrap: anywhere; }
a { color: inherit; text-decoration-color: var(--rule); text-underline-offset: .2em; }
a:hover, button:hover, .card:hover h2 a { color: var(--accent); text-decoration-color: currentColor; }
:focus-visible { outline: 3px solid var(--accent); outline-offset: 3px; border-radius: 2px; }
.skip { position: absolute; left: -100vw; padding: .5rem 1rem; background: var(--sheet); z-index: 1; } .skip:focus { left: 1rem; top: 1rem; }
.notice { padding: .55rem 1.25rem; background: var(--wash); color: var(--accent); font: 600 .875rem/1.45 var(--sans); text-align: center; }
.wide { width: min(74rem, 100% - 2.5rem); margin-inline: auto; } .masthead { padding-top: clamp(1.75rem, 4vw, 2.75rem); text-align: center; }
.name { margin: 0; font-size: clamp(2rem, 6vw, 3.5rem); letter-spacing: -.015em; line-height: 1.1; }
.motto { margin: .5rem 0 1.6rem; color: var(--quiet); font-style: italic; }
.bar { display: flex; flex-wrap: wrap; align-items: center; justify-content: center; gap: .25rem clamp(1.1rem, 3vw, 1.9rem); padding: .5rem 0;
  border-block: 3px double var(--rule); border-bottom: 1px solid var(--rule); font: .9375rem/1.5 var(--sans); }
.bar a, .bar button { padding: .4rem .1rem; border: 0; background: none; color: inherit; font: inherit; cursor: pointer; }
.name a, .bar a, .pager a, .actions a, .card h2 a { text-decoration: none; }
.bar a[aria-current] { color: var(--accent); box-shadow: 0 2px 0 currentColor; } main { padding: 2.75rem 0 4rem; }
h1 { font-size: clamp(1.6rem, 4vw, 2.6rem); font-weight: 500; line-height: 1.2; letter-spacing: -.01em; text-wrap: balance; margin: 0 0 1.25rem; }
h2 { font-size: 1.25rem; font-weight: 600; line-height: 1.3; margin: 0 0 .6rem; }
.lead { margin: 0 0 2.5rem; color: var(--quiet); font-size: 1.5rem; font-style: italic; text-align: center; }
.gallery { display: grid; grid-template-columns: repeat(auto-fill, minmax(min(16rem, 100%), 1fr)); gap: 2.75rem 2rem; margin: 0; padding: 0; }
.card { position: relative; list-style: none; }
.plate { position: relative; aspect-ratio: 1; margin-bottom: .9rem; background: #fff; border: 1px solid var(--rule); border-radius: 3px; }
/* Pictures are drawn on white; at night they are a little less bright. */
.plate::after { content: ""; position: absolute; inset: 0; background: light-dark(transparent, #0002); }
.plate img { position: absolute; inset: 5%; width: 90%; height: 90%; object-fit: contain; } .plate .small { image-rendering: pixelated; }
.number { margin: 0 0 .25rem; color: var(--quiet); font: .8125rem/1.5 var(--sans); letter-spacing: .02em; }
.card h2 { font-size: 1.1875rem; font-weight: 500; text-wrap: pretty; } .card h2 a::after { content: ""; position: absolute; inset: 0; }
.card:hover .plate, .card:focus-within .plate, .actions a:hover { border-color: var(--accent); }
.card .abstract { margin: 0; color: var(--quiet); font-size: .9688rem; line-height: 1.55;
  display: -webkit-box; -webkit-box-orient: vertical; -webkit-line-clamp: 4; overflow: hidden; }
.pager, .actions { display: flex; flex-wrap: wrap; gap: .6rem; margin: 1.75rem 0 0; font: .9375rem/1.2 var(--sans); }
.pager { justify-content: center; margin-top: 3.5rem; }
.pager span { padding: .65rem 0; }
.pager a, .actions a { padding: .65rem 1rem; border: 1px solid var(--rule); border-radius: 3px; background: var(--sheet); }
.pager [aria-current] { background: var(--wash); color: var(--accent); }
.article { display: grid; gap: 2.5rem 3.5rem; grid-template-columns: minmax(0, 2fr) minmax(0, 3fr); align-items: start; }
.article .plate { margin: 0; } figure { margin: 0; }
figcaption { margin-top: .75rem; color: var(--quiet); font: .875rem/1.5 var(--sans); }
.stamp { display: inline-block; margin: 0 0 1.5rem; padding: .2rem .7rem; border: 1.5px solid; color: var(--accent); font: 600 .8125rem var(--sans); }
.text { max-width: 40rem; margin: 0; font-size: 1.125rem; line-height: 1.7; }
.facts { margin-top: 3.5rem; padding-top: .25rem; border-top: 1px solid var(--rule); } .facts h2, .prose h2 { margin-top: 2.25rem; }
.facts p, .prose { max-width: 44rem; } .prose { margin: 0 auto; }
table { width: 100%; border-collapse: collapse; font: .875rem/1.5 var(--sans); text-align: left; }
th, td { padding: .5rem 1.25rem .5rem 0; border-bottom: 1px solid var(--rule); vertical-align: top; font-weight: 600; }
td { font-weight: 400; } [scope=row] { white-space: nowrap; } td + td { overflow-wrap: normal; }
code { color: var(--quiet); font: .8125rem/1.5 ui-monospace, "Cascadia Mono", Menlo, Consolas, "DejaVu Sans Mono", monospace; }
footer { border-top: 1px solid var(--rule); padding: 1.5rem 0 2.5rem; color: var(--quiet); font: .875rem/1.6 var(--sans); text-align: center; }
@media (min-width: 60rem) {
  .cover { grid-column: 1 / -1; display: grid; grid-template: auto auto 1fr / 22rem 1fr; column-gap: 3rem; padding-bottom: 1rem; }
  .cover .plate { grid-row: 1 / -1; margin: 0; } .cover h2 { font-size: 1.95rem; line-height: 1.22; text-wrap: balance; }
  .cover .number { padding-top: clamp(.5rem, 4vw, 3.5rem); } .cover .abstract { font-size: 1.0625rem; line-height: 1.65; -webkit-line-clamp: 8; } }
@media (max-width: 46rem) {
  .article { grid-template-columns: minmax(0, 1fr); } thead { display: none; }
  tr { display: block; padding: .6rem 0; border-bottom: 1px solid var(--rule); } td, th { display: block; padding: 0; border: 0; }
  td + td::before { content: "made from "; color: var(--quiet); } .notice { padding: .4rem 1rem; font-size: .8125rem; } main { padding-top: 1.75rem; }
  .lead { margin-bottom: 1.75rem; font-size: 1.25rem; } .gallery { gap: 1.75rem; }
  .card { display: grid; grid-template: auto auto 1fr / 7.5rem 1fr; column-gap: 1.1rem; }
  .card .plate { grid-row: 1 / -1; align-self: start; margin: 0; } }
@media (prefers-reduced-motion: no-preference) { a, button, .plate { transition: color .15s, border-color .15s; } }
@media print {
  :root { color-scheme: light !important; --paper: #fff; } .bar, .actions, .pager, .skip { display: none; }
  .notice { border: 1pt solid; } main { padding: 1rem 0; } body { font-size: 10.5pt; } .masthead { padding-top: 1rem; } h2 { break-after: avoid; }
  .article { display: block; } figure { float: right; width: 6cm; margin-left: 1cm; } .facts { clear: both; margin-top: 1rem; }
  .card, .plate, tr { break-inside: avoid; } }
"""

# Loaded in the head, before anything is drawn: a page must not flash in colours that were not chosen. Storage may be refused, as to some files.
SCRIPT = """\
"use strict";
(() => {
  const root = document.documentElement, system = matchMedia("(prefers-color-scheme: dark)");
  const stored = (use) => { try { return use(localStorage); } catch { return null; } };
  const other = () => ((root.dataset.theme || (system.matches ? "dark" : "light")) === "dark" ? "light" : "dark");
  const remembered = stored((storage) => storage.getItem("theme"));
  if (remembered === "dark" || remembered === "light") root.dataset.theme = remembered;
  document.addEventListener("DOMContentLoaded", () => {
    const button = document.getElementById("theme");
    const say = () => { button.textContent = other() === "dark" ? "Dark" : "Light"; button.ariaLabel = button.textContent + " colours"; };
    button.addEventListener("click", () => { const next = root.dataset.theme = other(); stored((kept) => kept.setItem("theme", next)); say(); });
    system.addEventListener("change", say);
    button.hidden = false; say();
  });
})();
"""

# Follows papers.js, the list of ids.
RANDOM_SCRIPT = 'location.replace("papers/" + PAPERS[Math.floor(Math.random() * PAPERS.length)] + ".html");\n'
