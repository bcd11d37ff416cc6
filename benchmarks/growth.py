"""Processor time and memory of every stage as one distribution grows, on a tiny model.

Run as ``python benchmarks/growth.py FOLDER``; see ``docs/benchmarks.md``. Each stage is one process of one thread, as a
job of Snakemake, on a distribution whose pairs lie half in its training split and half in its test split.
Processor time is what other work on the machine changes least.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

import polars as pl

from genies.evaluation import tables

SIZES = (2_000, 20_000, 200_000)
FIXED, ROUNDS = 20, 3
"""Pairs of a distribution on which a stage does little but start, and how often it does; the fastest counts."""
WORDS = (
    "the capital of is . ? what tell me about red green blue old new big small paris rome madrid vienna oslo "
    "france italy spain austria norway north south east west river hill lake road"
).split()
PROBE = "mms"
PROGRAM = """
import resource, sys
import genies.cli
status = genies.cli.main(sys.argv[1:])
used = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
peak = next(line.split()[1] for line in open("/proc/self/status") if line.startswith("VmHWM:"))
print(sum(each.ru_utime + each.ru_stime for each in used), peak)
sys.exit(status)
"""
"""Runs a verb and prints its processor time and peak; ``ru_maxrss`` would be at least the peak of this process."""
ALLOWED_TIME, ALLOWED_GIB = 1.2, 1.0
"""What the time per pair at the largest size may be over that at the size before, and its peak over the smallest's."""


def save_model(folder: Path) -> None:
    """A random Llama of 3 layers, 32 wide, with a tokenizer of whole words; seeded."""
    import torch
    from tokenizers import Tokenizer, models, pre_tokenizers
    from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

    known = ["<unk>", "<s>", "</s>", *map(str, range(10)), *dict.fromkeys(WORDS)]
    words = Tokenizer(models.WordLevel({word: number for number, word in enumerate(known)}, unk_token="<unk>"))
    words.pre_tokenizer = pre_tokenizers.Sequence([pre_tokenizers.Whitespace(), pre_tokenizers.Digits(True)])
    PreTrainedTokenizerFast(
        tokenizer_object=words, unk_token="<unk>", bos_token="<s>", eos_token="</s>"
    ).save_pretrained(folder)
    torch.manual_seed(0)
    config = LlamaConfig(
        vocab_size=len(known), hidden_size=32, intermediate_size=64, num_hidden_layers=3, num_attention_heads=4,
        max_position_embeddings=256, bos_token_id=1, eos_token_id=2, initializer_range=0.1,
    )  # fmt: skip
    LlamaForCausalLM(config).save_pretrained(folder)


