"""A command as an objective: its placeholders, its output, its processes, and the networks that it is given."""

from __future__ import annotations

import json
import os
import pickle
import re
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from objectives.command.objective import LONGEST_TIMEOUT, CommandObjective, CommandSettings
from objectives.command.output import read_scores
from objectives.command.running import run_to_end
from objectives.command.template import PLACEHOLDERS, Template
from objectives.growth import Growth
from objectives.networks.factory import Factory
from objectives.networks.own_module import count_member
from phiscale import FLOPS, BudgetError, NetworkSpec, ScalingConstants, SettingsError, TrialError
from phiscale.errors import FileError, StudyError
from phiscale.triangle import COST_MODELS, Multipliers
from search.api import search
from search.evaluation import described
from tests import factories_for_tests
from tests.markdown_blocks import inline_code
from tests.test_scripts import ROOT
from tests.test_scripts_workers import LINUX, wait_for
from tests.tiny_data import TINY

EQUAL = ScalingConstants(2 ** (1 / 3), 2 ** (1 / 6), 2 ** (1 / 6))
AXES = ("depth", "width", "resolution")
SIZES = "{depth} {width} {resolution}"


def template(command: str, available=PLACEHOLDERS, axes=AXES) -> Template:
    return Template.parse(command, available=available, axes=axes)


def objective(command: str, folder: Path, growth: Growth | None = None, **changes) -> CommandObjective:
    """One whose command is run in the folder."""
    fields = {name: changes.pop(name) for name in [*changes] if name.startswith("command_")}
    settings = CommandSettings(command=command, command_folder=folder, **fields)
    return CommandObjective(settings, changes.pop("cost_model", FLOPS), logs=folder / "logs", growth=growth, **changes)


def script(folder: Path, body: str) -> str:
    """A script of a shell that has the words of the command as "$@"; the command that runs it."""
    (folder / "train.sh").write_text(body)
    return f"sh train.sh {SIZES} {{seed}}"


def run(folder: Path, body: str, **changes):
    return run_to_end(["sh", "-c", body], folder=folder, log=folder / "logs" / "x.log", **changes)


def test_words_are_those_of_a_shell_and_braces_of_ones_own_stay() -> None:
    made = template("""x "a b" --depth={depth} '{{"w": {width}}}' {resolution} {seed}{seed}""")
    values = {"depth": "1.5", "width": "2", "resolution": "1", "seed": "3"}
    assert made.fill(values) == ["x", "a b", "--depth=1.5", '{"w": 2}', "1", "33"]
    assert made.names == {"depth", "width", "resolution", "seed"}


@pytest.mark.parametrize(
    ("command", "said"),
    [
        (f"x {SIZES} {{dept}}", r"\{depth\}, .*\{split\} in --command, got \{dept\}"),
        (f"x {SIZES} {{}}", r"got \{\}"),
        (f"x {SIZES} {{0}}", r"got \{0\}"),
        (f"x {SIZES} {{seed.__class__}}", r"got \{seed.__class__\}"),
        (f"x {SIZES} {{seed:{{depth}}}}", "without a format"),
        (f"x {SIZES} {{seed!r}}", "without a format"),
        (f"x {SIZES} {{seed", "double a brace"),
        (f"x {SIZES} }}", "double a brace"),
        (f"x {SIZES} 'y", "quotes that are closed"),
        (f"x {SIZES} \0", "value 0"),
        ("  ", "got nothing"),
        ("x {depth} {width}", r"\{resolution\} or \{gamma\} or \{pixels\} or \{spec\}.*not depend on the resolution"),
        ("x", "not depend on the depth"),
    ],
)
def test_a_wrong_command_is_refused_before_the_study(command: str, said: str) -> None:
    with pytest.raises(SettingsError, match=said):
        template(command)


def test_axes_need_a_placeholder_where_they_enter_the_cost(tmp_path: Path) -> None:
    assert template("x {spec}").names == {"spec"}
    assert template("x {alpha} {beta} {pixels}").names == {"alpha", "beta", "pixels"}
    assert objective("true {depth} {width}", tmp_path, cost_model=COST_MODELS["params"])
    with pytest.raises(SettingsError, match="resolution"):
        objective("true {depth} {width}", tmp_path)


