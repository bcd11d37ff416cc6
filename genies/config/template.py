"""The configuration that ``genies init`` writes: every key with its meaning, what most people change first."""

from __future__ import annotations

import json
import shlex
import textwrap
from pathlib import Path

from pydantic.fields import FieldInfo
from pydantic_core import to_jsonable_python

from genies.config.sections import Config
from genies.errors import ConfigError
from genies.files import whole_file

HEAD = """# A configuration of genies. Run it with: snakemake --cores 2 --configfile {quoted}
# As it is, it runs the demo's shifts on the demo's model. Change what follows; below are all other keys with their
# defaults, commented out.

# Name of the run; its results lie in results/<run>.
run: {run}

# Causal language models: local folders (safetensors and tokenizer), GGUF files, or hub ids such as
# EleutherAI/pythia-410m.
models:
  - resources/demo/SmolLM2-135M-Instruct.Q4_1.gguf

# Shift lists: names of those that come with genies (demo, genies15, published69), or YAML files of your own with
# entries such as  - {{source: my_easy, target: my_hard, label: extreme, category: difficulty}}
shifts:
  - demo

# Folders of your own distributions, each with train.json and test.json; the last part of the path is the name.
# distributions:
#   - data/my_easy
#   - data/my_hard

# Interventions by name, or paths of Python files that define one.
interventions:
  - random
  - zero_shot
  - mms
  - lat_stim_1
"""
WRITTEN = ("run", "models", "shifts", "distributions", "interventions")
WIDTH = 118


def render(file: Path) -> str:
    """The text of a configuration called ``file``."""
    run = json.dumps("".join(c if c.isalnum() or c in "_-" else "_" for c in file.stem).lstrip("-") or "mine")
    others = [_commented(name, field) for name, field in Config.model_fields.items() if name not in WRITTEN]
    return "\n".join([HEAD.format(quoted=shlex.quote(str(file)), run=run), *others])


def _commented(name: str, field: FieldInfo) -> str:
    description = (field.description or "").replace("; see below", "")
    meaning = textwrap.fill(description, WIDTH, initial_indent="# ", subsequent_indent="# ")
    default = field.get_default(call_default_factory=True)
    return f"{meaning}\n# {name}: {json.dumps(to_jsonable_python(default))}\n"


def write(file: Path) -> None:
    """Write the configuration, unless there is such a file already.

    Raises:
        ConfigError: there is.
    """
    if file.exists():
        raise ConfigError(f"{file.absolute()}: exists already; give another name")
    with whole_file(file) as partial:
        partial.write_text(render(file), encoding="utf-8")
