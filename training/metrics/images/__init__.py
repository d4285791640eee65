"""How good generated images are: pure functions from images or their features to numbers whose names say what made them.

Nothing here knows which model drew the images, where its files lie, or how a report looks. What sees images (`features.py`) is apart from
what compares features (`kid.py`, `prdc.py`, `memorisation.py`, `../frechet.py`) and from what compares pixels (`swd.py`, `ms_ssim.py`);
`scoring.py` puts them together. `perceptual.py` compares two images as they look, `moving.py` moves and turns them, and `spectrum.py`, which is
also a program, says which frequencies they hold.
"""

from training.metrics.images.features import FeatureExtractor, FeatureExtractorError, open_extractor
from training.metrics.images.scoring import score_images

__all__ = ["FeatureExtractor", "FeatureExtractorError", "open_extractor", "score_images"]
