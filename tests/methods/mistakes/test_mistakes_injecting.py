"""Injected mistakes: what is made, what is kept, and how little of it one repair undoes."""

from __future__ import annotations

import ast
import functools
from collections import Counter
from collections.abc import Iterator, Sequence

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from planish.methods.mistakes.data import CATEGORIES, Category, CodeTask, Labelled
from planish.methods.mistakes.drawing import draw_many
from planish.methods.mistakes.injecting.combining import combine, combined
from planish.methods.mistakes.injecting.editing import Code, expression, statements
from planish.methods.mistakes.injecting.foreign import foreign
from planish.methods.mistakes.injecting.inject import INJECTORS, inject, shape
from planish.methods.mistakes.injecting.keeping import bounded, injected, wrong_ones
from planish.methods.mistakes.jobs import call_job
from planish.methods.mistakes.own import hand_made, own_tasks
from planish.methods.mistakes.repairing.mutants import digest, mutants
from planish.methods.mistakes.repairing.site import Example
from planish.tasks.sandbox import CallResult, Limits, Sandbox
from planish.tasks.sandbox.values import loads

TASKS = {each.task_id: each for each in own_tasks()}
TRAIN = [each for each in TASKS.values() if each.split == "train"]
PLAIN = [each for each in TRAIN if not each.template]

LIMITS = Limits(seconds=2.0, call_seconds=0.5)

UNDONE = 0.10
"""Of the injected programs of a category, one step of the repairs may undo so many at most."""


@pytest.fixture(scope="module")
def box() -> Iterator[Sandbox]:
    with Sandbox(accept="fork", workers=1) as made:
        yield made


# ---- candidates


@pytest.mark.parametrize("task", TASKS.values(), ids=lambda each: each.task_id)
def test_candidates_are_code_of_their_own(task: CodeTask) -> None:
    made = inject(task, seed=1, per_category=3)
    shapes = [shape(each.code) for each in made]
    assert None not in shapes
    assert len({*shapes, shape(task.reference)}) == len(made) + 1
    assert max(Counter(each.category for each in made).values()) <= 3
    for each in made:
        code = Code.read(each.code, "")
        right = Code.read(task.reference, "")
        assert code is not None
        assert right is not None
        assert ast.dump(code.function.args) == ast.dump(right.function.args)
        assert each.line is not None
        assert 1 <= each.line <= len(each.code.splitlines())
        assert each.note.endswith(".")


def test_every_category_and_every_task_has_some() -> None:
    made = [each for task in TRAIN[::3] for each in inject(task, seed=0, per_category=1)]
    assert {each.category for each in made} == set(CATEGORIES)
    assert {each.task_id for each in made} == {task.task_id for task in TRAIN[::3]}


@settings(max_examples=8, deadline=None)
@given(st.sampled_from(TRAIN), st.integers(0, 2**32))
def test_the_seed_decides(task: CodeTask, seed: int) -> None:
    once = inject(task, seed=seed, per_category=2)
    assert inject(task, seed=seed, per_category=2) == once
    assert [*_by_category(once)] == [each for each in CATEGORIES if each in _by_category(once)]


def _by_category(made: Sequence[Labelled]) -> dict[Category, int]:
    return dict(Counter(each.category for each in made))


def test_the_seed_matters() -> None:
    drawn = {
        tuple(each.code for each in inject(PLAIN[0], seed=seed, per_category=1))
        for seed in range(8)
    }
    assert len(drawn) > 1


def test_what_is_no_code_has_no_mistakes() -> None:
    broken = PLAIN[0].model_copy(update={"reference": "def f(:\n"})
    assert inject(broken, seed=0, per_category=2) == []
    bare = PLAIN[0].model_copy(update={"reference": "f = abs\n"})
    assert inject(bare, seed=0, per_category=2) == []


def test_bodies_come_from_the_same_split_only() -> None:
    task = PLAIN[0]
    every = list(TASKS.values())
    by_other = {text for text, _, by in foreign(task, every) if by == "body of another task"}
    others = [each for each in every if each.split != "train"]
    assert not [1 for _, _, by in foreign(task, others) if by == "body of another task"]
    assert by_other <= {text for text, _, _ in foreign(task, TRAIN)}


def test_swapping_keeps_the_rest() -> None:
    code = Code.read("def f(x):\n    if x:\n        return 1\n    return 2\n", "f")
    assert code is not None
    one = next(code.nodes(ast.Constant))
    assert code.swapped({one: expression("$0 + 1", one)}).count("1 + 1") == 1
    guard = next(code.nodes(ast.If))
    assert "if" not in code.swapped({guard: []})
    inside = code.swapped({guard: [*statements("y = x"), guard], one: ast.Constant(9)})
    assert inside == "def f(x):\n    y = x\n    if x:\n        return 9\n    return 2\n"
    assert ast.dump(code.tree) == ast.dump(ast.parse(code.swapped({})))


