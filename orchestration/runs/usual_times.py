"""What stages took before: on this machine as the project remembers it, else in the demo that docs/RESULTS.md tells of."""

from collections.abc import Mapping

from orchestration.bridge.project import Project
from orchestration.records.history import past
from stages.params import read_yaml

# Seconds a stage, of a demo from nothing. Their proportions matter: a run finds out its own pace.
DEMO_S: Mapping[str, float] = {
    "molecule_sources": 6,
    "molecules": 14,
    "polymers": 12,
    "smiles_tokenizer": 6,
    "polygpt": 95,
    "polygpt_samples": 20,
    "polygpt_report": 35,
    "journal_pages": 25,
    "papers": 6,
    "toc_images": 8,
    "toc_dataset@512": 14,
    "toc_dataset@256": 8,
    "toc_dataset@128": 6,
    "stylegan3_toc": 70,
    "toc_fakes": 8,
    "toc_training_video": 12,
    "toc_report": 25,
}


def usual_seconds(project: Project) -> dict[str, float]:
    """By stage, the time of its newest run here; else the demo's, where its parameters are the demo's. The others are left out."""
    remembered = {name: ran[0].seconds for name in project.graph.stages if (ran := [making for making in past(project, name) if making.how == "ran"])}
    files = [project.root / name for name in ("params.yaml", "presets/demo.yaml")]
    if not all(path.is_file() for path in files) or remembered.keys() >= project.graph.stages.keys():
        return remembered
    here, demo = (read_yaml(path) or {} for path in files)
    sections = {name: name.partition("@")[0] for name in DEMO_S if name in project.graph.stages}
    as_in_the_demo = {name: DEMO_S[name] for name, section in sections.items() if demo.get(section) == here.get(section) is not None}
    return as_in_the_demo | remembered
