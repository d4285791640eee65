"""Pictures to titles: toc_encoder learns what pictures look like, toc_titler writes a title for one."""
