"""Copy the data of an artifact out of the project, exactly as its recorded id says.

Files come from the workspace where it has the recorded bytes, and from DVC's cache otherwise. The same id gives the same bytes: tables are
merged from their shards in order, zip members are sorted and dated 1980. A stale artifact is refused unless --stale-ok is given.

formats (from the ending of DEST when --format is not given):
  folder   the output as it is, a model folder for example      csv      a table; lists as JSON
  parquet  a table in one file                                  smi      `SMILES id` lines of a table of molecules
  zip      the output as one archive
  wacz     the stored pages of a crawl as a web archive, to be opened in replayweb.page or pywb
  huggingface  a folder with a card (README.md) that says version, sources, licences and metrics: a model as it is (also by default), a table in
               Parquet by split, pictures in Parquet

of sets of pictures, each with the dataset card:
  stylegan     one StyleGAN dataset zip (also for DEST.zip)     png          a folder of PNGs with dataset.json
  webdataset   a folder of tar files                            hdf5         Progressive GAN's HDF5 (DEST.h5; labels in DEST-labels.npy)
  hdf5-deepzine  DeepZine's HDF5

Examples:
  figment export molecules molecules.csv
  figment export molecules ~/datasets/molecules --format huggingface
  figment export polygpt ~/models/polygpt
  figment export journal_pages crawl.wacz
  figment export toc_dataset@256 toc-256.zip
  figment export toc_dataset@256 ~/datasets/toc-256 --format huggingface

exit codes: 0 copied · 1 stale, or its bytes are not here · 2 wrong usage or configuration
"""

import argparse
from collections.abc import Mapping
from pathlib import Path

from orchestration.bridge.status import project_status
from orchestration.checkout import open_prepared
from orchestration.errors import CommandError, Exit
from orchestration.export.hub import is_model
from orchestration.export.images import is_image_set

FORMATS = ("folder", "csv", "smi", "parquet", "zip", "stylegan", "png", "webdataset", "hdf5", "hdf5-deepzine", "huggingface", "wacz")
_BY_ENDING = {".csv": "csv", ".smi": "smi", ".parquet": "parquet", ".zip": "zip", ".h5": "hdf5", ".hdf5": "hdf5", ".wacz": "wacz"}


def configure(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("name", metavar="NAME", help="the artifact")
    parser.add_argument("destination", type=Path, metavar="DEST", help="the file or folder to write; it must not exist")
    parser.add_argument(
        "--format", choices=FORMATS, default=None, help="how (default: by the ending of DEST, else huggingface for a model and folder)"
    )
    parser.add_argument("--stale-ok", action="store_true", help="export the recorded version although newer inputs or parameters are at hand")


def run(root: Path, arguments: argparse.Namespace) -> int:
    from orchestration.export.about import about
    from orchestration.export.copying import ExportError, export, recorded_files

    project = open_prepared(root)
    # Only bytes that dvc.lock vouches for leave the project, so that the id printed at the end is the id of what was written.
    status = project_status(project, [project.graph.artifact(arguments.name).name])[arguments.name]
    if status.id is None:
        raise CommandError(f"{arguments.name} was never made; `figment materialize {arguments.name}` makes it", Exit.DISAGREES)
    if status.state != "fresh" and not arguments.stale_ok:
        causes = "; ".join(cause.text for cause in status.causes)
        remedy = f"`figment materialize {arguments.name}` first, or export {status.id} as it is recorded with --stale-ok"
        raise CommandError(f"{arguments.name} is stale ({causes}); {remedy}", Exit.DISAGREES)
    # The format is guessed from the ending of the destination, and of what an ending leaves open, from what the artifact holds.
    destination = arguments.destination.expanduser().absolute()
    try:
        files = recorded_files(project, arguments.name)
        format = arguments.format or _format_of(destination, files)
        export(files, destination, format, about(project, arguments.name) if format == "huggingface" else None)
    except ExportError as error:
        raise CommandError(str(error), Exit.DISAGREES) from error
    print(f"{arguments.name} {status.id} -> {destination} ({format})")
    return Exit.WELL


def _format_of(destination: Path, files: Mapping[str, Path]) -> str:
    format = _BY_ENDING.get(destination.suffix.lower(), "folder")
    # A zip of zips is of no use to anybody, and a model that leaves should say what it is.
    if format == "zip" and is_image_set(files):
        return "stylegan"
    return "huggingface" if format == "folder" and is_model(files) else format
