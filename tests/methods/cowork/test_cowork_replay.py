"""The replay page: whole, safe, small, and telling the truth about the episode."""

import base64
import hashlib
import json
import random
import re
import shutil
import subprocess
from dataclasses import replace

import pytest

from planish.methods.cowork.acting.episodes import Job, Played, play
from planish.methods.cowork.data import Cell, Episode, TickTrace
from planish.methods.cowork.kitchen import Kitchen, load_layout
from planish.methods.cowork.kitchen.simulator import ACTIONS
from planish.methods.cowork.showing.replay import deliveries, replay_page, write_replay
from planish.methods.cowork.skills import parse_library

STEPS = [
    # task, what the hands hold, what else must hold, controller, what it takes, what ends it
    ("serve", "soup", [], "serve", {}, "nothing"),
    ("fill", "onion", [], "put", {}, "nothing"),
    ("dish_up", "dish", [], "plate", {}, "soup"),
    ("heat", "nothing", ["pot_to_start"], "start", {}, None),
    ("get_dish", "nothing", ["wanted(dish)"], "take", {"thing": "dish"}, "dish"),
    ("get_onion", "nothing", ["wanted(onion)"], "take", {"thing": "onion"}, "onion"),
]
LIBRARY = parse_library(
    {
        "name": "small",
        "operators": [
            {
                "id": f"do_{task}",
                "controller": controller,
                "args": args,
                "expect": [f"holding({end})"] if end else ["!pot_to_start"],
            }
            for task, _, _, controller, args, end in STEPS
        ],
        "methods": [
            {
                "id": task,
                "task": "work",
                "when": [f"holding({held})", *when],
                "subtasks": [f"do_{task}"],
                "priority": 90 - 10 * rank,
            }
            for rank, (task, held, when, *_) in enumerate(STEPS)
        ],
    }
)
GUARDS = [f"method_{n}: stuck_longer_than(yield_after)" for n in range(30)]


def random_trace(rng, t, seat):
    busy = rng.random() < 0.8
    return TickTrace(
        t=t,
        seat=seat,
        action="stay",
        task_path=("fill:bring", "carry:do_fill") if busy else (),
        operator=rng.choice(["do_get_onion", "do_fill"]) if busy else "",
        rejected=tuple(rng.sample(GUARDS, 12)),
        event=rng.choice(["", "", "", "done", "interrupt", "timeout", "failed"]),
        fallback="" if busy else rng.choice(["last", "sidestep", "stay"]),
        plan_ns=int(10 ** rng.uniform(4, 6.9)),
        deadline_missed=rng.random() < 0.01,
    )


def random_episode(name="cramped_room", ticks=400, partner="self", seat=0, seed=0, change=None):
    """An episode of random actions with made-up traces; `change` edits every trace."""
    rng, layout = random.Random(seed), load_layout(name)
    kitchen = Kitchen(layout)
    frames, actions, traces, score = [kitchen.state()], [], [], 0.0
    for t in range(ticks):
        for cook in (0, 1) if partner == "self" else (seat,):
            trace = random_trace(rng, t, cook)
            traces.append(trace if change is None else change(trace))
        # Interactions are common, so that things lie about and pots fill.
        pair = tuple(rng.choice([0, 1, 2, 3, 5, 5]) for _ in range(2))
        actions.append(pair)
        score += sum(kitchen.step(*pair))
        frames.append(kitchen.state())
    episode = Episode(
        id=f"{name}-{seed}",
        library_hash=LIBRARY.digest,
        cell=Cell(layout=name, partner=partner, seat=seat),
        seed=seed,
        horizon=ticks,
        score=score,
    )
    return Played(
        episode=episode, frames=tuple(frames), actions=tuple(actions), traces=tuple(traces)
    )


def changed(played, **fields):
    return replace(played, episode=played.episode.model_copy(update=fields))


def page_of(played, library=LIBRARY):
    layout = load_layout(played.episode.cell.layout)
    return replay_page(played, layout, library, title="A look")


def data_of(page):
    (text,) = re.findall(r'<script type="application/json" id="data">(.*?)</script>', page, re.S)
    return json.loads(text)


def test_frames_come_back_from_what_the_page_holds():
    played = random_episode("coordination_ring", ticks=120)
    data = data_of(page_of(played))
    frame, tiles = list(data["start"]), len(load_layout("coordination_ring").terrain)
    for state, changes in zip(played.frames[1:], data["deltas"], strict=True):
        for index, value in zip(changes[::2], changes[1::2], strict=True):
            frame[index] = value
        assert tuple(frame[:6]) == state.cells + state.facing + state.held
        counters = [(tile, thing) for tile, thing in enumerate(frame[6 : 6 + tiles]) if thing]
        assert tuple(counters) == state.counters
        onions, cooked = frame[6 + tiles : 6 + 2 * tiles], frame[6 + 2 * tiles :]
        pots = [(tile, onions[tile], cooked[tile]) for tile in range(tiles) if onions[tile]]
        assert tuple(pots) == state.pots
    assert data["actions"][1] == "".join(str(pair[1]) for pair in played.actions)


