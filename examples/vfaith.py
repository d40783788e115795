"""Does a model follow the picture? Draw pairs, ask a model, and see what came of it.

python examples/vfaith.py [MODEL ...]
"""

import sys
import tempfile
from pathlib import Path

from planish import Sampling
from planish.methods.vfaith.bench import read_bench
from planish.methods.vfaith.building.build import build_bench, make_plan
from planish.methods.vfaith.config import Building, Config, Gates
from planish.methods.vfaith.data import ARMS
from planish.methods.vfaith.images import open_image, open_mask
from planish.methods.vfaith.running.planted import load_model
from planish.methods.vfaith.running.records import calls_of, respond
from planish.methods.vfaith.scoring.metrics import score_model
from planish.methods.vfaith.scoring.sheets import read_sheet
from planish.methods.vfaith.verifying.gates import compare
from planish.runs.console import Screen

SHOWN = ("acc_raw", "acc_edited", "pair_acc", "delta_net", "gated_unfaithfulness")


def main(*models: str) -> None:
    with tempfile.TemporaryDirectory() as folder:
        plan, _ = make_plan(num=24, families=["signs"], building=Building(size=256))
        build_bench(Path(folder), plan, Screen(json=True), workers=1)
        bench = read_bench(folder)

        pair = bench.pairs[0]
        print(f"{pair.question} {pair.raw.gold}, and after the edit {pair.edited.gold}")
        raw, edited = (open_image(bench.path(each)) for each in (pair.raw, pair.edited))
        mask = open_mask(bench.file(pair.cue.mask, pair.cue.mask_sha256), raw.size)
        for check in compare(raw.pixels, edited.pixels, mask, Gates(), exact=True):
            print(f"  {check.gate:17} {check.value:8.4f}  {check.code or 'ok'}")

        # Without the placebo and the perception questions a drop may just mean a harder picture.
        calls, sampling = calls_of(bench.pairs, ARMS), Sampling()
        for name in models or ("planted:oracle", "planted:memory", "planted:cached"):
            model = load_model(name, bench)
            replies = model.generate([call.chat(bench) for call in calls], sampling)
            responses = [
                respond(call, drawn[0], key=call.key(model, sampling, 0), model=model, repeat=0)
                for call, drawn in zip(calls, replies, strict=True)
            ]
            score = score_model(read_sheet(bench, responses), Config.tiny())
            print(name, *(f"  {each:21} {score.overall[each]}" for each in SHOWN), sep="\n")


if __name__ == "__main__":
    main(*sys.argv[1:])
