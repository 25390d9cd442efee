"""LibreOffice's help as German-English pairs, for demo_corpus.py: packages → HTML pages → paragraphs → pairs."""
import collections
import html
import io
import re
import shutil
import subprocess
import sys
import tarfile
import unicodedata

PACKAGES = ("libreoffice-help-de", "libreoffice-help-en-us")
# A batch has room for a fixed number of tokens, so a few very long paragraphs cost many updates. 1 % of the help's
# paragraphs are longer than this: several sentences each.
MAX_WORDS = 60


class Problem(Exception):
    """Something that the person can repair: what is wrong, then what to do."""


def say(message):
    print(message, file=sys.stderr, flush=True)


# ---- packages ----------------------------------------------------------------------------------------------------

def download_packages(folder):
    """Fetches the packages with apt-get: no root needed, nothing outside `folder` is written."""
    hint = ("give the packages by hand: --deb libreoffice-help-de_*.deb libreoffice-help-en-us_*.deb (from any Debian "
            "mirror), or take another text: --corpus multi30k")
    if not shutil.which("apt-get"):
        raise Problem("apt-get, which fetches the demo text, is not on this machine", hint)
    (folder / "lists" / "partial").mkdir(parents=True)
    (folder / "cache" / "archives" / "partial").mkdir(parents=True)
    folder.chmod(0o755)  # apt-get started by root downloads as a user of its own
    cache = ["-o", f"Dir::Cache={folder}/cache", "-o", "Acquire::http::Timeout=30", "-o", "Acquire::Retries=1"]
    private = cache + ["-o", f"Dir::State::Lists={folder}/lists", "-o", "Acquire::Languages=none"]

    def apt_get(*arguments):
        return subprocess.run(["apt-get", "-q", *arguments], cwd=folder, stdin=subprocess.DEVNULL, text=True,
                              errors="replace", stdout=subprocess.PIPE, stderr=subprocess.STDOUT)

    say(f"corpus: fetching {' and '.join(PACKAGES)} (5 MB)")
    result = apt_get(*cache, "download", *PACKAGES)
    if result.returncode != 0:
        # No package lists yet, or old ones that name packages which the mirror has replaced.
        say("corpus: the machine's package lists are missing or old; fetching lists for this run only (15 to 60 MB)")
        apt_get(*private, "update")  # some source may fail; what counts is whether the download works afterwards
        result = apt_get(*private, "download", *PACKAGES)
    if result.returncode != 0:
        errors = [line for line in result.stdout.splitlines() if line.startswith("E:")] or ["E: no reason given"]
        raise Problem(f"apt-get cannot fetch {' and '.join(PACKAGES)}: {errors[0][3:]}", hint)
    return sorted(folder.glob("*.deb"))


def data_member(path):
    """The data.tar.* inside a package, which is an `ar` archive: (name, bytes)."""
    damaged = Problem(f"{path} is cut short or no Debian package", "fetch it again")
    try:
        content = path.read_bytes()
    except OSError as error:
        raise Problem(f"cannot read {path}: {error.strerror}", "--deb takes the files of both help packages")
    if content[:8] != b"!<arch>\n":
        raise damaged
    at = 8
    while at + 60 <= len(content):
        name, size = content[at:at + 16].decode("ascii", "replace").strip().rstrip("/"), content[at + 48:at + 58]
        if not size.strip().isdigit() or at + 60 + int(size) > len(content):
            break
        if name.startswith("data.tar"):
            return name, content[at + 60:at + 60 + int(size)]
        at += 60 + int(size) + int(size) % 2
    raise damaged


def read_package(path):
    """The help pages of one package: {language: {page: HTML}}."""
    name, data = data_member(path)
    pages = collections.defaultdict(dict)
    try:
        if name.endswith(".zst"):
            data = unpack_zst(path, data)
        elif name.endswith(".xz"):
            import lzma  # some builds of Python lack it
            data = lzma.decompress(data)
        with tarfile.open(fileobj=io.BytesIO(data)) as archive:
            for member in archive:
                found = re.search(r"/help/(de|en-US)/text/(.+\.html)$", member.name)
                if found and member.isfile():
                    pages[found[1][:2]][found[2]] = archive.extractfile(member).read().decode("utf-8", "replace")
    except ImportError:
        raise Problem(f"{path} is packed with xz, and this Python was built without lzma", "use the system's python3")
    except Problem:
        raise
    except Exception as error:  # of lzma, zlib, tarfile, zstd: all mean the same
        raise Problem(f"{path} is damaged: {error}", "fetch it again")
    return pages


def unpack_zst(path, data):
    try:
        from compression import zstd  # Python 3.14
        return zstd.decompress(data)
    except ImportError:
        pass
    for command, given in (["zstd", "-dcq"], data), (["dpkg-deb", "--fsys-tarfile", str(path)], None):
        if shutil.which(command[0]):
            result = subprocess.run(command, input=given, stdout=subprocess.PIPE)
            if result.returncode != 0:
                raise Problem(f"{path} is damaged: {command[0]} cannot unpack it", "fetch it again")
            return result.stdout
    raise Problem(f"{path} is packed with zstd, which Python unpacks from version 3.14 on",
                  "install the program zstd, or take the package from Debian, which packs with xz")


