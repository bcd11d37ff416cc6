"""What a run needs, from its configuration alone: the Snakefile asks, nothing is read but shift lists and code.

Importing this module and planning load neither torch nor zarr, and write nothing.
"""

from __future__ import annotations

import csv
import difflib
import hashlib
import itertools
import json
import os
import re
from collections.abc import Iterable, Sequence
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from genies.config.load import check_readable
from genies.config.sections import Config
from genies.data.archive import published_digests
from genies.data.limit import Limit
from genies.data.shifts import Shift, list_file, read_shifts
from genies.data.texts import SPLITS, Split
from genies.data.views import templates_digest
from genies.demo.place import MODEL, MODEL_FILE, SPLIT_FILES, distribution_names, split_digest
from genies.devices import gpus_of_job, visible_gpus
from genies.digests import code_digest, file_sha256, value_digest
from genies.errors import ConfigError
from genies.interventions.plugins import check_plugin, program_files
from genies.interventions.registry import available, check_parameters, load_class, module_of, name_of, repeat_name
from genies.interventions.text import TextIntervention
from genies.interventions.training.grid import grid
from genies.models.files import file_identity, model_files
from genies.models.find import is_local, model_name, revision_of

if TYPE_CHECKING:
    from genies.data.framing import Framing
    from genies.data.reading import Reading
    from genies.interventions.base import Intervention
    from genies.store.extraction import Settings


def _nearest(name: str, known: Iterable[str]) -> str:
    """A hint at the known name that is nearest, for messages; empty where none is near."""
    near = difflib.get_close_matches(name, list(known), n=1)
    return f"; did you mean {near[0]}?" if near else ""


def one_of(names: Iterable[str]) -> str:
    """A pattern for wildcards that matches these names, and nothing where there are none."""
    return "|".join(map(re.escape, names)) or "(?!)"


def find_programs_beside(python: str) -> None:
    """Let jobs find the ``genies`` command in the folder of this Python, whatever PATH says.

    A prefix of all shell commands would do the same to the jobs of a workflow that uses this one as a module, and
    would hide what a container or conda environment brings.
    """
    folder, path = str(Path(python).parent), os.environ.get("PATH", os.defpath)
    if folder != path.split(os.pathsep)[0]:
        os.environ["PATH"] = os.pathsep.join([folder, path])