@pytest.mark.parametrize(
    ("name", "option", "given"),
    [
        ("pixels", "--network or --factory", {"growth": Growth(base=TINY)}),
        ("spec", "--network or --factory", {"growth": Growth(base=TINY)}),
        ("epochs", "--train.epochs", {"epochs": 3}),
        ("images", "--train.images-seen", {"images": 3000}),
        ("rungs", "--command-rungs", {"command_rungs": "10,20"}),
    ],
)
def test_a_placeholder_without_a_value_names_the_option_that_gives_one(tmp_path: Path, name, option, given) -> None:
    with pytest.raises(SettingsError, match=option):
        objective(f"true {SIZES} {{{name}}}", tmp_path)
    assert objective(f"true {SIZES} {{{name}}}", tmp_path, **given)


def test_the_page_lists_all_placeholders() -> None:
    page = (ROOT / "docs" / "howto" / "command.md").read_text(encoding="utf-8")
    rows = "\n".join(line for line in page.splitlines() if line.startswith("| `{"))
    assert {span[1:-1] for span in inline_code(rows) if span.startswith("{")} == set(PLACEHOLDERS)


@pytest.mark.parametrize("where", [{"command_folder": Path("nowhere")}, {"command": f"no-such-program {SIZES}"}])
def test_a_missing_folder_or_program_is_told_before_the_study(tmp_path: Path, where) -> None:
    settings = CommandSettings(**{"command": f"true {SIZES}", **where})
    with pytest.raises(SettingsError, match="nowhere|no-such-program"):
        CommandObjective(settings, FLOPS, logs=tmp_path)


def test_a_script_that_is_not_executable_is_told_so(tmp_path: Path) -> None:
    (tmp_path / "d.sh").touch(mode=0o644)
    with pytest.raises(SettingsError, match=r"got './d.sh', which is not executable"):
        objective(f"./d.sh {SIZES}", tmp_path)
    with pytest.raises(SettingsError, match=r"got './e.sh', which is not found"):
        objective(f"./e.sh {SIZES}", tmp_path)
    (tmp_path / "d.sh").chmod(0o755)
    assert objective(f"./d.sh {SIZES}", tmp_path)


def test_a_time_out_that_cannot_be_waited_for_is_refused(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match=r"--command-timeout of at most 2000000 seconds \(23 days\), got 1e\+18"):
        CommandSettings(command="x", command_timeout=1e18)
    assert run(tmp_path, "echo done", timeout=LONGEST_TIMEOUT).said == "done\n"


@pytest.mark.parametrize(
    "fields", [{"command_rungs": "20,10"}, {"command_rungs": "a"}, {"command_rungs": "0"}, {"command_timeout": 0.0}]
)
def test_settings_outside_their_range(fields) -> None:
    with pytest.raises(SettingsError):
        CommandSettings(command="x", **fields)
    with pytest.raises(SettingsError, match="with --command"):
        CommandSettings(command_timeout=3.0)


@pytest.mark.parametrize(
    ("said", "scores"),
    [
        ('{"score": 0.5}', 0.5),
        ('epoch 1\n{"score": 0.1}\n{"score": 1}\nbye\n', 1.0),
        ('{"loss": 1}\n  { "score": 0.5, "epoch": 3}  \n', 0.5),
        ("10 %\r99 %\r{\"score\": 0.5}\r\n{not json}\n[1]\n3\n{'a': 1}", 0.5),
        ('{"scores": {"400": 0.5, "1000": 0.7, "20": 0.1}}', {20: 0.1, 400: 0.5, 1000: 0.7}),
    ],
)
def test_the_last_line_of_json_is_the_result(said: str, scores) -> None:
    found = read_scores(said)
    assert found == scores
    assert list(found) == sorted(found) if isinstance(found, dict) else True


