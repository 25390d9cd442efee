#!/usr/bin/env python3
"""Target tokens per second of the same training in PyTorch eager, for the ratio that docs/performance.md quotes.

    OMP_NUM_THREADS=2 python3 benches/pytorch_step.py DATA_BIN SOURCE-TARGET [UPDATES] [--d-model 512 --layers 6 …]

Reads the data folder that omega trains on and makes batches of the same size: sorted by length, longest side times
sentences at most 4,096, padded. Model: d 256, 3+3 layers, ffn 1,024, 4 heads, Post-LN, shared embeddings, dropout 0.1,
label smoothing 0.1, Adam. Needs torch and numpy.
"""

import argparse
import math
import random
import struct
import time

import numpy
import torch
from torch import nn
from torch.nn import functional

parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
parser.add_argument("data", help="a data folder of omega's")
parser.add_argument("pair", help="its languages, such as de-en")
parser.add_argument("updates", type=int, nargs="?", default=10)
parser.add_argument("--d-model", type=int, default=256)
parser.add_argument("--layers", type=int, default=3, help="of the encoder, and of the decoder")
parser.add_argument("--ffn", type=int, default=1024)
parser.add_argument("--heads", type=int, default=4)
parser.add_argument("--max-tokens", type=int, default=4096)
parser.add_argument("--dropout", type=float, default=0.1)
options = parser.parse_args()
WIDTH, LAYERS, FFN, HEADS = options.d_model, options.layers, options.ffn, options.heads
MAX_TOKENS, DROPOUT, SMOOTHING, PAD = options.max_tokens, options.dropout, 0.1, 1


def corpus(prefix):
    """The sentences of a fairseq MMIDIDX corpus."""
    with open(prefix + ".idx", "rb") as file:
        index = file.read()
    assert index[:9] == b"MMIDIDX\0\0", prefix
    _, code, count = struct.unpack_from("<QBQ", index, 9)
    lengths = numpy.frombuffer(index, "<i4", count, 26)
    ids = numpy.fromfile(prefix + ".bin", {8: "<u2", 4: "<i4"}[code]).astype(numpy.int64)
    return numpy.split(ids, numpy.cumsum(lengths)[:-1])


def batches(source, target):
    order = sorted(range(len(source)), key=lambda i: (len(source[i]), len(target[i])))
    batch, longest = [], 0
    for i in order:
        length = max(len(source[i]), len(target[i]))
        if batch and max(longest, length) * (len(batch) + 1) > MAX_TOKENS:
            yield batch
            batch, longest = [], 0
        batch.append(i)
        longest = max(longest, length)
    yield batch


def padded(sentences):
    rows = torch.full((len(sentences), max(map(len, sentences))), PAD)
    for row, sentence in zip(rows, sentences):
        row[: len(sentence)] = torch.from_numpy(sentence)
    return rows


class Attention(nn.Module):
    def __init__(self):
        super().__init__()
        self.q, self.kv, self.out = nn.Linear(WIDTH, WIDTH), nn.Linear(WIDTH, 2 * WIDTH), nn.Linear(WIDTH, WIDTH)

    def forward(self, x, memory, mask):
        split = lambda t: t.view(t.shape[0], t.shape[1], HEADS, -1).transpose(1, 2)
        q, (k, v) = self.q(x), self.kv(memory).chunk(2, -1)
        y = functional.scaled_dot_product_attention(split(q), split(k), split(v), attn_mask=mask)
        return self.out(y.transpose(1, 2).flatten(2))


class Layer(nn.Module):
    def __init__(self, cross):
        super().__init__()
        self.attention, self.cross = Attention(), Attention() if cross else None
        self.fc1, self.fc2 = nn.Linear(WIDTH, FFN), nn.Linear(FFN, WIDTH)
        self.norms = nn.ModuleList(nn.LayerNorm(WIDTH) for _ in range(3 if cross else 2))

    def forward(self, x, mask, memory=None, memory_mask=None):
        norms = iter(self.norms)
        drop = lambda t: functional.dropout(t, DROPOUT, self.training)
        x = next(norms)(x + drop(self.attention(x, x, mask)))
        if self.cross is not None:
            x = next(norms)(x + drop(self.cross(x, memory, memory_mask)))
        return next(norms)(x + drop(self.fc2(functional.relu(self.fc1(x)))))


class Model(nn.Module):
    def __init__(self, vocab):
        super().__init__()
        self.table = nn.Embedding(vocab, WIDTH, PAD)
        nn.init.normal_(self.table.weight, std=WIDTH**-0.5)
        angle = torch.arange(1026)[:, None] * torch.exp(torch.arange(WIDTH // 2) * (-math.log(10000) / (WIDTH // 2 - 1)))
        self.register_buffer("positions", torch.cat([angle.sin(), angle.cos()], 1))
        self.encoder = nn.ModuleList(Layer(False) for _ in range(LAYERS))
        self.decoder = nn.ModuleList(Layer(True) for _ in range(LAYERS))

    def embed(self, tokens):
        x = math.sqrt(WIDTH) * self.table(tokens) + self.positions[2 : 2 + tokens.shape[1]]
        return functional.dropout(x, DROPOUT, self.training)

    def forward(self, source, previous):
        keys = (source != PAD)[:, None, None]
        memory = self.embed(source)
        for layer in self.encoder:
            memory = layer(memory, keys)
        x, length = self.embed(previous), previous.shape[1]
        causal = torch.ones(length, length, dtype=torch.bool).tril()
        for layer in self.decoder:
            x = layer(x, causal, memory, keys)
        return functional.linear(x, self.table.weight)


def main():
    folder, pair, updates = options.data, options.pair, options.updates
    source, target = [corpus(f"{folder}/train.{pair}.{language}") for language in pair.split("-")]
    with open(f"{folder}/dict.{pair.split('-')[1]}.txt", encoding="utf-8") as file:
        vocab = 4 + sum(1 for _ in file)
    torch.manual_seed(1)
    model = Model(vocab).train()
    optimizer = torch.optim.Adam(model.parameters(), 1e-3, (0.9, 0.98))
    plan = list(batches(source, target))
    random.Random(1).shuffle(plan)
    tokens = 0
    for update, batch in enumerate(plan[: updates + 2]):
        if update == 2:  # the first two warm up
            tokens, began = 0, time.time()
        goal = padded([target[i] for i in batch])
        previous = torch.cat([torch.full((len(batch), 1), 2), goal[:, :-1]], 1)
        logits = model(padded([source[i] for i in batch]), previous)
        loss = functional.cross_entropy(
            logits.flatten(0, 1), goal.flatten(), ignore_index=PAD, reduction="sum", label_smoothing=SMOOTHING
        )
        count = int((goal != PAD).sum())
        optimizer.zero_grad()
        (loss / count).backward()
        optimizer.step()
        tokens += count
    seconds = time.time() - began
    print(f"torch {torch.__version__}, {torch.get_num_threads()} threads: {tokens / seconds:.0f} target tokens/s")


if __name__ == "__main__":
    main()
