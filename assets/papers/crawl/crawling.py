"""Run one crawl: begin or continue, let the spider go, publish, remember."""

import contextlib
import hashlib
import logging
import os
import shutil
import time
from collections.abc import Collection
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit, urlunsplit

from scrapy.crawler import AsyncCrawlerProcess

from assets.downloads.contact import PRODUCT
from assets.papers.crawl.config import JournalPagesConfig, SourceParams
from assets.papers.crawl.credits import EXHAUSTED, Ledger, keys_of
from assets.papers.crawl.freshness import MOST_FAILURES
from assets.papers.crawl.guard import MIDDLEWARES
from assets.papers.crawl.guard.public_addresses import ALLOW_PRIVATE, TRUSTED_HOSTS
from assets.papers.crawl.memory import Memory, load_memory, memory_from_store, save_memory, store_identity
from assets.papers.crawl.publishing import Chains, discard, publish
from assets.papers.crawl.set_aside import SetAside
from assets.papers.crawl.spider import JournalSpider
from assets.papers.crawl.tally import Night, append_night
from assets.papers.crawl.unfinished import PASSING, Unfinished, unfinished_crawl
from assets.papers.guarded_reading import read_guarded
from assets.papers.items import Page, Parsed
from assets.papers.page_objects import find_page_object
from assets.papers.raw_pages import GONE, REDIRECTS, RawPages, StoredProblem
from stages.files import sync
from stages.output_folder import only_run
from stages.reporting import Reporter


class CrawlError(Exception):
    """The crawl could not come to its end; what it has is kept, and the same command continues it."""


def crawl(config: JournalPagesConfig, target: Path, *, state: Path, reporter: Reporter) -> Night:
    """Crawl all sources once and add what is new to the raw store `target`.

    state: a folder for what is not part of the store: the crawl in progress, what is remembered, the nights.
    Raises CrawlError, OutputBusyError (another crawl runs), RawPagesError (the store is damaged) or OSError (disk full …); the same call continues.
    """
    # One folder a target: two checkouts, or a test, that crawl into other stores share nothing.
    own = state / hashlib.sha256(str(target.resolve()).encode()).hexdigest()[:16]
    own.mkdir(parents=True, exist_ok=True)
    with only_run(own / "lock", target, "crawl"), contextlib.ExitStack() as open_things:
        # The number of this crawl follows the last that the store knows. One begun under another number was published, but not removed any more.
        raw = open_things.enter_context(RawPages(target))
        last = max((record.crawl for record in raw.records()), default=0)
        last = max([last, *(problem.crawl for problem in raw.problems())])
        begun = unfinished_crawl(own / "unfinished")
        if begun is not None and begun != last + 1:
            reporter.log(f"journal_pages: crawl {begun} is part of the store already; its remains are removed")
            shutil.rmtree(own / "unfinished")
        # Opening what is unfinished reads its log, cuts a torn tail, and finds again what was written but not logged.
        proxies = _open_sites(config, open_things)
        unfinished = Unfinished(
            own / "unfinished", last + 1, origins={source.name: _origin(source) for source in config.sources}, about=_about(config)
        )
        unfinished.open()
        open_things.callback(unfinished.close)
        if unfinished.done:
            reporter.log(f"journal_pages: going on with crawl {unfinished.crawl}, which has {len(unfinished.done):,} addresses behind it")
        # Crawl.
        memory = _memory(own / "memory.parquet", raw, config, reporter)
        night = Night(str(target), unfinished.crawl, "", datetime.now(UTC).isoformat(timespec="seconds"))
        started = time.monotonic()
        things = {"raw": raw, "memory": memory, "unfinished": unfinished, "set_aside": SetAside(own / "set_aside.json", unfinished.crawl)}
        spider = _run_spider(config, proxies, reporter, ledger=Ledger(own / "credits.json"), **things)
        night.seconds = round(time.monotonic() - started, 1)
        for words in sorted({done.words for done in unfinished.done.values() if done.problem == EXHAUSTED}):
            reporter.notice(f"journal_pages: {words}")
        _count(night, spider)
        # Publish first, all at once; then what is remembered of it. Killed in between, the memory does not fit the store, and is read from it again.
        night.is_new = publish(unfinished, config, raw, _offsite(spider), _chains(spider))
        _remember(spider)
        night.sources_without_papers = [source.name for source in config.sources if not memory.papers.get(source.name)]
        save_memory(own / "memory.parquet", memory, store_identity(target))
        append_night(state / "nights.jsonl", night)
        discard(unfinished)
        sync(own)
    return night


