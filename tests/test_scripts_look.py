"""scripts.report and scripts.dashboard as a person runs them."""

from __future__ import annotations

import json
import shutil
import socket
import subprocess
import sys
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urlsplit

import pytest
from optuna.trial import FrozenTrial

from phiscale import SettingsError, StudyError
from phiscale.cli import main
from scripts.dashboard import DashboardOptions, is_loopback, listen, server_address
from scripts.report import ReportOptions
from scripts.shared.studies import StudyOptions
from tests.dashboards import dashboard_of
from tests.studies_for_tests import BAD
from tests.test_scripts import NETWORK, ROOT, command, search
from tests.test_scripts_workers import wait_for


def printed(results: Path, *words: object) -> subprocess.CompletedProcess[str]:
    return command("report", "--study", "s", "--results", results, "--print", "text", *words)


@pytest.fixture(scope="module")
def results(tmp_path_factory: pytest.TempPathFactory) -> Path:
    results = tmp_path_factory.mktemp("look")
    done = search(results, "--study", "s", "--objective", NETWORK, "--trials", "9")
    assert done.returncode == 0, done.stderr
    assert f"report: {results / 's' / 'report.html'}" in done.stdout
    return results


def test_a_search_leaves_a_report_and_the_command_that_repeats_it(results: Path) -> None:
    text = (results / "s" / "report.html").read_text()
    assert f"--objective {NETWORK} --trials 9" in text
    assert (results / "s" / "report.md").read_text().startswith("# s: scaling constants")


def test_a_report_is_written_again(results: Path, tmp_path: Path) -> None:
    shutil.copytree(results / "s", tmp_path / "s")
    for name in ("report.html", "report.md"):
        (tmp_path / "s" / name).unlink()
    done = command("report", "--study", "s", "--results", tmp_path)
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "s" / "report.html").read_text() == (results / "s" / "report.html").read_text()


def test_a_family_in_the_folder_stands_in_the_report(results: Path, tmp_path: Path) -> None:
    shutil.copytree(results / "s", tmp_path / "s")
    output = tmp_path / "s" / "family-b0.json"
    words = ["family", str(tmp_path / "s"), "--phi", "0:2", "--network", "efficientnet-b0", "--output", str(output)]
    assert main(words) == 0
    assert command("report", "--study", "s", "--results", tmp_path).returncode == 0
    assert "From family-b0.json" in (tmp_path / "s" / "report.html").read_text()


def test_print_gives_the_summary_of_the_search(results: Path) -> None:
    shown = printed(results)
    assert shown.returncode == 0, shown.stderr
    assert shown.stdout.startswith("Constants          alpha ")
    assert "\nstudy s (ended: 9 trials); trials: 9 finished\n" in shown.stdout
    searched = search(results, "--study", "s", "--objective", NETWORK, "--trials", "9")
    five = shown.stdout.partition("\n\n")[0]
    assert f"\n{five}\n\n" in searched.stdout


def test_print_speaks_json(results: Path) -> None:
    shown = command("report", "--study", "s", "--results", results, "--print", "json")
    plain = json.loads(shown.stdout)
    assert plain["trials"]["finished"] == 9
    assert 1 <= plain["recommendation"]["alpha"] <= 2
    assert plain["length"] is None


