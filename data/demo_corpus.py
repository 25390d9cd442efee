#!/usr/bin/env python3
"""Makes the demo corpus, German-English: {train,valid,test}.{de,en} and manifest.json in one folder.

    python3 data/demo_corpus.py                                     LibreOffice help from Debian packages → data/demo
    python3 data/demo_corpus.py --deb HELP_DE.deb HELP_EN_US.deb    the same from packages that you have
    python3 data/demo_corpus.py --corpus multi30k [--multi30k DIR]  Multi30k → data/multi30k

Python 3.9 or newer, standard library only. README.md beside this file describes the text and gives figures."""
import argparse
import collections
import gzip
import hashlib
import json
import os
import re
import signal
import sys
import tempfile
import urllib.request
import zlib
from pathlib import Path

import libreoffice_help
from libreoffice_help import Problem, say, words

HERE = Path(__file__).resolve().parent
FOLDERS = {"libreoffice-help": HERE / "demo", "multi30k": HERE / "multi30k"}
MULTI30K_URL = "https://raw.githubusercontent.com/multi30k/dataset/master/data/task1/raw/"
MULTI30K = {"train": ("train", 29000), "valid": ("val", 1014), "test": ("test_2016_flickr", 1000)}  # stem, lines
HELD_OUT = 500  # lines of test, and of valid
# The help repeats phrases with one word exchanged. Lines that share this much (Dice, on word bigrams) count as the
# same: one word exchanged in a line of six gives 0.71, in shorter ones less.
NEAR = 0.7


# ---- LibreOffice help: what is held out --------------------------------------------------------------------------

def bigrams(line):
    line = ["", *words(line), ""]
    return set(zip(line, line[1:]))


def similarity(held_out, train):
    """For each line of `train`, its greatest likeness (Dice, on word bigrams) to a line of `held_out`."""
    index, sizes = collections.defaultdict(list), []
    for number, line in enumerate(train):
        grams = bigrams(line)
        sizes.append(len(grams))
        for gram in grams:
            index[gram].append(number)
    best = [0.0] * len(train)
    for line in held_out:
        grams = bigrams(line)
        common = collections.Counter(number for gram in grams for number in index.get(gram, ()))
        for number, shared in common.items():
            best[number] = max(best[number], 2 * shared / (len(grams) + sizes[number]))
    return best


def split(pairs, counts):
    """Test and valid are the pairs with the smallest hashes: the same ones wherever and whenever this runs."""
    order = sorted(pairs, key=lambda pair: hashlib.sha256("\t".join(pair).encode()).digest())
    test, valid = order[:HELD_OUT], order[HELD_OUT:2 * HELD_OUT]
    held_out = set(test + valid)
    train = [pair for pair in pairs if pair not in held_out]
    like = [similarity([pair[side] for pair in test + valid], [pair[side] for pair in train]) for side in (0, 1)]
    kept = [pair for pair, *likeness in zip(train, *like) if max(likeness) < NEAR]
    counts["like a test or valid line"] += len(train) - len(kept)
    return {"train": kept, "valid": valid, "test": test}


def overlap(splits):
    """How many lines of test and valid, compared as in `words`, are in train: has to be 0."""
    train = [{" ".join(words(pair[side])) for pair in splits["train"]} for side in (0, 1)]
    return sum(" ".join(words(pair[side])) in train[side] for name in ("test", "valid") for pair in splits[name]
               for side in (0, 1))


def libreoffice(packages):
    """The splits, where they come from, and how many paragraphs were dropped for which reason."""
    with tempfile.TemporaryDirectory(prefix="omega-demo-") as folder:
        pages = {}
        packages = packages or libreoffice_help.download_packages(Path(folder))
        for path in packages:
            pages.update(libreoffice_help.read_package(Path(path)))
        origin = sorted(Path(path).name for path in packages)
    for language, package in zip(("de", "en"), libreoffice_help.PACKAGES):
        if language not in pages:
            raise Problem(f"no help page of {package} in {' or '.join(origin)}", "both packages are needed")
    say("corpus: aligning paragraphs")
    german, english = (libreoffice_help.paragraphs(pages[language]) for language in ("de", "en"))
    pairs, dropped = libreoffice_help.align(german, english)
    if len(pairs) < 10 * HELD_OUT:
        raise Problem(f"only {len(pairs)} pairs in {' and '.join(origin)}", "take both packages from the same release")
    return split(pairs, dropped), origin, dropped


# ---- Multi30k ----------------------------------------------------------------------------------------------------