def test_traces_come_back_from_what_the_page_holds():
    played = random_episode(ticks=50)
    data = data_of(page_of(played))
    texts = [*data["strings"], ""]
    for trace in played.traces:
        columns = data["seats"][trace.seat]["columns"]
        at = {name: columns[name][trace.t] for name in columns if name != "missed"}
        assert tuple(texts[n] for n in data["lists"][at["stack"]]) == trace.task_path
        assert tuple(texts[n] for n in data["lists"][at["rejected"]]) == trace.rejected
        assert texts[at["operator"]] == trace.operator
        assert texts[at["event"]] == trace.event
        assert texts[at["fallback"]] == trace.fallback
        assert at["plan"] == trace.plan_ns
        assert (trace.t in columns["missed"]) == trace.deadline_missed


def test_deliveries_add_up_to_the_score():
    found = 0
    for seed in range(40):
        played = random_episode(seed=seed)
        served = deliveries(played, load_layout("cramped_room"))
        assert sum(value for _, _, value in served) == played.episode.score
        found += len(served)
    assert found > 0


def test_hostile_text_stays_text():
    evil = '</script><script>alert(1)</script><!--<img src=x onerror="alert(1)">\u2028\ud800\x00'
    hostile = {"rejected": (f"yield: {evil}",), "operator": evil, "task_path": (evil,)}
    played = random_episode(ticks=20, change=lambda trace: trace.model_copy(update=hostile))
    played = changed(played, error=evil, id=evil)
    page = page_of(played, LIBRARY.model_copy(update={"name": evil}))
    assert page.count("<script") == 2
    assert page.count("</script") == 2
    assert "<img" not in page
    assert "<!--" not in page
    assert f"yield: {evil}" in data_of(page)["strings"]
    page.encode("utf-8")


def test_a_title_cannot_break_out_either():
    played = random_episode(ticks=5)
    title = "</title><script>alert(1)</script>"
    page = replay_page(played, load_layout("cramped_room"), LIBRARY, title=title)
    assert page.count("<script") == 2
    assert "&lt;/title&gt;" in page


def test_the_page_fetches_nothing():
    page = page_of(random_episode(ticks=30))
    assert "default-src 'none'" in page
    assert not re.findall(r"""(?:src|href)\s*=\s*["'](?!#)""", page)
    assert not re.findall(r"https?://|@import|url\(", page)


def test_the_policy_allows_this_script_alone():
    page = page_of(random_episode(ticks=5))
    (script,) = re.findall(r"<script>(.*?)</script>", page, re.S)
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    assert f"script-src 'sha256-{digest}'" in page


@pytest.mark.parametrize("name", ["cramped_room", "counter_circuit_o_1order"])
def test_an_episode_that_was_really_played(name):
    job = Job(Cell(layout=name), LIBRARY, seed=3)
    played = play(job, trace=True)
    page = page_of(played)
    data = data_of(page)
    assert sum(value for _, _, value in data["deliveries"]) == played.episode.score
    assert len(page.encode()) <= 400_000
    stacks = {tuple(data["strings"][n] for n in entry) for entry in data["lists"]}
    assert ("get_onion:do_get_onion",) in stacks
    assert "do_get_onion" in data["operators"]
    assert "get_dish: holding(nothing)" in data["strings"]


def test_a_slow_agent_has_ticks_without_a_decision():
    job = Job(Cell(layout="cramped_room"), LIBRARY, seed=3, horizon=20, latency_ticks=4)
    stack = data_of(page_of(play(job, trace=True)))["seats"][0]["columns"]["stack"]
    assert [tick for tick, decided in enumerate(stack) if decided >= 0] == [0, 5, 10, 15]


@pytest.mark.parametrize("name", ["cramped_room", "counter_circuit_o_1order"])
def test_a_whole_episode_is_small(name):
    assert len(page_of(random_episode(name)).encode()) <= 400_000


@pytest.mark.parametrize("seat", [0, 1])
def test_a_scripted_partner_is_called_one(seat):
    page = page_of(random_episode(partner="sticky_greedy", seat=seat, ticks=20))
    boxes = re.findall(r'<section class="sheet seat".*?</section>', page, re.S)
    assert "scripted partner: sticky_greedy" in boxes[1 - seat]
    assert 'class="stack"' not in boxes[1 - seat]
    assert "library small" in boxes[seat]
    assert 'class="stack"' in boxes[seat]


def test_a_library_seat_without_traces_says_so():
    played = replace(random_episode(ticks=20), traces=())
    assert "no traces were kept" in page_of(played)


def test_a_failed_episode_says_why():
    played = random_episode(ticks=20)
    played = changed(played, score=None, error="it broke")
    page = page_of(played)
    assert "has no score: it broke" in page
    assert "score <b>none</b>" in page


