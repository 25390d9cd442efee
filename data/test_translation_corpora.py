#!/usr/bin/env python3
"""Tests of translation_corpora.py on small archives made here: python3 data/test_translation_corpora.py
What needs sacremoses and subword-nmt is skipped where PyPI cannot be reached."""
import functools
import gzip
import hashlib
import http.server
import io
import json
import subprocess
import sys
import tarfile
import tempfile
import threading
import unittest
from pathlib import Path

import fetch
import translation_corpora
from libreoffice_help import Problem


def archive(path, members):
    """A .tgz or .tar of {name: text}."""
    with tarfile.open(path, "w:gz" if path.suffix == ".tgz" else "w") as tar:
        for name, text in members.items():
            content = gzip.compress(text.encode()) if name.endswith(".gz") else text.encode()
            member = tarfile.TarInfo(name)
            member.size = len(content)
            tar.addfile(member, io.BytesIO(content))


@functools.cache
def packages_problem():
    try:
        fetch.packages(translation_corpora.HERE / "packages", *translation_corpora.PACKAGES)
    except Problem as problem:
        return str(problem.args[0])


def needs_packages(test):
    @functools.wraps(test)
    def wrapped(self):
        if packages_problem():
            self.skipTest(packages_problem())
        test(self)
    return wrapped


def segments(*lines):
    return "<doc>\n" + "".join(f'<seg id="{number}"> {line} </seg>\n' for number, line in enumerate(lines, 1)) + "</doc>\n"


class Place(unittest.TestCase):
    def setUp(self):
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.folder = Path(folder.name)
        self.archives = self.folder / "archives"
        self.archives.mkdir()

    def read(self, name):
        return (self.folder / "out" / name).read_text(encoding="utf-8").split("\n")[:-1]

    def run_command(self, name, known=False):
        """The program on `self.archives`. Unless `known`, the published checksums are left out."""
        program = ("import sys, dataclasses, signal; sys.path.insert(0, sys.argv.pop(1))\n"
                   "import translation_corpora as t\n"
                   "from libreoffice_help import Problem\n"
                   f"for name, c in {'{}' if known else 't.CORPORA'}.items():\n"
                   "    archives = tuple(dataclasses.replace(a, checksum=None) for a in c.archives)\n"
                   "    t.CORPORA[name] = dataclasses.replace(c, archives=archives, merges=30)\n"
                   "try: t.main()\n"
                   "except Problem as p: sys.exit(f'error: {p.args[0]} hint: {p.args[1]}')\n")
        command = [sys.executable, "-X", "utf8", "-c", program, str(translation_corpora.HERE), name, "--out",
                   str(self.folder / "out"), "--archives", str(self.archives), "--workers", "2"]
        return subprocess.run(command, stderr=subprocess.PIPE, text=True)