class Plan:
    """The distributions, splits, views and files of a run."""

    def __init__(self, config: Config) -> None:
        """Read the shift lists and look the interventions up.

        Raises:
            ConfigError, DataError, ModelError: something named does not exist; one line says what is nearest.
        """
        self.config = config
        self.shift_lists = [list_file(name) for name in config.shifts]
        self.shifts: list[Shift] = read_shifts(*self.shift_lists)
        self.resources = Path(config.folders.resources)
        self.cache = Path(config.folders.cache)
        self.results = Path(config.folders.results) / config.run
        self.interventions: dict[str, str] = {name_of(spec): spec for spec in config.interventions}
        if len(self.interventions) < len(config.interventions):
            raise ConfigError("interventions: two of them have the same name")
        self.repeats = self._repeats()
        self.interventions |= {name: self.interventions[own] for name, (own, _) in self.repeats.items()}
        for name, spec in self.interventions.items():
            check_parameters(spec, self.parameters(name))
        self.plugins = {name: Path(folder) for name, folder in config.plugins.items()}
        for name, folder in self.plugins.items():
            check_plugin(name, folder)
            if name in self.interventions:
                raise ConfigError(f"plugins: {name} is also the name of an intervention; give another name")
        self._check_parameter_names()
        self._check_distributions()
        self._check_limit()
        self._check_data()
        self._check_sweep()
        self._check_beside()
        self._check_capability()
        for model in self.models:
            self.model_files(model)
        for name in self.interventions:
            self.other_model_files(name)

    # Models

    @property
    def demo_model(self) -> Path:
        """The demo's model, which a rule places."""
        return self.resources / "demo" / MODEL_FILE

    @cached_property
    def models(self) -> dict[str, str]:
        """Identifier (folder, GGUF file or hub id) by model name."""
        placed = {MODEL: str(self.demo_model)}
        return {model_name(name): placed.get(name, name) for name in self.config.chosen_models}

    def model_manifest(self, model: str) -> Path:
        """What pins a model."""
        return self.results / "models" / f"{model}.json"

    def tokens_manifest(self, model: str) -> Path:
        """What names a model's tokens."""
        return self.results / "tokens" / f"{model}.json"

    def activations_manifests(self, model: str) -> list[Path]:
        """What names a model's activations, a file for each extraction job."""
        return [self.results / "activations" / model / f"{batch}.json" for batch in self.batches]

    def model_files(self, model: str) -> list[Path]:
        """Files of a local model that its manifest depends on; none for a hub model."""
        identifier = self.models[model]
        return self._files_of(Path(identifier)) if self._is_local(identifier) else []

    def identities(self, files: Iterable[Path]) -> list[list[str | int]]:
        """What tells that files are others, see ``file_identity``; of the demo's model nothing: a rule places it."""
        return [file_identity(file) for file in files if file != self.demo_model]

    def _is_local(self, identifier: str) -> bool:
        """Whether a model is local, or will be once the workflow has made it."""
        return Path(identifier) == self.demo_model or is_local(identifier)

    def _files_of(self, folder: Path) -> list[Path]:
        """The files that a local model consists of; the demo's is placed later."""
        if folder == self.demo_model:
            return [folder]
        return model_files(folder)

    def revision(self, model: str) -> str | None:
        """The configured hub revision of a model."""
        return revision_of(self.models[model], self.config.revisions)

    def revision_option(self, model: str) -> list[str]:
        """Command-line option for the hub revision of a model; none where none is configured."""
        revision = self.revision(model)
        return [f"--revision={revision}"] if revision else []

    # Distributions

    @property
    def local_archive(self) -> list[Path]:
        """The data archive, unless it is a URL."""
        source = self.config.data_archive or ""
        return [] if "://" in source else [Path(source)]

    @cached_property
    def sources(self) -> list[str]:
        """Distributions that shifts start from."""
        return sorted({shift.source for shift in self.shifts})

    @cached_property
    def references(self) -> list[str]:
        """Distributions that no shift starts from, and that are fitted on for the capability there."""
        asked = {shift.target_reference for shift in self.shifts} if self.capability_interventions else set()
        return sorted(asked - set(self.sources))

    @cached_property
    def fit_sources(self) -> list[str]:
        """Distributions that interventions are fitted on: sources, and references where a capability is asked for."""
        return sorted([*self.sources, *self.references])

    @cached_property
    def targets(self) -> dict[str, list[str]]:
        """Targets by fit source: those of its shifts, and itself."""
        targets = {source: {source} for source in self.fit_sources}
        for shift in self.shifts:
            targets[shift.source].add(shift.target)
        return {source: sorted(names) for source, names in targets.items()}

    @cached_property
    def probe_targets(self) -> dict[str, list[str]]:
        """Targets of probes by fit source: with ``matrix`` every target, since no forward pass is needed for it."""
        return dict.fromkeys(self.fit_sources, self.test_distributions) if self.config.matrix else self.targets

    @property
    def probe_pairs(self) -> list[str]:
        """``source:target`` of every test of a probe. With ``matrix`` none: then it is every source on every target."""
        if self.config.matrix:
            return []
        return [f"{source}:{target}" for source in self.fit_sources for target in self.probe_targets[source]]

    @cached_property
    def test_distributions(self) -> list[str]:
        """Distributions whose test split is read."""
        return sorted({name for names in self.targets.values() for name in names})

    @cached_property
    def sampled_pairs(self) -> list[tuple[str, str]]:
        """Sources and targets whose pairs are shown: those of shifts, and what is no target after fitting on itself."""
        shifts = [(shift.source, shift.target) for shift in self.shifts]
        rest = sorted(set(self.test_distributions) - {target for _, target in shifts})
        return [*shifts, *zip(rest, rest, strict=True)]

    @cached_property
    def train_distributions(self) -> list[str]:
        """Distributions whose training split is tokenized: the fit sources, if any intervention learns from them."""
        return self.fit_sources if self.views["train"] or self.text_interventions or self.plugins else []

    @cached_property
    def distributions(self) -> list[str]:
        """Every distribution of the run."""
        return sorted({*self.test_distributions, *self.fit_sources})

    @cached_property
    def own_distributions(self) -> dict[str, Path]:
        """Folders of own distributions by name."""
        return {Path(folder).name: Path(folder) for folder in self.config.distributions}

    def distribution_file(self, distribution: str, split: Split) -> Path:
        """File of a split: in a folder of the user's, among the demo's, or among the published data."""
        return self._folder(distribution) / f"{split}.json"

    def split_files(self) -> list[tuple[Split, Path]]:
        """Every split that the run reads, and its file; training splits first."""
        train: list[tuple[Split, Path]] = [
            ("train", self.distribution_file(n, "train")) for n in self.train_distributions
        ]
        return [*train, *(("test", self.distribution_file(n, "test")) for n in self.test_distributions)]

    def data_digest(self, split: Split, distributions: Iterable[str]) -> str:
        """Digest of what splits hold, also of those that a rule has not made yet."""
        return value_digest([self._split_digest(name, split) for name in distributions])

    def _split_digest(self, distribution: str, split: Split) -> Any:
        """The file's SHA-256; of a mixture those of its parts, and the percentage."""
        key = distribution, split
        if key not in self._split_digests:
            self._split_digests[key] = self._read_split_digest(distribution, split)
        return self._split_digests[key]

    def _read_split_digest(self, distribution: str, split: Split) -> Any:
        if mixture := self.config.mixtures.get(distribution):
            return [self._split_digest(part, split) for part in (mixture.source, mixture.other)] + [mixture.percent]
        name, file = f"{distribution}/{split}.json", self.distribution_file(distribution, split)
        if distribution in distribution_names() and distribution not in self.own_distributions:
            return split_digest(name)
        return file_sha256(file) if file.is_file() else published_digests().get(f"distributions/{name}", "")

    @cached_property
    def _split_digests(self) -> dict[tuple[str, Split], Any]:
        return {}

    def distribution_files(self) -> list[Path]:
        """File of every split that the run reads."""
        return [file for _, file in self.split_files()]

    def mixture_parts(self, name: str) -> dict[str, list[Path]]:
        """Files of a mixture's two distributions."""
        mixture = self.config.mixtures[name]
        return {
            part: [self.distribution_file(getattr(mixture, part), split) for split in SPLITS]
            for part in ("source", "other")
        }

    def published_files(self) -> list[Path]:
        """Every file of the published data, as it is laid out under the resources."""
        return [self.resources / "genies" / name for name in published_digests()]

    def demo_files(self) -> list[Path]:
        """Every split of the demo's distributions, where a rule places it."""
        folder = self.resources / "demo" / "distributions"
        return [folder / name / split for name in distribution_names() for split in SPLIT_FILES]

    def _folder(self, distribution: str) -> Path:
        if distribution in self.own_distributions:
            return self.own_distributions[distribution]
        if distribution in self.config.mixtures:
            return self.results / "mixtures" / distribution
        origin = "demo" if distribution in distribution_names() else "genies"
        return self.resources / origin / "distributions" / distribution

    def _check_distributions(self) -> None:
        self._check_own_distributions()
        made = self._known_distributions
        known = set(made)
        if twice := sorted(name for name in known if made.count(name) > 1):
            raise ConfigError(f"distributions: {twice[0]} is already the name of a known one; give another name")
        for name, mixture in self.config.mixtures.items():
            for part in (mixture.source, mixture.other):
                if part not in known - set(self.config.mixtures):
                    raise ConfigError(f"mixtures: {name} is made of {part}, which is no known distribution")
        for shift in self.shifts:
            for name in (shift.source, shift.target, shift.target_reference):
                if name not in known:
                    raise ConfigError(
                        f"shift {shift.source} → {shift.target}: unknown distribution {name}{_nearest(name, known)} "
                        "(name own folders under `distributions`)"
                    )

    def _check_own_distributions(self) -> None:
        for folder in self.own_distributions.values():
            if not folder.is_dir():
                raise ConfigError(
                    f"distributions: {folder.absolute()}: no such folder; name folders with train.json and test.json"
                )
            if not any((folder / f"{split}.json").is_file() for split in SPLITS):
                raise ConfigError(
                    f"distributions: {folder.absolute()}: holds neither train.json nor test.json; "
                    f"`genies validate {folder}` says what is missing"
                )

    @property
    def _known_distributions(self) -> list[str]:
        """Names of all distributions that a run could read; a name may stand here twice."""
        published = sorted({Path(name).parent.name for name in published_digests()})
        return [*published, *distribution_names(), *self.own_distributions, *self.config.mixtures]

    def _check_limit(self) -> None:
        for name in self.config.limit.distributions:
            if name not in self._known_distributions:
                hint = _nearest(name, self._known_distributions)
                raise ConfigError(f"limit.distributions: unknown distribution {name}{hint}")

    def _check_data(self) -> None:
        if self.config.data_archive:
            for archive in self.local_archive:
                check_readable(archive, "data archive")
            return
        folder = self.resources / "genies" / "distributions"
        parts = {part for m in self.config.mixtures.values() for part in (m.source, m.other)}
        for name in sorted({*self.distributions, *parts}):
            if self._folder(name).parent == folder and not self.distribution_file(name, "test").is_file():
                raise ConfigError(
                    f"data_archive: {name} is a published distribution and not in {folder} yet; name the archive, "
                    "for example --config data_archive=genies-datasets.tar.xz"
                )

    @property
    def extraction_options(self) -> str:
        """Command-line options for what is stored of each text: choices and numbers, which need no quotes."""
        chosen = self.config.extraction
        options = [f"--dtype {chosen.dtype} --attention {chosen.attention}"]
        if chosen.quantization:
            options.append(f"--quantization {chosen.quantization}")
        if chosen.layers != "all":
            options.append(f"--layers {' '.join(map(str, chosen.layers))}")
        if chosen.heads != "all":
            options.append(f"--heads {'' if chosen.heads == 'none' else ' '.join(map(str, chosen.heads))}")
        return " ".join(options)

    @property
    def limit(self) -> Limit:
        """How many examples of each split are read."""
        return Limit(**self.config.limit.model_dump())

    @property
    def limit_json(self) -> str:
        """The same as one JSON string with sorted keys."""
        return json.dumps(self.config.limit.model_dump(), sort_keys=True)

    @property
    def reading_fields(self) -> dict[str, Any]:
        """How the run reads its splits, as manifests state it: fields of ``genies.data.reading.Reading``."""
        chosen = self.config.model_dump(include={"seed", "prompt_format", "overlong", "limit"})
        return {**chosen, "framing": self.framing, "views": self.views_read}

    @property
    def framing(self) -> Framing:
        """How the run's splits are framed: under the protocol ``paper``, claims are those that were published."""
        published = self.config.framing == "truthfulness" and self.config.protocol == "paper"
        return "truthfulness_per_response" if published else self.config.framing

    @property
    def extraction_fields(self) -> dict[str, Any]:
        """What the run stores of each text, as manifests state it."""
        chosen = self.config.extraction
        fields = {
            "dtype": chosen.dtype,
            "layers": None if chosen.layers == "all" else chosen.layers,
            "heads": {"all": None, "none": ()}.get(chosen.heads, chosen.heads),
            "quantization": chosen.quantization,
        }
        return fields if chosen.attention == "auto" else fields | {"attention": chosen.attention}

    # The same for what runs in this process: without them, planning loads neither NumPy nor torch.

    @property
    def reading(self) -> Reading:
        """How the run reads its splits."""
        from genies.data.reading import Reading

        return Reading.of(self.reading_fields)

    @property
    def settings(self) -> Settings:
        """What the run stores of each text."""
        from genies.store.extraction import Settings

        chosen = self.config.extraction
        return Settings(
            **{"attention": "auto", **self.extraction_fields},
            batch_tokens=None if chosen.batch_tokens == "auto" else chosen.batch_tokens,
        )

    # Interventions

    def _check_parameter_names(self) -> None:
        """Refuse parameters of what is no intervention; those of one that the run leaves out may stay."""
        known = {*self.interventions, *available()}
        for name in self.config.intervention_parameters:
            if name not in known:
                hint = _nearest(name, known) or f"; there are {', '.join(sorted(known))}"
                raise ConfigError(f"intervention_parameters: {name} is no intervention{hint}")

    def parameters(self, intervention: str) -> dict:
        """Keyword arguments of an intervention: protocol and seed of the run, and its own."""
        name, seed = self.repeats.get(intervention, (intervention, None))
        own = self.config.intervention_parameters.get(name, {})
        parameters = {"protocol": self.config.protocol, "seed": self.config.seed, **own}
        if seed is None:
            return parameters
        kind = load_class(self.interventions[name])
        return parameters | {key: seed for key in ("seed", "split_seed") if key in kind.parameter_names()}

    def parameters_json(self, intervention: str) -> str:
        """The same as one JSON string with sorted keys."""
        return json.dumps(self.parameters(intervention), sort_keys=True)

    def _repeats(self) -> dict[str, tuple[str, int]]:
        """Interventions that are fitted again with a further seed: own name and seed, by the repeat's name."""
        return {
            repeat_name(name, seed): (name, seed)
            for name, spec in self.interventions.items()
            if load_class(spec).drawn
            for seed in self.config.further_seeds
        }

    def other_model_files(self, intervention: str) -> list[Path]:
        """Files of local models that an intervention reads beside the run's own."""
        kind = load_class(self.interventions[intervention])
        others = (Path(identifier) for identifier, _ in kind.other_models(self.parameters(intervention)))
        return [file for other in others if is_local(str(other)) for file in self._files_of(other)]

    def plugin_files(self, name: str) -> list[Path]:
        """Files of a plug-in whose edits run it again."""
        return program_files(self.plugins[name])

    @property
    def own_code(self) -> list[Path]:
        """Python files of the user's own that the run executes: interventions, and those of plug-ins."""
        files = [Path(spec) for name, spec in self.interventions.items() if name not in self.repeats and name != spec]
        return [*files, *(file for name in self.plugins for file in self.plugin_files(name))]

    @cached_property
    def text_interventions(self) -> list[str]:
        """Interventions that read texts with a model of their own; a job fits some of the sources."""
        return [name for name, spec in self.interventions.items() if issubclass(load_class(spec), TextIntervention)]

    def tuning_device(self, intervention: str) -> str:
        """Torch device of an intervention that reads texts; not all of them can be spread over several."""
        device = self.config.extraction.device
        spreads = load_class(self.interventions[intervention]).spreads
        return "auto" if device == "balanced" and not spreads else device

    def gpus_held(self, rule: str, intervention: str, local: bool) -> int:
        """GPUs that a job held, for what the run says of its costs; ``local`` as ``gpus_of_job`` takes it."""
        device = self.config.extraction.device
        if device == "cpu" or (local and not visible_gpus()):
            return 0
        if rule == "tune":
            device = self.tuning_device(intervention)
        return gpus_of_job(device, local) if rule in ("extract", "tune") else 1

    @property
    def methods(self) -> list[str]:
        """Names of interventions and plug-ins, in the order of the configuration."""
        return [*(name for name in self.interventions if name not in self.repeats), *self.plugins]

    @cached_property
    def probes(self) -> list[str]:
        """Interventions that read cached features; one job fits all sources."""
        return [name for name in self.interventions if name not in self.text_interventions]

    def evaluated_sources(self, intervention: str) -> list[str]:
        """Sources that an intervention is fitted on. Training is dear: references only where capability asks for it."""
        dear = intervention not in self.probes and intervention not in self.capability_interventions
        return self.sources if dear else self.fit_sources

    def tuning_groups(self, intervention: str) -> list[list[str]]:
        """Sources of each training job of an intervention: as few as ``trainings_per_job`` allows, even in size."""
        sources = self.evaluated_sources(intervention)
        jobs = -(-len(sources) // self.config.trainings_per_job)
        bounds = [number * len(sources) // jobs for number in range(jobs + 1)]
        return [sources[begin:end] for begin, end in itertools.pairwise(bounds)]

    def tuning_group(self, intervention: str, group: str) -> list[str]:
        """Sources of one of these jobs, by its number."""
        return self.tuning_groups(intervention)[int(group)]

    def tuning_tests(self, intervention: str, group: str) -> list[str]:
        """Every target of a training job's sources."""
        return sorted({target for source in self.tuning_group(intervention, group) for target in self.targets[source]})

    def tuning_manifest(self, model: str, intervention: str, group: int) -> Path:
        """Manifest of one training job."""
        return self.results / "interventions" / model / intervention / "groups" / f"{group}.json"

    def tuning_manifests(self, model: str) -> list[Path]:
        """Manifests of all training jobs of a model."""
        return [
            self.tuning_manifest(model, intervention, group)
            for intervention in self.text_interventions
            for group in range(len(self.tuning_groups(intervention)))
        ]

    @cached_property
    def tuned_sources(self) -> list[str]:
        """What is trained of a model: ``intervention/source``."""
        return [f"{name}/{source}" for name in self.text_interventions for source in self.evaluated_sources(name)]

    @cached_property
    def on_references(self) -> list[str]:
        """Interventions and plug-ins that are fitted on the references of shifts as well as on their sources."""
        return [name for name in self.methods if self.evaluated_sources(name) != self.sources]

    def evaluation(self, model: str, intervention: str, source: str) -> Path:
        """The evaluation of one fit."""
        return self.results / "evaluations" / model / intervention / f"{source}.parquet"

    @property
    def overlap_file(self) -> Path:
        """Which test examples also appear in training splits."""
        return self.results / "overlap.parquet"

    def evaluations(self, repeats: bool = False) -> list[Path]:
        """Every evaluation of the run, or of its repeats."""
        return [
            self.evaluation(model, intervention, source)
            for model in self.models
            for intervention in (self.repeats if repeats else self.methods)
            for source in self.evaluated_sources(intervention)
        ]

    def tuned(self) -> list[Path]:
        """Manifest of every fit of an intervention that reads texts."""
        return [
            self.results / "interventions" / model / intervention / f"{source}.json"
            for model in self.models
            for intervention in self.text_interventions
            if intervention not in self.repeats
            for source in self.evaluated_sources(intervention)
        ]

    def beside_files(self) -> list[Path]:
        """The metrics of the runs that are shown beside this one."""
        return [
            check_readable(Path(folder) / "generalization_metrics.csv", "a run to show beside this one")
            for folder in self.config.beside
        ]

    def _check_beside(self) -> None:
        """Refuse a run to show beside this one that has no shift of this one."""
        mine = {(shift.source, shift.target) for shift in self.shifts}
        for file in self.beside_files():
            with file.open(encoding="utf-8", newline="") as stream:
                theirs = {(row.get("source"), row.get("target")) for row in csv.DictReader(stream)}
            if not mine & theirs:
                raise ConfigError(f"beside: {file.absolute()}: has no shift that this run has; leave that run out")

    @cached_property
    def capability_interventions(self) -> list[str]:
        """Interventions of the run of which the best on a reference gives the capability there.

        None of them chooses anything on test labels.
        """
        asked = self.config.capability_interventions
        if asked == "untrained":
            fitted = (name for name in self.methods if name in self.probes and self._class_of(name).fit_views)
            return [name for name in fitted if not self._reads_test_labels(name)]
        return [name for name in asked if name in self.methods]

    @property
    def capability_fits(self) -> list[Path]:
        """Manifests of the fits on cached features among them."""
        return [
            self.results / "interventions" / model / f"{name}.json"
            for model in self.models
            for name in self.capability_interventions
            if name in self.probes
        ]

    @property
    def trained(self) -> list[str]:
        """Interventions and plug-ins with a training of their own."""
        return [name for name in self.methods if name not in self.probes]

    def _class_of(self, intervention: str) -> type[Intervention]:
        return load_class(self.interventions[intervention])

    def _reads_test_labels(self, intervention: str) -> bool:
        return self._class_of(intervention)(**self.parameters(intervention)).reads_test_labels

    def _check_capability(self) -> None:
        for name in self.capability_interventions:
            if name in self.interventions and self._reads_test_labels(name):
                raise ConfigError(
                    f"capability_interventions: {name} under the protocol {self.config.protocol} chooses its sign on "
                    "the test labels, so that its accuracy is no capability; leave it out"
                )

    @cached_property
    def views(self) -> dict[Split, list[str]]:
        """Views that the interventions read, by split."""
        classes = [load_class(spec) for spec in self.interventions.values()]
        return {
            "train": sorted({view for cls in classes for view in cls.fit_views}),
            "test": sorted({view for cls in classes for view in cls.predict_views}),
        }

    def templates(self) -> str:
        """Digest of the templates that the run reads, for rules to notice an edit."""
        return templates_digest(self.views_read, self.framing)

    @property
    def views_read(self) -> list[str]:
        """Views that are read of any split, sorted."""
        return sorted({view for names in self.views.values() for view in names})

    # Sweeps

    def sweep_files(self) -> list[Path]:
        """Tables of the configured sweep, one for each model, intervention and source; none without a sweep."""
        if self.config.sweep is None:
            return []
        folder = self.results / "sweep"
        return [
            folder / model / name / f"{source}.csv"
            for model in self.models
            for name in self.config.sweep.interventions
            for source in self.sources
        ]

    def sweep_values(self, intervention: str) -> str:
        """Values to try, as JSON."""
        values = self.config.sweep.interventions[intervention]
        plain = {name: v if isinstance(v, tuple) else v.model_dump() for name, v in values.items()}
        return json.dumps(plain, sort_keys=True)

    def _check_sweep(self) -> None:
        for name in self.config.sweep.interventions if self.config.sweep else ():
            if name not in self.text_interventions or name in self.repeats:
                raise ConfigError(f"sweep: {name} is not among the run's trained interventions; add it or leave it out")
            self._check_sweep_size()
            for combination in grid(json.loads(self.sweep_values(name))):
                check_parameters(self.interventions[name], {**self.parameters(name), **combination})

    def _check_sweep_size(self) -> None:
        asked = self.config.sweep.train + self.config.sweep.held_out
        for source in self.sources:
            limit = self.limit.of(source, "train")
            if limit is not None and limit < asked:
                raise ConfigError(
                    f"limit: {limit} training examples of {source} are fewer than sweep.train + sweep.held_out = "
                    f"{asked}; raise the limit or lower those"
                )

    # Jobs

    @property
    def page(self) -> Path:
        """The report."""
        return self.results / "report.html"

    @property
    def final_files(self) -> list[Path]:
        """What a run is asked for."""
        names = ("generalization_metrics.csv", "leaderboard.csv", "provenance.json")
        return [self.page, *(self.results / name for name in names)]

    @property
    def batches(self) -> list[str]:
        """Names of a model's extraction jobs."""
        return [str(number) for number in range(self.config.extraction.jobs_per_model)]

    def batch(self, batch: str) -> list[str]:
        """Distributions of one extraction job. A distribution's job depends on its name alone, not on the others."""
        jobs = self.config.extraction.jobs_per_model

        def number(name: str) -> int:
            return int.from_bytes(hashlib.sha256(name.encode()).digest()[:4], "little") % jobs

        return [name for name in self.distributions if number(name) == int(batch)]

    def code(self, *modules: str, intervention: str | None = None) -> str:
        """Digest of the code that a stage runs, for the rule to notice its edits."""
        own: Sequence[str] = [module_of(self.interventions[intervention])] if intervention else []
        return code_digest(*modules, *own)
