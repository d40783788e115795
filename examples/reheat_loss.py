"""Thaw a collapsed policy in a training loop of your own.

python examples/reheat_loss.py
"""

import copy

import torch
from transformers import AutoModelForCausalLM, AutoTokenizer

from planish.embedded import WALKER_TASK, path
from planish.methods.reheat import reheat_loss
from planish.sampling import entropy
from planish.tasks.load import load_task

TARGET = 0.4 * 1.29  # of the nats before RL, as `planish reheat diagnose` tells them


def main() -> None:
    torch.manual_seed(0)
    folder = path("walker-collapsed")
    model = AutoModelForCausalLM.from_pretrained(folder)
    tokenizer = AutoTokenizer.from_pretrained(folder)
    examples = load_task(WALKER_TASK).examples("train", 128)
    chats = [[{"role": "user", "content": example.prompt[0].content}] for example in examples]
    # Every question has as many tokens: nothing is padded.
    prompts = tokenizer.apply_chat_template(chats, return_dict=True, return_tensors="pt")
    width = prompts.input_ids.shape[1]

    teacher = copy.deepcopy(model)  # the policy as it is now; leave it out for the live teacher
    optimizer = torch.optim.AdamW(model.parameters(), lr=3e-4)
    for step in range(60):
        ids_BT = model.generate(**prompts, do_sample=True, max_new_tokens=9)
        end_BT = (ids_BT[:, width:] == tokenizer.eos_token_id).int()
        mask_BT = end_BT.cumsum(-1) - end_BT == 0  # the end counts, the padding behind it does not
        logits_BTV = model(ids_BT).logits[:, width - 1 : -1]
        with torch.no_grad():
            frozen_BTV = teacher(ids_BT).logits[:, width - 1 : -1]
        warmth = entropy(logits_BTV.detach())[mask_BT].mean().item()
        if step % 4 == 0 or warmth >= TARGET:
            print(f"step {step:2}: {warmth:.3f} nats")
        if warmth >= TARGET:
            break
        loss = reheat_loss(logits_BTV, mask_BT, temperature=2.0, teacher_logits_BTV=frozen_BTV)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()


if __name__ == "__main__":
    main()