def test_frames_of_another_kitchen_are_refused():
    played = random_episode("counter_circuit_o_1order", ticks=30)
    with pytest.raises(ValueError, match="not of the layout"):
        replay_page(played, load_layout("cramped_room"), LIBRARY, title="no")


def test_no_frames_no_page():
    played = replace(random_episode(ticks=3), frames=())
    with pytest.raises(ValueError, match="no frames"):
        page_of(played)


def test_the_file_is_the_page(tmp_path):
    played = random_episode(ticks=10)
    layout = load_layout("cramped_room")
    path = write_replay(tmp_path / "deep" / "a.html", played, layout, LIBRARY, title="A look")
    assert path.read_text("utf-8") == page_of(played)
    assert [file.name for file in path.parent.iterdir()] == ["a.html"]


DOM = """
const elements = {}, listeners = {};
const pen = new Proxy({}, { get: () => () => {}, set: () => true });
function element(name) {
  return {
    name, style: {}, children: [], text: "", parentElement: { clientWidth: 600 }, clientWidth: 600,
    set textContent(text) { this.text = String(text); this.children = []; },
    get textContent() { return this.text + this.children.map((c) => c.textContent ?? c).join(""); },
    append(...parts) { this.children.push(...parts); },
    replaceChildren(...parts) { this.text = ""; this.children = parts; },
    setAttribute() {}, addEventListener(kind, act) { this["on" + kind] = act; },
    getContext: () => pen, getBoundingClientRect: () => ({ left: 0, width: 600 }),
    querySelector(part) { return (this[part] ??= element(part)); },
  };
}
globalThis.document = {
  documentElement: {}, body: {}, createElement: element,
  getElementById(id) { return (elements[id] ??= element(id)); },
};
globalThis.window = { devicePixelRatio: 1 };
globalThis.location = { hash: "#t=7" };
globalThis.history = { replaceState() {} };
globalThis.matchMedia = () => ({ matches: false, addEventListener() {} });
globalThis.getComputedStyle = () => ({ getPropertyValue: () => "#000", fontFamily: "x" });
globalThis.requestAnimationFrame = (act) => { globalThis.rolling = act; };
globalThis.addEventListener = (kind, act) => { listeners[kind] = act; };
const [, , page] = process.argv;
const html = require("fs").readFileSync(page, "utf8");
const scripts = [...html.matchAll(/<script[^>]*>([^]*?)<\\/script>/g)].map((found) => found[1]);
document.getElementById("data").text = scripts[0];
(0, eval)(scripts[1]);
const seen = () => ["tick", "score", "seat-0", "seat-1"].map((id) =>
  [elements[id].textContent,
    ...[".does", ".stack", ".guards"].map((part) => elements[id][part]?.textContent)]);
const out = [seen()];
const press = (key, more) =>
  listeners.keydown({ key, target: {}, preventDefault() {}, ...more });
elements.step.onclick(); out.push(seen());
press("ArrowLeft", { shiftKey: true }); out.push(seen());
press("End"); out.push(seen());
elements.strip.onpointerdown({ clientX: 327, type: "pointerdown" }); out.push(seen());
location.hash = "#some-episode@12"; listeners.hashchange(); out.push(seen());
elements.play.onclick(); rolling(1000); rolling(1125); rolling(1250); press(" ");
out.push(seen());
press("n"); out.push(seen());
press("p"); out.push(seen());
console.log(JSON.stringify(out));
"""


@pytest.mark.skipif(shutil.which("node") is None, reason="node runs the page's script")
def test_the_script_moves_through_the_episode(tmp_path):
    calm = {"event": "", "fallback": "", "deadline_missed": False}
    odd = {2: {"fallback": "stay"}, 16: {"event": "timeout"}, 17: {"event": "timeout"}}
    played = random_episode(
        ticks=20, change=lambda trace: trace.model_copy(update={**calm, **odd.get(trace.t, {})})
    )
    page, harness = tmp_path / "page.html", tmp_path / "dom.cjs"
    page.write_text(page_of(played), "utf-8")
    harness.write_text(DOM, "utf-8")
    done = subprocess.run(["node", harness, page], capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    shown, ticks = json.loads(done.stdout), (7, 8, 0, 20, 10, 12, 14, 16, 2)
    assert [moment[0][0] for moment in shown] == [f"{tick} of 20" for tick in ticks]
    traces = {(trace.t, trace.seat): trace for trace in played.traces}
    for moment, tick in zip(shown, ticks, strict=True):
        for seat in (0, 1):
            _, does, stack, guards = moment[2 + seat]
            if tick == 20:
                assert does.startswith("the end")
                assert stack == guards == ""
                continue
            trace = traces[tick, seat]
            assert does.startswith(ACTIONS[played.actions[tick][seat]])
            assert trace.event in does
            assert trace.fallback in does
            assert all(entry.partition(":")[0] in stack for entry in trace.task_path)
            assert trace.operator in stack
            assert all(entry.partition(":")[0] in guards for entry in trace.rejected)
