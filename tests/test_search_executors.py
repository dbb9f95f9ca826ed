"""What every executor does: in this process, in processes of this machine, in a Ray cluster."""

from __future__ import annotations

import importlib.util
import os
import subprocess
import sys
import threading
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from phiscale import SettingsError, StudyError, TrialError
from search.executors import processes
from search.executors.contract import Done, Executor, Job, Lost, Outcome, Raised, run_all
from search.executors.in_process import InProcess
from search.executors.memory import Memory, fits
from search.executors.processes import Processes
from tests.processes import descendants
from tests.work_for_tests import DiesAtStart, Work, wait_until

Make = Callable[..., Executor]
RAY = pytest.param(
    "ray",
    marks=[
        pytest.mark.slow,
        pytest.mark.xdist_group("ray"),
        pytest.mark.filterwarnings("ignore::FutureWarning", "ignore::ResourceWarning"),
        pytest.mark.skipif(
            importlib.util.find_spec("ray") is None and not os.environ.get("CI"), reason="needs ray (pip install ray)"
        ),
    ],
)
WITH_PROCESSES = ["processes", RAY]


def in_ray(workers: int, **options: Any) -> Executor:
    from search.executors.ray_cluster import RayCluster

    return RayCluster(workers, address="local", **options)


@pytest.fixture
def make(request: pytest.FixtureRequest) -> Iterator[Make]:
    """Makes the executor that the parameter names; all are closed at the end."""
    made: list[Executor] = []
    kinds: dict[str, Make] = {"in process": lambda _, **__: InProcess(), "processes": Processes, "ray": in_ray}

    def start(workers: int, work: Work | None = None, **options: Any) -> Executor:
        made.append(kinds[request.param](workers, **options))
        made[-1].start(work or Work())
        return made[-1]

    yield start
    for executor in made:
        executor.close()


without_ray = pytest.mark.parametrize("make", ["in process", "processes"], indirect=True)
every_executor = pytest.mark.parametrize("make", ["in process", *WITH_PROCESSES], indirect=True)
executors_of_processes = pytest.mark.parametrize("make", WITH_PROCESSES, indirect=True)
on_this_machine = pytest.mark.parametrize("make", ["processes"], indirect=True)


def do(executor: Executor, *jobs: tuple[Any, ...], needed: int = 0) -> list[Outcome]:
    """What becomes of jobs whose keys are their places, as they come."""
    for place, arguments in enumerate(jobs):
        executor.submit(Job(place, arguments, needed))
    found: list[Outcome] = []
    while len(found) < len(jobs):
        found += executor.wait()
    assert sorted(outcome.key for outcome in found) == list(range(len(jobs)))
    return found


def values(outcomes: list[Outcome]) -> list[Any]:
    """Of jobs that were done, in the order of their keys."""
    assert all(isinstance(outcome, Done) for outcome in outcomes), outcomes
    return [outcome.value for outcome in sorted(outcomes, key=lambda outcome: outcome.key)]  # type: ignore[union-attr]


# all of them


@every_executor
def test_every_job_comes_back_once_with_its_own_answer(make: Make) -> None:
    executor = make(2)
    assert values(do(executor, *(("answer", [n]) for n in range(12)))) == [[n] for n in range(12)]
    assert values(do(executor, ("answer", "more"))) == ["more"]
    executor.submit(Job((3, "key"), ("answer", 1)))
    assert executor.wait() == [Done((3, "key"), 1)]


@every_executor
def test_one_worker_does_its_jobs_in_their_order(make: Make) -> None:
    outcomes = do(make(1), *(("answer", n) for n in range(6)))
    assert [outcome.key for outcome in outcomes] == list(range(6))


@every_executor
def test_an_exception_is_described_and_the_worker_goes_on(make: Make) -> None:
    executor = make(1)
    first, second, third = do(executor, ("fail", "two\nlines"), ("leave",), ("process",))
    assert isinstance(first, Raised)
    assert (first.error, first.what) == (None, "RuntimeError: two lines")
    assert first.where.startswith("work_for_tests.py, line ")
    assert first.where.endswith(", in fail")
    assert "Traceback" in first.trace
    assert "RuntimeError: two\nlines" in first.trace
    assert isinstance(second, Raised)
    assert second.what == "SystemExit: on my own"
    assert isinstance(third, Done)
    assert values(do(executor, ("process",))) == [third.value]


