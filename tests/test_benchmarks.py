"""The benchmarks' worlds and tables, run small: what they print is what was measured."""

import json
import sys
from pathlib import Path

import pytest

BENCHMARKS = Path(__file__).parents[1] / "benchmarks"


@pytest.fixture
def benchmarks(monkeypatch):
    import torch

    monkeypatch.syspath_prepend(str(BENCHMARKS))
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    _forget()  # the tests have a `support` of their own
    yield
    torch.set_num_threads(threads)
    _forget()


def _forget():
    for path in BENCHMARKS.glob("*.py"):
        sys.modules.pop(path.stem, None)


@pytest.mark.slow
def test_two_stages_and_sft_see_as_many_rows(benchmarks, monkeypatch, tmp_path):
    import bench_rise
    import rise_world as world
    from planish.embedded import path

    monkeypatch.setattr(bench_rise, "QUESTIONS", 250)
    monkeypatch.setattr(bench_rise, "REPORT", 20)
    seen = []

    def fit(kind, model, rows, *, steps, learning_rate, seed, out, **settings):
        seen.append((kind, len(rows), steps))
        return fitted(kind, model, rows, steps=2, learning_rate=learning_rate, seed=seed, out=out)

    fitted = world.fit
    monkeypatch.setattr(world, "fit", fit)
    bench = bench_rise._Bench(world, path("apprentice"), 0, tmp_path)
    monkeypatch.setitem(bench_rise.CASES, 0.4, 500)
    sft, two = bench._both(bench.rows, 0.4)
    assert 0 <= two <= 1
    assert 0.6 < sft < 0.9  # two steps leave it what it was
    (_, alone, steps), (_, warm, first), (kind, pairs, second) = seen
    assert kind == "dpo"
    assert steps == first + second
    assert alone == pytest.approx(warm + pairs, abs=3)
    assert alone == pytest.approx(0.4 * len(bench.rows), abs=4)
    train = {case.example.prompt[0].content for case in bench.cases}
    assert not train & {case.example.prompt[0].content for case in bench.report}


def test_the_tables_hold_every_arm_of_the_runs(benchmarks, monkeypatch, tmp_path):
    import bench_rise
    import rise_tables
    import support

    monkeypatch.setattr(support, "RESULTS", tmp_path)
    monkeypatch.setattr(rise_tables, "RESULTS", tmp_path)
    rates = {"right": 0.8, "both_right": 0.7, "coverage": 1.0, "greedy": 0.8, "tokens": 10.0}

    def found(seed):
        arms = {arm: {**rates, "right": 0.8 + seed / 100} for arm in bench_rise.NAMES}
        arms["two"]["right"] += 0.1
        for arm in arms.values():
            arm["solved"] = [1.0, 0.99, 1.0]
        curves = {f"curve {share:g}": [0.8, 0.9] for share in bench_rise.CURVE}
        teachers = {f"teacher {careful:g}": [0.9, 0.8] for careful in bench_rise.TEACHERS}
        return {
            "rows": 7000,
            "base_seed": "b1",
            "seed": seed,
            "pairs": {"two": 5},
            **json.loads(json.dumps(arms | curves | teachers)),
        }

    rise_tables.write({"base-1": rates}, [found(seed) for seed in range(3)])
    [page] = tmp_path.glob("*-rise.md")
    text = page.read_text()
    assert all(name in text for name in bench_rise.NAMES.values())
    assert "| **SFT, then DPO + NLL** | 0.910 [0.900, 0.920] |" in text
    assert "0.100 |" in text  # the difference to SFT is the same in every run
    [picture] = tmp_path.glob("*-curve.svg")
    assert picture.read_text().lstrip().startswith("<?xml")


def test_the_share_of_the_ceilings_gain_is_one_of_means(benchmarks):
    from bench_rise_policy import recovered

    gains = {"verifier": (0.2, 0.1), "judge": (0.1, 0.11), "random": (-0.1, -0.05)}
    runs = [
        {arm: {"solve_difference": each[seed]} for arm, each in gains.items()} for seed in (0, 1)
    ]
    share = recovered(runs, "judge")
    assert share.value == pytest.approx(0.21 / 0.3)
    assert (share.low, share.high) == pytest.approx((0.5, 1.1))  # either run alone
    assert recovered(runs, "judge", "random").value == pytest.approx(0.36 / 0.45)
    assert recovered(runs, "verifier").value == recovered(runs, "verifier", "random").value == 1


