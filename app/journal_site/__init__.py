"""journal_site: the imaginary journal as a folder of static pages, which works from a file and from any web server. Knows no model."""