def test_injectors_have_names_of_their_own() -> None:
    names = [each.__name__ for group in INJECTORS.values() for each in group]
    assert len(names) == len(set(names))
    assert all(each.__doc__ for group in INJECTORS.values() for each in group)


def test_a_wrong_order_has_one_label_wherever_it_is_made() -> None:
    summed = "def f(a, b):\n    return (a + b) // 2\n"
    shared = "def f(a, b):\n    a -= a * b // 100\n    return a\n"
    assert _made(summed, "parts rounded") == {"MOOV"}
    assert _made(shared, "divided first") == {"MOOV"}


def _made(text: str, by: str) -> set[Category]:
    code = Code.read(text, "f")
    assert code is not None
    return {
        category
        for category, group in INJECTORS.items()
        for each in group
        if each.__name__.replace("_", " ") == by and list(each(code))
    }


@pytest.mark.parametrize(
    ("body", "made"),
    [
        ("return a + 1, b + 1", set()),
        ("return [(at + 1, b[at] + 1) for at in range(len(a))]", set()),
        ("return [(at + 1, f'{at + 1}') for at, _ in enumerate(a)]", {"IOM"}),
        ("at = a.find(b)\n    return at + 1, a.index(b) + 1", {"IOM"}),
    ],
)
def test_a_number_is_no_place_unless_it_is_counted_or_looked_up(
    body: str, made: set[Category]
) -> None:
    assert _made(f"def f(a, b):\n    {body}\n", "from nought") == made


@pytest.mark.parametrize(
    ("body", "made"),
    [
        ("if len(a) < 2:\n        return a\n    return a[1:]", set()),
        ("if not a.strip():\n        return (0, 0)\n    return a, b", set()),
        ("if a[0] == b:\n        return a\n    return a[1:]", {"CE"}),
        ("c = a + b\n    if len(c) < 2:\n        return c\n    return c[1:]", {"CE"}),
    ],
)
def test_a_case_that_one_guard_brings_back_is_not_forgotten(body: str, made: set[Category]) -> None:
    assert _made(f"def f(a, b):\n    {body}\n", "case forgotten") == made


# ---- disjoint from the repairs


def examples(made: Sequence[Labelled], box: Sandbox) -> list[list[Example]]:
    """For each program up to three inputs on which it differs, as the search for repairs has them.

    Guards and answers are made from these alone.
    """
    tasks = list({each.task_id: TASKS[each.task_id] for each in made}.values())
    drawn = draw_many(tasks, 24, 0, box, LIMITS)
    wanted = {task.task_id: each for task, each in zip(tasks, drawn, strict=True)}
    jobs = [
        call_job(TASKS[each.task_id], each.code, "", wanted[each.task_id].inputs, LIMITS)
        for each in made
    ]
    found = []
    for each, result in zip(made, box.run(jobs), strict=True):
        pairs = zip(wanted[each.task_id].calls, result.per_input, strict=False)
        found.append([_example(*pair) for pair in pairs if pair[0].value != pair[1].value][:3])
    return found


def _example(wanted: CallResult, call: CallResult) -> Example:
    got = loads(call.value) if call.value is not None else None
    given = loads(wanted.arguments)
    if isinstance(given, list):  # by name as well
        given = (*given[0], *given[1].values())
    return Example(given, loads(wanted.value or ""), got, call.status == "value")


def undone(made: Sequence[Labelled], box: Sandbox) -> dict[Category, tuple[int, int]]:
    """Category -> how many programs one step of the repairs makes the reference, and how many."""
    counts: dict[Category, tuple[int, int]] = {}
    for each, failing in zip(made, examples(made, box), strict=True):
        task = TASKS[each.task_id]
        code = Code.read(each.code, "")
        right = Code.read(task.reference, "")
        assert code is not None
        assert right is not None
        wanted = digest(right.swapped({}))
        back = any(
            digest(x.code) == wanted for x in mutants(each.code, code.function.name, failing)
        )
        before, whole = counts.get(each.category, (0, 0))
        counts[each.category] = (before + back, whole + 1)
    return counts


def test_one_step_of_the_repairs_undoes_few(box: Sandbox) -> None:
    chosen = [TASKS[f"own/{name}"] for name in ("dates/bin_day", "numbers/split_bill")]
    made = [each for task in chosen for each in inject(task, seed=0, per_category=1)]
    counts = undone(made, box)
    assert len(counts) >= 5
    assert all(back <= UNDONE * whole for back, whole in counts.values()), counts


@functools.cache
def _one_of_every_injector() -> tuple[Labelled, ...]:
    first: dict[str, Labelled] = {}
    for task in TRAIN:
        for each in inject(task, seed=0, per_category=8):
            first.setdefault(each.by, each)
    return tuple(first.values())


