#!/usr/bin/env python3
"""Makes a corpus of the original's experiments: archives → clean pairs of Moses tokens → subword-nmt's symbols.

    python3 data/translation_corpora.py iwslt14_de_en [--archives DIR] [--workers N]

The three scripts named like the corpora run this and then `omega prepare`. Python 3.9 or newer; sacremoses and subword-nmt
are fetched from PyPI into data/packages. What is complete is not made again. README.md beside this file describes it."""
import argparse
import collections
import contextlib
import dataclasses
import gzip
import io
import itertools
import json
import multiprocessing
import os
import shutil
import signal
import subprocess
import sys
import tarfile
import time
import zlib
from pathlib import Path

import fetch
from libreoffice_help import Problem, say

HERE = Path(__file__).resolve().parent
PACKAGES = ("sacremoses==0.2.0", "subword-nmt==0.3.8")
CHUNK = 1000  # pairs that go to a worker at a time
STATMT = "https://www.statmt.org/"


@dataclasses.dataclass(frozen=True)
class Archive:
    urls: tuple
    checksum: tuple = None  # (algorithm, hex), where somebody published it

    @property
    def name(self):
        return self.urls[0].rsplit("/", 1)[1]


@dataclasses.dataclass(frozen=True)
class Part:
    """A pair of files in an archive; `{lang}` is the language, `{role}` src for the source and ref for the target."""
    archive: str
    member: str
    kind: str  # lines, talk or segments: see moses.py


@dataclasses.dataclass(frozen=True)
class Corpus:
    languages: tuple
    archives: tuple
    train: tuple
    test: tuple
    merges: int
    valid: tuple = ()
    every: int = 0  # without valid: each line whose number this divides goes there
    most: int = 0  # tokens of a training pair, before BPE
    ratio: float = 9.0  # clean-corpus-n's default
    most_symbols: int = 0  # of a pair of train and valid, after BPE
    lower: bool = False
    dashes: bool = False
    normalise: bool = False  # train and valid; the original leaves test as it is


EUROPARL = Archive((STATMT + "wmt13/training-parallel-europarl-v7.tgz",),
                   ("sha256", "0224c7c710c8a063dfd893b0cc0830202d61f4c75c17eb8e31836103d27d96e7"))
COMMONCRAWL = Archive((STATMT + "wmt13/training-parallel-commoncrawl.tgz",),
                      ("sha256", "c7a74e2ea01ac6c920123108627e35278d4ccb5701e15428ffa34de86fa3a9e5"))
TEST_FULL = Archive((STATMT + "wmt14/test-full.tgz",), ("md5", "a8cd784e006feb32ac6f3d9ec7eb389a"))