@pytest.mark.parametrize(
    ("said", "kind"),
    [
        ("", "output"),
        ("0.7\n", "output"),
        ('{"score": 0.7}\n{"score": 0.8', "output"),
        ('{"score": 0.7}\n{"epoch": 3}', "output"),
        ('{"score": 0.7, "scores": {"1": 0.7}}', "output"),
        ('{"score": 0.7, "score": 0.8}', "output"),
        ('{"score": "0.7"}', "output"),
        ('{"score": true}', "output"),
        ('{"score": null}', "output"),
        ('{"scores": [0.7]}', "output"),
        ('{"scores": {}}', "output"),
        ('{"scores": {"1e3": 0.7}}', "output"),
        ('{"scores": {"-5": 0.7}}', "output"),
        ('{"score": NaN}', "diverged"),
        ('{"score": 1e999}', "diverged"),
        ('{"scores": {"10": 0.5, "20": -Infinity}}', "diverged"),
        ('{"score": ' + "9" * 400 + "}", "output"),
        ('{"score": ' + "[" * 100_000, "output"),
    ],
)
def test_any_other_output_fails_the_trial(said: str, kind: str) -> None:
    with pytest.raises(TrialError) as raised:
        read_scores(said)
    assert raised.value.kind == kind


def test_all_output_is_in_the_log_and_runs_are_appended(tmp_path: Path) -> None:
    assert run(tmp_path, "echo one; echo two >&2").said == "one\n"
    assert run(tmp_path, "pwd").said.strip() == str(tmp_path)
    log = (tmp_path / "logs" / "x.log").read_text().splitlines()
    assert log[0] == "$ sh -c 'echo one; echo two >&2'"
    assert sorted(log[1:3]) == ["one", "two"]
    assert log[3:] == ["$ sh -c pwd", str(tmp_path)]


def test_long_output_is_in_the_log_whole_and_its_end_is_read(tmp_path: Path) -> None:
    ended = run(tmp_path, "yes 1234567 | head -n 100000; echo end")
    assert ended.said.endswith("1234567\nend\n")
    assert len(ended.said) <= 2**16
    assert (tmp_path / "logs" / "x.log").stat().st_size > 800_000


@pytest.mark.parametrize(
    ("body", "said"),
    [
        ("echo a; echo b; echo; echo c; echo d; exit 3", "exit status 3, see logs/x.log: b / c / d"),
        ("echo ValueError: 7 >&2; exit 1", "exit status 1, see logs/x.log: ValueError: 7"),
        ("kill -9 $$", r"exit status 137 \(SIGKILL, for lack of memory perhaps\), .*: it wrote nothing"),
        ("exec no-such-program", "exit status 127.*not found"),
    ],
)
def test_an_exit_status_fails_the_trial_with_the_last_lines(tmp_path: Path, body: str, said: str) -> None:
    run(tmp_path, "echo of an earlier run")
    with pytest.raises(TrialError, match=said) as raised:
        run(tmp_path, body)
    assert raised.value.kind == "exit"
    assert "earlier" not in str(raised.value)


def test_a_program_that_is_gone_fails_the_trial(tmp_path: Path) -> None:
    with pytest.raises(TrialError, match="exit status 127.*no-such-program: No such file"):
        run_to_end(["no-such-program"], folder=tmp_path, log=tmp_path / "x.log")


def test_a_folder_or_a_log_that_cannot_be_used_ends_the_run(tmp_path: Path) -> None:
    with pytest.raises(FileError, match="nowhere"):
        run_to_end(["true"], folder=tmp_path / "nowhere", log=tmp_path / "x.log")
    (tmp_path / "file").touch()
    with pytest.raises(FileError, match="cannot write the log"):
        run_to_end(["true"], folder=tmp_path, log=tmp_path / "file" / "x.log")