@every_executor
def test_a_trial_error_travels_with_its_kind(make: Make) -> None:
    (outcome,) = do(make(1), ("fail_the_trial",))
    assert isinstance(outcome, Raised)
    assert isinstance(outcome.error, TrialError)
    assert (outcome.error.kind, str(outcome.error)) == ("diverged", "the loss became NaN")


@without_ray
def test_a_process_that_the_work_forks_answers_nothing(make: Make, tmp_path: Path) -> None:
    executor = make(1)
    (first,) = do(executor, ("fork", tmp_path / "forked"))
    assert values([first]) == [1]
    assert (tmp_path / "forked").exists()
    assert values(do(executor, ("answer", 2), ("answer", 3))) == [2, 3]


# workers in processes of their own


@executors_of_processes
def test_a_killed_worker_loses_its_job_alone_and_is_replaced(make: Make, tmp_path: Path) -> None:
    executor = make(2)
    outcomes = do(executor, ("die_once", tmp_path / "died"), *(("answer", n) for n in range(5)))
    (lost,) = [outcome for outcome in outcomes if not isinstance(outcome, Done)]
    assert isinstance(lost, Lost)
    assert lost.key == 0
    assert "its worker" in lost.reason
    assert "\n" not in lost.reason
    assert values(do(executor, ("die_once", tmp_path / "died"))) == ["survived"]
    both = [("meet", tmp_path / "a", tmp_path / "b"), ("meet", tmp_path / "b", tmp_path / "a")]
    assert values(do(executor, *both)) == ["met", "met"]  # there are two workers again


@executors_of_processes
def test_a_job_whose_time_is_up_is_lost_and_its_worker_replaced(make: Make, tmp_path: Path) -> None:
    executor = make(1, timeout=1.5)
    lost, done = do(executor, ("hang_once", tmp_path / "hung"), ("answer", 1))
    assert lost == Lost(0, "it took more than 1.5 s")
    assert done == Done(1, 1)
    assert values(do(executor, ("hang_once", tmp_path / "hung"))) == ["done"]


@executors_of_processes
def test_an_answer_that_cannot_travel_is_the_job_s_own_mistake(make: Make) -> None:
    executor = make(1)
    first, second, third = do(executor, ("cannot_travel",), ("travels",), ("foreign",))
    assert isinstance(first, Raised)
    assert "pickle" in first.what
    assert isinstance(second, Done)
    assert second.value.score == 0.5
    assert isinstance(third, Raised)
    assert third.what == "ModuleNotFoundError: No module named 'not_there'"


@executors_of_processes
def test_workers_that_die_at_every_start_end_the_run(make: Make) -> None:
    executor = make(1, DiesAtStart())
    executor.submit(Job(0, ("answer", 1)))
    with pytest.raises(StudyError, match=r"expected (worker processes|workers) that start.*, got \d that") as caught:
        executor.wait()
    assert "\n" not in str(caught.value)


@on_this_machine
def test_arrays_are_in_memory_once_and_what_a_worker_writes_is_its_own(make: Make, tmp_path: Path) -> None:
    work = Work()
    calls = ("add_one",), ("add_one",), ("die_once", tmp_path / "died"), ("add_one",)
    first, second, lost, again = do(make(1, work), *calls)
    assert isinstance(lost, Lost)
    sums, mapped = zip(*values([first, second, again]), strict=True)
    assert (*sums, work.array.sum()) == (1, 2, 1, 0)  # the second worker does not see what the first wrote
    assert all(int(inode) > 0 for inode in mapped)  # the array lies in the file that all workers map


DRIVER = """
import sys
from pathlib import Path
from search.executors.contract import Job
from search.executors.processes import Processes
from tests.work_for_tests import Work
if __name__ == "__main__":
    executor = Processes(2)
    executor.start(Work())
    for name in "ab":
        executor.submit(Job(name, ("hang", Path(sys.argv[1]) / name)))
    executor.wait()
"""


def script(folder: Path, content: str) -> subprocess.Popen[str]:
    """A script of a person's, started with its folder."""
    (folder / "script.py").write_text(content)
    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[1])}
    words = [sys.executable, str(folder / "script.py"), str(folder)]
    return subprocess.Popen(words, env=environment, stderr=subprocess.PIPE, text=True)


