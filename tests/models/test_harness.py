"""Our models inside lm-evaluation-harness: the adapter by itself, and the harness where it is."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from planish.cli import main
from planish.models import load
from planish.models.harness import HarnessResult, _Adapter, check_tasks, run_harness
from planish.models.local import LocalModel
from planish.models.scripted import ScriptedModel
from planish.records import BadInput, Chat, Completion, Failure
from planish.stats import Estimate
from planish.tasks.chain import ChainTask
from support.checkpoints import make_tokenizer, save_checkpoint
from support.training import save_qwen2

# What the harness and what it stands on warn about is not ours.
foreign_warnings = pytest.mark.filterwarnings("default")


def requests(*arguments: tuple[Any, ...]) -> list[Any]:
    return [SimpleNamespace(args=each) for each in arguments]


def adapter(model: Any) -> _Adapter:
    return _Adapter(model, max_tokens=256, seed=0, watcher=None)


def test_a_coverage_on_the_floor_is_not_below_it() -> None:
    result = HarnessResult(
        task="sums", metric="acc,none", value=Estimate(value=0.5), higher_is_better=True,
        num_documents=100, scores={}, lost=93, reason="",
    )  # fmt: skip
    assert result.coverage == 0.07  # 1 - 0.93 is less


# --- the adapter ---------------------------------------------------------------------------


def test_requests_are_grouped_by_how_they_are_decoded_and_come_back_in_order() -> None:
    seen = []

    class Model(ScriptedModel):
        def generate(self, chats: Any, sampling: Any, *, watcher: Any = None) -> Any:
            seen.append((len(chats), sampling))
            return super().generate(chats, sampling, watcher=watcher)

    echo = Model("scripted:echo", lambda chat, seed, sample: chat[-1].content)
    short = {"until": ["\n", ""], "max_gen_toks": 4, "do_sample": False, "temperature": 0.7}
    drawn = {"until": "###", "do_sample": True, "temperature": 0.5, "num_beams": 2}
    made = adapter(echo)
    replies = made.generate_until(requests(("a", short), ("b", drawn), ("c", short), ("d", {})))
    assert replies == ["a", "b", "c", "d"]
    assert [count for count, _ in seen] == [2, 1, 1]
    first, second, third = (sampling for _, sampling in seen)
    assert (first.temperature, first.max_tokens, first.stop) == (0, 4, ("\n",))
    assert (second.temperature, second.max_tokens, second.stop) == (0.5, 256, ("###",))
    assert (third.temperature, third.max_tokens) == (0, 256)
    assert made.ignored == {"num_beams"}
    assert made.cost.calls == 4


def test_a_lost_call_is_told_and_not_an_empty_reply() -> None:
    def script(chat: Chat, seed: int | None, sample: int) -> Completion:
        if chat[-1].content != "b":
            return Completion(text="fine")
        failure = Failure(attempt=1, kind="http 500", message="planted")
        return Completion(text="", finish="error", failures=(failure,))

    made = adapter(ScriptedModel("scripted:m", script))
    made.generate_until(requests(("a", {}), ("b", {})))
    assert list(made.lost.values()) == ["http 500: planted"]


def test_a_model_that_cannot_score_says_so() -> None:
    made = adapter(ScriptedModel("scripted:m", lambda chat, seed, sample: ""))
    with pytest.raises(BadInput, match="cannot tell how likely"):
        made.loglikelihood(requests(("a", " b")))
    with pytest.raises(BadInput, match="chat model"):
        made.loglikelihood_rolling(requests(("a",)))


def test_a_base_model_continues_and_a_chat_model_answers(tmp_path: Path) -> None:
    base = LocalModel(
        str(save_checkpoint(tmp_path / "base", tokenizer=make_tokenizer(None))), name="hf:base"
    )
    chat = LocalModel(str(save_checkpoint(tmp_path / "chat")), name="hf:chat")
    assert not base.is_chat
    assert chat.is_chat
    made = adapter(base)
    # The blank belongs to the continuation, wherever the task put it.
    one, other = made.loglikelihood(
        requests(("Question: 1?\nAnswer: ", "two"), ("Question: 1?\nAnswer:", " two"))
    )
    assert one == other
    written = made.generate_until(requests(("the quick", {"max_gen_toks": 3})))
    assert made.loglikelihood(requests(("the quick", written[0])))[0][0] < 0
    chat_pair = adapter(chat)._pair("Question: 1?\nAnswer:", " two")
    assert chat_pair[0][0].role == "user"
    assert chat_pair[1] == "two"
    with pytest.raises(BadInput, match="chat model"):
        adapter(chat).loglikelihood_rolling(requests(("a text",)))


def test_without_the_extra_there_is_one_install_line(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setitem(sys.modules, "lm_eval", None)
    with pytest.raises(SystemExit) as stop:
        main(
            [
                "rise",
                "evaluate",
                "--model",
                "scripted:tie",
                "--lm-eval",
                "gsm8k",
                "--runs",
                str(tmp_path / "runs"),
            ]
        )
    err = capsys.readouterr().err
    assert stop.value.code == 2
    assert "pip install 'planish[lm-eval]'" in err
    assert err.count("\n") == 1
    assert not (tmp_path / "runs").exists()


# --- the harness ---------------------------------------------------------------------------


@pytest.fixture
def tasks(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Local tasks on local data: pick one of two, write a chain's steps, a bare text."""
    pytest.importorskip("lm_eval")
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    monkeypatch.setenv("HF_DATASETS_CACHE", str(tmp_path / "cache"))
    folder = tmp_path / "tasks"
    folder.mkdir()
    task = ChainTask(3)
    rows = [
        {
            "question": f"Is {index} even?",
            "choices": ["yes", "no it is odd"],
            "gold": index % 2,
            "chain": example.prompt[-1].content,
            "answer": task.gold(example),
        }
        for index, example in enumerate(task.examples("report", 12))
    ]
    data = folder / "data.jsonl"
    data.write_text("".join(json.dumps(row) + "\n" for row in rows))
    head = f"dataset_path: json\ndataset_kwargs:\n  data_files: {data}\ntest_split: train\n"
    (folder / "choice.yaml").write_text(
        f"task: own_choice\n{head}output_type: multiple_choice\n"
        'doc_to_text: "Question: {{question}}\\nAnswer:"\ndoc_to_choice: choices\n'
        "doc_to_target: gold\nmetric_list:\n  - metric: acc\n    aggregation: mean\n"
        "    higher_is_better: true\n"
    )
    (folder / "chain.yaml").write_text(
        f'task: own_chain\n{head}output_type: generate_until\ndoc_to_text: "{{{{chain}}}}"\n'
        'doc_to_target: "{{answer}}"\ngeneration_kwargs:\n  until: ["\\n"]\n  max_gen_toks: 8\n'
        "  do_sample: false\nmetric_list:\n  - metric: exact_match\n    aggregation: mean\n"
        "    higher_is_better: true\n"
    )
    return folder