def settings(config: JournalPagesConfig, proxies: Collection[str] = ()) -> dict[str, Any]:
    """Scrapy's settings: polite, bounded, and without what this crawl does itself. proxies: their addresses, which may be private."""
    return {
        "USER_AGENT": config.user_agent(),
        "DEFAULT_REQUEST_HEADERS": {
            "Accept": "text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8",
            "Accept-Language": "en",
            # Brotli is understood but not asked for: many web-archive tools cannot read it back.
            "Accept-Encoding": "gzip, deflate",
        },
        "ROBOTSTXT_OBEY": True,
        "ROBOTSTXT_USER_AGENT": PRODUCT,
        "AUTOTHROTTLE_ENABLED": True,
        "AUTOTHROTTLE_START_DELAY": 0.0,
        "AUTOTHROTTLE_MAX_DELAY": config.max_delay_s,
        "AUTOTHROTTLE_TARGET_CONCURRENCY": config.target_concurrency,
        "CONCURRENT_REQUESTS": 16,
        "CONCURRENT_REQUESTS_PER_DOMAIN": config.concurrency_per_host,
        "DOWNLOAD_TIMEOUT": config.timeout_s,
        "DOWNLOAD_MAXSIZE": config.max_body_mib * 2**20,
        "DOWNLOAD_WARNSIZE": 0,
        "DOWNLOAD_FAIL_ON_DATALOSS": True,
        "DOWNLOAD_VERIFY_CERTIFICATES": True,
        "TWISTED_DNS_RESOLVER": "assets.papers.crawl.guard.public_addresses.PublicResolver",
        TRUSTED_HOSTS: sorted({urlsplit(proxy).hostname or "" for proxy in proxies}),
        ALLOW_PRIVATE: config.allow_private_addresses,
        "DOWNLOAD_HANDLERS": {
            **dict.fromkeys(("file", "ftp", "s3", "data")),
            **(dict.fromkeys(("http", "https"), "assets.papers.crawl.metering.KeyedHandler") if any(s.key_env for s in config.sources) else {}),
        },
        "RETRY_TIMES": config.retries,
        "REDIRECT_MAX_TIMES": config.max_redirects,
        "METAREFRESH_ENABLED": False,
        "REFERER_ENABLED": False,
        "COOKIES_ENABLED": False,
        "COMPRESSION_ENABLED": False,
        "DOWNLOADER_STATS": False,
        "TELNETCONSOLE_ENABLED": False,
        "REMOTE_CONTROL_ENABLED": False,
        "MEMUSAGE_ENABLED": False,
        "STATS_DUMP": False,
        # Scrapy makes so many tasks for every response, and reads the source code of every callback: a third of its time here.
        "CONCURRENT_ITEMS": 1,
        "WARN_ON_GENERATOR_RETURN_VALUE": False,
        "LOG_ENABLED": False,
        "LOG_INSTALL_ROOT_HANDLER": False,
        "DUPEFILTER_CLASS": "scrapy.dupefilters.BaseDupeFilter",
        "DOWNLOADER_MIDDLEWARES": {
            "scrapy.downloadermiddlewares.offsite.OffsiteMiddleware": None,
            "scrapy.downloadermiddlewares.robotstxt.RobotsTxtMiddleware": None,
            "scrapy.downloadermiddlewares.retry.RetryMiddleware": None,
            "assets.papers.crawl.stored_responses.Keeping": 10,
            "assets.papers.crawl.politeness.Robots": 100,
            "assets.papers.crawl.politeness.Patience": 550,
            "assets.papers.crawl.stored_responses.Decoding": 590,
            "assets.papers.crawl.stored_responses.StoredResponses": 860,
            "assets.papers.crawl.packages.PackageMembers": 865,
            "assets.papers.crawl.metering.Credits": 867,
            "assets.papers.crawl.rendering.Rendering": 870,
            **MIDDLEWARES,
        },
        "SPIDER_MIDDLEWARES": {
            "scrapy.spidermiddlewares.httperror.HttpErrorMiddleware": None,
            "scrapy.spidermiddlewares.depth.DepthMiddleware": None,
            "scrapy.spidermiddlewares.metacopy.MetaCopyDetectionMiddleware": None,
        },
        "EXTENSIONS": {
            "scrapy.extensions.throttle.AutoThrottle": None,
            "scrapy.extensions.logstats.LogStats": None,
            "scrapy.extensions.feedexport.FeedExporter": None,
            "assets.papers.crawl.politeness.Throttle": 0,
        },
    }


