"""Memory does not grow with the number of pairs: kilobytes a pair would show here.

What is allocated is counted, not timed and not read from the operating system, so that the same
code gives the same numbers on any machine.
"""

import itertools
import json
import shutil
import tracemalloc

import pytest

from planish.methods.vfaith import bench as bench_module
from planish.methods.vfaith.bench import PAIRS, read_bench
from planish.methods.vfaith.building import counting, table
from planish.methods.vfaith.building.counting import count
from planish.methods.vfaith.building.plan import Plan
from planish.methods.vfaith.building.writing import Site
from planish.methods.vfaith.data import ARMS, Response
from planish.methods.vfaith.numbered import Numbered
from planish.methods.vfaith.running import asking
from planish.methods.vfaith.running import run as run_stage
from planish.methods.vfaith.running.asking import Stage
from planish.methods.vfaith.running.ledger import Ledger
from planish.methods.vfaith.running.planted import load_model
from planish.methods.vfaith.running.records import Calls, scores, tally
from planish.methods.vfaith.scoring.sheets import pair_scores, read_sheet
from planish.models.cache import CachedModel
from planish.records import Completion, write_jsonl
from planish.runs import Run
from planish.runs.console import Screen
from support.pictures import make_pair

WARM, FEW, MANY = 4, 24, 64
KILOBYTE = 1_000
PAIR_BYTES = 13_000
"""Of one pair's record in memory, as Python holds it: what must not be kept of each."""


def renamed(folder, number):
    """A few drawn pairs under many names with words of their own."""
    few = [make_pair(folder, index) for index in range(4)]
    for index in range(number):
        pair = few[index % 4]
        (asked,) = pair.perception
        yield pair.model_copy(
            update={
                "pair_id": f"p{index:05d}",
                "question": f"Picture {index}: {pair.question}",
                "perception": (asked.model_copy(update={"text": f"{index}: {asked.text}"}),),
            }
        )


@pytest.fixture(scope="module")
def benches(tmp_path_factory):
    """Folders of a few pairs and of many, and first one to warm up with: imports, caches."""
    folders = []
    for number in (WARM, FEW, MANY):
        folder = tmp_path_factory.mktemp(f"bench-{number}")
        write_jsonl(folder / PAIRS, renamed(folder, number))
        folders.append(folder)
    return folders


def growth(work, benches):
    """Bytes that a pair adds to the peak, between a few pairs and many; the less of two looks.

    Python's own table of file names is made anew once in a while, whatever is done, and is larger
    than all that is looked for here. That does not happen twice in a row.
    """
    work(benches[0])
    found = _growth(work, benches[1:])
    return found if found < KILOBYTE else min(found, _growth(work, benches[1:]))


def _growth(work, benches):
    peaks = []
    for folder in benches:
        tracemalloc.start()
        try:
            work(folder)
            peaks.append(tracemalloc.get_traced_memory()[1])
        finally:
            tracemalloc.stop()
    return (peaks[1] - peaks[0]) / (MANY - FEW)


def test_the_measure_sees_a_pair_that_is_kept(benches):
    assert growth(lambda folder: list(read_bench(folder).pairs), benches) > PAIR_BYTES / 2


class Streaming:
    """Takes calls one by one, a few under way at once, and has no answer to any."""

    name, revision = "streaming", "1"

    def __init__(self):
        self.most = 0

    def generate(self, chats, sampling, *, watcher=None):
        raise AssertionError("it is asked by stream")

    def stream(self, draws, sampling, *, watcher):
        under_way = []
        for number, draw in enumerate(draws):
            under_way.append((number, draw))
            self.most = max(self.most, len(under_way))
            if len(under_way) == 8:
                self.answer(under_way, watcher)
        self.answer(under_way, watcher)

    def answer(self, under_way, watcher):
        while under_way:  # the last one first: replies come in any order
            number, draw = under_way.pop()
            text = f"{draw.chat[0].content} It is hard to tell. {'x' * 500}"
            watcher.completed(number, draw.sample, Completion(text=text))