def test_a_command_has_no_secret_and_no_input(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PHISCALE_STORAGE", "postgresql://me:hunter@host/db")
    monkeypatch.setenv("MINE", "kept")
    assert run(tmp_path, "env; cat").said.count("MINE=kept") == 1
    assert "hunter" not in (tmp_path / "logs" / "x.log").read_text()


_LINGER = """{own} sh -c 'echo $$ >> pids; exec sleep 600' & echo $$ >> pids
until [ $(wc -l < pids) = 2 ]; do sleep 0.1; done; {end}"""
"""Starts a process in the background, and writes down both."""
OWN_SESSION = pytest.mark.parametrize("own", ["", "setsid"], ids=["same session", "own session"])
"""torch.distributed.run starts its processes in sessions of their own."""


def pids(folder: Path) -> list[int]:
    return [int(word) for word in (folder / "pids").read_text().split()] if (folder / "pids").exists() else []


def alive(process: int) -> bool:
    """Whether it runs; one that has ended and was not asked for its status does not."""
    try:
        return Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


def gone(folder: Path) -> bool:
    return wait_for(lambda: len(pids(folder)) == 2 and not any(map(alive, pids(folder))))


@LINUX
@OWN_SESSION
def test_a_time_out_ends_the_command_and_all_that_it_started(tmp_path: Path, own: str) -> None:
    with pytest.raises(TrialError, match="took more than 2 s, see logs/x.log: begun") as raised:
        run(tmp_path, _LINGER.format(own=own, end="echo begun; wait"), timeout=2.0)
    assert raised.value.kind == "timeout"
    assert gone(tmp_path)


@LINUX
@OWN_SESSION
def test_what_a_command_leaves_running_ends_with_it(tmp_path: Path, own: str) -> None:
    assert run(tmp_path, _LINGER.format(own=own, end="echo done")).said == "done\n"
    assert gone(tmp_path)


@LINUX
def test_a_process_is_asked_to_end_and_killed_if_it_does_not(tmp_path: Path) -> None:
    asked = _LINGER.format(own="setsid", end="trap 'touch cleaned; exit' TERM; wait")
    with pytest.raises(TrialError, match="took more than 2 s"):
        run(tmp_path, asked, timeout=2.0)
    assert gone(tmp_path)
    assert (tmp_path / "cleaned").exists()
    (tmp_path / "pids").unlink()
    run(tmp_path, "trap '' TERM; " + _LINGER.format(own="setsid", end="exit"))
    assert gone(tmp_path)


@LINUX
@OWN_SESSION
@pytest.mark.parametrize("ending", [signal.SIGKILL, signal.SIGINT])
def test_a_command_ends_with_the_process_that_runs_it(tmp_path: Path, ending: signal.Signals, own: str) -> None:
    body = _LINGER.format(own=own, end="wait")
    code = (
        "from pathlib import Path; from objectives.command.running import run_to_end; "
        f"run_to_end(['sh', '-c', {body!r}], folder=Path({str(tmp_path)!r}), log=Path({str(tmp_path / 'log')!r}))"
    )
    runner = subprocess.Popen([sys.executable, "-c", code], cwd=ROOT, stderr=subprocess.DEVNULL)
    wait_for(lambda: len(pids(tmp_path)) == 2)
    assert all(map(alive, pids(tmp_path)))
    os.kill(runner.pid, ending)
    runner.wait(60)
    assert gone(tmp_path)


def test_without_a_network_a_command_gets_the_constants_to_the_power_of_phi(tmp_path: Path) -> None:
    one = objective(script(tmp_path, 'echo "$@" > got; echo \'{"score": 0.5}\''), tmp_path, phi=3.0)
    found = one.evaluate(ScalingConstants(2 ** (1 / 3), 2 ** (1 / 3), 1.0), seed=7)
    assert (found.score, found.network, found.rungs) == (0.5, None, {})
    assert (tmp_path / "got").read_text() == "2 2 1 7\n"  # not 1.9999999999999996
    assert described(one)["phi"] == 3.0


def test_a_spec_is_matched_and_handed_over_as_a_file(tmp_path: Path) -> None:
    growth = Growth(base=TINY, phi=2.0)
    command = script(tmp_path, """cp $5 spec.json; echo $4 $6 > got; echo '{"score": 1}'""") + " {spec} {pixels}"
    one = objective(command, tmp_path, growth)
    found = one.evaluate(EQUAL, seed=2)
    assert found.network == one.network(EQUAL) == growth.network(EQUAL)
    assert NetworkSpec.from_dict(json.loads((tmp_path / "spec.json").read_text())) == growth.network(EQUAL).spec
    assert (tmp_path / "got").read_text().split() == ["2", str(growth.network(EQUAL).resolution)]
    assert (tmp_path / "logs" / f"{growth.network(EQUAL).fingerprint}-seed-2.log").exists()
    with pytest.raises(BudgetError):
        objective(command, tmp_path, Growth(base=TINY, phi=-9.0)).evaluate(EQUAL, seed=0)


def test_the_sizes_given_make_the_very_network_of_the_factory_that_was_counted(tmp_path: Path) -> None:
    factory = Factory(name="tests.factories_for_tests:plain", build=factories_for_tests.plain, resolution=16, classes=3)
    command = script(tmp_path, 'echo "$1 $2 $3 $5" > got; cp $6 call.json; echo \'{"score": 1}\'')
    one = objective(f"{command} {{pixels}} {{spec}}", tmp_path, Growth(base=factory, phi=1.0))
    network = one.evaluate(EQUAL, seed=0).network
    depth, width, finer, pixels = map(float, (tmp_path / "got").read_text().split())
    assert pixels == finer * 16 == network.resolution
    assert count_member(factory.member(Multipliers(depth, width, finer))) == (network.cost, network.fingerprint)
    assert json.loads((tmp_path / "call.json").read_text())["call"] == "tests.factories_for_tests.plain"


def test_scores_at_lengths_are_rungs(tmp_path: Path) -> None:
    lengths = script(tmp_path, """echo '{"scores": {"20": 0.7, "10": 0.5}}'""")
    found = objective(lengths, tmp_path).evaluate(EQUAL, seed=0)
    assert (found.score, found.rungs) == (0.7, {10: 0.5, 20: 0.7})
    stated = objective(lengths, tmp_path, command_rungs="10, 20")
    assert described(stated)["rungs"] == [10, 20]
    one = objective(script(tmp_path, """echo '{"score": 0.7}'"""), tmp_path, images=3000)
    assert one.evaluate(EQUAL, seed=0).rungs == {3000: 0.7}
    assert described(one)["rungs"] == [3000]


def test_output_without_a_score_says_what_was_written(tmp_path: Path) -> None:
    one = objective(script(tmp_path, "echo loss 0.3; echo finished >&2"), tmp_path)
    with pytest.raises(
        TrialError, match='"score": 0.71.*no line of JSON in its last 64 KiB; its last lines: .*finished'
    ):
        one.evaluate(EQUAL, seed=0)


def test_an_objective_travels_to_workers(tmp_path: Path) -> None:
    one = objective(script(tmp_path, """echo '{"score": 0.7}'"""), tmp_path, Growth(base=TINY))
    again = pickle.loads(pickle.dumps(one))  # noqa: S301 - of this test
    assert again.describe() == one.describe()
    assert again.evaluate(EQUAL, seed=0).score == 0.7


def test_studies_are_told_apart_by_what_changes_scores_alone(tmp_path: Path) -> None:
    first = objective(f"true {SIZES}", tmp_path).describe()
    assert objective(f"true {SIZES}", tmp_path, command_timeout=9.0).describe() == first
    for other in (
        objective(f"true  {SIZES} x", tmp_path),
        objective(f"true {SIZES}", tmp_path, phi=1.0),
        objective(f"true {SIZES}", tmp_path, epochs=2),
        objective(f"true {SIZES}", tmp_path, Growth(base=TINY)),
    ):
        assert other.describe() != first


def test_an_accuracy_in_per_cent_fails_its_trial_and_says_how_to_print_it(tmp_path: Path) -> None:
    one = objective(script(tmp_path, """echo '{"score": 69.04}'"""), tmp_path, command_score="accuracy")
    with pytest.raises(StudyError, match="got 69.04; print 0.6904, or name the score otherwise"):
        search(one, trials=6, folder=tmp_path / "study", method="qmc")
    one = objective(script(tmp_path, """echo '{"score": 69.04}'"""), tmp_path)
    assert search(one, trials=3, folder=tmp_path / "named", method="qmc").best_observed.score == 69.04


def test_a_failed_training_does_not_end_the_search_and_smaller_may_be_better(tmp_path: Path) -> None:
    body = """[ "$2" = 2 ] && { echo no memory; exit 1; }; echo "{\\"score\\": $1}" """
    one = objective(script(tmp_path, body), tmp_path, direction="minimize")
    record = search(one, trials=6, folder=tmp_path / "study", method="qmc")
    assert record.direction == "minimize"
    assert record.best_observed.constants.alpha == 1.0
    assert record.budget["trials"] == {"complete": 5, "pruned": 0, "fail": 1}
    table = (tmp_path / "study" / "trials.csv").read_text()
    assert re.search(r"the command ended with exit status 1, see logs/\S+: no memory", table)
