"""Page objects: one module a site or format, each with `parse(page) -> Parsed`, a pure function that never raises on what it is given.

Here belongs how pages are read. How they are asked for is the crawl's business, and what is made of many pages together is that of `papers`.
docs/journals.md tells how to add one.
"""

from assets.papers.items import PageObject
from assets.papers.pages import (
    acs,
    article,
    beilstein,
    crossref,
    csj,
    distill,
    elsevier,
    folder_index,
    iucr,
    jats,
    jekyll_blog,
    legacy_csv,
    nature,
    oai,
    openalex,
    pmc,
    programming_historian,
    rsc,
    springer,
    wiley,
)

PAGES: dict[str, PageObject] = {
    "acs": acs.parse,
    "acs_lists": acs.parse_lists,
    "article": article.parse,
    "beilstein": beilstein.parse,
    "crossref": crossref.parse,
    "csj": csj.parse,
    "distill": distill.parse,
    "elsevier": elsevier.parse,
    "folder_index": folder_index.parse,
    "iucr": iucr.parse,
    "jats": jats.parse,
    "jats_first_figure": jats.parse_first_figure,
    "jekyll_blog": jekyll_blog.parse,
    "legacy_csv": legacy_csv.parse,
    "legacy_csv_png": legacy_csv.parse_png,
    "nature": nature.parse,
    "oai": oai.parse,
    "openalex": openalex.parse,
    "pmc": pmc.parse,
    "pmc_first_figure": pmc.parse_first_figure,
    "programming_historian": programming_historian.parse,
    "rsc": rsc.parse,
    "springer": springer.parse,
    "wiley": wiley.parse,
}