def gap_records(right, own, copied):
    """Records of a gap run: one pair judged twice, one with two wrong candidates."""
    rows = [
        ("row", {"item_id": "a", "slice": "one_right", "solve_rate": 0.5, "in_frozen_q_tau": True}),
        ("row", {"item_id": "b", "slice": "one_right", "solve_rate": 1, "in_frozen_q_tau": False}),
        ("row", {"item_id": "c", "slice": "both_wrong", "solve_rate": 1, "in_frozen_q_tau": False}),
    ]
    for item, greedy in (("a", False), ("a", False), ("a", True), ("b", False), ("c", False)):
        judged = {"verdict_correct": right, "solution_correct": own, "copied": copied}
        place = {"item_id": item, "order": "AB", "greedy": greedy, "solution": "7 2"}
        rows.append(("judge", place | {"num_total_tokens": 5} | judged))
    rows[4][1]["verdict_correct"] = None  # the second judgment of "a" could not be read
    swap = {"item_id": "a", "order": "AB", "kind": "swap"}
    rows += [
        ("intervention", swap | {"inserted": "7 5", "followed": True}),
        ("intervention", swap | {"inserted": "3 2", "followed": False}),
        ("intervention", swap | {"kind": "gold", "inserted": "7 2", "followed": False}),
    ]
    return [{"kind": kind, "id": "", "data": data} for kind, data in rows]


def test_gap_runs_are_compared_item_by_item(benchmarks, tmp_path):
    import s2j_runs as runs
    from planish.records import write_jsonl

    measured = []
    for number, (right, own, copied) in enumerate([(False, True, False), (True, False, True)]):
        write_jsonl(tmp_path / str(number) / "records.jsonl", gap_records(right, own, copied))
        measured.append(runs.Measured(30, {}, runs._items(tmp_path / str(number))))
    before, after = measured
    assert before.items["gap"] == {"a": 1.0}  # only the questions that the base solves
    assert after.items["gap"] == {"a": 0.5}  # the greedy judgment does not count, the unread does
    assert after.items["right"] == {"a": 0.5, "b": 1.0}
    assert before.items["inner"] == {"a": 1.0, "b": 1.0}
    assert "luck" not in before.items
    assert after.items["luck"] == {"a": 0.5, "b": 1.0}
    assert (before.items["copies"], after.items["copies"]) == ({"c": 0.0}, {"c": 1.0})
    assert after.items["follows"] == {"a": 0.5}
    assert after.items["switches"] == {"a": 1.0}  # the other ended as its own solution did
    assert runs.difference([after], [before], runs.gap).value == -0.5
    assert runs.difference([after], [before], runs.luck).value is None
    text = runs.table([before], {"additive": [after]}, {"additive": "additive"})
    assert text.splitlines()[-1].startswith("| additive | 0.500 | 0.750 |")
    assert runs.by_base([before], {"additive": [after]}, 1).splitlines()[-1] == (
        "| 30 | 0.000 | 1.000 | 1.000 | 1.000 | 0.500 |"
    )


def test_every_arm_is_an_option_of_the_command(benchmarks):
    import bench_s2j
    from planish.methods.s2j.learning.config import TrainConfig

    for arm in bench_s2j.ARMS:
        options = bench_s2j.options_of(arm, 7)
        names = {str(option)[2:].replace("-", "_") for option in options[::2]}
        assert names <= {"arm", "steps", *TrainConfig.model_fields}
        assert ("steps" in names) == (arm != "dpo")


def test_the_arms_of_reheat_train_what_their_titles_say(benchmarks):
    """Whatever the presets have become since."""
    import reheat_world

    trained = {name: arm.reheat["trains"] for name, arm in reheat_world.ARMS.items() if arm.reheat}
    assert trained.pop("final_norm") == "final_norm"
    assert {"anchored", "frozen", "live", "held", "rkl"} <= trained.keys()
    assert set(trained.values()) == {"all"}


