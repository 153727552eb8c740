"""Where all rows run: what is published once and served, the disk with its two sets, runs that are measured."""

import contextlib
import ctypes
import json
import os
import pathlib
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections import Counter

PROJECT = pathlib.Path(__file__).resolve().parent.parent.parent
PROGRAMS = ("updog", "updata", "signpost")
KINDS = ("boot", "root", "hash")
ARCH = os.uname().machine
# Seconds: a run that takes longer hangs.
LIMIT = 900
PR_SET_CHILD_SUBREAPER = 36
# As long as updata allows: what is published is kept, and measured again in a year.
EXPIRES = [word for role in ("targets", "snapshot", "timestamp") for word in (f"--expires-{role}", "1040w")]


class Failed(Exception):
    """A row that has no figures, and why."""


class Missing(Failed):
    """A row whose program is not there."""


def too_long(_number, _frame):
    raise Failed(f"not done after {LIMIT} s")


def run(*command, **more):
    return subprocess.run([str(word) for word in command], check=True, **more)


def output(*command):
    return run(*command, stdout=subprocess.PIPE, text=True).stdout


class Bench:
    """The server, the disk with its two sets, and runs that are measured."""

    def __init__(self, arguments):
        self.dir = arguments.dir.resolve()
        self.work = self.dir / "work"
        self.work.mkdir(exist_ok=True)
        self.real = arguments.disk == "real"
        # What the programs themselves keep lies on the same medium as the disk.
        self.scratch = (self.work if self.real else pathlib.Path("/dev/shm")) / f"updog-bench-{os.getpid()}"
        self.programs = arguments.programs
        self.tls = arguments.tls
        self.log = self.scratch / "access.log"
        self.loop = None
        self.partitions = {}
        self.helpers = []
        signal.signal(signal.SIGALRM, too_long)
        # Processes whose parent is gone become children of this one.
        ctypes.CDLL(None).prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)

    def on_disk(self):
        """A folder on DIR's medium that is gone afterwards."""
        folder = self.work / self.scratch.name
        folder.mkdir(exist_ok=True)
        return folder

    def image(self, kind, version="v2"):
        return self.dir / version / f"{kind}.img"

    # What is published, and served.

    def build(self):
        if not self.programs:
            packages = [word for package in ("updog", "signpost") for word in ("--package", package)]
            run("cargo", "build", "--quiet", "--release", "--locked", "--manifest-path", PROJECT / "Cargo.toml",
                *packages, *(word for program in PROGRAMS for word in ("--bin", program)))
            self.programs = PROJECT / "target" / "release"
        self.programs = self.programs.resolve()
        for program in PROGRAMS:
            if not (self.programs / program).exists():
                sys.exit(f"tests/bench/run: there is no {self.programs / program}")

    def once(self, name, make):
        """The folder of that name, which `make` fills if it did not before."""
        folder = self.work / name
        if not (folder / "ready").exists():
            print(f"making what {name} serves", file=sys.stderr)
            shutil.rmtree(folder, ignore_errors=True)
            folder.mkdir()
            make(folder)
            (folder / "ready").touch()
        return folder

    def updata(self, *arguments):
        done = subprocess.run([str(word) for word in (self.programs / "updata", *arguments)], text=True, check=False,
                              stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)
        if done.returncode:
            raise Failed(f"updata {arguments[0]}: {done.stderr[-2000:]}")

    def publish(self, name, *more, own_tree=False, repack=None):
        """A repository of v2; with `own_tree` hashed with a salt of its own, with `repack` changed by that."""
        def make(folder):
            keys, root = folder / "keys", folder / "root.json"
            signing = ("--repo", folder / "repo", "--root-role", root, "--keys", keys, *EXPIRES)
            tree = () if own_tree else ("--hash-image", self.image("hash"))
            self.updata("keys", "new", "--out", keys)
            self.updata("root", "new", "--keys", keys, "--out", root)
            # The data's boot images hold no root hash: nobody boots them.
            release = ("--variant", "bench", "--arch", ARCH, "--version", "2.0.0", "--migration", "1.0.0:2.0.0",
                       "--root-image", self.image("root"), "--boot-image", self.image("boot"), *tree,
                       "--no-verity-check", *more)
            if repack:
                repack(folder, signing, release)
            else:
                self.updata("release", *signing, *release)
        return self.once(name, make)

    def start(self, *command):
        """A program that runs beside all rows, until the end."""
        with (self.scratch / "helpers").open("a") as out:
            helper = subprocess.Popen([str(word) for word in command], stdout=out, stderr=out, start_new_session=True)
        self.helpers.append(helper)
        return helper

    def serve(self):
        """All of the work folder, under its paths."""
        configuration, errors = self.scratch / "nginx.conf", self.scratch / "nginx.err"
        self.log.write_text("")
        with socket.create_server(("127.0.0.1", 0)) as free:
            self.address = free.getsockname()
        temporary = "".join(f"{kind}_temp_path {self.scratch}/nginx-{kind};\n"
                            for kind in ("client_body", "proxy", "fastcgi", "uwsgi", "scgi"))
        configuration.write_text(f"""
            worker_processes 1; daemon off; pid {self.scratch}/nginx.pid; error_log {errors}; user root;
            events {{ worker_connections 256; }}
            http {{
                log_format bytes '$bytes_sent $uri'; access_log {self.log} bytes; sendfile on;
                keepalive_requests 1000000; default_type application/octet-stream;
                {temporary}
                server {{ listen 127.0.0.1:{self.address[1]}{self.secured()}; root {self.work}; }}
            }}""")
        if self.tls:
            self.certify()
        server = self.start("nginx", "-c", configuration, "-e", errors)
        for _ in range(200):
            if server.poll() is None:
                with contextlib.suppress(ConnectionRefusedError), socket.create_connection(self.address):
                    return
            time.sleep(0.02)
        sys.exit(f"tests/bench/run: nginx does not serve: {errors.read_text()[-500:]}")

    def secured(self):
        """What nginx is told of TLS."""
        certificate = f"ssl_certificate {self.scratch}/tls.pem; ssl_certificate_key {self.scratch}/tls.key"
        return f" ssl http2; {certificate}" if self.tls else ""

    def certify(self):
        run("openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", "-subj", "/CN=bench",
            "-addext", "subjectAltName=IP:127.0.0.1", "-addext", "basicConstraints=critical,CA:FALSE", "-keyout", self.scratch / "tls.key", "-out", self.authority(),
            stderr=subprocess.DEVNULL)

    def authority(self):
        """Whom a client trusts."""
        return self.scratch / "tls.pem"

    def url(self, path):
        return f"{'https' if self.tls else 'http'}://127.0.0.1:{self.address[1]}/{path.relative_to(self.work)}"

    # The disk.

    def attach(self):
        self.scratch.mkdir()
        image = self.work / "disk.img"
        if not image.exists():
            self.updata("disk", "--out", image, "--variant", "bench", "--arch", ARCH, "--version", "1.0.0",
                        *(word for kind in KINDS for word in (f"--{kind}-image", self.image(kind, "v1"))))
        run("cp", "--sparse=always", image, self.scratch / "disk.img")
        image = self.scratch / "disk.img"
        self.loop = output("losetup", "--find", "--show", f"--direct-io={'on' if self.real else 'off'}", image).strip()
        if self.real and output("losetup", "--noheadings", "--output", "DIO", self.loop).strip() != "1":
            sys.exit("tests/bench/run: the file system of DIR has no direct I/O for loop devices")
        # A kernel that reads partition tables itself has them already.
        subprocess.run(["partx", "-d", self.loop], stderr=subprocess.DEVNULL, check=False)
        run("partx", "-a", self.loop)
        signpost = (self.programs / "signpost", "--disk", self.loop, "--active", "A")
        sets = json.loads(output(*signpost, "status", "--json"))["sets"]
        for name in "AB":
            for kind in KINDS:
                device = sets[name][kind]
                assert pathlib.Path(device).is_block_device(), device
                self.partitions[name, kind] = device

    def clean_up(self):
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            signal.signal(number, signal.SIG_IGN)
        for helper in self.helpers:
            helper.terminate()
            helper.wait()
        # A peer that was stopped in the middle may have left a mount.
        for line in pathlib.Path("/proc/self/mounts").read_text().splitlines():
            if line.split()[1].startswith(f"{self.scratch}/"):
                subprocess.run(["umount", line.split()[1]], check=False)
        if self.loop:
            subprocess.run(["partx", "-d", self.loop], check=False)
            subprocess.run(["losetup", "-d", self.loop], check=False)
        shutil.rmtree(self.scratch, ignore_errors=True)
        shutil.rmtree(self.work / self.scratch.name, ignore_errors=True)

    def spoil(self, source):
        """`source` in the place of whatever the run before wrote: noise, or zeros."""
        noise = self.work / "noise"
        if not noise.exists():
            with noise.open("wb") as file:
                for _ in range(64):
                    file.write(os.urandom(1 << 20))
        for kind in KINDS:
            left = -(-self.image(kind).stat().st_size >> 20)
            at = 0
            while left > 0:
                count = min(left, 64)
                run("dd", f"if={noise if source == 'noise' else '/dev/zero'}", f"of={self.partitions['B', kind]}",
                    "bs=1M", f"count={count}", f"seek={at}", "conv=notrunc", "oflag=direct", "status=none")
                at += count
                left -= count

    def expect_v2(self, kinds):
        for kind in kinds:
            image = self.image(kind)
            done = subprocess.run(["cmp", "-n", str(image.stat().st_size), str(image), self.partitions["B", kind]],
                                  stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False)
            if done.returncode:
                raise Failed(f"the {kind} image is not that of v2: {done.stdout}")

    def ready(self, before):
        """The other set is not bootable, as after an interrupted update, and nothing is cached of the disk."""
        if before != "keep":
            self.spoil(before)
        run(self.programs / "signpost", "--disk", self.loop, "--active", "A", "clear-inactive",
            stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        run("sync")
        for device in (*self.partitions.values(), self.loop):
            run("blockdev", "--flushbufs", device)

    def timed(self, name, command):
        """Wall and CPU seconds, MiB of the largest process, bytes that the server sent."""
        self.log.write_text("")
        talk, memory = self.scratch / "talk", self.scratch / "memory"
        # GNU time for the memory alone: without it every process began with the memory that Python has.
        command = ["time", "--quiet", "-o", str(memory), "-f", "%M", *command]
        used = 0.0
        signal.alarm(LIMIT)
        with talk.open("w") as out:
            began = time.monotonic()
            child = subprocess.Popen(command, stdout=out, stderr=out, stdin=subprocess.DEVNULL, cwd=self.scratch,
                                     env={**os.environ, "TMPDIR": str(self.scratch)}, start_new_session=True)
            try:
                while child.returncode is None:
                    pid, status, usage = os.wait4(-child.pid, 0)
                    used += usage.ru_utime + usage.ru_stime
                    if pid == child.pid:
                        child.returncode = os.waitstatus_to_exitcode(status)
                wall = time.monotonic() - began
            finally:
                signal.alarm(0)
                with contextlib.suppress(ProcessLookupError):
                    os.killpg(child.pid, signal.SIGKILL)
                # What no parent waited for became a child of ours: it counts as well.
                with contextlib.suppress(ChildProcessError):
                    while True:
                        _, _, usage = os.wait4(-child.pid, 0)
                        used += usage.ru_utime + usage.ru_stime
        if child.returncode:
            raise Failed(f"{name} ended with {child.returncode}:\n{talk.read_text(errors='replace')[-2000:]}")
        time.sleep(0.2)
        lines = [line.split(maxsplit=1) for line in self.log.read_text().splitlines()]
        parts = Counter()
        for sent, path in lines:
            parts[part_of(path)] += int(sent)
        return {"wall": wall, "cpu": used, "rss": int(memory.read_text()) / 1024,
                "bytes": sum(parts.values()), "requests": len(lines), "parts": parts}


def part_of(path):
    """Which of a repository's files, by the names that updata gives them."""
    endings = {".map.lz4": "maps", "root.ext4.lz4": "root", "root.ext4.zst": "root", "boot.ext4.lz4": "boot",
               "boot.ext4.zst": "boot", "root.verity.lz4": "hash"}
    return next((part for ending, part in endings.items() if path.endswith(ending)), "metadata")
