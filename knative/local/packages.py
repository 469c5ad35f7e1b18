"""Debian and Ubuntu packages for an ordinary user: fetched and unpacked into our own folder, never installed.

RabbitMQ exists on no language registry, so one machine without root takes it (and, for the tests, a headless browser)
from the distribution. apt-get does the hard part, verified lists and the dependency closure, with state of our own: it
reads which packages the machine already has and writes nothing outside our folder.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import re
import shutil
import subprocess
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from xml.sax.saxutils import escape

Progress = Callable[[str], None]
"""Called with one line for a person, at least every two seconds while something is fetched."""

BROWSERS = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")


class PackagesError(Exception):
    """A package could not be fetched or unpacked. The message is one sentence for a person, with the way out."""


def unpack(names: Sequence[str], root: Path, progress: Progress) -> Path:
    """Unpack packages and what they need beyond this machine's own packages below `root`; returns `root`.

    A stamp written last names the set of packages: a second call costs one stat, an interrupted one starts over. Two
    processes may call it at once, the second one waits. Works as root and as anyone else, and where the machine's own
    package lists were never fetched. Raises PackagesError: no apt-get here, no network, no such package, disk full.
    """
    stamp = root / f".unpacked-{'-'.join(sorted(names))}"
    if stamp.exists():
        return root
    wanted = " ".join(names)
    if not shutil.which("apt-get") or not shutil.which("dpkg-deb"):
        raise PackagesError(f"This system has no apt-get, so install {wanted} yourself with its package manager.")
    root.mkdir(parents=True, exist_ok=True)
    with _only_one(root):
        if not stamp.exists():
            work = root.with_name(root.name + ".fetch")
            for archive in _download(names, work, progress):
                command = ["dpkg-deb", "-x", str(archive), str(root)]
                done = subprocess.run(command, check=False, capture_output=True, text=True)
                if done.returncode:
                    raise PackagesError(f"Could not unpack {archive.name}: {_reason(done.stderr)}.")
            stamp.touch()
            shutil.rmtree(work, ignore_errors=True)
    return root


def library_path(root: Path) -> str:
    """LD_LIBRARY_PATH for a program unpacked below `root`: its libraries first, the machine's own after them."""
    folders = [folder for pattern in ("lib/*-linux-*", "usr/lib/*-linux-*") for folder in root.glob(pattern)]
    return ":".join(str(path) for folder in folders for path in (folder, folder / "pulseaudio"))


def chromium(root: Path, progress: Progress = lambda line: None) -> tuple[Path, dict[str, str]]:
    """A headless-capable browser that can draw Korean: (executable, whole environment to start it with).

    A browser on PATH is used where there is one; whatever is missing (browser, Nanum fonts) is unpacked below `root`.
    For playwright: `chromium.launch(executable_path=executable, env=environment)`. Raises PackagesError.
    """
    own = next((path for path in map(shutil.which, BROWSERS) if path), None)
    environment = dict(os.environ)
    if own and not shutil.which("apt-get"):
        return Path(own), environment
    unpack(["fonts-nanum"] if own else ["chromium", "fonts-nanum"], root, progress)
    fonts = root / "fonts.conf"
    folders = "".join(
        f"<dir>{escape(str(path))}</dir>" for path in (root / "usr/share/fonts", Path("/usr/share/fonts"))
    )
    fonts.write_text(
        f"<fontconfig>{folders}<cachedir>{escape(str(root))}/var/cache/fontconfig</cachedir>"
        '<include ignore_missing="yes">/etc/fonts/conf.d</include></fontconfig>\n',
        encoding="utf-8",
    )
    environment["FONTCONFIG_FILE"] = str(fonts)
    if own:
        return Path(own), environment
    environment["LD_LIBRARY_PATH"] = library_path(root)
    return root / "usr/lib/chromium/chromium", environment


@contextlib.contextmanager
def _only_one(folder: Path) -> Iterator[None]:
    """Hold an exclusive lock on the folder itself, so that no lock file can be left behind."""
    handle = os.open(folder, os.O_RDONLY)
    try:
        fcntl.flock(handle, fcntl.LOCK_EX)
        yield
    finally:
        os.close(handle)


def _download(names: Sequence[str], work: Path, progress: Progress) -> list[Path]:
    """The archives of the dependency closure, as files below `work` (kept there when interrupted: apt-get resumes)."""
    wanted = " ".join(names)
    for folder in ("state/lists/partial", "cache/archives/partial"):
        (work / folder).mkdir(parents=True, exist_ok=True)
    # The machine's settings of how to fetch (proxy, mirrors' certificates) without its hooks, which may need root.
    settings = subprocess.run(["apt-config", "dump"], check=True, capture_output=True, text=True).stdout.splitlines()
    ours = {
        "Dir::State": work / "state",
        "Dir::State::status": "/var/lib/dpkg/status",
        "Dir::Cache": work / "cache",
        "Dir::Log": work,
        "Dir::Etc::main": "/dev/null",
        "Dir::Etc::parts": "/dev/null",
        "Debug::NoLocking": "1",
        "APT::Sandbox::User": "root",
        "Acquire::Languages": "none",
        "Acquire::Retries": "2",
        "Acquire::http::Timeout": "20",
    }
    lines = [line for line in settings if line.startswith("Acquire::") and "Languages" not in line]
    lines += [f'{key} "{value}";' for key, value in ours.items()]
    (work / "apt.conf").write_text("\n".join(lines) + "\n", encoding="utf-8")

    def apt(*arguments: str, note: str = "") -> tuple[int, str]:
        environment = {**os.environ, "APT_CONFIG": str(work / "apt.conf"), "LC_ALL": "C.UTF-8"}
        with subprocess.Popen(
            ["apt-get", "-q", "-y", *arguments],
            env=environment, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
        ) as process:  # fmt: skip
            try:
                while True:
                    with contextlib.suppress(subprocess.TimeoutExpired):
                        output, _ = process.communicate(timeout=2)
                        return process.returncode, output
                    got = sum(path.stat().st_size for path in work.rglob("*") if path.is_file()) / 1e6
                    progress(f"{note}: {got:.0f} MB so far")
            except BaseException:
                process.kill()
                raise

    install = ("install", "--no-install-recommends")
    progress(f"Fetching the package lists for {wanted}")
    _, update = apt("update", note="Package lists")
    code, plan = apt(*install, "--print-uris", *names)
    if code and re.search(r"^(Err:|E: |W: Failed)", update, re.M):
        raise PackagesError(
            f"Could not fetch this machine's package lists ({_reason(update)}): check the network or proxy and try "
            f"again, or have {wanted} installed."
        )
    if code:
        raise PackagesError(f"apt-get cannot provide {wanted} here ({_reason(plan)}): install it another way.")
    sizes = [int(size) for size in re.findall(r"^'\S+' \S+ (\d+)", plan, re.M)]
    progress(f"Fetching {len(sizes)} packages for {wanted}, {sum(sizes) / 1e6:.0f} MB")
    code, output = apt(*install, "--download-only", *names, note=wanted)
    if code:
        raise PackagesError(f"Could not fetch {wanted} ({_reason(output)}): check the network and try again.")
    progress(f"Unpacking {wanted}")
    return sorted((work / "cache/archives").glob("*.deb"))


def _reason(output: str) -> str:
    """The line of a tool's output that says why it failed, without its prefix."""
    lines = [line.strip() for line in output.splitlines() if line.strip()]
    errors = [line for line in lines if line.startswith("E:")] or [line for line in lines if line.startswith("W:")]
    return re.sub(r"^[EW]: ", "", (errors or lines or ["no reason given"])[0]).rstrip(".")
