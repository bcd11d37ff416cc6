"""The mistakes that people make first: each is answered in one line that names what is wrong and what helps."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
from pathlib import Path

import pytest
import yaml
from adapters import save_adapter
from helpers import save_model, write_distribution
from project import Project

from genies.cli import main
from genies.config.load import load_config
from genies.config.sections import Config
from genies.config.template import render
from genies.engine.reads import Reads
from genies.errors import GeniesError
from genies.plan import Plan
from genies.plan.checks import beside_files
from genies.plan.products import problem_of, products
from genies.stages.model import pin_model

SHIFT = {"source": "north", "target": "south"}


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A working folder with a model, two distributions and a shift list."""
    monkeypatch.chdir(tmp_path)
    save_model(tmp_path / "tiny-llama", "llama")
    for number, name in enumerate(("north", "south")):
        write_distribution(tmp_path / "data" / name, offset=31 * number)
    (tmp_path / "shifts.yaml").write_text(yaml.safe_dump([SHIFT]))
    return tmp_path


def plan(**changes: object) -> Plan:
    values = {
        "run": "mine",
        "models": ["tiny-llama"],
        "distributions": ["data/north", "data/south"],
        "shifts": ["shifts.yaml"],
        "interventions": ["zero_shot", "mms"],
        "capability_interventions": ["mms"],
    }
    return Plan(load_config({**values, **changes}))


def refusal(**changes: object) -> str:
    with pytest.raises(GeniesError) as caught:
        plan(**changes)
    assert "\n" not in str(caught.value)
    return str(caught.value)


def test_parameters_of_an_unknown_intervention_are_refused_with_the_nearest_name(folder: Path) -> None:
    assert "loar is no intervention; did you mean lora?" in refusal(intervention_parameters={"loar": {"steps": 3}})
    assert "there are bag_of_words, ccs, cra" in refusal(intervention_parameters={"xyzzy": {}})


def test_parameters_of_an_intervention_that_the_run_leaves_out_may_stay(folder: Path) -> None:
    assert plan(intervention_parameters={"lora": {"steps": 3}}).methods.names == ["zero_shot", "mms"]


@pytest.mark.parametrize(
    ("changes", "path"),
    [
        ({"distributions": ["data/north", "data/sough"]}, "data/sough"),
        ({"models": ["./tiny-lama"]}, "tiny-lama"),
        ({"shifts": ["my/shifts.yaml"]}, "my/shifts.yaml"),
        ({"data_archive": "genies.tar.xz"}, "genies.tar.xz"),
        ({"interventions": ["probes/mine.py"]}, "probes/mine.py"),
        ({"plugins": {"mine": "plugins/mine"}}, "plugins/mine/train.py"),
        ({"beside": ["results/other"]}, "results/other/generalization_metrics.csv"),
    ],
    ids=lambda value: next(iter(value)) if isinstance(value, dict) else "",
)
def test_a_path_that_is_not_there_is_named_absolute(folder: Path, changes: dict, path: str) -> None:
    assert str(folder / path) in refusal(**changes)


def test_a_distribution_folder_without_splits_is_named(folder: Path) -> None:
    (folder / "data/empty").mkdir()
    assert f"{folder}/data/empty: holds neither train.json nor test.json" in refusal(distributions=["data/empty"])


def test_a_set_of_tests_alone_can_be_a_target_but_not_a_source_or_a_reference(folder: Path) -> None:
    (folder / "data/south/train.json").unlink(missing_ok=True)
    (folder / "data/south/test.json").write_text('[{"prompt": "p", "responses": {"a": 1, "b": 0}}]')
    assert "shift north → south: south has no train.json, so no capability can be fitted on it" in refusal()
    assert plan(capability_interventions=[]).selection.tested == ["north", "south"]
    Path("shifts.yaml").write_text("- {source: south, target: north}\n")
    assert "south has no train.json, so it can be a target, but not a source" in refusal(shifts=["shifts.yaml"])
    Path("shifts.yaml").write_text("- {source: north, target: south, target_reference: north}\n")
    assert plan(shifts=["shifts.yaml"]).selection.fitted_on == ["north"]


