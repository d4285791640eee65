"""The pages as texts with gaps ($name), for `string.Template`; what is put into a gap has been escaped (pages.py)."""

from string import Template

# $up: from the page to the folder of the site, "" or "../". The policy lets nothing in from elsewhere, and no script but the site's own files.
SHELL = Template("""\
<!doctype html>
<html lang="en"><head><meta charset="utf-8"><meta http-equiv="Content-Security-Policy"
 content="default-src 'none'; img-src 'self'; style-src 'self'; script-src 'self'; base-uri 'none'; form-action 'none'">
<meta name="viewport" content="width=device-width, initial-scale=1"><meta name="robots" content="noindex, nofollow, noarchive, nosnippet">
<meta name="referrer" content="no-referrer"><meta name="color-scheme" content="light dark">
<meta name="description" content="$notice">
<title>$title</title>
<link rel="icon" href="${up}icon.svg" type="image/svg+xml"><link rel="stylesheet" href="${up}site.css">
<script src="${up}site.js"></script>
<script type="application/ld+json">$metadata</script>
</head><body>
<a class="skip" href="#main">Skip to the content</a>
<aside class="notice" aria-label="Fiction">$notice</aside>
<header class="masthead wide">
<p class="name"><a href="${up}index.html">$name</a></p><p class="motto">$motto</p>
<nav class="bar" aria-label="Site">$links<button type="button" id="theme" hidden></button></nav></header>
<main id="main" class="wide" tabindex="-1">$content</main>
<footer class="wide">$notice <a href="${up}about.html">How they were made</a></footer>
</body></html>
""")

GALLERY = Template("""\
<h1 class="lead">$heading</h1><ol class="gallery" start="$start">
$cards</ol>$pager""")

CARD = Template("""\
<li class="card$cover"><div class="plate"><img src="pictures/$id.png" alt="$alt" width="$side" height="$side" loading="lazy"$small></div>
<p class="number">No. $number · does not exist</p>
<h2><a href="papers/$id.html"><bdi>$title</bdi></a></h2>
<p class="abstract" dir="auto">$beginning</p></li>""")

LINEAGE = Template("""\
<table aria-label="Models and datasets"><thead><tr><th scope="col">Artifact</th><th scope="col">Version</th>
<th scope="col">Made from</th></tr></thead><tbody>$rows</tbody></table>""")

PAPER = Template("""\
<article><div class="article">
<figure><div class="plate"><img src="../pictures/$id.png" alt="$alt" width="$side" height="$side"$small></div>
<figcaption>The graphical abstract, drawn by a model from seed $picture_seed.</figcaption></figure>
<div><p class="number">No. $number</p>
<h1 dir="auto">$title</h1>
<p class="stamp">This paper does not exist</p>
<h2>Abstract</h2><p class="text" dir="auto">$abstract</p>
<p class="actions"><a href="$id.json" download="$id.json">Download as JSON</a>
<a href="../pictures/$id.png" download="$id.png">Download the picture</a>
<a href="../random.html">Another one, by chance</a></p></div></div>
<div class="facts"><h2>Its nearest real neighbour</h2>$neighbour
<h2>Seeds</h2><p>The same models give the same paper again from these numbers.</p>
<table aria-label="Seeds"><tbody>
<tr><th scope="row">Picture</th><td>seed <code>$picture_seed</code>, truncation <code>$psi</code></td></tr>
<tr><th scope="row">Title</th><td>seed <code>$title_seed</code>, text <code>$title_number</code></td></tr>
<tr><th scope="row">Abstract</th><td>seed <code>$abstract_seed</code>, text <code>$abstract_number</code></td></tr>
</tbody></table>
<h2>What it was made from</h2>$lineage</div>$pager</article>""")

ABOUT = Template("""\
<div class="prose"><h1>None of this exists</h1>
<p>The $count papers here have no authors, no experiments and no results. Nobody wrote them, and nobody did what they say was done. Do not cite them,
do not try their procedures, and do not take a number from them.</p>
<h2>How a paper is made</h2>
<p>A generative network that has seen tables of contents of journals draws a picture from a random number. A captioning network looks at it and gives
it a title. A language model reads the title and writes an abstract. Each page tells the seeds, and the versions of all models and datasets.</p>
<h2>What is left out</h2>
<p>Pictures that are nearly training pictures, titles that are nearly real ones, texts that repeat a run of words of a real one, and what is rude or
looks like an address, a number of a telephone or account, or an identifier. The nearest real title stands on each page, for you to judge.
Names of persons are not looked for: one that stands here is chance, and means nobody.</p>
<h2>Models and datasets</h2>$lineage
<h2>Search engines</h2>
<p>Every page asks them to stay away, and tells machines what it tells you: this is fiction, no scholarly article.</p></div>""")

RANDOM = Template("""\
<div class="prose"><h1>A paper by chance</h1><p>Without scripts chance stands still: <a href="papers/$id.html"><bdi>$title</bdi></a>.</p></div>
<script src="papers.js"></script><script src="random.js"></script>""")