def test_the_family_stands_under_the_length_it_is_for(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    rungs = "tests.objectives_for_tests:WITH_RUNGS"
    done = search(tmp_path, "--study", "s", "--objective", rungs, "--trials", "9", "--baselines", "none")
    assert "for a training of 12,000 images seen (2 epochs of no images)" in done.stdout, done.stderr
    output = tmp_path / "family.json"
    words = ["family", str(tmp_path / "s"), "--phi", "0:1", "--network", "resnet-18", "--output", str(output)]
    assert main(words) == 0
    shown = capsys.readouterr().out
    assert shown.startswith("constants for a training of 12,000 images seen (2 epochs of no images)\n")
    rows = json.loads(output.read_text())
    assert [row["length_images"] for row in rows] == [12_000, 12_000]


def test_a_failed_study_is_shown_and_reported(tmp_path: Path) -> None:
    search(tmp_path, "--study", "s", "--objective", "tests.objectives_for_tests:ALWAYS_FAILS", "--trials", "2")
    (tmp_path / "s" / "report.html").unlink()  # the search left one
    shown = printed(tmp_path)
    assert (shown.returncode, "does not fit" in shown.stdout) == (0, True)
    done = command("report", "--study", "s", "--results", tmp_path)
    assert done.returncode == 0, done.stderr
    assert "No recommendation yet" in (tmp_path / "s" / "report.html").read_text()


def test_a_killed_trial_is_not_shown_as_running(tmp_path: Path) -> None:
    words = [sys.executable, "-m", "scripts.run_search", "--results", str(tmp_path), "--study", "s", "--trials", "3"]
    words += ["--objective", "tests.objectives_for_tests:STUCK"]
    with subprocess.Popen(words, cwd=ROOT, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as search_process:
        try:
            wait_for(lambda: running_trials(tmp_path))
            assert "study s (running); trials: " in printed(tmp_path).stdout
        finally:
            search_process.kill()
    shown = printed(tmp_path).stdout
    assert shown.startswith("study s (no trial has ended); trials: 1 interrupted\n")
    assert "1 trial was interrupted and will be done again by the same command" in shown
    plain = json.loads(command("report", "--study", "s", "--results", tmp_path, "--print", "json").stdout)
    assert (plain["trials"]["running"], plain["trials"]["interrupted"]) == (0, 1)
    done = search(tmp_path, "--study", "s", "--objective", NETWORK, "--trials", "3")
    assert "1 trial of an ended run will be done again" in done.stdout, done.stderr
    assert "trials: 3 finished, 1 interrupted" in printed(tmp_path).stdout


def running_trials(results: Path) -> list[FrozenTrial]:
    """Those of the study ``s``; none before it is there."""
    try:
        study = StudyOptions(study="s", results=results).load()
    except StudyError:
        return []
    return [trial for trial in study.get_trials(deepcopy=False) if trial.state.name == "RUNNING"]


def test_the_storage_of_the_search_is_found_again_in_the_folder_of_the_study(tmp_path: Path) -> None:
    journal = tmp_path / "s" / "other.journal"
    search(tmp_path, "--study", "s", "--objective", NETWORK, "--trials", "3", "--storage", journal)
    shown = printed(tmp_path)
    assert "\n\nstudy s (ended: 3 trials)" in shown.stdout, shown.stderr
    journal.rename(tmp_path / "elsewhere.journal")
    assert printed(tmp_path).returncode == 1
    shown = printed(tmp_path, "--storage", tmp_path / "elsewhere.journal")
    assert "\n\nstudy s (ended: 3 trials)" in shown.stdout, shown.stderr


@pytest.mark.parametrize("script", ["report", "dashboard"])
def test_a_storage_that_a_study_names_elsewhere_is_only_opened_when_it_is_asked_for(
    tmp_path: Path, script: str
) -> None:
    """The folder of a study may come from anybody."""
    (tmp_path / "s").mkdir()
    with socket.create_server(("127.0.0.1", 0)) as listener:
        listener.settimeout(0)
        server = f"127.0.0.1:{listener.getsockname()[1]}"
        for name, shown in (
            (f"postgresql://u:hunter2@{server}/d", f"postgresql://u:***@{server}/d"),
            (f"redis://:hunter2@{server}/0", f"redis://:***@{server}/0"),
            (f"sqlite:///{tmp_path}/made.db", f"sqlite:///{tmp_path}/made.db"),
            (f"{tmp_path}/made/made.journal", f"{tmp_path}/made/made.journal"),
            ("\x1b[2J\n" + "x" * 9000, r"\x1b[2J"),
        ):
            (tmp_path / "s" / "config.json").write_text(json.dumps({"storage": name}))
            done = command(script, "--study", "s", "--results", tmp_path)
            assert (done.returncode, done.stderr.count("\n")) == (1, 1), done.stderr
            assert f"'s' is in {shown}" in done.stderr
            assert "--storage" in done.stderr
            assert len(done.stderr) < 3000
            assert "hunter2" not in done.stderr
        with pytest.raises(BlockingIOError):
            listener.accept()
    assert [path.name for path in tmp_path.rglob("*")] == ["s", "config.json"]


@pytest.mark.parametrize("script", ["report", "dashboard"])
def test_mistakes_end_in_one_sentence(tmp_path: Path, script: str) -> None:
    for arguments, status, message in (
        (("--study", "none"), 1, "expected a study in"),
        (("--study", "../x"), 2, "study name of letters"),
        (("--study", BAD), 2, "study name of letters"),
        (("--study", "s", "--storage", "postgresql://u:hunter2@127.0.0.1:1/d"), 1, "u:***@"),
    ):
        done = command(script, "--results", tmp_path, *arguments)
        assert (done.returncode, message in done.stderr) == (status, True), done.stderr
        assert "Traceback" not in done.stderr
        assert "hunter2" not in done.stderr
    shown = command(script, "--help")
    assert f"phiscale {script}" in shown.stdout


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "192.168.1.5", "example.org", ""])  # noqa: S104, refused
def test_other_machines_are_refused_with_the_reason(tmp_path: Path, host: str) -> None:
    done = command("dashboard", "--study", "s", "--host", host, "--results", tmp_path)
    assert done.returncode == 2
    assert "no login" in done.stderr
    assert DashboardOptions(study="s", host=host, allow_remote=True).host == host