@pytest.mark.slow
def test_an_arm_pays_for_its_reheating_with_steps_of_rl(benchmarks, monkeypatch, tmp_path):
    import bench_reheat
    import reheat_world

    for name, value in (("COLLAPSE", 3), ("REWOUND", 2), ("AFTER", 6), ("DRAWS", 4), ("_PACED", 2)):
        monkeypatch.setattr(reheat_world, name, value)
    monkeypatch.setattr(reheat_world, "_REACH_DRAWS", 2)
    monkeypatch.setattr(bench_reheat, "DRAWS", 4)
    made = reheat_world.train_walker
    monkeypatch.setattr(reheat_world, "train_walker", lambda *a: made(*a, steps=60))
    world = reheat_world.World(3, tmp_path)
    sets = reheat_world.prompt_sets(world.task, train=64, probe=8, report=12, seed=0)
    world.__dict__["sets"] = sets
    drawn = []
    plain = world.rl
    monkeypatch.setattr(
        world,
        "rl",
        lambda model, steps, *a, **o: drawn.append(steps) or plain(model, steps, *a, **o),
    )
    _ = world.collapsed
    arms = {name: [reheat_world.run_arm(world, name)] for name in ("continue", "anchored")}
    for name, runs in arms.items():  # a world in which reheating did wonders
        runs.append(json.loads(json.dumps(runs[0])))
        for account in ("end", "early"):
            runs[1][account]["right"] = [4 * (name == "anchored")] * 12
    assert drawn[:2] == [3, 6]
    [warm] = arms["anchored"][0]["thaws"]
    assert drawn[2:] == [2, 6 - warm["steps"] - (warm["ended"] == "ceiling")]
    page = bench_reheat.text([3, 4], [world.facts] * 2, arms)
    assert page.count("| **anchored** |") == 3
    assert page.count("| continue |") == 2


@pytest.fixture
def small(benchmarks):
    """A model and a history that the benchmarks of `lookahead` go through in a second."""
    from lookahead_world import Size

    return Size(
        layers=2, hidden=32, heads=4, kv_heads=2, width=16, intermediate=32, vocabulary=64,
        chunk_tokens=16, scored=1, rank=8, indexer_heads=2,
    )  # fmt: skip


def test_arms_decode_behind_the_same_history_and_lose_none_of_it(small, tmp_path):
    import torch

    import bench_lookahead_decode as bench
    from lookahead_world import begun, build
    from planish.models.memory.store import HostStore

    length, budget = 1203, bench.budget_for(small, 1203, 0.3)
    kept = {}
    for name in ("dense", "in order", "lookahead", "lookahead, file"):
        store = HostStore(path=tmp_path / "kv") if name.endswith("file") else None
        kind = name.partition(",")[0]
        with begun(kind, build(small), small, length, budget, store=store) as arm:
            tokens = [arm.steps(1) and int(arm.token_B1) for _ in range(2)]
            cache = arm.cache
            keys = cache.layers[0].keys if name == "dense" else cache.chunk_keys(0)
            kept[name] = tokens, keys[:, :, :length]
            if kind == "lookahead":
                assert not cache.in_order
                assert 0.2 < arm.device_share <= 0.3
    assert kept["dense"][0] == kept["in order"][0]
    for name in ("in order", "lookahead", "lookahead, file"):
        assert torch.equal(kept[name][1], kept["dense"][1])


def test_arms_take_turns_with_as_many_tokens_as_each_is_due(benchmarks):
    from lookahead_world import Arm, in_turns

    class Counting(Arm):
        def steps(self, count):
            order.append(self.name)
            return [(1.0, 1.0)] * count

    order: list[str] = []
    arms = [Counting(name, None, None, None) for name in ("a", "b")]
    found = in_turns(arms, 2, {"a": 3, "b": 1})
    assert order == ["a", "b", "b", "a"]
    assert {name: list(map(len, each)) for name, each in found.items()} == {
        "a": [3, 3],
        "b": [1, 1],
    }