def test_a_run_to_show_beside_must_share_a_shift(folder: Path) -> None:
    table = folder / "results/other/generalization_metrics.csv"
    table.parent.mkdir(parents=True)
    table.write_text("model,intervention,source,target\nm,mms,east,west\n")
    assert f"{table}: has no shift that this run has" in refusal(beside=["results/other"])
    table.write_text("model,intervention,source,target\nm,mms,north,south\n")
    assert beside_files(plan(beside=["results/other"])) == [Path("results/other/generalization_metrics.csv")]


def test_a_missing_configuration_file_is_one_line(
    folder: Path, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    assert main(["estimate", "--configfile", "mien.yaml"]) == 2
    assert capfd.readouterr().err == (
        f"genies: error: {folder}/mien.yaml: no such configuration file; correct the path, or write one to start from "
        "with `genies init mien.yaml`\n"
    )


def test_a_key_that_occurs_twice_is_refused_with_its_line(folder: Path, capfd: pytest.CaptureFixture[str]) -> None:
    base = "run: mine\nmodels: [tiny-llama]\ndistributions: [data/north]\nshifts: [shifts.yaml]\n"
    (folder / "mine.yaml").write_text(f"{base}limit: {{train: 8}}\nwordings: 1\nlimit: {{test: 8}}\n")
    assert main(["power", "--configfile", "mine.yaml"]) == 2
    assert capfd.readouterr().err == "genies: error: mine.yaml: line 7: the key limit occurs a second time; keep one\n"
    (folder / "mine.yaml").write_text(f"{base}limit: {{train: 8, test: 8, train: 9}}\n")
    assert main(["power", "--configfile", "mine.yaml"]) == 2
    assert "mine.yaml: line 5: the key train occurs a second time" in capfd.readouterr().err
    (folder / "mine.json").write_text('{"run":\t"mine",\t"modles": []}')
    assert main(["power", "--configfile", "mine.json"]) == 2
    assert "unknown key modles; did you mean models?" in capfd.readouterr().err


def test_a_reader_that_goes_away_ends_a_verb_quietly(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "genies", "cache", "list", "--cache", tmp_path]
    read, write = os.pipe()
    os.close(read)
    ended = subprocess.run(command, stdout=write, stderr=subprocess.PIPE, text=True)
    os.close(write)
    assert (ended.returncode, ended.stderr) == (128 + signal.SIGPIPE, "")


def test_a_model_without_a_configuration_is_said_to_run_the_demo(folder: Path, tmp_path: Path) -> None:
    (tmp_path / "project").mkdir()
    project = Project(tmp_path / "project")
    said = "genies: no --configfile is given, so the demo's shifts run on this model\n"
    assert said in project.snakemake("--dry-run", "--config", "model=tiny-llama").stderr
    assert said not in project.snakemake("--dry-run").stderr
    assert said not in project.run("--dry-run", "--config", "model=tiny-llama").stderr


def test_init_writes_a_configuration_that_plans_and_names_every_key(folder: Path) -> None:
    assert main(["init", "mine.yaml"]) == 0
    text = (folder / "mine.yaml").read_text()
    written = load_config(yaml.safe_load(text))
    assert written.run == "mine"
    assert Plan(written).shifts
    # Every key that is commented out has the default that the schema has.
    uncommented = re.sub(r"^# (\w+: )(?!$)", r"\1", text[text.index("run: ") :], flags=re.MULTILINE)
    assert load_config(yaml.safe_load(uncommented)) == written
    assert all(re.search(rf"^#? ?{key}:", text, re.MULTILINE) for key in Config.model_fields)


def test_init_overwrites_nothing(folder: Path, capfd: pytest.CaptureFixture[str]) -> None:
    (folder / "mine.yaml").write_text("run: precious\n")
    assert main(["init", "mine.yaml"]) == 2
    assert f"{folder}/mine.yaml: exists already" in capfd.readouterr().err
    assert (folder / "mine.yaml").read_text() == "run: precious\n"


@pytest.mark.parametrize(
    "name", ["my run.yaml", "-x.yaml", "ü.yaml", ".yaml", "1.yaml", "true.yaml", "null.yaml", "2024-01-01.yaml"]
)
def test_any_name_of_a_file_gives_a_valid_run(name: str) -> None:
    assert load_config(yaml.safe_load(render(Path(name)))).run


@pytest.mark.parametrize(
    ("ensemble", "changes", "told"),
    [
        ({"members": ["mms"]}, {}, "ensembles.both.members"),
        ({"members": ["mms", "mms"]}, {}, "ensembles: both: mms is named twice"),
        (
            {"members": ["mms", "zero_shoot"]},
            {},
            "both: zero_shoot is no intervention of the run; did you mean zero_shot?",
        ),
        (
            {"members": ["mms", "mms@2"]},
            {"further_seeds": [1]},
            "mms@2 is no intervention of the run; did you mean mms@1?",
        ),
        ({"members": ["mms", "other"]}, {}, "ensembles: both: other is an ensemble itself; name its members"),
        (
            {"members": ["mms", "zero_shot"]},
            {"capability_interventions": ["both"]},
            "both is an ensemble; name its members",
        ),
        ({"members": ["mms", "zero_shot"], "combine": "median"}, {}, "ensembles.both.combine"),
        ({"members": ["mms", "zero_shot"], "penalty": -1}, {}, "ensembles.both.penalty"),
        ({"members": ["mms", "zero_shot"], "weights": [1, 2]}, {}, "unknown key ensembles.both.weights"),
    ],
)
def test_ensembles_that_cannot_be_are_refused(folder: Path, ensemble: dict, changes: dict, told: str) -> None:
    other = {"members": ["mms", "zero_shot"]}
    assert told in refusal(ensembles={"both": ensemble, "other": other}, **changes)


def test_an_ensemble_has_a_name_of_its_own_and_no_plug_in(folder: Path) -> None:
    members = {"members": ["mms", "zero_shot"]}
    assert "ensembles: mms is also the name of another intervention" in refusal(ensembles={"mms": members})
    (folder / "program").mkdir()
    for name in ("train.py", "eval.py"):
        (folder / "program" / name).touch()
    told = refusal(plugins={"program": "program"}, ensembles={"both": {"members": ["mms", "program"]}})
    assert "program is a plug-in, which states no scores; leave it out" in told
    planned = plan(further_seeds=[1], ensembles={"both": {"members": ["mms", "mms@1"]}})
    assert planned.methods.names == ["zero_shot", "mms", "both"] and "both" not in planned.roles.trained


def test_a_reference_is_a_model_of_the_run_another_one_or_refused(folder: Path) -> None:
    def referring(**parameters: str) -> dict:
        return {"interventions": ["implicit_reward"], "intervention_parameters": {"implicit_reward": parameters}}

    assert "implicit_reward: tiny-llama is no adapter" in refusal(**referring())
    assert "model folder not found" in refusal(**referring(reference="./nowhere"))
    save_model(folder / "elsewhere/tiny-llama", "llama")
    assert "is also called tiny-llama" in refusal(**referring(reference="elsewhere/tiny-llama"))
    save_model(folder / "sft", "llama")
    planned = plan(**referring(reference="./sft"))
    assert (list(planned.models), planned.models.references) == (["tiny-llama"], ["sft"])
    for own in ("tiny-llama", "./tiny-llama", str(folder / "tiny-llama")):
        planned = plan(**referring(reference=own))
        assert planned.models.references == []
        assert list(planned.references.of("tiny-llama", "implicit_reward")) == ["tiny-llama"]
    save_adapter(folder / "dpo", folder / "tiny-llama", "lora")
    assert "is an adapter on tiny-llama, so that the two are exchanged" in refusal(**referring(reference="./dpo"))


def test_surface_baselines_may_be_members_and_an_ensemble_of_them_alone_is_one(folder: Path) -> None:
    planned = plan(
        interventions=["mms", "length", "first_word", "lora"],
        ensembles={
            "counted": {"members": ["length", "first_word"]},
            "mixed": {"members": ["mms", "length"]},
            "trained": {"members": ["length", "lora"]},
        },
    )
    methods = planned.methods
    assert methods.names == ["mms", "length", "first_word", "lora", "counted", "mixed", "trained"]
    roles = planned.roles
    assert roles.baselines == ["length", "first_word", "counted"]
    assert roles.surface == ["length", "first_word"] and roles.with_jobs == ["mms"]
    assert roles.trained == ["lora", "trained"]


def test_of_a_reference_log_probabilities_of_test_texts_alone_are_read(folder: Path) -> None:
    save_model(folder / "sft", "llama")
    planned = plan(
        interventions=["mms", "implicit_reward"], intervention_parameters={"implicit_reward": {"reference": "./sft"}}
    )
    assert planned.reads("sft") == {"train": {}, "test": {"plain": Reads(log_probability=True)}}
    # Which examples are left out or shortened depends on all views of the run.
    assert set(planned.tokenized("sft")["train"]) == {*planned.reading.views}
    assert planned.tokenized("tiny-llama") == planned.methods.reads
    assert planned.trained_on("sft") == [] and planned.trained_on("tiny-llama") == planned.selection.fitted_on
    assert planned.reads("tiny-llama") == planned.methods.reads
    assert planned.methods.kind("implicit_reward").reads("plain") == Reads(log_probability=True)


TUNED = {"tuned": {"intervention": "lora", "source": "north"}}


@pytest.mark.parametrize(
    ("parameters", "told"),
    [
        ({"model": ["a", "b"]}, "parameter model: name the folder or hub id of a reward model"),
        ({"model": {"a": "b"}}, "parameter model: name the folder or hub id of a reward model"),
        ({"model": "tiny-llama", "format": "judge", "template": 5}, "parameter template: 5 is no text"),
        ({"model": "tiny-llama", "format": "judge", "template": ["pair"]}, "parameter template: ['pair'] is no text"),
        ({"model": "tiny-llama", "format": "judge", "template": "{prompt}{response}?", "answers": 5}, "answers: 5"),
        ({"model": "tuned", "base": "tiny-llama"}, "reward_model: base: tuned is tuned by the run and has none"),
        ({"model": "tuned", "format": "judge"}, "reward_model: format: judge asks a language model, and tuned is"),
    ],
)
def test_what_can_be_no_reward_model_is_refused_before_the_run(folder: Path, parameters: dict, told: str) -> None:
    said = refusal(
        interventions=["mms", "lora", "reward_model"],
        tuned_models=TUNED,
        intervention_parameters={"reward_model": parameters},
    )
    assert told in said


def test_a_tuned_model_is_read_by_interventions_of_the_runs_own_seed(folder: Path) -> None:
    tuned = {"tuned": {**TUNED["tuned"], "interventions": ["ccs@1"]}}
    said = refusal(interventions=["ccs", "mms", "lora"], further_seeds=[1], tuned_models=tuned)
    assert "tuned: ccs@1 is no intervention of the run that reads features; did you mean ccs?" in said


@pytest.mark.parametrize("read_by", [None, ["mms"], []])
def test_a_model_that_the_run_tunes_is_no_reference(folder: Path, read_by: list[str] | None) -> None:
    said = refusal(
        interventions=["mms", "lora", "implicit_reward", "reward_model"],
        tuned_models={"tuned": {**TUNED["tuned"], "interventions": read_by}},
        intervention_parameters={"implicit_reward": {"reference": "tuned"}, "reward_model": {"model": "tuned"}},
    )
    assert "reference tuned: the run tunes it" in said


def adapter_on(folder: Path, **configured: str) -> None:
    folder.mkdir()
    (folder / "adapter_model.safetensors").touch()
    (folder / "adapter_config.json").write_text(
        json.dumps({"peft_type": "LORA", "base_model_name_or_path": "owner/base", **configured})
    )


def test_the_reference_of_an_adapter_is_its_base_at_the_revision_that_it_names(folder: Path) -> None:
    adapter_on(folder / "policy", revision="0123abc")
    adapter_on(folder / "other", revision="4567def")
    adapter_on(folder / "plain")
    interventions = ["zero_shot", "implicit_reward"]
    asked = {"interventions": interventions, "capability_interventions": ["zero_shot"]}
    planned = plan(models=["./policy"], **asked)
    assert planned.models.references == ["base"] and planned.models.flags("base") == ["--revision=0123abc"]
    assert plan(models=["./plain"], **asked).models.flags("base") == []
    said = refusal(models=["./policy", "./other"], **asked)
    assert "reference owner/base: at revision 4567def, and the run reads it at 0123abc" in said
    # What is configured holds for the adapter's base as well, so that both are the same.
    planned = plan(models=["./policy", "./other"], revisions={"owner/base": "89ab"}, **asked)
    assert planned.models.flags("base") == ["--revision=89ab"]
    assert planned.models.base("policy") == (None, "89ab")


def test_the_base_of_an_adapter_on_the_hub_has_to_be_named_for_a_reference(folder: Path) -> None:
    said = refusal(models=["owner/adapter"], interventions=["implicit_reward"], capability_interventions=[])
    assert "owner/adapter is on the hub: whether it is an adapter, and of which base, is not known before" in said
    assert "name its base under bases, or give the parameter reference" in said
    planned = plan(
        models=["owner/adapter"], bases={"owner/adapter": "tiny-llama"}, interventions=["implicit_reward"],
        capability_interventions=[],
    )  # fmt: skip
    assert planned.models.references == ["tiny-llama"]


def test_results_on_another_base_of_an_adapter_are_not_those_of_the_configuration(folder: Path) -> None:
    adapter = save_adapter(folder / "adapter", folder / "tiny-llama", "lora")
    save_model(folder / "other", "llama")

    def problem(**changes: object) -> str | None:
        planned = plan(models=[str(adapter)], **changes)
        (described,) = (one for one in products(planned) if one.file == planned.files.model("adapter"))
        return problem_of(described)

    own = {"bases": {str(adapter): "tiny-llama"}}
    output = plan(models=[str(adapter)]).files.model("adapter")
    pin_model(str(adapter), base="tiny-llama", cache=Path("cache"), output=output)
    assert problem(**own) is None
    said = 'was made with adapter.base = "tiny-llama", configured is "other"'
    assert problem(bases={str(adapter): "other"}) == said


@pytest.mark.parametrize("pair", ["north", "north:", ":south", "north/south"])
def test_a_pair_of_one_distribution_is_refused(folder: Path, pair: str, capfd: pytest.CaptureFixture[str]) -> None:
    files = ["--train", "data/north/train.json", "--test", "data/south/test.json"]
    assert main(["overlap", pair, *files, "--output=found"]) == 2
    assert f"{pair}: no SOURCE:TARGET; give the names of two distributions" in capfd.readouterr().err
    assert not Path("found").exists()


@pytest.mark.parametrize("words", [["audit", "{}"], ["report", "{}"], ["select", "{}"], ["compare", "{}", "."]])
@pytest.mark.parametrize("name", ["nowhere", "shifts.yaml"])
def test_what_is_no_folder_of_results_is_refused(
    folder: Path, words: list[str], name: str, capfd: pytest.CaptureFixture[str]
) -> None:
    assert main([word.format(name) for word in words]) == 2
    said = capfd.readouterr().err
    assert said == f"genies: error: {name}: no such folder; give that of a run's results, such as results/genies15\n"


def test_what_is_wrong_with_interventions_is_said_of_the_one_that_has_it(folder: Path) -> None:
    message = refusal(interventions=["mms", "zero_shot", "mms"])
    assert message.startswith("interventions: two of them have the same name, mms;")
    message = refusal(intervention_parameters={"mms": {"kept": "many"}})
    assert message.startswith("intervention mms: parameter kept: 'many' is not an integer")
