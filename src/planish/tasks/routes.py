"""Routes: walk from one node of a graph to another, where many different walks are right.

The graph is random, directed, and the same for every question of a world, so that a small model
can learn it by heart; the question only names both ends: `3 to 17`. A reply names every node,
`3 9 17`; any walk along the edges of at most so many steps is right. With `shown` the question
shows the graph, for models that cannot know it.

    >>> task = RoutesTask(num_nodes=8, num_edges=2, max_steps=4)
    >>> example = task.example(0, 6)
    >>> example.prompt[0].content, example.meta["shortest"], example.meta["num_routes"]
    ('0 to 6', 2, 3)
    >>> task.gold(example), task.verify(example, "Go 0 -> 7 -> 2 -> 6.").score
    ('0 1 6', 1.0)
    >>> right, wrong = task.candidates(example, seed=0)
    >>> task.verify(example, right).score, task.verify(example, wrong).score
    (1.0, 0.0)

A route is a walk that ends where it first meets the goal; every question has at least two.
"""

from __future__ import annotations

import random
import re
from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache
from itertools import pairwise

from planish.records import BadInput, Example, Verdict, user
from planish.tasks.base import check_draw, split_of

__all__ = ["RoutesTask"]

_MAX_NODES = 256
_MAX_EDGES = 16
_MAX_STEPS = 16
_MAX_WORLD = 999_999

_TAIL_CHARS = 4000  # an answer stands at the end, and no walk that is right is nearly as long
_MAX_DIGITS = 3

_ENDS = re.compile(r"\b([0-9]{1,3}) to ([0-9]{1,3})\b")

# Numbers with blanks, commas or arrows between them, on one line.
_BETWEEN = r"[ \t,>=→⟶\-–]{1,8}"
_WALK = re.compile(rf"(?<![0-9A-Za-z_.\-])[0-9]+(?:{_BETWEEN}[0-9]+)*")
_ARROW = re.compile(r"\\(?:long)?(?:rightarrow|to)\b")


@lru_cache(maxsize=64)
def _graph(num_nodes: int, num_edges: int, world: int) -> tuple[tuple[int, ...], ...]:
    """Node -> where its edges lead, in ascending order."""
    draw = random.Random(f"routes/{num_nodes}/{num_edges}/{world}")
    return tuple(
        tuple(
            sorted(draw.sample([other for other in range(num_nodes) if other != node], num_edges))
        )
        for node in range(num_nodes)
    )


@lru_cache(maxsize=1024)
def _ways(
    graph: tuple[tuple[int, ...], ...], goal: int, max_steps: int
) -> tuple[tuple[int, ...], ...]:
    """Number of steps -> node -> how many walks from it first meet the goal after so many."""
    ways = [tuple(int(node == goal) for node in range(len(graph)))]
    for _ in range(max_steps):
        ways.append(
            tuple(
                0 if node == goal else sum(ways[-1][following] for following in edges)
                for node, edges in enumerate(graph)
            )
        )
    return tuple(ways)


