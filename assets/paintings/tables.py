"""The columns of `painting_sources` and `paintings`, and what each means. What nobody states is null."""

from collections.abc import Mapping

import pyarrow as pa

from assets.images.columns import FOUND
from formats.tables import columns

# Of both: where a picture is from, and what for.
_FROM = columns(domain=str, split=str, licence=str, source=str, where=str)

# Of `painting_sources`: the gathered originals, what was set aside, and where they all came from.
ORIGINALS = pa.schema([*FOUND, *_FROM])
REJECTED = pa.schema([*columns(sha256=str, serial=int, reason=str, words=str), *_FROM])
SOURCES = columns(source=str, kind=str, origin=str, licence=str, sha256=str, bytes=int)
# Every picture that ever came, so that none gets another's number; the withdrawn ones, too.
SERIALS = columns(serial=int, source=str, where=str, sha256=str)

# Of `paintings`: what the index and the list of those left out have besides those of other image sets, and which pictures are nearly one.
OWN = columns(set=str, domain=str, split=str, where=str)
DUPLICATES = columns(
    kept=int, kept_sha256=str, kept_set=str, other=int, other_sha256=str, other_set=str, is_dropped=bool, bits=int, levels=float,
)  # fmt: skip

SETS = ("trainA", "trainB", "testA", "testB")

COLUMN_DOCS: Mapping[str, str] = {
    "domain": "a (paintings) or b (photographs)",
    "split": "train or test; in `painting_sources` as the layout says, null where it says nothing, then decided by the hash of the picture",
    "licence": "of its source",
    "source": "name of the source in params.yaml",
    "where": "path of the picture inside its source",
    "sha256": "SHA-256 of the picture as it came; of a source: of its zip or downloaded file",
    "serial": "number among all pictures that ever came; it never changes, a removal leaves a gap",
    "reason": "why it was set aside or left out, in one word",
    "words": "what was found, and what was expected",
    "kind": "how the source came: folder, zip, url or embedded",
    "origin": "where it came from: an address, a path in the project, or the name of an embedded site",
    "bytes": "size of the zip or downloaded file",
    "set": "trainA, trainB, testA or testB: the folder that holds the picture, or would hold it",
    "shard": "zip of that folder",
    "member": "name in the zip",
    "kept": "serial of the picture that stayed",
    "kept_sha256": "its SHA-256",
    "kept_set": "its set",
    "other": "serial of the picture that looks the same",
    "other_sha256": "its SHA-256",
    "other_set": "the set it would be in, or is in",
    "is_dropped": "true: it is in no set; false: it is in the other domain of the same split, which is only told",
    "bits": "of 64 in which the perceptual hashes differ",
    "levels": "root mean square difference of the two as 16 x 16 px, of 255 levels",
}
