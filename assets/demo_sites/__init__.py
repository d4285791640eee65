"""Web sites that this project serves to its own crawlers, on loopback: a journal, an archive and a gallery that it makes up, and local folders.

server, exchange, opening         every site: HTTP, what is heard and said, and a site by its name
journal, registry, oai            the journal; what it holds: catalogue, of writing and drawings
archive, archive_search           the archive; what it holds: books, of page_layout, scans and pdf_writer; or a folder: archive_folder
gallery                           the gallery; what it holds: scenes
folder, oai_files                 files, and records that were harvested once

They speak HTTP as other sites do, and know nothing of the crawlers. Page objects and spiders do not belong here.
"""

from assets.demo_sites.opening import SITES, open_site, site_named
from assets.demo_sites.server import RunningSite, serve

__all__ = ["SITES", "RunningSite", "open_site", "serve", "site_named"]