@pytest.mark.slow
@pytest.mark.parametrize("category", CATEGORIES)
def test_one_step_of_the_repairs_undoes_few_of_every_injector(
    category: Category, box: Sandbox
) -> None:
    """About a second for each injector; the table is what a maintainer looks at."""
    made = [each for each in _one_of_every_injector() if each.category == category]
    counts = undone(made, box)
    print(counts)
    assert set(counts) == {category}
    assert all(back <= UNDONE * whole for back, whole in counts.values()), counts


def test_what_one_step_does_undo_is_noticed(box: Sandbox) -> None:
    task = TASKS["own/lists/duty_order"]
    wrong = task.reference.replace("names[shift:]", "names[shift + 1:]")
    off = Labelled(task_id=task.task_id, category="IOM", code=wrong)
    assert undone([off], box) == {"IOM": (1, 1)}
    guard = "    if not names:\n        return []\n"
    assert guard in task.reference
    lost = off.model_copy(update={"category": "CE", "code": task.reference.replace(guard, "")})
    assert undone([lost], box) == {"CE": (1, 1)}


# ---- kept


def test_those_that_are_kept_fail_and_are_new(box: Sandbox) -> None:
    tasks = [TASKS["own/text/page_slug"], TASKS["own/text/badge_initials"]]
    told: list[tuple[int, int]] = []
    kept = injected(tasks, box, seed=0, per_category=1, progress=lambda *at: told.append(at))
    assert told
    assert told[-1][0] == told[-1][1]
    assert max(Counter((each.task_id, each.category) for each in kept).values()) == 1
    assert len(kept) >= 8
    by_hand = {(each.task_id, shape(each.code)) for each in hand_made()}
    assert not by_hand & {(each.task_id, shape(each.code)) for each in kept}
    assert wrong_ones(tasks, kept, box, seed=0) == list(kept)
    again = injected(tasks[:1], box, seed=0, per_category=1, known=kept)
    assert not {each.code for each in again} & {each.code for each in kept}


def test_equal_and_broken_ones_are_not_kept(box: Sandbox) -> None:
    task = TASKS["own/dates/bin_day"]

    def made(body: str) -> Labelled:
        code = f"def bin_day(day, weekday, collected_on):\n    {body}\n"
        return Labelled(task_id=task.task_id, category="MFLE", code=code)

    wrong = made("return day + (collected_on - weekday) % 7")
    others = [
        made("return day + ((collected_on - weekday - 1) % 7 + 1)"),
        made("return day + waiting"),
        made("raise ValueError"),
        made("while True: pass"),
        made("return day +"),
    ]
    assert wrong_ones([task], [others[0], wrong, *others[1:]], box, seed=0) == [wrong]


# ---- two at once


def test_two_mistakes_are_both_there(box: Sandbox) -> None:
    tasks = [TASKS["own/records/top_sellers"]]
    kept = injected(tasks, box, seed=0, per_category=1)
    pairs = combined(tasks, kept, box, seed=0, per_task=2)
    assert pairs
    for each in pairs:
        assert each.category != each.also
        assert each.categories == {each.category, each.also}
        assert each.code not in {one.code for one in kept}
        assert " + " in each.by


def test_mistakes_that_meet_are_not_combined() -> None:
    task = TASKS["own/dates/bin_day"]
    one = Labelled(
        task_id=task.task_id, category="MFLE", code=task.reference.replace("% 7", "% 30")
    )
    two = one.model_copy(
        update={"category": "CE", "code": task.reference.replace("weekday) % 7", "1) % 7")}
    )
    far = one.model_copy(
        update={"category": "CE", "code": task.reference.replace("(wait or 7)", "wait")}
    )
    assert combine(task, one, two) is None
    assert combine(task, one, one) is None
    assert combine(task, one, far.model_copy(update={"category": "GC"})) is None
    again = one.model_copy(update={"category": "IOM", "code": task.reference})
    assert combine(task, one, again) is None


@settings(max_examples=50)
@given(
    st.lists(st.sampled_from(CATEGORIES), max_size=40),
    st.none() | st.integers(0, 8),
    st.integers(0, 3),
)
def test_so_many_of_each_category_are_drawn(
    categories: list[Category], most: int | None, seed: int
) -> None:
    programs = [
        Labelled(task_id="t", code=f"x = {at}", category=category, by="someone")
        for at, category in enumerate(categories)
    ]
    few = bounded(programs, most, seed)
    left = iter(programs)
    assert all(each in left for each in few)  # in their order, none twice
    for category, whole in Counter(categories).items():
        got = sum(each.category == category for each in few)
        assert got == (whole if most is None else min(whole, most))
    assert bounded(programs, most, seed) == few
