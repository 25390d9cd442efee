"""Lines as the original's scripts clean them, by sacremoses: Moses' normalize-punctuation, remove-non-printing-char,
tokenizer (with `-a`) and lowercase, and the rules of clean-corpus-n."""
import functools
import re
import unicodedata

from sacremoses import MosesPunctNormalizer, MosesTokenizer

MAX_WORD = 1000  # characters; clean-corpus-n drops a line with a longer word
TAGS = re.compile(r"</?(?:title|description)>")
SEGMENT = re.compile(r'<seg id="[0-9]*">\s*|\s*</seg>\s*')


@functools.cache
def tokenizer(language):
    return MosesTokenizer(language)


@functools.cache
def normalizer(language):
    return MosesPunctNormalizer(language)


def printable(line):
    """`s/\\p{C}/ /g`: control characters, format characters and code points without a character become spaces."""
    if line.isascii() and line.isprintable():
        return line
    return "".join(" " if unicodedata.category(char)[0] == "C" else char for char in line)


def tokenise(line, language, normalise, dashes):
    """The tokens of `line` between spaces; `normalise` puts punctuation and characters in order first, `dashes` is `-a`,
    which splits `e-mail` into `e @-@ mail`. Like Moses it escapes `&`, `|`, quotes and brackets."""
    if normalise:
        line = printable(normalizer(language).normalize(line))
    return tokenizer(language).tokenize(line, aggressive_dash_splits=dashes, return_str=True)


def talk_text(line):
    """A line of IWSLT's train.tags, or None where it says something of the talk instead of being said in it."""
    if "<url>" in line or "<talkid>" in line or "<keywords>" in line:
        return None
    return TAGS.sub("", line)


def segment_text(line):
    """The sentence of a line of IWSLT's .xml or WMT's .sgm, or None where there is none."""
    return SEGMENT.sub("", line).replace("\u2019", "'") if "<seg id" in line else None


def is_clean(source, target, most, ratio):
    """clean-corpus-n's rules: 1 to `most` tokens, neither side more than `ratio` times as long as the other."""
    words = source.split(), target.split()
    lengths = [len(side) for side in words]
    if not 1 <= min(lengths) or max(lengths) > most or max(lengths) > ratio * min(lengths):
        return False
    return all(len(word) <= MAX_WORD for side in words for word in side)