@dataclass(frozen=True)
class RoutesTask:
    """Walks of at most `max_steps` steps on a random graph.

    A question is a start and a goal with at least two routes between them; 60 % of them are in
    "train", 20 % in "gate" and 20 % in "report". A start and goal are in the same split in every
    world, shown or not.

    Args:
        num_nodes: how many nodes, 4 to 256; they are called 0, 1, 2 and so on.
        num_edges: how many edges lead away from each, 2 to 16.
        max_steps: the longest walk that counts, 2 to 16.
        world: which of the random graphs.
        shown: whether the question shows the graph and says what to do.

    Raises:
        BadInput: one of them is out of bounds.
    """

    num_nodes: int = 64
    num_edges: int = 4
    max_steps: int = 7
    world: int = 0
    shown: bool = False

    def __post_init__(self) -> None:
        for what, value, low, high in (
            ("nodes", self.num_nodes, 4, _MAX_NODES),
            ("edges a node", self.num_edges, 2, min(_MAX_EDGES, self.num_nodes - 1)),
            ("steps", self.max_steps, 2, _MAX_STEPS),
            ("as the world", self.world, 0, _MAX_WORLD),
        ):
            if not low <= value <= high:
                raise BadInput(f"{value} {what}", where="routes", fix=f"give {low} to {high}")

    @property
    def name(self) -> str:
        """For instance `routes:64:4:7:0`, or `routes:8:2:4:0:shown`."""
        name = f"routes:{self.num_nodes}:{self.num_edges}:{self.max_steps}:{self.world}"
        return name + ":shown" * self.shown

    @property
    def graph(self) -> tuple[tuple[int, ...], ...]:
        """Node -> where its edges lead."""
        return _graph(self.num_nodes, self.num_edges, self.world)

    def _lengths(self, start: int, goal: int) -> list[int]:
        """Number of steps -> number of routes."""
        return [ways[start] for ways in _ways(self.graph, goal, self.max_steps)]

    def example(self, start: int, goal: int) -> Example:
        """The example of one question.

        Raises:
            BadInput: no such node, or fewer than two routes.
        """
        for node in (start, goal):
            if not 0 <= node < self.num_nodes:
                raise BadInput(
                    f"there is no node {node}",
                    where=self.name,
                    fix=f"give 0 to {self.num_nodes - 1}",
                )
        lengths = self._lengths(start, goal)
        if sum(lengths) < 2 or start == goal:
            raise BadInput(
                f"fewer than two routes from {start} to {goal}",
                where=self.name,
                fix="take other nodes or more steps",
            )
        return Example(
            id=f"{self.name}:{start}-{goal}",
            prompt=user(self._prompt(start, goal)),
            target=str(goal),
            meta={
                "start": start,
                "goal": goal,
                "shortest": next(steps for steps, number in enumerate(lengths) if number),
                "num_routes": sum(lengths),
            },
        )

    def _prompt(self, start: int, goal: int) -> str:
        if not self.shown:
            return _question(start, goal)
        edges = "\n".join(
            f"{node} -> {', '.join(map(str, following))}"
            for node, following in enumerate(self.graph)
        )
        return (
            "From each node of this graph you can step to those behind its arrow:\n"
            f"{edges}\n"
            f"Walk from {_question(start, goal)} in at most {self.max_steps} steps. End with one "
            "line that holds every node of your walk, both ends included, with blanks between them."
        )

    def examples(self, split: str, limit: int, seed: int = 0) -> Iterator[Example]:
        """Draws `limit` different questions; a smaller limit draws a prefix of a larger one.

        Raises:
            BadInput: an unknown split, or more questions than the split holds.
        """
        check_draw(split, limit, where=self.name)
        if limit > self.capped(split, limit):
            raise BadInput(
                f"{limit} examples asked, but {split!r} has only {self.capped(split, limit)} "
                "different questions",
                where=self.name,
                fix="lower the limit or take more nodes, edges or steps",
            )
        questions = list(self._questions(split))
        random.Random(f"{self.name}/{split}/{seed}").shuffle(questions)
        return (self.example(start, goal) for start, goal in questions[:limit])

    def capped(self, split: str, limit: int) -> int:
        """`limit`, or the number of different questions in the split where that is smaller."""
        return min(limit, len(self._questions(split)))

    def _questions(self, split: str) -> tuple[tuple[int, int], ...]:
        return _questions(self.graph, self.max_steps, split)

    def verify(self, example: Example, reply: str) -> Verdict:
        """Walks along the reply's last list of numbers; None where there is no number."""
        walk = _last_walk(reply)
        if not walk:
            return Verdict(score=None, why="no number in the reply", by=self.name)
        why = self._complaint(walk, *_ends(example))
        return Verdict(
            score=float(not why), extracted=" ".join(walk)[:_TAIL_CHARS], why=why, by=self.name
        )

    def _complaint(self, walk: list[str], start: int, goal: int) -> str:
        """What is wrong with a walk, or ""."""
        for node in walk:
            if len(node) > _MAX_DIGITS or int(node) >= self.num_nodes:
                return f"there is no node {node[:20]}"
        nodes = list(map(int, walk))
        if nodes[0] != start:
            return f"begins at {nodes[0]}, not at {start}"
        for one, following in pairwise(nodes):
            if following not in self.graph[one]:
                return f"no edge leads from {one} to {following}"
        if nodes[-1] != goal:
            return f"ends at {nodes[-1]}, not at {goal}"
        if len(nodes) > self.max_steps + 1:
            return f"takes {len(nodes) - 1} steps, {self.max_steps} are allowed"
        return ""

    def gold(self, example: Example) -> str:
        """One of the shortest routes."""
        start, goal = _ends(example)
        shortest = next(steps for steps, number in enumerate(self._lengths(start, goal)) if number)
        return _text(self._route(start, goal, shortest, random.Random(f"{example.id}/gold")))

    def wrong(self, example: Example) -> str:
        """A walk that misses the goal or jumps where there is no edge."""
        return self.candidates(example, seed=0)[1]

    def _route(self, start: int, goal: int, steps: int, draw: random.Random) -> list[int]:
        """One of the routes of so many steps, all alike likely."""
        ways, nodes = _ways(self.graph, goal, self.max_steps), [start]
        for left in range(steps - 1, -1, -1):
            edges = self.graph[nodes[-1]]
            [node] = draw.choices(edges, [ways[left][following] for following in edges])
            nodes.append(node)
        return nodes

    def attempt(self, example: Example, seed: int, *, hit: bool | None = None) -> str:
        """A walk along edges, as a model might learn it before it learns to aim.

        Args:
            example: a question of this task.
            seed: the same one gives the same walk.
            hit: True for a route, each possible length alike likely, then each of that length;
                False for a walk that never meets the goal; None for a random walk, which ends
                where it meets the goal.

        Raises:
            BadInput: no walk misses the goal.
        """
        draw = random.Random(f"{example.id}/attempt/{hit}/{seed}")
        start, goal = _ends(example)
        if hit:
            lengths = self._lengths(start, goal)
            steps = draw.choice([steps for steps, number in enumerate(lengths) if number])
            return _text(self._route(start, goal, steps, draw))
        return _text(self._wander(start, goal, draw, miss=hit is False))

    def _wander(self, start: int, goal: int, draw: random.Random, *, miss: bool) -> list[int]:
        nodes, most = [start], draw.randint(2, self.max_steps)
        while len(nodes) <= most and nodes[-1] != goal:
            # Every node has two edges, so that one of them always leads elsewhere.
            edges = [node for node in self.graph[nodes[-1]] if not miss or node != goal]
            nodes.append(draw.choice(edges))
        return nodes

    def candidates(self, example: Example, seed: int) -> tuple[str, str]:
        """A right and a wrong reply to be compared by a judge.

        The wrong one is a walk that ends elsewhere or, half of the time, a route with one node
        exchanged so that an edge is missing.

        Returns:
            (right, wrong).
        """
        draw = random.Random(f"{example.id}/candidates/{seed}")
        return self.attempt(example, seed, hit=True), self._wrong(example, draw)

    def both_wrong(self, example: Example, seed: int) -> tuple[str, str]:
        """Two wrong replies with different answers, for the slice where copying cannot help."""
        draw = random.Random(f"{example.id}/both wrong/{seed}")
        first = second = self._wrong(example, draw)
        while second == first:
            second = self._wrong(example, draw)
        return first, second

    def _wrong(self, example: Example, draw: random.Random) -> str:
        start, goal = _ends(example)
        seed = draw.randrange(10**9)
        nodes = list(map(int, self.attempt(example, seed, hit=True).split()))
        if draw.random() < 0.5 or len(nodes) < 3:
            return _text(self._wander(start, goal, draw, miss=True))
        place = draw.randrange(1, len(nodes) - 1)
        previous, following = nodes[place - 1], nodes[place + 1]
        nodes[place] = draw.choice(
            [
                node
                for node in range(self.num_nodes)
                if node not in self.graph[previous] or following not in self.graph[node]
            ]
        )
        return _text(nodes)


