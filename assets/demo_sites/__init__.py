"""Web sites that this project serves to its own crawler, on loopback: a journal it makes up, and local folders.

They speak HTTP as other sites do, and know nothing of the crawler. Page objects and the spider do not belong here.
"""

from assets.demo_sites.opening import SITES, open_site, site_named
from assets.demo_sites.server import RunningSite, serve

__all__ = ["SITES", "RunningSite", "open_site", "serve", "site_named"]