# Transformer-Clinic's pre-process/{iwslt14de-en,wmt14en-de}.sh at a302132 and wmt14en-fr.sh at d68ba49.
CORPORA = {
    "iwslt14_de_en": Corpus(
        languages=("de", "en"),
        # The first address is the original's; the second is where fairseq's script fetches the same file today.
        archives=(Archive(("https://wit3.fbk.eu/archive/2014-01/texts/de/en/de-en.tgz",
                           "https://dl.fbaipublicfiles.com/fairseq/data/iwslt14/de-en.tgz")),),
        train=(Part("de-en.tgz", "de-en/train.tags.de-en.{lang}", "talk"),),
        test=tuple(Part("de-en.tgz", f"de-en/IWSLT14.{name}.de-en.{{lang}}.xml", "segments")
                   for name in ("TED.dev2010", "TEDX.dev2012", "TED.tst2010", "TED.tst2011", "TED.tst2012")),
        merges=10_000, every=23, most=175, ratio=1.5, lower=True),
    "wmt14_en_de": Corpus(
        languages=("en", "de"),
        archives=(EUROPARL, COMMONCRAWL, TEST_FULL,
                  Archive(("https://data.statmt.org/wmt17/translation-task/training-parallel-nc-v12.tgz",),
                          ("sha256", "2b45f30ef1d550d302fd17dd3a5cbe19134ccc4c2cf50c2dae534aee600101a2")),
                  Archive(("https://data.statmt.org/wmt17/translation-task/dev.tgz",),
                          ("sha256", "9d5ff04a28496b7796904ea65e50e3837bab14dbdca88b1e063105f17513dca9"))),
        train=(Part(EUROPARL.name, "training/europarl-v7.de-en.{lang}", "lines"),
               Part(COMMONCRAWL.name, "commoncrawl.de-en.{lang}", "lines"),
               Part("training-parallel-nc-v12.tgz", "training/news-commentary-v12.de-en.{lang}", "lines")),
        valid=(Part("dev.tgz", "dev/newstest2013.{lang}", "lines"),),
        test=(Part(TEST_FULL.name, "test-full/newstest2014-deen-{role}.{lang}.sgm", "segments"),),
        merges=32_764, most=80, dashes=True, normalise=True),
    "wmt14_en_fr": Corpus(
        languages=("en", "fr"),
        archives=(EUROPARL, COMMONCRAWL, TEST_FULL,
                  Archive((STATMT + "wmt13/training-parallel-un.tgz",)),
                  Archive((STATMT + "wmt14/training-parallel-nc-v9.tgz",),
                          ("sha256", "cb8953f292298e6877ae433c98912b927cb0766b303f4540512ddd286c748485")),
                  Archive((STATMT + "wmt10/training-giga-fren.tar",))),
        train=(Part(EUROPARL.name, "training/europarl-v7.fr-en.{lang}", "lines"),
               Part(COMMONCRAWL.name, "commoncrawl.fr-en.{lang}", "lines"),
               Part("training-parallel-un.tgz", "un/undoc.2000.fr-en.{lang}", "lines"),
               Part("training-parallel-nc-v9.tgz", "training/news-commentary-v9.fr-en.{lang}", "lines"),
               Part("training-giga-fren.tar", "giga-fren.release2.fixed.{lang}.gz", "lines")),
        test=(Part(TEST_FULL.name, "test-full/newstest2014-fren-{role}.{lang}.sgm", "segments"),),
        merges=40_000, every=1333, ratio=1.5, most_symbols=250, dashes=True, normalise=True),
}


# ---- lines from archives -----------------------------------------------------------------------------------------

@contextlib.contextmanager
def member_lines(path, member):
    """The lines of a file inside an archive, read as they come; lines end in `\\n` alone, as for Moses' scripts."""
    try:
        with tarfile.open(path, "r:*") as archive:
            entry = next((entry for entry in archive if entry.name.removeprefix("./") == member), None)
            if entry is None:
                raise Problem(f"{path} has no {member}", f"it is damaged or another archive; remove it: rm {path}")
            raw = archive.extractfile(entry)
            if member.endswith(".gz"):
                raw = gzip.open(raw)
            yield (line.rstrip("\n") for line in io.TextIOWrapper(raw, "utf-8", errors="replace", newline="\n"))
    except (tarfile.TarError, EOFError, zlib.error) as error:
        raise Problem(f"{path} is damaged: {error}", f"remove it and start again: rm {path}")


def raw_pairs(corpus, folder, part):
    """Line n of one side with line n of the other, before anything is done with them."""
    import moses
    text_of = {"lines": lambda line: line, "talk": moses.talk_text, "segments": moses.segment_text}[part.kind]
    with contextlib.ExitStack() as stack:
        sides = []
        for role, language in zip(("src", "ref"), corpus.languages):
            member = part.member.format(lang=language, role=role)
            lines = stack.enter_context(member_lines(folder / part.archive, member))
            sides.append(text for text in map(text_of, lines) if text is not None)
        for number, pair in enumerate(itertools.zip_longest(*sides), 1):
            if None in pair:
                raise Problem(f"{part.member} in {folder / part.archive} has {number - 1} lines in one language and more "
                              "in the other", "the archive is damaged; fetch it again")
            yield pair


# ---- cleaning ----------------------------------------------------------------------------------------------------

def tokenise_chunk(job):
    """(pairs, languages, normalise, dashes, lower) → pairs of tokens between spaces."""
    import moses
    pairs, languages, normalise, dashes, lower = job
    done = [[moses.tokenise(line, language, normalise, dashes) for line, language in zip(pair, languages)] for pair in pairs]
    return [[line.lower() for line in pair] for pair in done] if lower else done


