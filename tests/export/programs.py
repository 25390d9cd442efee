"""programs.py HF CT2 LINES EXPECTED: greedy translations of LINES by Transformers and CTranslate2 against omega's."""
import sys

import ctranslate2
import torch
import transformers

BOUND = 1e-4  # of a log-probability
BATCH = 16  # so that short sentences are padded

hf, ct2, lines, expected = sys.argv[1:]
lines = open(lines, encoding="utf-8").read().split("\n")[:-1]
expected = [[part.split() for part in line.split("|")] for line in open(expected)]
assert len(lines) == len(expected)
tokenizer = transformers.AutoTokenizer.from_pretrained(hf)
model = transformers.AutoModelForSeq2SeqLM.from_pretrained(hf).eval()
translator = ctranslate2.Translator(ct2, device="cpu", compute_type="float32")
worst, kinds = [0.0, 0.0], set()
for at in range(0, len(lines), BATCH):
    texts, rows = lines[at:at + BATCH], expected[at:at + BATCH]
    batch = tokenizer(texts, return_tensors="pt", padding=True)
    with torch.no_grad():
        outputs = model.generate(**batch, num_beams=1, do_sample=False)
        logits = model(**batch, decoder_input_ids=outputs[:, :-1]).logits.log_softmax(-1)
    symbols, results = [], []
    for row, (source, target, scores) in enumerate(rows):
        source, target = [int(id) for id in source], [int(id) for id in target]
        ids = batch.input_ids[row][batch.attention_mask[row] == 1].tolist()
        assert ids == source, f"{texts[row]!r}: source {ids} for {source}"
        output = outputs[row][1:1 + len(target)].tolist()
        assert output == target, f"{texts[row]!r}: Transformers {output} for {target}"
        assert set(outputs[row][1 + len(target):].tolist()) <= {1}, "padding follows the end"
        for position, score in enumerate(scores):
            worst[0] = max(worst[0], abs(logits[row, position, target[position]].item() - float(score)))
        symbols.append((tokenizer.convert_ids_to_tokens(source[:-1]), tokenizer.convert_ids_to_tokens(target[:-1])))
        results.append((target, scores))
        kinds.add(tuple(target))
    sources = [source for source, _ in symbols]
    found = translator.translate_batch(sources, beam_size=1, max_decoding_length=200)
    scored = translator.score_batch(sources, [target for _, target in symbols])
    for text, (_, target), (_, scores), output, score in zip(texts, symbols, results, found, scored):
        assert output.hypotheses[0] == target, f"{text!r}: CTranslate2 {output.hypotheses[0]} for {target}"
        assert len(score.log_probs) == len(scores)
        for ours, theirs in zip(scores, score.log_probs):
            worst[1] = max(worst[1], abs(theirs - float(ours)))
assert max(worst) <= BOUND, worst
assert len(kinds) > len(lines) // 3, f"only {len(kinds)} different translations: the model learnt too little to tell"
text = tokenizer.decode([int(id) for id in expected[0][1]], skip_special_tokens=True)
print(f"{len(lines)} sentences, {len(kinds)} different translations, the same tokens in all three; "
      f"log-probabilities within {worst[0]:.1e} (Transformers), {worst[1]:.1e} (CTranslate2); the first: {text}")
