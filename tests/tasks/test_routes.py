import time
from collections import Counter
from functools import lru_cache
from itertools import pairwise, product

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from planish.records import BadInput, user
from planish.tasks.base import CandidateTask, Task, prove, split_of
from planish.tasks.routes import RoutesTask

SPLITS = ("train", "gate", "report")
SMALL = RoutesTask(8, 2, 4)
TASKS = [
    RoutesTask(),
    SMALL,
    RoutesTask(8, 2, 4, shown=True),
    RoutesTask(4, 2, 2, world=3),
    RoutesTask(4, 3, 3),
    RoutesTask(64, 4, 7, world=5),
    RoutesTask(200, 2, 8),
]

seeds = st.integers(0, 10**6)
some = settings(max_examples=60)


@lru_cache(maxsize=16)
def pool(task):
    return tuple(task.examples("train", task.capped("train", 40), seed=1))


@st.composite
def asked(draw):
    task = draw(st.sampled_from(TASKS))
    return task, draw(st.sampled_from(pool(task)))


def walks(task, start):
    """Every walk from a node, by brute force."""
    found = [[start]]
    while found:
        yield from (walk for walk in found if len(walk) > 1)
        found = [
            [*walk, node]
            for walk in found
            if len(walk) <= task.max_steps
            for node in task.graph[walk[-1]]
        ]


def spelled(nodes, between=" "):
    return between.join(map(str, nodes))


@pytest.mark.parametrize("task", TASKS, ids=lambda task: task.name)
@pytest.mark.parametrize("split", SPLITS)
def test_the_grader_proves_itself(task, split):
    assert isinstance(task, Task)
    assert isinstance(task, CandidateTask)
    limit = task.capped(split, 60)
    if limit:
        assert prove(task, split=split, limit=limit) == limit


def test_the_example_of_the_documentation():
    example = SMALL.example(0, 6)
    assert example.prompt == user("0 to 6")
    assert (example.target, example.id) == ("6", "routes:8:2:4:0:0-6")
    assert example.meta == {"start": 0, "goal": 6, "shortest": 2, "num_routes": 3}
    assert SMALL.gold(example) == "0 1 6"


def test_a_shown_graph_is_all_that_it_takes():
    task = RoutesTask(8, 2, 4, shown=True)
    text = task.example(0, 6).prompt[0].content
    edges = dict(line.split(" -> ") for line in text.splitlines() if " -> " in line)
    assert {int(node): tuple(map(int, to.split(", "))) for node, to in edges.items()} == dict(
        enumerate(SMALL.graph)
    )
    assert "from 0 to 6 in at most 4 steps" in text
    assert task.graph == SMALL.graph


@pytest.mark.parametrize("task", TASKS, ids=lambda task: task.name)
def test_graphs_are_what_they_say(task):
    assert len(task.graph) == task.num_nodes
    for node, edges in enumerate(task.graph):
        assert len(set(edges)) == task.num_edges
        assert node not in edges
        assert set(edges) <= set(range(task.num_nodes))


def test_worlds_differ():
    assert len({RoutesTask(world=world).graph for world in range(10)}) == 10


@pytest.mark.parametrize("task", [SMALL, RoutesTask(4, 3, 3)], ids=lambda task: task.name)
def test_the_right_replies_are_the_walks_on_the_graph_and_no_others(task):
    for start, goal in [(0, 1), (1, 0), (3, 2)]:
        allowed = {tuple(walk) for walk in walks(task, start) if walk[-1] == goal}
        routes = [walk for walk in allowed if goal not in walk[:-1]]
        example = task.example(start, goal)
        assert example.meta["num_routes"] == len(routes)
        assert example.meta["shortest"] == min(map(len, routes)) - 1
        for length in range(2, 5):
            for walk in product(range(task.num_nodes), repeat=length):
                assert task.verify(example, spelled(walk)).score == float(walk in allowed)
        for walk in allowed:
            assert task.verify(example, f"Take {spelled(walk, ' -> ')}.").score == 1.0


