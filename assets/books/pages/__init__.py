"""From files of archive items to page images: `build` is the stage, `supervising` runs `worker`, which draws with `pdf` and `jp2`."""
