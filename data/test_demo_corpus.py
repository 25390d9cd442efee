#!/usr/bin/env python3
"""Tests of demo_corpus.py on packages made here: python3 data/test_demo_corpus.py"""
import gzip
import hashlib
import io
import json
import lzma
import subprocess
import sys
import tarfile
import tempfile
import unittest
from pathlib import Path

import demo_corpus
import libreoffice_help
from libreoffice_help import Problem

SWITCH = ('<span class="switchinline"><span hidden="true" id="MACx" class="MAC">Command</span>'
          '<span hidden="true" id="defaultx"><span class="keycode">{}</span></span></span>')


def package(language, page):
    """A .deb: an `ar` archive with one page in data.tar.xz."""
    tar = io.BytesIO()
    with tarfile.open(fileobj=tar, mode="w") as archive:
        member = tarfile.TarInfo(f"./usr/share/libreoffice/help/{language}/text/shared/a.html")
        member.size = len(page.encode())
        archive.addfile(member, io.BytesIO(page.encode()))
    deb = b"!<arch>\n"
    for name, content in (("debian-binary", b"2.0\n"), ("data.tar.xz", lzma.compress(tar.getvalue()))):
        deb += f"{name:<16}{'0':<12}{'0':<6}{'0':<6}{'100644':<8}{len(content):<10}`\n".encode() + content
        deb += b"\n" * (len(content) % 2)
    return deb


def page(*paragraphs):
    return "\n".join(f'<p id="par_id{number}" class="{kind}">{text}</p>'
                     for number, (kind, text) in enumerate(paragraphs))


class DemoCorpus(unittest.TestCase):
    def setUp(self):
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.folder = Path(folder.name)

    def run_command(self, *arguments):
        command = [sys.executable, demo_corpus.__file__, "--out", str(self.folder / "out"), *map(str, arguments)]
        return subprocess.run(command, stderr=subprocess.PIPE, text=True)

    def pages(self, language, content):
        path = self.folder / f"{language}.deb"
        path.write_bytes(content)
        return libreoffice_help.read_package(path)

    def test_pages_become_pairs(self):
        german = page(("", f'Dr\u00fccken  Sie <a title="a > b">{SWITCH.format("Strg")}+F1</a>&nbsp;&amp;\nlos.'),
                      ("", 'Klicken Sie auf <b>Text</b> <img alt="x"> .'), ("", "Klicken Sie auf TEXT"), ("", "Name"),
                      ("code", "SUMME(Zahl)"), ("", '<span class="literal">=SUMME(Zahl)</span>'), ("", "Nur Deutsch"),
                      ("", "Ansicht – " + SWITCH.format("").replace("default", "DRAW")), ("", "lang " * 61))
        english = page(("", f'Press {SWITCH.format("Ctrl")}+F1 &amp; go.'), ("", "Click Text."), ("", "Click text"),
                       ("", "Name"), ("code", "SUM(Number)"), ("", '<span class="literal">=SUM(Number)</span>'),
                       ("", " "), ("", "View all"), ("", "long " * 61))
        pages = {**self.pages("de", package("de", german)), **self.pages("en", package("en-US", english))}
        pairs, dropped = libreoffice_help.align(*(libreoffice_help.paragraphs(pages[name]) for name in ("de", "en")))
        self.assertEqual(pairs, [("Drücken Sie Strg+F1 & los.", "Press Ctrl+F1 & go."),
                                 ("Klicken Sie auf Text.", "Click Text.")])
        self.assertEqual(dropped, {"repeated": 1, "same on both sides": 1, "code or few letters": 2, "empty": 1,
                                   "no default variant": 1, "too long": 1})

    def test_split_is_by_content_and_keeps_train_clear_of_test(self):
        letters = str.maketrans("0123456789", "ghijklmnop")
        name = [hashlib.sha256(b"%d" % number).hexdigest()[:6].translate(letters) for number in range(1500)]
        pairs = [(f"{a} ist ein {b} mit {c} und {d}", f"{a} {b} {c} {d}") for a, b, c, d in
                 zip(name, name[1:], name[2:], name[3:])]
        splits = demo_corpus.split(pairs, {"like a test or valid line": 0})
        again = demo_corpus.split(pairs[::-1], {"like a test or valid line": 0})
        self.assertEqual([len(splits["test"]), len(splits["valid"])], [500, 500])
        self.assertEqual((splits["test"], splits["valid"]), (again["test"], again["valid"]))
        self.assertEqual(demo_corpus.overlap(splits), 0)
        near = (splits["test"][0][0] + " dann", "something else")
        dropped = {"like a test or valid line": 0}
        self.assertNotIn(near, demo_corpus.split(pairs + [near], dropped)["train"])
        self.assertEqual(demo_corpus.overlap({**splits, "train": splits["test"][:1]}), 2)

    def test_a_damaged_package_is_one_clear_error(self):
        whole = package("de", page(("", "Ein Satz")))
        for content in (b"", b"<html>not found</html>", whole[:100], whole[:-40]):
            with self.assertRaisesRegex(Problem, "cut short or no Debian package"):
                self.pages("de", content)
        damaged = bytearray(whole)
        damaged[-60] ^= 255
        with self.assertRaisesRegex(Problem, "is damaged"):
            self.pages("de", bytes(damaged))
        result = self.run_command("--deb", self.folder / "missing.deb", self.folder / "missing.deb")
        self.assertEqual(result.returncode, 1)
        self.assertRegex(result.stderr, r"\Aerror: cannot read .*missing.deb: No such file or directory\n\nhint: ")

    def test_multi30k_is_written_once_and_again_when_changed(self):
        for stem, count in demo_corpus.MULTI30K.values():
            for language in ("de", "en"):
                text = "".join(f"{language} {stem} {number}\n" for number in range(count))
                (self.folder / f"{stem}.{language}.gz").write_bytes(gzip.compress(text.encode(), 1))
        arguments = ("--corpus", "multi30k", "--multi30k", self.folder)
        out = self.folder / "out"
        self.assertEqual(self.run_command(*arguments).returncode, 0)
        manifest = json.loads((out / "manifest.json").read_text())
        self.assertEqual(manifest["files"]["test.de"]["lines"], 1000)
        self.assertEqual((out / "valid.en").read_text().split("\n")[1], "en val 1")
        self.assertEqual(sorted(path.name for path in out.iterdir()),
                         ["manifest.json", "test.de", "test.en", "train.de", "train.en", "valid.de", "valid.en"])
        self.assertIn("is complete", self.run_command(*arguments).stderr)
        (out / "test.de").write_text("changed")
        (self.folder / "val.en.gz").write_bytes(gzip.compress(b"too few\n"))
        result = self.run_command(*arguments)
        self.assertEqual(result.returncode, 1)
        self.assertRegex(result.stderr, "val.en.gz has 1 lines, 1014 are right")


if __name__ == "__main__":
    unittest.main()
