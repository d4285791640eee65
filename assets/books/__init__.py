"""Books of the Internet Archive: harvested politely, their pages rendered under strict bounds, as datasets of page images.

What any picture needs belongs in assets/images, what any download needs in assets/downloads, the embedded archive in assets/demo_sites.
"""