def tokenised(corpus, folder, parts, normalise, pool, workers):
    """Pairs of tokens of all `parts`, in order; says now and then how far it is."""
    count, before, said = 0, 0, time.monotonic()
    for part in parts:
        pairs = raw_pairs(corpus, folder, part)
        chunks = iter(lambda: list(itertools.islice(pairs, CHUNK)), [])
        jobs = ((chunk, corpus.languages, normalise, corpus.dashes, corpus.lower) for chunk in chunks)
        for chunk in in_order(pool, 4 * workers, jobs):
            yield from chunk
            count += len(chunk)
            if (now := time.monotonic()) > said + 20:
                say(f"corpus: {part.archive}: {count:,} pairs so far, {(count - before) / (now - said):,.0f} a second")
                before, said = count, now


def in_order(pool, most, jobs):
    """`pool.imap(tokenise_chunk, jobs)` that holds at most `most` jobs: imap reads all of them into memory."""
    waiting = collections.deque()
    for job in jobs:
        waiting.append(pool.apply_async(tokenise_chunk, (job,)))
        if len(waiting) > most:
            yield waiting.popleft().get()
    while waiting:
        yield waiting.popleft().get()


class Pairs:
    """Two files that get their names together, when both are complete."""

    def __init__(self, prefix, languages):
        self.paths = [prefix.with_name(f"{prefix.name}.{language}") for language in languages]
        self.count = 0

    def __enter__(self):
        self.paths[0].parent.mkdir(parents=True, exist_ok=True)
        self.files = [open(f"{path}.tmp", "w", encoding="utf-8", newline="\n") for path in self.paths]
        return self

    def add(self, pair):
        self.count += 1
        for file, line in zip(self.files, pair):
            file.write(line + "\n")

    def __exit__(self, kind, *_):
        for file in self.files:
            file.close()
        for path in self.paths:
            (os.replace if kind is None else lambda tmp, _: os.unlink(tmp))(f"{path}.tmp", path)


def clean(corpus, archives, out, workers):
    """Writes {train,valid,test}.{lang} in Moses tokens to `out`; returns the number of pairs, and of those dropped."""
    import moses
    dropped = 0
    with multiprocessing.Pool(workers) as pool, Pairs(out / "train", corpus.languages) as train, \
            Pairs(out / "valid", corpus.languages) as valid, Pairs(out / "test", corpus.languages) as test:
        for pair in tokenised(corpus, archives, corpus.test, False, pool, workers):
            test.add(pair)
        for pair in tokenised(corpus, archives, corpus.valid, corpus.normalise, pool, workers):
            valid.add(pair)
        number = 0
        for pair in tokenised(corpus, archives, corpus.train, corpus.normalise, pool, workers):
            if corpus.most and not moses.is_clean(*pair, corpus.most, corpus.ratio):
                dropped += 1
                continue
            number += 1
            (valid if corpus.every and number % corpus.every == 0 else train).add(pair)
    return {"train": train.count, "valid": valid.count, "test": test.count, "dropped before BPE": dropped}


# ---- BPE ---------------------------------------------------------------------------------------------------------

def subword_nmt(*arguments):
    # Its module does nothing when it is run, and its script may not be on the path.
    command = [sys.executable, "-X", "utf8", "-c", "from subword_nmt.subword_nmt import main; main()"]
    result = subprocess.run(command + [str(argument) for argument in arguments], stderr=subprocess.PIPE, text=True)
    if result.returncode:
        why = (result.stderr.strip().splitlines() or [f"it ended with {result.returncode}"])[-1]
        raise Problem(f"subword-nmt {arguments[0]} failed: {why}", "is there room on the disk, and memory?")


