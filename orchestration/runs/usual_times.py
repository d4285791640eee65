"""What stages took before: on this machine as the project remembers it, else in the demo that docs/RESULTS.md tells of."""

from collections.abc import Mapping

from orchestration.bridge.project import Project
from orchestration.records.history import past
from stages.params import read_yaml

# Seconds a stage of a demo from nothing takes, on two cores. Only their proportions matter: a run finds out its own pace.
DEMO_S: Mapping[str, float] = {
    "molecule_sources": 2.6,
    "molecules": 3.5,
    "polymers": 7.2,
    "smiles_tokenizer": 1.1,
    "polygpt": 94,
    "polygpt_samples": 4.4,
    "polygpt_report": 19,
    "journal_pages": 5.7,
    "papers": 1.0,
    "toc_images": 1.0,
    "toc_dataset@512": 0.4,
    "toc_dataset@256": 0.5,
    "toc_dataset@128": 1.3,
    "stylegan3_toc": 63,
    "toc_fakes": 3.8,
    "toc_training_video": 24,
    "toc_report": 29,
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
