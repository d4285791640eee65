"""Journal pages become papers, and their table-of-contents images become image datasets.

Crawling, parsing, merging, decoding and padding belong here; models and metrics do not. The only place that imports scrapy.
"""