def _question(start: int, goal: int) -> str:
    return f"{start} to {goal}"


def _ends(example: Example) -> tuple[int, int]:
    found = _ENDS.search(example.prompt[-1].content)
    if not found:
        raise BadInput(
            "the question names no start and goal", where=f"routes, example {example.id}"
        )
    return int(found[1]), int(found[2])


def _text(nodes: list[int]) -> str:
    return " ".join(map(str, nodes))


def _last_walk(reply: str) -> list[str]:
    """The numbers of the last list of at least two, or else of the last number; as text."""
    tail = _ARROW.sub("->", reply[-_TAIL_CHARS:])
    walks = [re.findall("[0-9]+", match[0]) for match in _WALK.finditer(tail)]
    return next((walk for walk in reversed(walks) if len(walk) > 1), walks[-1] if walks else [])


@lru_cache(maxsize=64)
def _questions(
    graph: tuple[tuple[int, ...], ...], max_steps: int, split: str
) -> tuple[tuple[int, int], ...]:
    """Every (start, goal) of a split."""
    return tuple(
        (start, goal)
        for goal in range(len(graph))
        for start in range(len(graph))
        if start != goal
        and sum(ways[start] for ways in _ways(graph, goal, max_steps)) > 1
        and split_of(_question(start, goal)) == split
    )