class Corpora(Place):
    @needs_packages
    def test_iwslt(self):
        tags = "<url>http://x</url>\n<keywords>a, b</keywords>\n<talkid>1</talkid>\n<title>{}</title>\n"
        german, english = tags.format("Über Hunde"), tags.format("About dogs")
        for number in range(1, 47):
            german += f"Der Hund Nr. {number} läuft, \"schnell\"!\n"
            english += f"Dog No. {number} doesn't run & barks\u2028\n"
        german, english = german + "Ein Satz\n\n", english + "One " * 4 + "\n\n"
        members = {"de-en/train.tags.de-en.de": german, "de-en/train.tags.de-en.en": english}
        for name in ("TED.dev2010", "TEDX.dev2012", "TED.tst2010", "TED.tst2011", "TED.tst2012"):
            members[f"de-en/IWSLT14.{name}.de-en.de.xml"] = segments(f"Das ist {name}")
            members[f"de-en/IWSLT14.{name}.de-en.en.xml"] = segments("It\u2019s so")
        archive(self.archives / "de-en.tgz", members)
        result = self.run_command("iwslt14_de_en")
        self.assertEqual(result.returncode, 0, result.stderr)
        self.assertIn("none is published", result.stderr)
        # The title and 46 lines are clean; the other two are a pair of 2 and 4 tokens and an empty one.
        self.assertEqual([len(self.read(f"tokens/{split}.de")) for split in ("train", "valid", "test")], [45, 2, 5])
        self.assertEqual(self.read("tokens/train.de")[:2],
                         ["über hunde", "der hund nr. 1 läuft , &quot; schnell &quot; !"])
        self.assertEqual(self.read("tokens/train.en")[:2], ["about dogs", "dog no. 1 doesn &apos;t run &amp; barks"])
        self.assertEqual(self.read("tokens/valid.en")[0], "dog no. 22 doesn &apos;t run &amp; barks")
        self.assertEqual(self.read("tokens/test.en"), ["it &apos;s so"] * 5)
        self.assertEqual(self.read("tokens/test.de")[1], "das ist tedx.dev2012")
        for name in ("train.de", "valid.en", "test.de"):
            joined = [line.replace("@@ ", "") for line in self.read(name)]
            self.assertEqual(joined, self.read(f"tokens/{name}"))
        self.assertEqual(len(self.read("bpe.codes")), 31)
        manifest = json.loads("\n".join(self.read("manifest.json")))
        self.assertEqual(manifest["archives"]["de-en.tgz"], fetch.digest(self.archives / "de-en.tgz", "sha256"))
        before = (self.folder / "out" / "train.de").stat().st_mtime_ns
        self.assertIn("is complete", self.run_command("iwslt14_de_en").stderr)
        self.assertEqual((self.folder / "out" / "train.de").stat().st_mtime_ns, before)
        self.assertFalse(list((self.folder / "out").rglob("*.tmp")))

    @needs_packages
    def test_wmt_german(self):
        long = "wort " * 81
        for name, member, lines in (
                ("training-parallel-europarl-v7.tgz", "training/europarl-v7.de-en", ("Re-election «now»\x07.", long)),
                ("training-parallel-commoncrawl.tgz", "commoncrawl.de-en", ("a\rb\u00a0c", "")),
                ("training-parallel-nc-v12.tgz", "training/news-commentary-v12.de-en", ("so it goes",) * 3),
                ("dev.tgz", "dev/newstest2013", (long, ""))):
            archive(self.archives / name, {f"{member}.{lang}": "\n".join(lines) + "\n" for lang in ("en", "de")})
        archive(self.archives / "test-full.tgz", {
            "test-full/newstest2014-deen-src.en.sgm": segments("the e-mail", "two"),
            "test-full/newstest2014-deen-ref.de.sgm": segments("die E-Mail", "zwei")})
        result = self.run_command("wmt14_en_de")
        self.assertEqual(result.returncode, 0, result.stderr)
        self.assertEqual(self.read("tokens/train.en"), ["Re @-@ election &quot; now &quot; .", "ab c"] + ["so it goes"] * 3)
        # Lines of valid and test are never dropped, so that scores mean the file.
        self.assertEqual([len(line.split()) for line in self.read("tokens/valid.de")], [81, 0])
        self.assertEqual(self.read("tokens/test.de"), ["die E @-@ Mail", "zwei"])
        self.assertEqual(len(self.read("valid.en")), 2)

    @needs_packages
    def test_wmt_french(self):
        def text(count, line):
            return "".join(f"{line} {number}\n" for number in range(count))
        for name, member, count in (
                ("training-parallel-europarl-v7.tgz", "training/europarl-v7.fr-en.{}", 1400),
                ("training-parallel-commoncrawl.tgz", "commoncrawl.fr-en.{}", 3),
                ("training-parallel-un.tgz", "un/undoc.2000.fr-en.{}", 3),
                ("training-parallel-nc-v9.tgz", "training/news-commentary-v9.fr-en.{}", 3),
                ("training-giga-fren.tar", "giga-fren.release2.fixed.{}.gz", 3)):
            archive(self.archives / name, {member.format(lang): text(count, name) for lang in ("en", "fr")})
        archive(self.archives / "test-full.tgz", {
            "test-full/newstest2014-fren-src.en.sgm": segments("a b c d e"), "test-full/newstest2014-fren-ref.fr.sgm": segments("a")})
        result = self.run_command("wmt14_en_fr")
        self.assertEqual(result.returncode, 0, result.stderr)
        self.assertEqual([len(self.read(f"tokens/{split}.fr")) for split in ("train", "valid", "test")], [1411, 1, 1])
        self.assertTrue(self.read("tokens/valid.fr")[0].endswith(" 1332"))
        self.assertEqual(self.read("tokens/train.en")[-1].split()[-1], "2")

    def test_archives_that_are_not_what_they_should_be(self):
        archive(self.archives / "de-en.tgz", {"de-en/other": ""})
        if not packages_problem():
            self.assertIn("has no de-en/IWSLT14.TED.dev2010", self.run_command("iwslt14_de_en").stderr)
            whole = (self.archives / "de-en.tgz").read_bytes()
            (self.archives / "de-en.tgz").write_bytes(whole[:len(whole) // 2])
            self.assertIn("de-en.tgz is damaged", self.run_command("iwslt14_de_en").stderr)
            self.assertFalse((self.folder / "out" / "tokens" / "train.de").exists())
        archive(self.archives / "training-parallel-europarl-v7.tgz", {"x": ""})
        result = self.run_command("wmt14_en_de", known=True)
        self.assertNotEqual(result.returncode, 0)
        self.assertIn("is not the training-parallel-europarl-v7.tgz that is known", result.stderr)


class Server(http.server.BaseHTTPRequestHandler):
    """Serves CONTENT, with ranges; the first answer breaks off half way."""
    CONTENT = bytes(range(256)) * 40
    broken = False

    def do_GET(self):
        if self.path != "/file":
            return self.send_error(404)
        start = int(self.headers.get("Range", "bytes=0-")[6:-1])
        self.send_response(206 if start else 200)
        self.send_header("Content-Length", str(len(self.CONTENT) - start))
        self.end_headers()
        if not Server.broken:
            Server.broken = True
            return self.wfile.write(self.CONTENT[:5000])
        self.wfile.write(self.CONTENT[start:])

    def log_message(self, *_):
        pass


class Fetching(Place):
    def test_a_transfer_that_broke_off_goes_on(self):
        server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Server)
        threading.Thread(target=server.serve_forever, daemon=True).start()
        self.addCleanup(server.server_close)
        self.addCleanup(server.shutdown)
        base, path = f"http://127.0.0.1:{server.server_port}", self.folder / "file"
        right = hashlib.sha256(Server.CONTENT).hexdigest()
        with self.assertRaises(Problem) as caught:
            fetch.archive(path, [base + "/file"])
        self.assertIn("cannot fetch file", caught.exception.args[0])
        self.assertEqual((path.exists(), (self.folder / "file.part").stat().st_size), (False, 5000))
        self.assertEqual(fetch.archive(path, [base + "/none", base + "/file"], ("sha256", right)), right)
        self.assertEqual(path.read_bytes(), Server.CONTENT)
        with self.assertRaises(Problem) as caught:
            fetch.archive(path, [base + "/file"], ("md5", "0" * 32))
        self.assertIn("is not the file that is known", caught.exception.args[0])


if __name__ == "__main__":
    unittest.main()