@foreign_warnings
def test_local_tasks_run_on_an_embedded_model_and_on_a_checkpoint(
    tasks: Path, tmp_path: Path
) -> None:
    found = run_harness(load("embedded:reasoner"), ["own_chain", "own_choice"], include=tasks)
    by_task = {result.task: result for result in found.results}
    chain = by_task["own_chain"]
    assert chain.metric == "exact_match,none"
    assert chain.value.value == 1.0  # it writes a chain's steps as it was trained to
    assert chain.value.low is not None
    assert chain.value.low < 1
    assert chain.higher_is_better is True
    assert (chain.num_documents, chain.lost, len(chain.scores)) == (12, 0, 12)
    assert found.cost.completion_tokens >= 24
    save_qwen2(tmp_path / "qwen")
    random = run_harness(load(f"hf:{tmp_path / 'qwen'}"), ["own_chain"], include=tasks, limit=5)
    assert random.results[0].value.value == 0
    assert random.results[0].num_documents == 5


@foreign_warnings
def test_choices_of_a_base_model_are_scored_as_the_harness_scores_them(
    tasks: Path, tmp_path: Path
) -> None:
    from lm_eval.models.huggingface import HFLM

    folder = save_checkpoint(tmp_path / "base", tokenizer=make_tokenizer(None))
    ours = adapter(LocalModel(str(folder), name="hf:base"))
    theirs = HFLM(pretrained=str(folder), device="cpu", dtype="float32", add_bos_token=False)
    asked = requests(
        ("Question: 1?\nAnswer:", " yes"),
        ("Question: 1?\nAnswer:", " no it is odd"),
        ("the quick brown", " fox jumps over"),
    )
    mine = ours.loglikelihood(asked)
    for (total, greedy), (other, other_greedy) in zip(
        mine, theirs.loglikelihood(asked), strict=True
    ):
        assert total == pytest.approx(other, abs=1e-3)
        assert greedy == other_greedy


@foreign_warnings
def test_lost_documents_are_left_out_and_counted(tasks: Path, tmp_path: Path) -> None:
    """A context too small for the budget: the replies never came, so nothing is graded."""
    small = save_qwen2(tmp_path / "small", context=24)
    found = run_harness(load(f"hf:{small}"), ["own_chain"], include=tasks)
    (result,) = found.results
    assert result.lost > 0
    assert "context" in result.reason
    assert sum(score is None for score in result.scores.values()) == result.lost
    assert result.value.n == 12 - result.lost


@foreign_warnings
def test_unknown_tasks_and_folders_are_refused(tasks: Path, tmp_path: Path) -> None:
    assert check_tasks(["own_chain"], tasks)
    with pytest.raises(BadInput, match="no task 'nothing_of_this_name'"):
        check_tasks(["nothing_of_this_name"], tasks)
    with pytest.raises(BadInput, match="no such folder"):
        check_tasks(["own_chain"], tmp_path / "nowhere")


@foreign_warnings
def test_the_stage_compares_two_models_on_the_harness(
    tasks: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    save_qwen2(tmp_path / "qwen")
    command = [
        *("rise", "evaluate", "--model", f"hf:{tmp_path / 'qwen'}"),
        *("--before", "embedded:reasoner", "--preset", "tiny", "--no-ability"),
        *("--lm-eval", "own_chain", "own_choice", "--lm-eval-include", str(tasks)),
        *("--runs", str(tmp_path / "runs"), "--json"),
    ]
    with pytest.raises(SystemExit) as stop:
        main(command)
    out, err = capsys.readouterr()
    assert stop.value.code == 0, err
    result = json.loads(out)
    chain = result["lm_eval"]["own_chain exact_match,none"]
    assert (chain["value"], chain["before"]["value"]) == (0, 1)
    assert chain["difference"]["value"] == -1
    assert "it fell" in chain["sentence"]
    assert "own_choice acc,none" in result["lm_eval"]
    replies = Path(result["run"]) / "artifacts" / "replies.jsonl"
    before = replies.read_text()
    with pytest.raises(SystemExit) as stop:
        main(["rise", "evaluate", "--resume", result["run"], "--json"])
    out, err = capsys.readouterr()
    assert stop.value.code == 0, err
    assert json.loads(out)["lm_eval"] == result["lm_eval"]
    assert replies.read_text() == before