def whole_run(folder, root, model=None):
    """As the stage does it, without the page: reads, asks, counts."""
    bench = read_bench(folder)
    calls = Calls(bench.pairs, ARMS)
    names = Numbered(run_stage._checked(bench, calls, Screen(json=True)))
    plan = run_stage.Plan(model="m", bench=str(folder))
    model = model or load_model("planted:oracle", bench)
    with (
        Run.create("vfaith", "run", plan, root=root, stage="run") as run,
        CachedModel(model, root / "cache.jsonl") as cached,
    ):
        ledger = Ledger(names, 1, 1024)
        stage = Stage(plan, run, bench.trusted(), cached, calls, ledger, Screen(json=True))
        stage.ask()
        assert ledger.answered == len(names) == 6 * len(bench.pairs)
        assert tally(calls, 1, ledger).pairs == len(bench.pairs)
        assert sum(1 for _ in scores(calls, 1, ledger)) == len(bench.pairs)
    return run.path


@pytest.mark.parametrize("make", [Streaming, lambda: None], ids=["streamed", "in this process"])
def test_a_run_keeps_a_few_bytes_of_a_call(benches, tmp_path, monkeypatch, make):
    monkeypatch.setattr(asking, "CHUNK", 16)
    monkeypatch.setattr(bench_module, "_LATELY", 8)
    numbers = itertools.count()

    def work(folder):
        whole_run(folder, tmp_path / str(next(numbers)), make())

    # Six calls a pair, each some fifty bytes to find it again and to know what came of it.
    assert growth(work, benches) < KILOBYTE


def test_a_run_that_goes_on_keeps_as_little(benches, tmp_path):
    found = {folder: whole_run(folder, tmp_path / folder.name, Streaming()) for folder in benches}

    def again(folder):
        calls = Calls(read_bench(folder).pairs, ARMS)
        ledger = Ledger(Numbered(call.name for call in calls), 1, 1024)
        with Run.open(found[folder]) as run:
            ledger.read(run)
        assert ledger.answered == len(ledger)

    assert growth(again, benches) < KILOBYTE


def test_a_score_keeps_numbers_and_no_reply(benches, tmp_path, monkeypatch):
    monkeypatch.setattr(bench_module, "_LATELY", 8)

    def replies(folder):
        for call in Calls(read_bench(folder).pairs, ARMS):
            gold = call.pair.raw.gold if call.arm in ("raw", "edited") else None
            yield Response(
                key="k", pair_id=call.pair.pair_id, arm=call.arm, model="m", revision="1",
                text="x" * 5_000, parsed=gold, gold=call.pair.raw.gold, outcome="unparsed",
            )  # fmt: skip

    def score(folder):
        bench = read_bench(folder)
        sheet = read_sheet(bench, replies(folder))
        rows = (tmp_path / "pairs.jsonl", pair_scores(bench, sheet))
        assert write_jsonl(*rows) == len(bench.pairs)

    assert growth(score, benches) < KILOBYTE


def test_a_bench_is_counted_without_being_held(benches, tmp_path, monkeypatch):
    """Beyond the sample that the gates over the whole bench look at nothing grows."""
    monkeypatch.setattr(counting, "MOST", 24)
    monkeypatch.setattr(table, "_ROWS", 8)

    def site(folder):
        plan = Plan(num=len((folder / PAIRS).read_bytes().splitlines()), size=256)
        home = tmp_path / folder.name
        if not home.exists():
            with Site.open(home, plan):
                pass
            shutil.copytree(folder, home, dirs_exist_ok=True)
        return home, plan

    def build(folder):
        with Site.open(*site(folder)) as open_site:
            open_site.settle()
            assert count(open_site).total("pair") == open_site.count()
            open_site.complete({})

    for folder in benches:
        site(folder)
    assert growth(build, benches) < KILOBYTE
    assert json.loads((tmp_path / benches[1].name / "build.json").read_text())["complete"]
