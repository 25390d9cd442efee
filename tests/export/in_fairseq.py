"""in_fairseq.py FOLDER CHECKPOINT SYMBOLS EXPECTED: greedy translations of SYMBOLS, a sentence per line with spaces between its
symbols, by fairseq with the model in CHECKPOINT and the dictionaries in FOLDER, against omega's."""
import argparse
import logging
import sys

import torch
from fairseq.models.transformer import TransformerModel

BATCH = 16  # so that short sentences are padded, which fairseq does on the left
# Of a log-probability of omega's tokens. Measured, the worst of three models and what fairseq made of them: 3.2e-5.
BOUND = 1e-4


def fairseq_says(task, model, generator, sources, targets):
    """The tokens that fairseq finds per source, and its log-probabilities of `targets`, in the order of the sources."""
    dataset = task.build_dataset_for_inference(sources, [len(source) for source in sources])
    batch = dataset.collater([dataset[number] for number in range(len(sources))])
    order, given = batch["id"].tolist(), batch["net_input"]
    hypotheses = task.inference_step(generator, [model], batch)
    longest = max(len(target) for target in targets)
    pad, eos = task.target_dictionary.pad(), task.target_dictionary.eos()
    inputs = torch.tensor([[eos] + targets[at][:-1] + [pad] * (longest - len(targets[at])) for at in order])
    with torch.no_grad():
        outputs = model(given["src_tokens"], given["src_lengths"], inputs)
        logs = model.get_normalized_probs(outputs, log_probs=True)
    said = {}
    for at, found, row in zip(order, hypotheses, logs):
        scores = [row[position, token].item() for position, token in enumerate(targets[at])]
        said[at] = found[0]["tokens"].tolist(), scores
    return [said[at] for at in range(len(sources))]


def main(folder, checkpoint, symbols, expected):
    logging.disable(logging.INFO)  # fairseq prints all its settings
    symbols = open(symbols, encoding="utf-8").read().split("\n")[:-1]
    expected = [line.split("|") for line in open(expected)]
    expected = [([int(id) for id in source.split()], [int(id) for id in target.split()],
                 [float(score) for score in scores.split()]) for source, target, scores in expected]
    assert len(symbols) == len(expected)
    kinds = {tuple(target) for _, target, _ in expected}
    assert len(kinds) > len(symbols) // 3, f"only {len(kinds)} different translations: the model learnt too little to tell"
    # Every parameter must be there, and none more: fairseq loads strictly.
    hub = TransformerModel.from_pretrained(".", checkpoint, data_name_or_path=folder).eval()
    task, model = hub.task, hub.models[0]
    generator = task.build_generator([model], argparse.Namespace(beam=1, max_len_a=0, max_len_b=200))
    sources = [task.source_dictionary.encode_line(line, add_if_not_exist=False).long() for line in symbols]
    for line, ids, (source, _, _) in zip(symbols, sources, expected):
        assert ids.tolist() == source, f"{line!r}: source {ids.tolist()} for {source}"
    worst, others = 0, []
    for at in range(0, len(sources), BATCH):
        rows = expected[at:at + BATCH]
        said = fairseq_says(task, model, generator, sources[at:at + BATCH], [target for _, target, _ in rows])
        for line, (_, target, ours), (found, theirs) in zip(symbols[at:], rows, said):
            assert len(theirs) == len(ours)
            worst = max(worst, *(abs(a - b) for a, b in zip(theirs, ours)))
            if found != target:
                others.append(f"{line!r}: {found} for {target}")
    print(f"{checkpoint}: {len(symbols)} sentences, {len(kinds)} different translations, {len(others)} with other tokens, "
          f"log-probabilities within {worst:.1e}")
    assert worst <= BOUND, worst
    assert not others, others[0]


main(*sys.argv[1:])