def test_a_page_is_written_only_if_asked_for(benchmarks, monkeypatch, tmp_path, capsys):
    import support

    monkeypatch.setattr(support, "RESULTS", tmp_path)
    support.tell("one", "A title", "numbers", write=False)
    assert capsys.readouterr().out == "numbers\n"
    assert not list(tmp_path.iterdir())
    support.tell("one", "A title", "numbers", write=True)
    assert "numbers" in next(tmp_path.glob("*-one.md")).read_text()


def test_rates_and_costs_are_told_of_every_arm(small):
    import bench_lookahead_decode as bench

    rates = bench.measure_rates(small, 3072, rounds=2)
    assert rates["device_share"] <= bench.SHARE
    assert rates["score_seconds"] < sum(rates["seconds"]["lookahead"])
    rates["seconds"] = {"dense": [8.0, 8.0], "in order": [4.0, 4.0], "lookahead": [2.0, 1.0]}
    text = "\n".join(bench.rates_lines({1: rates}, 3072))
    assert "| 1 | dense | 8.0 | 1.00 (1.00-1.00) |" in text
    assert "| 6.00 (4.00-8.00) |" in text
    flat = bench.measure_flat(small, 3072, 4096, rounds=1)
    assert set(flat["seconds"]) == {"3072", "4096"}
    assert "| 1 | 4,096 |" in "\n".join(bench.flat_lines({1: {4096: flat}}, 3072))
    assert bench.offloading_says(small)
    memory = bench.measure_memory(small, 3072, "lookahead, file", steps=2)
    assert memory["peak"] >= memory["before"] > 0
    assert memory["stays"] > 0
    dense = {"before": 0, "peak": 2_000_000, "stays": 4_000_000, "file": 0}
    found = dict.fromkeys(bench.MEMORY, dense)
    found["lookahead, file"] = dense | {"peak": 1_000_000, "stays": 1_000_000}
    text = "\n".join(bench.memory_lines(found, 1))
    assert "| lookahead, file | 0 | 1 | 1 | 0.50 | 0 | 1 | 0.25 |" in text


def test_hidden_copies_and_requests_are_counted(benchmarks, monkeypatch, capsys):
    import bench_lookahead_gpu as bench

    assert bench.merged([(3, 4), (0, 2), (1, 3), (6, 6)]) == [(0, 4)]
    assert bench.overlap([(0, 4), (2, 6)], [(1, 2), (5, 9), (5, 6)]) == pytest.approx(2 / 6)
    assert bench.overlap([], [(0, 1)]) is None
    assert bench.requests(1000, 150, 100) == 8
    assert bench.requests(100, 150, 100) == 0
    held = bench.Held(device=90, working=10, host=300)
    assert bench.fitting(held, 150, 1000, 1000) == (8, 3)
    found = {
        "seconds": {"dense": [0.2, 0.4], "lookahead": [0.1, 0.1]},
        "held": {"dense": bench.Held(900, 100, 0), "lookahead": held},
        "weights": 150,
        "overlap": {"share": 0.5, "copy_ms": 2.0, "kernel_ms": 9.0},
        "share": 0.1,
    }
    text = "\n".join(bench.lines_of(131_072, 32, found, 1000, 1000))
    assert "| lookahead | 0.00 | 0.100 |" in text
    assert "| 10.0 | 8 | 3 |" in text
    assert "3.00 (2.00-4.00) times as many tokens a second as dense" in text
    assert "50% hidden" in text
    monkeypatch.setattr(bench.torch.cuda, "is_available", lambda: False)
    monkeypatch.setattr(sys, "argv", ["bench_lookahead_gpu.py"])
    with pytest.raises(SystemExit) as stopped:
        bench.main()
    assert stopped.value.code == 2
    assert capsys.readouterr().err.count("\n") == 1


class FakePress:
    """Keeps the last of the cache, as a press would."""

    def __init__(self, compression_ratio):
        self.kept = 1 - compression_ratio

    def __call__(self, model):
        from contextlib import nullcontext

        return nullcontext()

    def forward_hook(self, module, args, kwargs, output):
        layer = kwargs["past_key_values"].layers[module.layer_idx]
        count = round(self.kept * layer.keys.shape[2])
        layer.keys, layer.values = layer.keys[:, :, -count:], layer.values[:, :, -count:]
        return output


