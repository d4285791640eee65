"""What stages took before: on this machine as the project remembers it, else in the demo that docs/RESULTS.md tells of."""

from collections.abc import Mapping

from orchestration.bridge.project import Project
from orchestration.records.history import past
from stages.params import read_yaml

# Seconds a stage of a demo from nothing takes, on two cores. Only their proportions matter: a run finds out its own pace.
DEMO_S: Mapping[str, float] = {
    "molecule_sources": 2.6,
    "molecules": 4,
    "polymers": 7.2,
    "smiles_tokenizer": 1.3,
    "polygpt": 112,
    "polygpt_samples": 4.9,
    "polygpt_report": 27,
    "property_predictor": 10,
    "predictor_report": 6,
    "polyldm": 12,
    "polyldm_samples": 6,
    "polyvae": 25,
    "polyvae_samples": 4,
    "polyvae_report": 8,
    "polytao": 20,
    "polytao_samples": 6,
    "journal_pages": 5.6,
    "papers": 1.7,
    "toc_images": 1.1,
    "toc_dataset@512": 0.5,
    "toc_dataset@256": 0.5,
    "toc_dataset@128": 1.4,
    "stylegan3_toc": 67,
    "toc_fakes": 4.6,
    "toc_training_video": 5.4,
    "toc_report": 14,
    "archive_items": 2.9,
    "book_pages": 4.1,
    "page_dataset@1024": 1.9,
    "page_dataset@128": 2.4,
    "pggan_pages": 52,
    "book_fakes": 2.4,
    "book_walks": 5.5,
    "book_report": 7.2,
    "stylegan3_pages": 13,
    "painting_sources": 1.1,
    "paintings": 0.5,
    "cyclegan_paintings": 74,
    "painted_photos": 2.8,
    "paintings_report": 7.4,
    "abstract_t5": 28,
    "abstract_report": 14,
    "title_t5": 20,
    "title_t5_report": 13,
    "title_gpt2": 18,
    "paper_texts": 0.6,
    "sentence_sources": 0.6,
    "sentences": 1.2,
    "vocabulary": 0.7,
    "titles_report": 10,
    "text_mle": 18,
    "text_gan": 18,
    "text_report": 7.7,
    "imaginary_papers": 9.2,
    "journal_site": 0.6,
    "toc_encoder": 17,
    "toc_titler": 19,
    "titler_report": 12,
    "molecule_bakeoff": 14,
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