def _run_spider(config: JournalPagesConfig, proxies: dict[str, str], reporter: Reporter, **things: Any) -> JournalSpider:
    # What happens to single addresses is in the log of the crawl; Scrapy's own words are for defects.
    logging.getLogger("scrapy").setLevel(logging.ERROR)
    process = AsyncCrawlerProcess(settings(config, proxies.values()))
    crawler = process.create_crawler(JournalSpider)
    keys = keys_of(config.sources, os.environ)
    for source in config.sources:
        if source.key_env and source.name not in keys:
            reporter.log(f"journal_pages: source '{source.name}': {source.key_env} is not set; it is asked without a key")
    process.crawl(crawler, config=config, proxies=proxies, keys=keys, reporter=reporter, **things)
    process.start()
    # Scrapy returns in any case: what went wrong, the spider and its reason to finish tell.
    spider = crawler.spider
    if not isinstance(spider, JournalSpider):
        raise CrawlError("the spider did not start; the lines above say why")
    if spider.failure is not None:
        raise spider.failure
    if spider.finish_reason != "finished":
        raise CrawlError(f"stopped before the end ({spider.finish_reason}); run the same command again to continue")
    return spider


def _count(night: Night, spider: JournalSpider) -> None:
    night.count(spider.unfinished.done.values())
    night.day = max(spider.unfinished.day_of(source.name) for source in spider.config.sources).isoformat()
    night.page_problems = spider.page_problems
    night.stored_bytes = sum(page.length for page in spider.unfinished.stored())
    gone = [page for page in spider.unfinished.stored() if page.is_gone and page.kind == "article"]
    papers = spider.papers
    night.papers_gone = sum(len(spider.raw.history(page.url)) > 0 and spider.raw.history(page.url)[-1].is_gone for page in gone)
    night.papers_new, night.papers_withdrawn = len(papers.new), len(papers.withdrawn)
    night.papers_changed = len(papers.changed - papers.new - papers.withdrawn)


