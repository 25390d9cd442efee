"""programs.py LINES EXPECTED TYPE HF CT2 …: greedy translations of LINES by Transformers and CTranslate2, from exports of
each TYPE, against omega's in f32. Transformers computes in the export's type, CTranslate2 in f32 with its parameters."""
import sys

import ctranslate2
import torch
import transformers

BATCH = 16  # so that short sentences are padded
HALF = 100  # lines for types of 2 bytes, in which a CPU is slow
TORCH = {"f32": torch.float32, "f16": torch.float16, "bf16": torch.bfloat16}
# Of a log-probability of omega's tokens: Transformers, CTranslate2. Measured, the worst of three models: 3.1e-5 and 3.1e-5;
# f16 5.0e-3 and 2.6e-3; bf16 5.7e-2 and 2.0e-2.
BOUNDS = {"f32": (1e-4, 1e-4), "f16": (2e-2, 8e-3), "bf16": (0.2, 8e-2)}
# Share of sentences with omega's tokens throughout, at least. The models are small and hardly trained, and a sentence is up
# to 200 choices: where a program takes another token, its log-probability there must be as close. Measured: all; f16 91 to
# 96 % and 95 to 99 %, the others by 3.9e-3 and 6.8e-4; bf16 51 to 62 % and 72 to 88 %, by 3.1e-2 and 1.3e-2.
ALIKE = {"f32": (1, 1), "f16": (0.85, 0.9), "bf16": (0.35, 0.55)}


def transformers_says(hf, kind, lines, expected):
    """The tokens that it finds per line, its log-probabilities of omega's tokens, and of its own behind omega's."""
    tokenizer = transformers.AutoTokenizer.from_pretrained(hf)
    model = transformers.AutoModelForSeq2SeqLM.from_pretrained(hf).eval()
    assert model.dtype == TORCH[kind], f"{kind} was loaded as {model.dtype}"
    start, pad = model.generation_config.decoder_start_token_id, model.generation_config.pad_token_id
    found, scores, own = [], [], []
    for at in range(0, len(lines), BATCH):
        rows = expected[at:at + BATCH]
        batch = tokenizer(lines[at:at + BATCH], return_tensors="pt", padding=True)
        for text, ids, mask, (source, _, _) in zip(lines[at:], batch.input_ids, batch.attention_mask, rows):
            assert ids[mask == 1].tolist() == source, f"{text!r}: source {ids[mask == 1].tolist()} for {source}"
        longest = max(len(target) for _, target, _ in rows)
        inputs = torch.tensor([[start] + target[:-1] + [pad] * (longest - len(target)) for _, target, _ in rows])
        with torch.no_grad():
            outputs = model.generate(**batch, num_beams=1, do_sample=False)[:, 1:].tolist()
            logits = model(**batch, decoder_input_ids=inputs).logits.float().log_softmax(-1)
        for output, row, (_, target, _) in zip(outputs, logits, rows):
            end = output.index(2) + 1 if 2 in output else len(output)
            assert set(output[end:]) <= {pad}, "padding follows the end"
            found.append(output[:end])
            scores.append([row[position, token].item() for position, token in enumerate(target)])
            own.append([row[position, token].item() for position, token in enumerate(output[:len(target)])])
    return tokenizer, (found, scores, own)


def ctranslate2_says(ct2, tokenizer, expected):
    """The same of CTranslate2."""
    translator = ctranslate2.Translator(ct2, device="cpu", compute_type="float32")
    sources = [tokenizer.convert_ids_to_tokens(source[:-1]) for source, _, _ in expected]
    targets = [tokenizer.convert_ids_to_tokens(target[:-1]) for _, target, _ in expected]
    outputs = translator.translate_batch(sources, beam_size=1, max_decoding_length=200, max_batch_size=BATCH)
    scored = translator.score_batch(sources, targets, max_batch_size=BATCH)
    own = translator.score_batch(sources, [output.hypotheses[0] for output in outputs], max_batch_size=BATCH)
    found = [tokenizer.convert_tokens_to_ids(output.hypotheses[0]) + [2] for output in outputs]
    return found, [score.log_probs for score in scored], [score.log_probs for score in own]


def main(lines, expected, *exports):
    lines = open(lines, encoding="utf-8").read().split("\n")[:-1]
    expected = [line.split("|") for line in open(expected)]
    expected = [([int(id) for id in source.split()], [int(id) for id in target.split()],
                 [float(score) for score in scores.split()]) for source, target, scores in expected]
    assert len(lines) == len(expected)
    kinds = {tuple(target) for _, target, _ in expected}
    assert len(kinds) > len(lines) // 3, f"only {len(kinds)} different translations: the model learnt too little to tell"
    print(f"{len(lines)} sentences, {len(kinds)} different translations")
    for kind, hf, ct2 in zip(exports[::3], exports[1::3], exports[2::3]):
        few = len(lines) if kind == "f32" else HALF
        tokenizer, found = transformers_says(hf, kind, lines[:few], expected[:few])
        both = ("Transformers", found), ("CTranslate2", ctranslate2_says(ct2, tokenizer, expected[:few]))
        for (name, (found, scores, own)), bound, least in zip(both, BOUNDS[kind], ALIKE[kind]):
            assert len(found) == len(scores) == len(own) == few
            others, worst, widest = [], 0, 0
            for text, (_, target, ours), output, theirs, chosen in zip(lines, expected, found, scores, own):
                assert len(theirs) == len(ours)
                worst = max(worst, *(abs(a - b) for a, b in zip(theirs, ours)))
                if output != target:
                    others.append(f"{text!r}: {output} for {target}")
                    at = next(at for at, pair in enumerate(zip(output, target)) if pair[0] != pair[1])
                    widest = max(widest, chosen[at] - theirs[at])
            alike = 1 - len(others) / few
            print(f"{name} {kind}: {100 * alike:g} % with the same tokens, log-probabilities within {worst:.1e}, "
                  f"other choices by {widest:.1e}")
            assert alike >= least, others[0]
            assert worst <= bound, worst
            assert widest <= bound, widest


main(*sys.argv[1:])
