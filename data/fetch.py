"""Archives from the internet, whole or not at all, and Python packages that the repository does not ask for."""
import hashlib
import os
import shutil
import subprocess
import sys
import urllib.error
import urllib.request

from libreoffice_help import Problem, say

TIMEOUT = 60  # seconds without a byte
BLOCK = 1 << 20


def packages(folder, *names):
    """Puts the packages into `folder`, which is on the path afterwards; what is there is not fetched again."""
    done = folder / "complete"
    wanted = "\n".join(names)
    if not done.exists() or done.read_text() != wanted:
        say(f"corpus: fetching {' and '.join(names)} from PyPI")
        shutil.rmtree(folder, ignore_errors=True)
        command = [sys.executable, "-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--no-warn-script-location",
                   "--target", str(folder), *names]
        done_well = subprocess.run(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)
        if done_well.returncode:
            why = (done_well.stderr.strip().splitlines() or ["no message"])[-1]
            raise Problem(f"pip cannot install {' and '.join(names)}: {why}", "python3 with pip and PyPI are needed")
        done.write_text(wanted)
    sys.path.insert(0, str(folder))
    os.environ["PYTHONPATH"] = os.pathsep.join(filter(None, [str(folder), os.environ.get("PYTHONPATH")]))


def digest(path, algorithm):
    with open(path, "rb") as file:
        state = hashlib.new(algorithm)
        while block := file.read(BLOCK):
            state.update(block)
    return state.hexdigest()


def archive(path, urls, checksum=None):
    """`path` with the content of the first of `urls` that answers; `checksum` is `(algorithm, hex)`. A transfer that was
    cut off goes on where it stopped. Returns the SHA-256."""
    if not path.exists():
        part = path.with_name(path.name + ".part")
        path.parent.mkdir(parents=True, exist_ok=True)
        for number, url in enumerate(urls, 1):
            try:
                transfer(url, part)
                break
            except OSError as error:
                say(f"corpus: {url}: {error}")
                if number == len(urls):
                    raise Problem(f"cannot fetch {path.name}", f"get it another way and put it to {path}")
        check(part, path.name, checksum)
        os.replace(part, path)
    return check(path, path.name, checksum)


def check(path, name, checksum):
    if checksum and (found := digest(path, checksum[0])) != checksum[1]:
        raise Problem(f"{path} is not the {name} that is known: {checksum[0]} {found}, {checksum[1]} is right",
                      f"remove it and start again: rm {path}")
    return digest(path, "sha256")


def transfer(url, part):
    have = part.stat().st_size if part.exists() else 0
    request = urllib.request.Request(url, headers={"Range": f"bytes={have}-"} if have else {})
    try:
        answer = urllib.request.urlopen(request, timeout=TIMEOUT)
    except urllib.error.HTTPError as error:
        if error.code == 416 and have:  # nothing is left to send: the checksum decides
            return
        raise
    with answer:
        if have and answer.status != 206:
            have = 0
        total = have + int(answer.headers.get("Content-Length") or 0)
        say(f"corpus: fetching {url} ({total / 1e6:.0f} MB)")
        with open(part, "ab" if have else "wb") as file:
            shutil.copyfileobj(answer, file, BLOCK)
    if total > have and part.stat().st_size < total:
        raise OSError(f"it ended at byte {part.stat().st_size} of {total}; start again to go on")