@some
@given(asked(), seeds)
def test_gold_and_hits_verify_and_nothing_wrong_does(asked, seed):
    task, example = asked
    right, wrong = task.candidates(example, seed)
    one, other = task.both_wrong(example, seed)
    for reply in (task.gold(example), right, task.attempt(example, seed, hit=True)):
        assert task.verify(example, reply).score == 1.0
    assert len(task.gold(example).split()) == example.meta["shortest"] + 1
    for reply in (wrong, one, other, task.wrong(example)):
        verdict = task.verify(example, reply)
        assert verdict.score == 0.0
        assert verdict.why
        assert verdict.extracted == reply
    assert one != other
    assert (right, wrong) == task.candidates(example, seed)
    assert (one, other) == task.both_wrong(example, seed)


@some
@given(asked(), seeds, st.sampled_from([None, False, True]))
def test_attempts_walk_along_edges(asked, seed, hit):
    task, example = asked
    nodes = list(map(int, task.attempt(example, seed, hit=hit).split()))
    goal = example.meta["goal"]
    assert nodes[0] == example.meta["start"]
    assert 2 <= len(nodes) <= task.max_steps + 1
    assert all(to in task.graph[at] for at, to in pairwise(nodes))
    assert goal not in nodes[:-1]
    if hit is not None:
        assert (nodes[-1] == goal) == hit


def test_routes_are_drawn_alike_within_a_length_and_lengths_alike():
    example = SMALL.example(2, 1)  # 5 routes
    drawn = Counter(SMALL.attempt(example, seed, hit=True) for seed in range(1000))
    assert len(drawn) == example.meta["num_routes"] == 5
    lengths = Counter(map(len, map(str.split, drawn)))
    for route, count in drawn.items():
        expected = 1000 / len(lengths) / lengths[len(route.split())]
        assert 0.7 * expected < count < 1.4 * expected


def test_random_attempts_rarely_hit_but_sometimes():
    task = RoutesTask()
    hits = [
        task.verify(example, task.attempt(example, seed)).score
        for example in task.examples("train", 100)
        for seed in range(4)
    ]
    assert 0.01 < sum(hits) / len(hits) < 0.3


@pytest.mark.parametrize("task", [RoutesTask(), SMALL], ids=lambda task: task.name)
def test_splits_are_disjoint_and_together_are_everything(task):
    parts = {}
    for split in SPLITS:
        count = task.capped(split, 10**9)
        parts[split] = {example.id for example in task.examples(split, count)}
        assert len(parts[split]) == count
        with pytest.raises(BadInput, match=f"'{split}' has only {count} different questions"):
            task.examples(split, count + 1)
    total = sum(map(len, parts.values()))
    assert total == len(set.union(*parts.values()))
    askable = 0
    for start, goal in product(range(task.num_nodes), repeat=2):
        try:
            task.example(start, goal)
        except BadInput:
            continue
        askable += 1
    assert total == askable


def test_the_split_of_a_question_is_the_same_in_every_world():
    for task in TASKS:
        for split in SPLITS:
            for example in task.examples(split, task.capped(split, 15), seed=3):
                question = f"{example.meta['start']} to {example.meta['goal']}"
                assert split_of(question) == split


@some
@given(seeds, st.integers(0, 60), st.sampled_from(SPLITS))
def test_a_draw_is_the_same_again_and_a_smaller_one_is_its_prefix(seed, limit, split):
    task = RoutesTask()
    long = list(task.examples(split, 60, seed))
    assert list(task.examples(split, limit, seed)) == long[:limit]
    assert len({example.id for example in long}) == 60


def test_seeds_draw_differently():
    one, other = ([e.id for e in RoutesTask().examples("report", 50, s)] for s in (0, 1))
    assert one != other