def test_workers_end_with_a_driver_that_is_killed_and_so_does_what_they_started(tmp_path: Path) -> None:
    driver = script(tmp_path, DRIVER)
    try:
        wait_until(lambda: (tmp_path / "a").exists() and (tmp_path / "b").exists())
        below = descendants(driver.pid)
    finally:
        driver.kill()
        _, said = driver.communicate()
    assert {int((tmp_path / name).read_text()) for name in "ab"} < set(below)
    wait_until(lambda: not any(is_alive(process) for process in below), 10)
    assert said == ""


UNGUARDED = """
from search.executors.processes import Processes
from search import search
def score(alpha, beta, gamma):
    return alpha
search(score, trials=2, executor=Processes(1))
"""


def test_a_script_that_starts_again_in_its_workers_is_told_so(tmp_path: Path) -> None:
    _, said = script(tmp_path, UNGUARDED).communicate()
    assert said.count("Traceback") == 1  # that of the script itself
    assert "expected a script that starts its search under if __name__ == '__main__':" in said.splitlines()[-1]


@on_this_machine
def test_a_killed_worker_is_not_waited_for_while_what_it_forked_lives(make: Make, tmp_path: Path) -> None:
    lost, done = do(make(1), ("die_and_leave_a_fork", tmp_path / "fork"), ("answer", 1))
    assert isinstance(lost, Lost)
    assert lost.reason.startswith("its worker process ended (killed by SIGKILL")
    assert done == Done(1, 1)
    fork = int((tmp_path / "fork").read_text())
    wait_until(lambda: not is_alive(fork), 10)


@on_this_machine
def test_what_a_late_evaluation_has_started_ends_with_it(make: Make, tmp_path: Path) -> None:
    executor = make(1, timeout=2)
    (lost,) = do(executor, ("hang", tmp_path / "child"))
    assert isinstance(lost, Lost)
    child = int((tmp_path / "child").read_text())
    wait_until(lambda: not is_alive(child), 10)


@pytest.mark.parametrize("workers", [0, -1, True, 1.5, "2"])
def test_a_number_of_workers_that_is_none_is_refused(workers: Any) -> None:
    with pytest.raises(SettingsError, match="expected workers to be"):
        Processes(workers)


@pytest.mark.parametrize("timeout", [0, -1, float("nan"), float("inf"), "2", True])
def test_a_timeout_that_is_none_is_refused(timeout: Any) -> None:
    with pytest.raises(SettingsError, match="expected timeout to be"):
        Processes(1, timeout=timeout)


@on_this_machine
def test_the_longest_timeout_is_one(make: Make) -> None:
    assert values(do(make(1, timeout=1e300), ("answer", 1))) == [1]


def test_work_that_cannot_be_sent_is_refused() -> None:
    with pytest.raises(
        SettingsError, match=r"objective that can be sent to workers, got TypeError: cannot pickle '_thr"
    ):
        Processes(1).start(threading.Lock().acquire)


@without_ray
def test_a_job_that_is_withdrawn_is_not_begun(make: Make) -> None:
    check_withdrawing(make(1))


def check_withdrawing(executor: Executor) -> None:
    for place in range(4):
        executor.submit(Job(place, ("answer", place)))
    executor.withdraw({1, 2, "another"})
    found = [*executor.wait()]
    while len(found) < 2:
        found += executor.wait()
    assert found == [Done(0, 0), Done(3, 3)]


