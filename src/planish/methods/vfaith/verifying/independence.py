"""Whether two names stand for one model: whoever verified a bench is not ranked on it.

    same_model("openai:Qwen/Qwen3-VL@http://a/v1", "hf:Qwen/Qwen3-VL")      True
    same_model("openai:gpt-4o", "openai:gpt-4o-2024-08-06")                 True: it may be that one
    same_model("openai:gpt-4o-2024-05-13", "openai:gpt-4o-2024-08-06")      False

Names are all that a server tells. Its address, the options after the question mark, who hosts a
model, a tag such as ":free" and how its weights are stored (FP8, AWQ, ...) leave it the same model.
A folder is the same model as another where the weights are the same; beside a server it goes by its
own name. When in doubt it is the same: a model that judged its own questions is worse than one that
is missing from a leaderboard. What a server calls by a name of its own is not found out.
"""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from itertools import combinations
from pathlib import Path

from planish.methods.vfaith.bench import BUILD, Bench
from planish.records import BadInput

__all__ = ["check_apart", "check_not_verifier", "same_model", "verifiers_of"]

_URL = re.compile(r"@(?=https?://)")
_DATE = re.compile(r"[-_@:]?(?<!\d)(20\d{2}-?[01]\d-?[0-3]\d)(?!\d)|[-_](\d{4})$")
_TAG = re.compile(r":(?:free|beta|extended|thinking|nitro|floor|latest)$")
_STORED = re.compile(
    r"[-_.:](?:latest|fp8|fp16|bf16|int[48]|[48]bits?|bnb|awq|gptq|gguf|nvfp4|mxfp4|mlx|dynamic"
    r"|w\d+a\d+|q\d(?:_\w+)?|hf)$"
)


def same_model(a: str, b: str) -> bool:
    """Whether two model strings stand for one model, as far as their names tell."""
    first, second = _bare(a), _bare(b)
    if first == second:
        return True
    folders = [_folder(each) for each in (first, second)]
    if all(folders):
        return folders[0] == folders[1]
    named = [_named(each) for each in (first, second)]
    if None in named:
        return False
    (name, date), (other, other_date) = (each for each in named if each is not None)
    return name == other and (date == other_date or not (date and other_date))


def check_apart(specs: Sequence[str], where: str = "--verifier") -> None:
    """Raises `BadInput` unless these are two different models at least."""
    for a, b in combinations(specs, 2):
        if same_model(a, b):
            raise BadInput(
                f"{a} and {b} are one model", where=where, fix="name two models that differ"
            )
    if len(specs) < 2:
        raise BadInput(
            "one model's word is not enough", where=where, fix="name two different models at least"
        )


def verifiers_of(bench: Bench) -> dict[str, str]:
    """Models that verified the cues of a bench, by its `build.json`, and their revisions.

    None where the bench has no such file, or it names none: somebody wrote it by hand.

    Raises:
        BadInput: the file does not tell.
    """
    path = bench.folder / BUILD
    if not path.exists():
        return {}
    try:
        told = json.loads(path.read_text("utf-8"))
        names = told.get("settings", {}).get("verifiers", [])
        if not isinstance(names, list) or not all(isinstance(name, str) for name in names):
            raise TypeError("settings.verifiers is no list of names")
        found = told.get("numbers", {}).get("verifying", {}).get("models", {})
        return {name: str(found.get(name, {}).get("revision", "")) for name in names}
    except (OSError, ValueError, LookupError, TypeError, AttributeError) as error:
        raise BadInput(
            f"cannot be read ({error})", where=str(path), fix="build the bench again"
        ) from None


def check_not_verifier(
    bench: Bench, model: str, revision: str = "", *, where: str = "--model"
) -> None:
    """Refuses a model that verified the cues of the bench: it would be asked what it approved.

    Args:
        revision: what the name stands for; equal ones are one model, whatever they are called.

    Raises:
        BadInput: it is one of them.
    """
    for name, known in verifiers_of(bench).items():
        if same_model(model, name) or (revision and revision == known):
            as_name = "" if model == name else f" as {name}"
            raise BadInput(
                f"{model} verified the cues of this bench{as_name}: it cannot be ranked on it",
                where=where,
                fix="leave it out, or build the bench with other --verifier models",
            )


def _bare(spec: str) -> str:
    """Without options."""
    spec = spec.strip()
    return spec.rpartition("?")[0] if "?" in spec else spec


def _folder(spec: str) -> Path | None:
    """Of a local model that lies in one."""
    scheme, _, target = spec.partition(":")
    if scheme != "hf":
        return None
    path = Path(target).expanduser()
    return path.resolve() if path.is_dir() else None


def _named(spec: str) -> tuple[str, str] | None:
    """The last part of a model's name without date and storage, and its date; None where a string
    of another kind is its own name."""
    scheme, _, target = spec.partition(":")
    if scheme not in ("hf", "openai"):
        return None
    name = _URL.split(target)[0].casefold().rstrip("/")
    folder = _folder(spec)
    name = folder.name.casefold() if folder is not None else name.rpartition("/")[2]
    name = _TAG.sub("", name)
    found = _DATE.search(name)
    date = (found[1] or found[2]).replace("-", "") if found else ""
    name = _DATE.sub("", name)
    while (shorter := _STORED.sub("", name)) != name:
        name = shorter
    return name.replace("_", "-"), date