def multi30k(folder):
    """The same for Multi30k; nothing is dropped, so that scores can be compared with published ones."""
    splits = {}
    for name, (stem, count) in MULTI30K.items():
        german, english = (multi30k_lines(f"{stem}.{language}.gz", folder, count) for language in ("de", "en"))
        splits[name] = list(zip(german, english))
    return splits, ["a folder" if folder else MULTI30K_URL], {}


def multi30k_lines(name, folder, count):
    place = folder / name if folder else MULTI30K_URL + name
    hint = "give a folder that has the files, --multi30k DIR, or take the default corpus"
    try:
        if folder:
            packed = place.read_bytes()
        else:
            say(f"corpus: fetching {name}")
            with urllib.request.urlopen(place, timeout=30) as answer:
                packed = answer.read()
        lines = gzip.decompress(packed).decode("utf-8").rstrip("\n").split("\n")
    except (OSError, EOFError, ValueError, zlib.error) as error:
        raise Problem(f"cannot read {place}: {error}", hint)
    if len(lines) != count:
        raise Problem(f"{place} has {len(lines)} lines, {count} are right", hint)
    return [" ".join(line.split()) for line in lines]


# ---- files -------------------------------------------------------------------------------------------------------

def sha256(path):
    return hashlib.sha256(path.read_bytes()).hexdigest()


def is_complete(folder, corpus):
    """Whether all of the corpus is there, unchanged since it was written."""
    try:
        manifest = json.loads((folder / "manifest.json").read_text(encoding="utf-8"))
        return manifest["corpus"] == corpus and all(
            sha256(folder / name) == file["sha256"] for name, file in manifest["files"].items())
    except (OSError, ValueError, KeyError, TypeError):
        return False


def write(folder, manifest, splits):
    """Writes everything under temporary names, then renames; the manifest goes first and comes back last."""
    texts = {}
    for name, pairs in splits.items():
        for side, language in enumerate(("de", "en")):
            lines = [pair[side] for pair in pairs]
            content = "".join(line + "\n" for line in lines).encode()
            manifest["files"][f"{name}.{language}"] = {
                "lines": len(lines), "words": sum(len(line.split()) for line in lines),
                "sha256": hashlib.sha256(content).hexdigest()}
            texts[f"{name}.{language}"] = content
    texts["manifest.json"] = (json.dumps(manifest, indent=1, ensure_ascii=False) + "\n").encode()
    try:
        folder.mkdir(parents=True, exist_ok=True)
        for name, content in texts.items():
            with open(folder / f"{name}.tmp", "wb") as file:
                file.write(content)
                file.flush()
                os.fsync(file.fileno())
        (folder / "manifest.json").unlink(missing_ok=True)
        for name in texts:
            os.replace(folder / f"{name}.tmp", folder / name)
    except OSError as error:
        raise Problem(f"cannot write {folder}: {error.strerror}", "make room there, or give another folder: --out DIR")
    finally:
        for name in texts:
            (folder / f"{name}.tmp").unlink(missing_ok=True)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--corpus", choices=sorted(FOLDERS), default="libreoffice-help")
    parser.add_argument("--out", type=Path, metavar="DIR", help="the folder to write")
    parser.add_argument("--deb", nargs=2, type=Path, metavar="FILE", help="both help packages: nothing is fetched")
    parser.add_argument("--multi30k", type=Path, metavar="DIR", help="folder with train.de.gz, val.de.gz and so on")
    flags = parser.parse_args()
    folder = flags.out or FOLDERS[flags.corpus]
    if is_complete(folder, flags.corpus):
        say(f"corpus: {folder} is complete")
        return
    splits, origin, dropped = multi30k(flags.multi30k) if flags.corpus == "multi30k" else libreoffice(flags.deb)
    manifest = {"corpus": flags.corpus, "origin": origin, "dropped": dict(dropped.most_common()) if dropped else {},
                "lines of test and valid that are in train": overlap(splits), "files": {}}
    write(folder, manifest, splits)
    for reason, count in manifest["dropped"].items():
        say(f"corpus: dropped {count}: {reason}")
    for name, pairs in splits.items():
        say(f"corpus: {name}: {len(pairs)} pairs")


if __name__ == "__main__":
    # So that temporary files go when a job is stopped.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    try:
        main()
    except Problem as problem:
        sys.exit(f"error: {problem.args[0]}\n\nhint: {problem.args[1]}")
    except OSError as error:
        sys.exit(f"error: {error}")
    except KeyboardInterrupt:
        sys.exit(130)