def is_alive(process: int) -> bool:
    try:
        return (Path("/proc") / str(process) / "stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


@pytest.mark.parametrize(
    ("visible", "given"),
    [
        ("0,3,GPU-7", ["0", "3", "GPU-7", "0"]),
        (" 2 , 5 ", ["2", "5", "2", "5"]),
        ("4", ["4", "4", "4", "4"]),
        ("", ["", "", "", ""]),
    ],
)
def test_workers_take_turns_at_the_gpus(monkeypatch: pytest.MonkeyPatch, visible: str, given: list[str]) -> None:
    seen: list[str] = []

    def spawn(*_: Any) -> Any:
        seen.append(os.environ["CUDA_VISIBLE_DEVICES"])
        return Ended()

    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", visible)
    monkeypatch.setattr(processes._Worker, "spawn", spawn)
    executor = Processes(4)
    executor.start(Work())
    executor.close()
    assert seen == given
    assert os.environ["CUDA_VISIBLE_DEVICES"] == visible


class Ended:
    def end(self) -> None:
        pass


@on_this_machine
def test_a_worker_sees_its_gpu_alone(make: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "5,6")
    assert values(do(make(1), ("variable", "CUDA_VISIBLE_DEVICES"))) == ["5"]


@pytest.mark.parametrize("make", [RAY], indirect=True)
def test_a_person_s_own_session_of_ray_stays_and_no_node_is_waited_for_that_is_not_there(make: Make) -> None:
    import ray

    ray.init(address="local", num_cpus=1, include_dashboard=False, object_store_memory=80_000_000)
    try:
        with pytest.raises(SettingsError, match="GiB of memory for each worker, which one node of the cluster has"):
            make(1, memory=2**60)
        with pytest.raises(SettingsError, match="at most"):
            make(1, memory=int(1e300))
        executor = make(1, memory=2**20)
        check_withdrawing(executor)
        with pytest.raises(SettingsError, match="objective that can be sent to workers, got TypeError"):
            in_ray(1).start(threading.Lock().acquire)
        executor.close()
        assert ray.is_initialized()
    finally:
        ray.shutdown()


# memory


@pytest.mark.parametrize(
    ("needed", "free", "running", "is_so"),
    [
        (50, 100, [40], True),
        (51, 100, [40], False),  # a tenth stays free
        (20, 100, [40, 30], True),
        (50, 49, [40], False),  # other programs have the rest
        (500, 0, [], True),  # one always runs: waiting would not help it
        (0, 0, [90], True),  # nothing is known of its need
    ],
)
def test_jobs_run_side_by_side_where_their_memory_fits(needed: int, free: int, running: list[int], is_so: bool) -> None:
    assert fits(needed, Memory("gpu", 100, free), running) is is_so
    assert fits(needed, Memory(), running)  # of a device whose memory is not known


@on_this_machine
def test_jobs_wait_for_memory(make: Make, tmp_path: Path) -> None:
    executor = make(2, Work(("gpu", 100, 100)))
    both = [("meet", tmp_path / "a", tmp_path / "b"), ("meet", tmp_path / "b", tmp_path / "a")]
    assert values(do(executor, *both, needed=45)) == ["met", "met"]
    (tmp_path / "in turn").mkdir()
    assert values(do(executor, *(("alone", tmp_path / "in turn", name) for name in "abc"), needed=46)) == [True] * 3


# many calls


class Losing(InProcess):
    """Loses the calls of some places so many times."""

    def __init__(self, times: dict[int, int]) -> None:
        super().__init__()
        self.left, self.closed = Counter(times), False

    def wait(self) -> list[Outcome]:
        key = self._jobs[0].key
        if self.left[key] > 0:
            self.left[key] -= 1
            return [Lost(self._jobs.popleft().key, "its node was lost")]
        return super().wait()

    def close(self) -> None:
        self.closed = True


def test_calls_that_are_lost_are_made_again_three_times() -> None:
    executor = Losing({0: 3, 2: 1})
    found = dict(run_all(executor, Work(), [("answer", n) for n in range(4)]))
    assert found == {n: Done(n, n) for n in range(4)}
    assert executor.closed
    with pytest.raises(StudyError, match="a training was lost 4 times, the last time because its node was lost; "):
        list(run_all(Losing({1: 4}), Work(), [("answer", n) for n in range(4)]))


def test_the_memory_of_a_call_is_asked_of_the_work() -> None:
    class Hungry:
        def __call__(self, size: int) -> int:
            return size

        def memory_needed(self, size: int) -> int:
            return 1000 * size

    class Noting(InProcess):
        needed: list[int] = []  # noqa: RUF012 - of this test

        def submit(self, job: Job) -> None:
            self.needed.append(job.needed)
            super().submit(job)

    executor = Noting()
    assert [outcome.value for _, outcome in run_all(executor, Hungry(), [(1,), (2,)])] == [1, 2]
    assert executor.needed == [1000, 2000]