def test_kvpress_gets_the_documents_that_ours_get(benchmarks, monkeypatch, tmp_path):
    import types

    import bench_lookahead_kvpress as bench
    from planish.embedded.recall_model import build_model, build_tokenizer
    from planish.methods.lookahead.evaluate.settings import Settings
    from planish.tasks.recall import RecallTask

    monkeypatch.setitem(sys.modules, "kvpress", types.SimpleNamespace(SnapKVPress=FakePress))
    import kvpress_check

    model, tokenizer = build_model(0), build_tokenizer()

    def here(python, folder, model, rows, shares):
        assert all(tokenizer.decode(r["prompt_ids"][r["context_tokens"]]) == "?" for r in rows)
        presses = ("none", "SnapKV")
        with bench_mode():
            told = kvpress_check.run(model, rows, presses, shares, kvpress_check.PROTOCOLS, 2)
        return told, {"versions": "of a test"}

    from torch import inference_mode as bench_mode

    monkeypatch.setattr(bench, "press_replies", here)
    monkeypatch.setattr(bench, "OURS", ("recency", "dense"))
    seen = {}
    scored = bench.scored
    monkeypatch.setattr(bench, "scored", lambda *a: seen.setdefault("found", scored(*a)))
    page = bench.compare(
        model,
        tokenizer,
        None,
        RecallTask("niah_single_1+niah_multikey_1", 256),
        "python",
        tmp_path,
        shares=[0.5],
        seeds=[0],
        examples=4,
        settings=Settings(interval=16, quality=False),
    )
    assert "Without a press, 4 of 4 replies are the same in both environments" in page
    assert "| 0.5 | recency (ours) | whole |" in page
    assert "| 0.5 | kvpress SnapKV | context |" in page
    scores, held = seen["found"]
    assert {place[:2] for place in scores} == {
        ("none", "whole"), ("SnapKV", "whole"), ("SnapKV", "context"),
    }  # fmt: skip
    assert held["none", "whole", 1.0] == 1.0
    assert 0.5 < held["SnapKV", "whole", 0.5] < held["SnapKV", "context", 0.5] < 0.6


def test_the_scores_of_a_long_prompt_are_those_of_a_dump(benchmarks):
    import torch

    import bench_lookahead_length as bench
    from planish.embedded.recall_model import build_model, build_tokenizer
    from planish.methods.lookahead.config import Dumping
    from planish.methods.lookahead.dumping.attending import Text, sample
    from planish.methods.lookahead.evaluate.documents import documents
    from planish.methods.lookahead.running.dump import Plan, make_header
    from planish.models.memory.backbone import Backbone
    from planish.models.memory.indexer import IndexerConfig, MemoryIndexer
    from planish.tasks.recall import RecallTask

    model, tokenizer = build_model(0).eval(), build_tokenizer()
    backbone = Backbone.of(model)
    dials = Dumping.tiny().model_dump() | {"chunk_tokens": 4, "pooling": "mean-min-max"}
    header = make_header(Plan(**dials, model="m", out="o"), backbone, "")
    config = IndexerConfig(
        hidden_size=backbone.hidden_size, rank=8, num_heads=2, chunk_tokens=4,
        pooling="mean-min-max", features=header.features,
    )  # fmt: skip
    indexer = MemoryIndexer.new(config, ("l1", "l2"))
    task = RecallTask("vt", 203)
    [document] = documents([task], tokenizer, split="gate", number=1, seeds=(0,))
    prompt = document.prompt_ids
    tensors = sample(backbone, Text("d", prompt, (1, 2)), header, 2048).tensors
    [row] = (tensors["positions"] == len(prompt) - 1).nonzero()
    starts_1C = tensors["starts"][None]
    expected = indexer.ensemble(
        indexer.score(
            {name: tensors[f"hidden.{name}"][row] for name in indexer.layers},
            {
                name: indexer.compress(name, tensors[f"features.{name}"][None], starts_1C)
                for name in indexer.layers
            },
            torch.tensor([len(prompt) - 1]),
        )
    )
    hooks = [len(layer.self_attn._forward_pre_hooks) for layer in model.model.layers]
    for piece in (2048, 64, 40):
        found = bench.scores_of(backbone, indexer, prompt, piece)
        num_chunks = len(prompt) // 4
        assert found.shape == (1, num_chunks)
        assert torch.allclose(found, expected[:, :num_chunks], rtol=0, atol=1e-5)
    assert found.std() > 1e-3
    assert hooks == [len(layer.self_attn._forward_pre_hooks) for layer in model.model.layers]