def segment(corpus, tokens, out, workers):
    """Learns the merges on both sides of train and applies them to all; returns the number of pairs."""
    import moses
    codes, part = out / "bpe.codes", out / "train.both.tmp"
    if not codes.exists():
        say(f"corpus: learning {corpus.merges:,} merges")
        with open(part, "wb") as both:
            for language in corpus.languages:
                with open(tokens / f"train.{language}", "rb") as side:
                    shutil.copyfileobj(side, both)
        subword_nmt("learn-bpe", "-s", corpus.merges, "-i", part, "-o", f"{codes}.tmp", "--num-workers", workers)
        part.unlink()
        os.replace(f"{codes}.tmp", codes)
    counts = {}
    for split in ("train", "valid", "test"):
        say(f"corpus: applying them to {split}")
        for language in corpus.languages:
            subword_nmt("apply-bpe", "-c", codes, "-i", tokens / f"{split}.{language}", "-o", out / f"{split}.{language}.bpe.tmp",
                        "--num-workers", workers)
        sides = [out / f"{split}.{language}.bpe.tmp" for language in corpus.languages]
        with contextlib.ExitStack() as stack:
            source, target = (stack.enter_context(open(side, encoding="utf-8", newline="\n")) for side in sides)
            pairs = stack.enter_context(Pairs(out / split, corpus.languages))
            for source_line, target_line in zip(source, target):
                pair = source_line.rstrip("\n"), target_line.rstrip("\n")
                if split == "test" or not corpus.most_symbols or moses.is_clean(*pair, corpus.most_symbols, corpus.ratio):
                    pairs.add(pair)
        for side in sides:
            side.unlink()
        counts[split] = pairs.count
    return counts


# ---- all of it ---------------------------------------------------------------------------------------------------

def make(name, out, archives, workers):
    corpus, manifest = CORPORA[name], out / "manifest.json"
    # What must be the same for a folder to be this corpus.
    recipe = {"corpus": name, "packages": list(PACKAGES), "merges": corpus.merges}
    with contextlib.suppress(OSError, ValueError, KeyError):
        found = json.loads(manifest.read_text(encoding="utf-8"))
        if found["recipe"] == recipe:
            say(f"corpus: {out} is complete")
            return
    out.mkdir(parents=True, exist_ok=True)
    sums = {}
    for archive in corpus.archives:
        sums[archive.name] = fetch.archive(archives / archive.name, archive.urls, archive.checksum)
        say(f"corpus: {archive.name}: {'as published' if archive.checksum else f'sha256 {sums[archive.name]}, none is published'}")
    fetch.packages(HERE / "packages", *PACKAGES)
    tokens, done = out / "tokens", out / "tokens" / "complete.json"
    counts = None
    with contextlib.suppress(OSError, ValueError, KeyError):
        found = json.loads(done.read_text())
        counts = found["pairs"] if found["recipe"] == recipe else None
    if counts is None:
        (out / "bpe.codes").unlink(missing_ok=True)
        counts = clean(corpus, archives, tokens, workers)
        done.write_text(json.dumps({"recipe": recipe, "pairs": counts}))
    say("corpus: " + ", ".join(f"{kind} {count:,}" for kind, count in counts.items()))
    segmented = segment(corpus, tokens, out, workers)
    text = json.dumps({"recipe": recipe, "archives": sums, "pairs": counts, "pairs after BPE": segmented}, indent=1)
    (out / "manifest.json.tmp").write_text(text + "\n", encoding="utf-8")
    os.replace(out / "manifest.json.tmp", manifest)
    say("corpus: " + ", ".join(f"{split} {count:,}" for split, count in segmented.items()) + " pairs of symbols")


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("corpus", choices=sorted(CORPORA))
    parser.add_argument("--out", type=Path, metavar="DIR", help="the folder to write; data/CORPUS")
    parser.add_argument("--archives", type=Path, metavar="DIR", help="where archives are, or are put; data/archives")
    parser.add_argument("--workers", type=int, metavar="N", default=os.cpu_count() or 1, help="processes; one per core")
    flags = parser.parse_args()
    make(flags.corpus, flags.out or HERE / flags.corpus, flags.archives or HERE / "archives", max(flags.workers, 1))


if __name__ == "__main__":
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    try:
        main()
    except Problem as problem:
        sys.exit(f"error: {problem.args[0]}\n\nhint: {problem.args[1]}")
    except OSError as error:
        sys.exit(f"error: {error}")
    except KeyboardInterrupt:
        sys.exit(130)
