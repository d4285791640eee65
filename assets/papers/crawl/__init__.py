"""The crawl: `python -m assets.papers.crawl` asks journals politely for what is new and keeps the responses in the raw store `journal_pages`.

Here belong: what to ask for, when, and how politely; resuming; counts. What protects against hostile sites lies in `guard`. Not here: what a page
says (assets/papers/pages), how responses are kept (assets/papers/warc_store.py, raw_pages.py), and what is made of them.
"""