def _remember(spider: JournalSpider) -> None:
    """Bring what is remembered up to this crawl."""
    memory, unfinished = spider.memory, spider.unfinished
    # Papers first, then every address that was asked for: when, and what its listings said of it.
    for source, keys in spider.papers.by_source.items():
        memory.papers[source] |= keys
    for done in unfinished.done.values():
        if done.kind == "robots" or spider.harvests.is_on_its_way(done.link):
            continue
        asked = unfinished.day_of(done.source)
        if done.problem:
            memory.failed(done.link, done.source, done.kind, asked=asked, failures=1 if done.problem in PASSING else MOST_FAILURES)
        elif done.status not in REDIRECTS:
            memory.had(done.link, done.source, done.kind, fingerprints=spider.seen.get(done.link, ()), asked=asked,
                       is_gone=done.status in GONE)  # fmt: skip
    memory.harvests = spider.harvests.states()
    partial = spider.incomplete | spider.harvests.partial_sources()
    # Images that were had need no memory, their contents are in the store. Of the others it is noted whether something still links to them,
    # unless the source was not crawled to its end: then not having seen a link says nothing.
    for url, known in list(memory.known.items()):
        is_had_image = known.kind == "image" and not known.failures
        if is_had_image or known.source not in spider.sources:
            del memory.known[url]
        elif known.source not in partial:
            memory.known[url] = known.listed(url in spider.seen)


def _offsite(spider: JournalSpider) -> list[StoredProblem]:
    return [
        StoredProblem(
            url,
            source,
            spider.unfinished.crawl,
            "host_not_allowed",
            f"{host} is not among the hosts of source '{source}'; add it to its {'image_hosts' if is_image else 'allowed_hosts'} to allow it",
        )
        for (source, host, is_image), url in sorted(spider.offsite.items())
        if is_image
    ]


def _chains(spider: JournalSpider) -> Chains:
    """What became of the chains of registries: the problem told at the start of each that did not come to its end."""
    ended = {
        (start, source): StoredProblem(start, source, spider.unfinished.crawl, *problem) if problem else None
        for (source, start), problem in spider.harvests.problems().items()
    }
    return Chains(ended, spider.harvests.is_on_its_way)


def _memory(path: Path, raw: RawPages, config: JournalPagesConfig, reporter: Reporter) -> Memory:
    memory = load_memory(path, store_identity(raw.folder))
    if memory is not None or not raw.records():
        return memory or Memory()
    reporter.log("journal_pages: nothing is remembered of the stored pages; reading them again")
    parsers = {source.name: find_page_object(source.page) for source in config.sources}

    def parse(page: Page) -> Parsed:
        return read_guarded(parsers[page.source], page, log=reporter.log) if page.source in parsers else Parsed()

    return memory_from_store(raw, parse)


def _open_sites(config: JournalPagesConfig, open_things: contextlib.ExitStack) -> dict[str, str]:
    """The proxy of each source that has one, by name; sites of ours are served until the crawl ends."""
    proxies = {source.name: os.path.expandvars(source.via) for source in config.sources if source.via}
    for name, proxy in proxies.items():
        if (variable := urlsplit(proxy).password or "").startswith("$"):
            raise CrawlError(f"source '{name}': its proxy's password is to be in the environment variable {variable[1:]}, which is not set")
    for source in config.sources:
        if source.is_local:
            from assets.demo_sites import open_site

            hosts = [*source.start_hosts, *(name for name in (*source.allowed_hosts, *source.image_hosts) if "*" not in name)]
            try:
                site = open_site(source.embedded, folder=source.folder or None, hosts=list(dict.fromkeys(hosts)))
                proxies[source.name] = open_things.enter_context(site)
            except (ValueError, FileNotFoundError) as error:
                raise CrawlError(f"source '{source.name}': {error}") from None
    return proxies


def _origin(source: SourceParams) -> str:
    # The log keeps it: without the proxy's password.
    via = urlsplit(source.via)
    return "|".join(filter(None, (source.embedded, source.folder, urlunsplit(via._replace(netloc=via.netloc.rpartition("@")[2])))))


def _about(config: JournalPagesConfig) -> dict[str, str]:
    return {
        "software": f"{PRODUCT}/0.1 (scrapy)",
        "format": "WARC File Format 1.1",
        "conformsTo": "https://iipc.github.io/warc-specifications/specifications/warc-format/warc-1.1/",
        "robots": "obey",
        "http-header-user-agent": config.user_agent(),
        "operator": config.contact,
    }