def test_layers_are_joined_by_their_largest_score_and_by_the_mean(benchmarks):
    """By hand: ten candidates, of which a tenth is one."""
    import torch

    import bench_lookahead_joining as bench

    needed_1C = torch.zeros(1, 10, dtype=torch.bool)
    needed_1C[0, 3] = True
    judged = [bench.Judged(needed_1C, torch.ones_like(needed_1C), torch.ones(1, 10))] * 2
    judged.append(bench.Judged(~needed_1C & needed_1C, torch.ones_like(needed_1C), needed_1C * 0.0))
    sure, sure_of_another, calm = torch.zeros(3, 1, 10)
    sure[0, 3], sure_of_another[0, 7] = 2.0, 3.0
    calm[0, 3] = calm[0, 7] = 1.0
    by_layer = {"l1": [sure, sure, sure], "l2": [sure_of_another, calm, sure]}
    found = bench.joined(judged, by_layer)
    assert found["l1"] == {0: 1.0, 1: 1.0}, "the last one needs nothing"
    assert found["l2"] == {0: 0.0, 1: 0.0}, "of two equal scores the later one"
    assert found["max"] == {0: 0.0, 1: 1.0}
    assert found["mean"] == {0: 0.0, 1: 1.0}
    assert bench.less(found["max"], found["l1"]).value == -0.5
    lines = bench.rows(found)
    assert lines[0].startswith("| l1, the best alone | 1.000")
    assert lines[2].count("-0.500") == 1


def test_kept_needs_are_counted_beside_the_latest_and_chance(benchmarks):
    import torch

    import bench_lookahead_length as bench
    from planish.methods.lookahead.evaluate.documents import Document

    def document(*needs):
        return Document("d", None, 0, "vt", None, tuple(range(816)), 9, needs)

    scores_1C = torch.zeros(1, 204)
    scores_1C[0, [2, 3, 100]] = torch.tensor([0.9, 0.8, 0.7])
    # Two chunks that are found, one that is not; the rest is too late in the reply or stays anyway.
    needs = (0, 8, 16), (1, 640, 644), (64, 400, 404), (2, 804, 812)
    row = bench.row_of(document(*needs), scores_1C, 4)
    assert (row.needed, row.candidates) == (3, 200)
    assert row.recall["lookahead", 0.1] == pytest.approx(2 / 3)
    assert row.recall["recency", 0.1] == 0
    assert row.recall["chance", 0.1] == 0.1
    assert bench.row_of(document((2, 804, 812)), scores_1C, 4) is None
    text = "\n".join(bench.page({816: [row], 1632: [row]}))
    assert "| 816 | 200 | chance | 0.050 | 0.100 |" in text
    assert text.count("| vt | 0.667") == 1  # beside one another


def test_indexers_are_compared_on_the_documents_that_both_have_a_score_for(benchmarks):
    """By hand: a family counts as much as another, and a document without a score not at all."""
    import bench_lookahead_ablations as ablations

    summary, outcome = ablations.Summary, ablations.Outcome

    def made(scores):
        return summary(
            [
                outcome(
                    task="recall", seed=0, document_id=f"{family}{number}", length=1,
                    arm="lookahead", correct=score, family=family, fraction=0.1,
                )
                for family, some in scores.items()
                for number, score in enumerate(some)
            ]
        )  # fmt: skip

    one = made({"qa_2": [1.0, 0.5, None], "vt": [1.0]})
    other = made({"qa_2": [0.0, 0.5, 1.0], "vt": [0.0]})
    found = ablations.compared(one, other, 0.1, ("qa_2", "vt"))
    assert found.value == pytest.approx((0.5 + 1.0) / 2)
    assert ablations.compared(one, other, 0.1, ("qa_2",)).value == pytest.approx(0.5)
    assert ablations.overall("x", one, other)[2].startswith("+0.750")
    assert {*ablations.TRAININGS} & {*ablations.SETTINGS} == set()