@pytest.mark.parametrize(
    ("reply", "score", "why"),
    [
        ("0 1 6", 1.0, ""),
        ("0 -> 1 -> 6", 1.0, ""),
        ("0, 1, 6.", 1.0, ""),
        ("0→1→6", 1.0, ""),
        (r"$0 \to 1 \rightarrow 6$", 1.0, ""),
        ("Edges: 0 -> 1 and 1 -> 6.\nSo **0 1 6**", 1.0, ""),
        ("0 7 6 is none.\n0 7 2 6\nThat is the 1st of them, I think.", 1.0, ""),
        ("0 7 2 6, in 3 steps", 1.0, ""),
        ("0 7 2 6, 3 steps", 0.0, "no edge leads from 6 to 3"),
        ("0 01 006", 1.0, ""),
        ("0 6", 0.0, "no edge leads from 0 to 6"),
        ("1 6", 0.0, "begins at 1, not at 0"),
        ("0 1", 0.0, "ends at 1, not at 6"),
        ("0 8 6", 0.0, "there is no node 8"),
        ("0 1 6 5 1 6", 0.0, "takes 5 steps, 4 are allowed"),
        ("0 - 1 - 6", 1.0, ""),
        ("-0 1 6", 0.0, "begins at 1"),
        ("0.1 6", 0.0, ""),
        ("016", 0.0, "there is no node 016"),
        ("0\n1\n6", 0.0, ""),
        ("6", 0.0, "begins at 6"),
        ("0 0000000000000000000000001 6", 0.0, "there is no node 00000000000000000000"),
        ("", None, "no number"),
        ("I cannot.", None, "no number"),
        ("٠ ١ ٦", None, "no number"),
        ("⁰ ¹ ⁶", None, "no number"),
        ("x0 y1 z6", None, "no number"),
    ],
)
def test_replies_of_real_models_are_read(reply, score, why):
    verdict = SMALL.verify(SMALL.example(0, 6), reply)
    assert (verdict.score, bool(verdict.why)) == (score, score != 1.0)
    assert why in verdict.why


@some
@given(st.text() | st.text("0126789 ,->→\\to.\n"))
def test_verify_never_raises(reply):
    verdict = SMALL.verify(SMALL.example(0, 6), reply)
    assert verdict.score in (0.0, 1.0, None)
    assert (verdict.score is None) == (verdict.extracted is None)
    assert (verdict.score == 1.0) == (not verdict.why)


HUGE = 1_000_000
HOSTILE = {
    "digits": "9" * HUGE,
    "zeros": "0" * HUGE + "0 1 6",
    "a long walk": "0 1 6 5 " * (HUGE // 8),
    "a huge node": "0 " + "1" * HUGE + " 6",
    "arrows": "0" + "->" * (HUGE // 2) + "1",
    "commas": "0,,,,,,,,," * (HUGE // 10),
    "blanks": "0" + " " * HUGE + "1 6",
    "latex": "\\to" * (HUGE // 3),
    "lines": "0\n" * (HUGE // 2),
    "letters": "é" * HUGE,
    "surrogates": "\ud800" * HUGE + " 0",
}


@pytest.mark.parametrize("kind", HOSTILE)
def test_hostile_replies_are_wrong_or_unread_and_fast(kind):
    begin = time.thread_time()
    verdict = SMALL.verify(SMALL.example(0, 6), HOSTILE[kind])
    assert time.thread_time() - begin < 0.5
    assert verdict.score in (0.0, None)
    assert verdict.why
    assert len(verdict.extracted or "") <= 4000
    assert len(verdict.why) < 200


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: RoutesTask(3), "3 nodes; give 4 to 256"),
        (lambda: RoutesTask(257), "give 4 to 256"),
        (lambda: RoutesTask(64, 1), "1 edges a node; give 2 to 16"),
        (lambda: RoutesTask(5, 5), "5 edges a node; give 2 to 4"),
        (lambda: RoutesTask(64, 4, 1), "1 steps; give 2 to 16"),
        (lambda: RoutesTask(64, 4, 17), "17 steps; give 2 to 16"),
        (lambda: RoutesTask(world=-1), "-1 as the world; give 0 to 999999"),
        (lambda: RoutesTask().example(0, 64), "there is no node 64; give 0 to 63"),
        (lambda: RoutesTask().example(-1, 3), "there is no node -1"),
        (lambda: RoutesTask().example(3, 3), "fewer than two routes from 3 to 3"),
        (lambda: RoutesTask(200, 2, 2).example(0, 1), "take other nodes or more steps"),
        (lambda: RoutesTask().examples("test", 1), "no split is called 'test'; use train, gate"),
        (lambda: RoutesTask().examples("train", -1), "ask for at least 0"),
        (lambda: RoutesTask().examples("report", 10**40), "different questions"),
    ],
)
def test_bad_input_is_told(make, message):
    with pytest.raises(BadInput, match=message):
        make()


def test_a_question_of_another_task_is_refused():
    example = SMALL.example(0, 6).model_copy(update={"prompt": user("3 + 4")})
    with pytest.raises(BadInput, match="names no start and goal"):
        SMALL.verify(example, "0 1 6")