# ---- HTML to text -----------------------------------------------------------------------------------------------

ATTRIBUTES = r'((?:[^>"]|"[^"]*")*)'  # a quoted value may hold `>`
BLOCK = re.compile(rf"<(p|h[1-6])\b{ATTRIBUTES}>(.*?)</\1>", re.S)
TAG = re.compile(rf"<(/?)(\w+){ATTRIBUTES}>")
LETTER = re.compile(r"[^\W\d_]")
CODE = {"literal", "input", "code"}
IMAGE = "\ufffc"  # stands for one until the text is put together
INVISIBLE = dict.fromkeys(map(ord, "\u00ad\u200b\u200c\u200d\u2060\ufeff"))


def attribute(name, text):
    found = re.search(rf'\b{name}="([^"]*)"', text)
    return found[1] if found else ""


def paragraph(markup):
    """The text of a paragraph, its text outside of code, and whether it is complete.

    Where the help differs by system or program it holds all variants, hidden, and a script shows one:
    <span class="switchinline"><span hidden class="MAC">…</span><span hidden id="default…">…</span></span>.
    The default is taken; without one the paragraph has a hole."""
    text, prose, spans, complete, at = [], [], [], True, 0

    def add(piece):
        if "hidden" not in spans:
            text.append(piece)
            if "code" not in spans:
                prose.append(piece)

    for tag in TAG.finditer(markup):
        add(markup[at:tag.start()])
        at = tag.end()
        closing, name, attributes = tag.groups()
        if name == "br":
            add(" ")
        elif name == "img":
            add(IMAGE)
        elif name == "span" and closing:
            complete = complete and bool(spans) and spans.pop() != "switch"
        elif name == "span":
            kind = attribute("class", attributes)
            if kind == "switchinline":
                spans.append("switch")
            elif "hidden=" in attributes and not attribute("id", attributes).startswith("default"):
                spans.append("hidden")
            else:
                if "hidden=" in attributes and spans and spans[-1] == "switch":
                    spans[-1] = "switch with default"
                spans.append("code" if kind in CODE else "")
    add(markup[at:])
    return plain(text), plain(prose), complete


def plain(pieces):
    text = html.unescape("".join(pieces)).translate(INVISIBLE)
    text = re.sub(rf"\s*{IMAGE}\s*(?=[.,;:)])", "", text).replace(IMAGE, " ")
    return " ".join(unicodedata.normalize("NFC", text).split()).lstrip("• ")


def paragraphs(pages):
    """All paragraphs with an id: {(page, id, how many times seen): (text, prose, complete, class)}."""
    found = {}
    for page in sorted(pages):
        seen = collections.Counter()
        for _, attributes, markup in BLOCK.findall(pages[page]):
            name = attribute("id", attributes)
            if name and name not in ("bm_module", "bm_system", "bm_HID"):  # empty, for a script to fill
                seen[name] += 1
                found[page, name, seen[name]] = (*paragraph(markup), attribute("class", attributes))
    return found


# ---- pairs ------------------------------------------------------------------------------------------------------

def words(line):
    """What is compared to find repetitions: words without case and punctuation, every number as 0."""
    return re.sub(r"\d+", "0", " ".join(re.findall(r"\w+", line.casefold()))).split()


def fault(german, english):
    """Why a pair of paragraphs is no good to learn from, or None."""
    (de, de_prose, de_complete, kind), (en, en_prose, en_complete, _) = german, english
    if not de or not en:
        return "empty"
    if de == en:
        return "same on both sides"  # names, code, numbers, and what nobody has translated
    letters = min(sum(c.isalpha() or c == " " for c in line) / len(line) for line in (de, en))
    if "code" in kind or letters < 0.6 or de_prose.isupper() or en_prose.isupper() or not (
            LETTER.search(de_prose) and LETTER.search(en_prose)):
        return "code or few letters"
    if not de_complete or not en_complete:
        return "no default variant"
    if max(len(line.split()) for line in (de, en)) > MAX_WORDS:
        return "too long"
    short, long = sorted((len(de), len(en)))
    if long > 2 * short + 15:  # in characters: German compounds make word counts differ
        return "length ratio"
    de, en = set(words(de)), set(words(en))
    if len(de & en) > 0.75 * min(len(de), len(en)) and len(de) > 2:
        return "hardly translated"
    return None


def align(german, english):
    """Pairs the paragraphs of both languages by page and id: the pairs in order of pages, and counts of the rest."""
    pairs, counts, seen = [], collections.Counter(), (set(), set())
    for name in german:
        reason = fault(german[name], english[name]) if name in english else "no partner"
        if not reason:
            pair = german[name][0], english[name][0]
            keys = [" ".join(words(line)) for line in pair]
            if keys[0] in seen[0] or keys[1] in seen[1]:
                reason = "repeated"
        if reason:
            counts[reason] += 1
            continue
        pairs.append(pair)
        for key, side in zip(keys, seen):
            side.add(key)
    return pairs, counts