def test_loopback_has_many_names() -> None:
    assert all(map(is_loopback, ("127.0.0.1", "127.9.9.9", "::1", "[::1]", "localhost")))
    assert not any(map(is_loopback, ("127.0.0.1.example.org", "localhost.example.org", "10.0.0.1", "", "2130706433")))


@pytest.mark.parametrize("host", ["::1", "[::1]", "127.0.0.1", "localhost"])
def test_the_printed_address_is_the_one_that_answers(host: str) -> None:
    if ":" in host and not has_ipv6():
        pytest.skip("this machine has no IPv6")
    with listen(host, 0) as listener:
        address = urlsplit(server_address(listener))
        assert is_loopback(address.hostname or "")
        with socket.create_connection((address.hostname, address.port), timeout=30):
            listener.accept()[0].close()


def has_ipv6() -> bool:
    try:
        socket.create_server(("::1", 0), family=socket.AF_INET6).close()
    except OSError:
        return False
    return True


@pytest.fixture(scope="module")
def address(results: Path) -> Iterator[str]:
    with dashboard_of(results) as address:
        yield address


def test_the_dashboard_serves_the_study_here_only(address: str) -> None:
    assert address.startswith("http://127.0.0.1:")
    root = address.split("/report")[0]
    with urllib.request.urlopen(address, timeout=60) as answer:
        assert "The answer" in answer.read().decode()
    with urllib.request.urlopen(f"{root}/api/studies", timeout=30) as answer:
        assert [study["study_name"] for study in json.load(answer)["study_summaries"]] == ["s"]
    for path in ("/api/studies", "/report/s"):
        elsewhere = urllib.request.Request(f"{root}{path}", headers={"Host": "evil.example:80"})
        with pytest.raises(urllib.error.HTTPError, match="403"):
            urllib.request.urlopen(elsewhere, timeout=30)


def test_a_port_in_use_is_one_sentence(address: str, results: Path) -> None:
    port = address.split(":")[2].split("/")[0]
    done = command("dashboard", "--study", "s", "--results", results, "--port", port)
    assert (done.returncode, "choose another --port" in done.stderr) == (1, True), done.stderr
    assert "Traceback" not in done.stderr


def test_all_studies_of_a_storage_are_served(results: Path) -> None:
    url = f"sqlite:///{results / 's' / 'study.db'}"
    with (
        dashboard_of(results, "--storage", url, study=None) as address,
        urllib.request.urlopen(address, timeout=60) as answer,
    ):
        assert answer.url == f"{address}report/s"  # the first page leads to the only study


def test_two_studies_are_put_side_by_side(results: Path, tmp_path: Path) -> None:
    shutil.copytree(results / "s", tmp_path / "s")
    search(tmp_path, "--study", "other", "--objective", "tests.objectives_for_tests:WITH_RUNGS", "--trials", "9")
    done = command("report", "--compare", "s", "other", "--results", tmp_path)
    page = tmp_path / "compare-s-other.html"
    assert (done.returncode, done.stdout) == (0, f"written: {page}\n"), done.stderr
    text = page.read_text()
    assert text.count('<dl class="lines">') == 2
    assert text.count('role="img"') == 2
    assert "Their settings differ in length (none and 12,000 images seen)" in text
    missing = command("report", "--compare", "s", "none", "--results", tmp_path)
    assert (missing.returncode, missing.stderr.count("\n")) == (1, 1)
    assert "expected a study in" in missing.stderr


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({}, "expected --study NAME, or --compare"),
        ({"study": "s", "compare": ("s", "t")}, "expected --study NAME, or --compare"),
        ({"compare": ("s", "s")}, "two studies or more, got s s"),
        ({"compare": ("s", "t"), "printed": "text"}, "no --print with --compare"),
        ({"compare": ("s", "../x")}, "study name of letters"),
    ],
)
def test_what_cannot_be_compared_is_refused(options: dict[str, object], message: str) -> None:
    with pytest.raises(SettingsError, match=message):
        ReportOptions(**options)
