"""The language models of a run."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path

from genies.config.sections import PLAIN_NAME, Config, TunedModel
from genies.demo.place import MODEL, MODEL_FILE
from genies.errors import ConfigError
from genies.models.adapters import base_of, is_adapter
from genies.models.files import file_identity, model_files
from genies.models.find import is_local, model_name, revision_of


class Models:
    """The language models of a run, by their names.

    Attributes:
        demo: file of the demo's model, which a rule places.
        bases: configured base of an adapter by the adapter's identifier.
        identifiers: folder, GGUF file or hub id by name, of the models that are not tuned by the run, and of
            ``references``.
        references: models of which log-probabilities alone are read, as a policy's reference; not the run's own.
        tuned: those that the run tunes and reads.
        rewards: manifest by name of those that it tunes and scores with as reward models; a rule makes it.
    """

    def __init__(self, config: Config) -> None:
        """Name the models of a configuration."""
        self.demo = Path(config.folders.resources) / "demo" / MODEL_FILE
        placed = {MODEL: str(self.demo)}
        self.identifiers = {model_name(name): placed.get(name, name) for name in config.chosen_models}
        self.references: list[str] = []
        self._own = tuple(self.identifiers)
        self._tuned = config.tuned_models
        self.tuned: dict[str, TunedModel] = {n: one for n, one in self._tuned.items() if one.interventions != ()}
        # A list, as what is no name may not be hashable; it is refused with the other parameters.
        asked = [parameters.get("model") for parameters in config.intervention_parameters.values()]
        self.rewards = {name: reward_manifest(config, name) for name in self._tuned if name in asked}
        self._revisions = config.revisions
        self._named_revisions: dict[str, str | None] = {}
        self.bases = {placed.get(name, name): base for name, base in config.bases.items()}

    def __iter__(self) -> Iterator[str]:
        return iter([*self._own, *self.tuned])

    def __len__(self) -> int:
        return len(self._own) + len(self.tuned)

    @property
    def every(self) -> list[str]:
        """The models of the run, and behind them the references."""
        return [*self, *self.references]

    def tuned_from(self, name: str) -> str:
        """The model that a tuned one was trained on."""
        return self._tuned[name].model or self._own[0]

    def fit_of(self, name: str) -> TunedModel:
        """How a tuned model is configured."""
        return self._tuned[name]

    def add_reference(self, identifier: str, revision: str | None = None) -> str:
        """Have a model read as a reference, unless it is one of the run. Returns its name.

        Args:
            identifier: name of a model of the run, or folder, GGUF file or hub id of any.
            revision: on the hub, where an adapter names that of its base.

        Raises:
            ConfigError: another model has its name, or it is the same one at another revision; or the run tunes it.
        """
        if identifier in self._tuned:
            raise ConfigError(
                f"reference {identifier}: the run tunes it, so it is not there before; name another model"
            )
        if identifier in self._own:
            return identifier
        name = model_name(identifier)
        try:
            PLAIN_NAME.checked(name)
        except ValueError as error:
            raise ConfigError(f"reference {identifier}: its name {error}") from None
        if name in self._tuned or not same_model(self.identifiers.setdefault(name, identifier), identifier):
            other = self.identifiers.get(name, "a model that the run tunes")
            raise ConfigError(f"reference {identifier}: {other} is also called {name}; give one of them another name")
        if name not in self._own and name not in self.references:
            self.references.append(name)
            self._named_revisions[name] = revision
        if revision and revision != (read := self.revision(name)):
            at = read or "its default branch"
            raise ConfigError(
                f"reference {identifier}: at revision {revision}, and the run reads it at {at}; name one of them under "
                "revisions"
            )
        return name

    def files(self, model: str) -> list[Path]:
        """Files of a local model that its manifest depends on; none for a hub model."""
        identifier = self.identifiers[model]
        return self.local_files(identifier, self.bases.get(identifier))

    def local_files(self, identifier: str, base: str | None = None) -> list[Path]:
        """The files of any model that is local, or will be once the workflow has placed it; none for a hub model.

        Args:
            identifier: of the model, or of an adapter, of which they are its own and those of its base.
            base: of an adapter, if another one than it names.

        Raises:
            ModelError: it is local and not whole.
        """
        if Path(identifier) in (self.demo, *self.rewards.values()):
            return [Path(identifier)]
        if not is_local(identifier):
            return []
        files = model_files(Path(identifier))
        return [*files, *self.local_files(base_of(Path(identifier), base))] if is_local_adapter(identifier) else files

    def identities(self, files: Iterable[Path]) -> list[list[str | int]]:
        """What tells that files are others, see ``file_identity``; of what a rule makes nothing."""
        return [file_identity(file) for file in files if file not in (self.demo, *self.rewards.values())]

    def revision(self, model: str) -> str | None:
        """The hub revision of a model: the configured one; of a reference, else that which its adapter names."""
        return revision_of(self.identifiers[model], self._revisions) or self._named_revisions.get(model)

    def base(self, model: str) -> tuple[str | None, str | None]:
        """The configured base of an adapter, and the base's configured hub revision; None where there is none."""
        identifier = self.identifiers[model]
        base = named = self.bases.get(identifier)
        if base is None and is_local_adapter(identifier):
            named = base_of(Path(identifier).expanduser(), None)
        return base, revision_of(named, self._revisions) if named else None

    def flags(self, model: str) -> list[str]:
        """Command-line options for what is configured of a model: hub revision, base, and the base's revision."""
        base, base_revision = self.base(model)
        options = {"revision": self.revision(model), "base": base, "base-revision": base_revision}
        return [f"--{name}={value}" for name, value in options.items() if value]


def reward_manifest(config: Config, name: str) -> Path:
    """What pins a model that the run tunes, as a reward model."""
    return Path(config.folders.results) / config.run / "models" / "rewards" / f"{name}.json"


def is_local_adapter(identifier: str) -> bool:
    """Whether a folder holds an adapter; of what is on the hub it is not known."""
    return is_local(identifier) and is_adapter(Path(identifier).expanduser())


def same_model(one: str, other: str) -> bool:
    """Whether two identifiers are of the same model, however its folder is spelled."""
    local = is_local(one) and is_local(other)
    return one == other or (local and Path(one).expanduser().resolve() == Path(other).expanduser().resolve())
