"""A report and the four ways it is told: an output folder, the orchestrator, the model's run and version, and beside the report before.

A report's stage judges, fills a `Report`, and leaves the rest to `report_body`.
"""

import json
import tempfile
from argparse import Namespace
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

from stages.artifact_id import content_id
from stages.markdown import png_data_uri
from stages.output_folder import OutputFolder
from stages.params import load_params
from stages.reporting import Reporter
from training.reports.last_report import since_last_report
from training.reports.numbers import Headline, Numbers
from training.tracking.tracker import PromotionRule, attach_metrics

STATE_DIR = Path(".figment")
Config = TypeVar("Config")

# Dagster and MLflow show Markdown from their event stores: more than this is left in the output folder and only named.
_MOST_MARKDOWN_BYTES = 200_000
# Lines of the log; all of them are in the table.
_MOST_MOVEMENTS = 10


@dataclass(frozen=True)
class Picture:
    """A section that shows one picture. draw: writes it as a PNG, with the same bytes each time. words: between its title and the picture."""

    title: str
    name: str
    file: str
    draw: Callable[[Path], None]
    words: str = ""

    def section(self, address: str) -> str:
        """The section's Markdown, with the picture at `address`."""
        words = f"{self.words}\n\n" if self.words else ""
        return f"\n## {self.title}\n\n{words}![{self.name}]({address})\n"


@dataclass(frozen=True)
class Check:
    """A check whose failure is a warning. name: listed under meta.dagster.checks of the stage. facts: the numbers it rests on."""

    name: str
    passed: bool
    facts: Mapping[str, Any]


@dataclass(frozen=True)
class Report:
    """stage: also names the output folder. model: the stage whose output was judged. text: Markdown without the pictures, which follow it.

    headline: of the numbers, those that a reader asks for first. promote: when this model becomes the champion; None = never.
    files: what else lies in the folder, by name, each written by its function to the path it is given.
    """

    stage: str
    model: str
    numbers: Numbers
    text: str
    pictures: Sequence[Picture] = ()
    checks: Sequence[Check] = ()
    headline: Headline = field(default_factory=dict)
    promote: PromotionRule | None = None
    files: Mapping[str, Callable[[Path], None]] = field(default_factory=dict)

    def markdown(self, address: Callable[[str], str] = str) -> str:
        """All of it. address: from the name of a picture's file to where it is to be seen; by default beside the Markdown."""
        return self.text + "".join(picture.section(address(picture.file)) for picture in self.pictures)

    @property
    def headline_names(self) -> list[str]:
        """The flat names of the headline's numbers."""
        return [f"{judged}_{name}" for judged, named in self.numbers.headline(self.headline).items() for name in named]

    def write(self, data: Path) -> Path:
        """Write metrics.json, headline.json, report.md, the pictures and the other files to `data/<stage>`, and return that folder."""
        with OutputFolder(data / self.stage) as output:
            for name, numbers in (("metrics.json", self.numbers.flat), ("headline.json", self.numbers.headline(self.headline))):
                output.file(name).write_text(json.dumps(numbers, indent=1, allow_nan=False) + "\n", encoding="utf-8")
            for file, write in [*((picture.file, picture.draw) for picture in self.pictures), *self.files.items()]:
                write(output.file(file))
            output.file("report.md").write_text(self.markdown(), encoding="utf-8")
        return data / self.stage

    def tell(self, folder: Path, reporter: Reporter) -> None:
        """Tell the orchestrator what was written to `folder`: the headline, the page with its pictures inside, where it lies, and the checks.

        The other hundreds are in the page, in metrics.json and in MLflow. Names are those of a nested metric file in DVC: `psi0.8.ms_ssim`.
        """
        headline = self.numbers.headline(self.headline)
        reporter.metadata(**{f"{judged}.{name}": value for judged, named in headline.items() for name, value in named.items()})
        reporter.path("report_file", folder / "report.md")
        illustrated = self.markdown(lambda file: png_data_uri(folder / file))
        reporter.markdown("report", illustrated if len(illustrated.encode()) <= _MOST_MARKDOWN_BYTES else self.text)
        for check in self.checks:
            reporter.check(check.name, check.passed, severity="WARN", **check.facts)

    def attach(self, data: Path, reporter: Reporter, *, state_dir: Path = STATE_DIR) -> None:
        """Add the report to the model's run and version, beside the report before, and let the rule judge. Raises TrackingError."""
        model, metrics, rule = data / self.model, self.numbers.flat, self.promote
        if not model.exists():
            reporter.log(f"{self.stage}: {model} is not here, so the report is attached to no model")
            return
        if rule is not None and rule.metric not in metrics:
            reporter.log(f"{self.stage}: no promotion, because there is no number {rule.metric} in the report")
            rule = None
        output_id, artifacts = content_id(model), sorted((data / self.stage).iterdir())
        with tempfile.TemporaryDirectory() as folder:
            artifacts += self._since_last(output_id, Path(folder), state_dir, reporter)
            attach_metrics(
                self.model,
                output_id=output_id,
                metrics=metrics,
                artifacts=artifacts,
                promote=rule,
                reporter=reporter,
                report=self.stage,
                headline=self.headline_names,
                state_dir=state_dir,
            )

    def _since_last(self, output_id: str, folder: Path, state_dir: Path, reporter: Reporter) -> list[Path]:
        """Tell how the numbers moved since the last report, and give the file in `folder` that says it; none for the first report."""
        since = since_last_report(self.numbers, self.model, output_id, state_dir)
        if since is None:
            return []
        reporter.log(f"{self.stage}: {since.summary}")
        for movement in since.beyond[:_MOST_MOVEMENTS]:
            reporter.notice(f"{self.stage}: {movement}")
        reporter.markdown("since_last_report", since.markdown)
        path = folder / "since_last_report.md"
        path.write_text(since.markdown, encoding="utf-8")
        return [path]


def report_body(stage: str, config: type[Config], judge: Callable[[Config, Path, Reporter], Report]) -> Callable[[Namespace, Reporter], None]:
    """The body of a report's program, for `stages.program`: read the section, judge what lies in the data folder, and tell it in every way."""

    def body(arguments: Namespace, reporter: Reporter) -> None:
        report = judge(load_params(arguments.params, stage, config, overrides=arguments.overrides), arguments.data, reporter)
        report.tell(report.write(arguments.data), reporter)
        report.attach(arguments.data, reporter)

    return body