def write_split(file: Path, count: int, first: int) -> None:
    """Examples with a prompt of their own and two responses each."""
    cities, countries = WORDS[17:22], WORDS[22:27]
    examples = []
    for number in range(first, first + count):
        colour, country, right = WORDS[11 + number // 5 % 3], countries[number % 5], cities[number % 5]
        wrong = cities[(number + 1 + number // 7 % 4) % 5]
        prompt = f"tell me about {colour} {country} {number} . what is the capital of {country} ? "
        responses = {f"the capital is {right} .": 1.0, f"the capital is {wrong} .": 0.0}
        examples.append({"prompt": prompt, "responses": responses})
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(json.dumps(examples))


def stages() -> Iterator[tuple[str, list[str]]]:
    """The stages in their order, and the arguments of each, in the folder of a size."""
    data, run = "data/grown", "results"
    model, tokens, stores, fits = (f"{run}/{name}.json" for name in ("model", "tokens", "stores", "fits"))
    train, test = ["--train", f"{data}/train.json"], ["--test", f"{data}/test.json"]
    views = ["--train-views", "plain:heads", "--test-views", "plain:heads"]
    yield "model", ["../model", "--output", model]
    yield "tokenize", ["--model", model, *train, *test, *views, "--output", tokens]
    yield "extract", ["grown", "--model", model, "--tokens", tokens, *views, "--output", stores]
    yield "fit", [PROBE, *train, "--activations", stores, "--output", fits]
    yield (
        "evaluate",
        ["grown:grown", "--fits", fits, *test, "--activations", stores, "--output", f"{run}/evaluations/model/{PROBE}"],
    )
    yield "overlap", ["grown:grown", *train, *test, "--output", run]
    yield (
        "metrics",
        [f"{run}/evaluations", "--models", "model", "--interventions", PROBE, "--shifts", "shifts.yaml",
         "--capability", PROBE, "--fits", fits, "--on-references", PROBE, "--overlap", f"{run}/overlap.parquet",
         "--output", run],
    )  # fmt: skip


def measure(folder: Path, pairs: int) -> Iterator[dict[str, float | int | str]]:
    """Run every stage on a distribution of so many pairs; seconds of processor time, and the peak of memory in GiB."""
    shutil.rmtree(folder, ignore_errors=True)
    write_split(folder / "data/grown/train.json", pairs // 2, 0)
    write_split(folder / "data/grown/test.json", pairs // 2, pairs)
    shift = {"source": "grown", "target": "grown", "label": "extreme", "category": "growth"}
    (folder / "shifts.yaml").write_text(json.dumps([shift]))
    threads = dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"), "1")
    for verb, arguments in stages():
        done = subprocess.run(
            [sys.executable, "-c", PROGRAM, verb, *arguments], cwd=folder, env={**os.environ, **threads},
            capture_output=True, text=True,
        )  # fmt: skip
        if done.returncode:
            raise SystemExit(f"{verb} at {pairs} pairs: {done.stderr}")
        used, resident = done.stdout.splitlines()[-1].split()
        seconds, peak = float(used), int(resident) / 2**20
        print(f"{pairs} {verb}: {seconds:.1f} s, {peak:.2f} GiB", file=sys.stderr, flush=True)
        yield {"stage": verb, "pairs": pairs, "seconds": seconds, "gib": peak}
    missing = [name for name in tables.NAMES if not (folder / f"results/{name}.csv").is_file()]
    if missing:
        raise SystemExit(f"no table {missing[0]}")
    shutil.rmtree(folder)


def judged(rows: pl.DataFrame, starts: Mapping[str, float], sizes: Sequence[int]) -> Iterator[str]:
    """Lines of a table in Markdown: seconds and GiB by stage and size, and both figures that are bounded."""
    small, large = sizes[0], sizes[-1]
    bounded = f"time per pair, {large:,} ÷ {sizes[-2]:,} | peak, {large:,} − {small:,}" if len(sizes) > 2 else ""
    yield f"| stage | {' | '.join(f'{size:,} pairs' for size in sizes)} |{f' start | {bounded} |' if bounded else ''}"
    yield f"|---|{'---:|' * (len(sizes) + 3 * bool(bounded))}"
    together = rows.group_by("pairs", maintain_order=True).agg(
        pl.lit("all").alias("stage"), pl.sum("seconds"), pl.max("gib")
    )
    rows, starts = pl.concat([rows, together.select(rows.columns)]), {**starts, "all": sum(starts.values())}
    for (stage,), of_stage in rows.group_by("stage", maintain_order=True):
        seconds = dict(of_stage.select("pairs", "seconds").iter_rows())
        gib = dict(of_stage.select("pairs", "gib").iter_rows())
        cells = [f"{seconds[size]:.1f} s, {gib[size]:.2f} GiB" for size in sizes]
        if bounded:
            start = min(starts[stage], *seconds.values())
            each = [(seconds[size] - start) / size for size in sizes[-2:]]
            ratio, more = each[1] / max(each[0], 1e-12), gib[large] - gib[small]
            cells += [
                f"{start:.1f} s",
                f"{ratio:.2f}{'' if ratio <= ALLOWED_TIME else ' (too much)'}",
                f"{more:.2f} GiB{'' if more <= ALLOWED_GIB else ' (too much)'}",
            ]
        yield f"| {stage} | {' | '.join(cells)} |"


def draw(rows: pl.DataFrame, file: Path) -> None:
    """Seconds and peak memory over the number of pairs, a line per stage."""
    import altair as alt

    lines = alt.Chart(rows).mark_line(point=True).encode(
        x=alt.X("pairs:Q", scale=alt.Scale(type="log"), title="pairs"),
        color=alt.Color("stage:N", sort=[name for name, _ in stages()], title=None),
    )  # fmt: skip
    seconds = lines.encode(y=alt.Y("seconds:Q", scale=alt.Scale(type="log"), title="seconds of processor time"))
    memory = lines.encode(y=alt.Y("gib:Q", title="peak memory, GiB"))
    (seconds.properties(width=300, height=260) | memory.properties(width=300, height=260)).save(file)


def main() -> None:
    """Measure; print Markdown, and draw."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder", type=Path, help="folder for data, cache and results; it goes away size by size")
    parser.add_argument("--sizes", type=int, nargs="+", default=SIZES)
    parser.add_argument("--plot", type=Path, help="SVG to draw")
    options = parser.parse_args()
    save_model(options.folder / "model")
    found: list[dict[str, float | int | str]] = []
    starts: dict[str, float] = {}
    for _ in range(ROUNDS):
        for row in measure(options.folder / str(FIXED), FIXED):
            starts[row["stage"]] = min(row["seconds"], starts.get(row["stage"], float("inf")))
    for size in options.sizes:
        found += measure(options.folder / str(size), size)
        (options.folder / "growth.json").write_text(json.dumps(found))
    rows = pl.DataFrame(found)
    print("\n".join(judged(rows, starts, options.sizes)))
    if options.plot:
        draw(rows, options.plot)


if __name__ == "__main__":
    main()
