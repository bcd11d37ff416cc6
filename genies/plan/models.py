"""The language models of a run."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path

from genies.config.sections import PLAIN_NAME, Config
from genies.demo.place import MODEL, MODEL_FILE
from genies.errors import ConfigError
from genies.models.files import base_of, file_identity, model_files
from genies.models.find import is_local, model_name, revision_of


class Models:
    """The language models of a run, by their names.

    Attributes:
        demo: file of the demo's model, which a rule places.
        identifiers: folder, GGUF file or hub id by name, of ``references``, too.
        references: models of which log-probabilities alone are read, as a policy's reference; not the run's own.
    """

    def __init__(self, config: Config) -> None:
        """Name the models of a configuration."""
        self.demo = Path(config.folders.resources) / "demo" / MODEL_FILE
        placed = {MODEL: str(self.demo)}
        self.identifiers = {model_name(name): placed.get(name, name) for name in config.chosen_models}
        self.references: list[str] = []
        self._own = tuple(self.identifiers)
        self._revisions = config.revisions

    def __iter__(self) -> Iterator[str]:
        return iter(self._own)

    def __len__(self) -> int:
        return len(self._own)

    def base(self, model: str) -> str | None:
        """The model that an adapter was trained on: folder or hub id; None where the model is a whole one."""
        return base_of(self.identifiers[model])

    def add_reference(self, identifier: str) -> str:
        """Have a model read as a reference, unless it is one of the run. Returns its name.

        Args:
            identifier: name of a model of the run, or folder, GGUF file or hub id of any.

        Raises:
            ConfigError: another model has its name.
        """
        if identifier in self._own:
            return identifier
        name = model_name(identifier)
        try:
            PLAIN_NAME.checked(name)
        except ValueError as error:
            raise ConfigError(f"reference {identifier}: its name {error}") from None
        if not _same(self.identifiers.setdefault(name, identifier), identifier):
            raise ConfigError(
                f"reference {identifier}: {self.identifiers[name]} is also called {name}; give one of them another name"
            )
        if name not in self._own and name not in self.references:
            self.references.append(name)
        return name

    def files(self, model: str) -> list[Path]:
        """Files of a local model that its manifest depends on; none for a hub model."""
        return self.local_files(self.identifiers[model])

    def local_files(self, identifier: str) -> list[Path]:
        """The files of any model that is local, or will be once the workflow has placed it; none for a hub model.

        Raises:
            ModelError: it is local and not whole.
        """
        if Path(identifier) == self.demo:
            return [self.demo]
        return model_files(Path(identifier)) if is_local(identifier) else []

    def identities(self, files: Iterable[Path]) -> list[list[str | int]]:
        """What tells that files are others, see ``file_identity``; of the demo's model nothing: a rule places it."""
        return [file_identity(file) for file in files if file != self.demo]

    def revision(self, model: str) -> str | None:
        """The configured hub revision of a model."""
        return revision_of(self.identifiers[model], self._revisions)

    def revision_flag(self, model: str) -> list[str]:
        """Command-line option for the hub revision of a model; none where none is configured."""
        revision = self.revision(model)
        return [f"--revision={revision}"] if revision else []


def _same(one: str, other: str) -> bool:
    """Whether two identifiers are of the same model, however its folder is spelled."""
    local = is_local(one) and is_local(other)
    return one == other or (local and Path(one).expanduser().resolve() == Path(other).expanduser().resolve())
