"""Other projects' programs that bring images, or what changed in them, to a host.

Each is driven as its users would drive it, checks what it can check, and has ended only when the data are on
stable storage. What its server needs is made once, of v2.
"""

import dataclasses
import hashlib
import shutil
import subprocess
from typing import Callable

from testbed import KINDS, Missing


@dataclasses.dataclass
class Peer:
    """A row: what is run, which programs it needs, and which of our rows does the same work."""
    command: Callable
    needs: tuple
    ours: str
    before: str = "noise"


def script(*steps):
    return ["bash", "-c", "set -euo pipefail\n" + "\n".join(steps)]


def run(*command, **more):
    return subprocess.run([str(word) for word in command], check=True, stdout=subprocess.DEVNULL,
                          stderr=subprocess.PIPE, **more)


def targets(bench):
    return [bench.partitions["B", kind] for kind in KINDS]


def certificate(folder, *more):
    """A key and the certificate that the host trusts."""
    run("openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "7300", "-subj", "/CN=bench", *more,
        "-keyout", folder / "key.pem", "-out", folder / "cert.pem")


# All of the images.


def bmap(bench):
    """LZ4 images and their maps of what is not a hole, each stretch with its SHA-256. The map is not signed."""
    def make(folder):
        for kind in KINDS:
            # Whatever is zero becomes a hole, and holes are what it leaves out.
            sparse = folder / f"{kind}.img"
            run("cp", "--sparse=always", bench.image(kind), sparse)
            run("bmaptool", "-q", "create", "-o", folder / f"{kind}.bmap", sparse)
            run("lz4", "-q", "-9", sparse, folder / f"{kind}.img.lz4")
            sparse.unlink()
    served = bench.url(bench.once("bmap", make))
    return script(*(f"bmaptool -q copy --no-sig-verify --bmap {served}/{kind}.bmap {served}/{kind}.img.lz4 "
                    f"{bench.partitions['B', kind]}" for kind in KINDS))


def swupdate(bench):
    """One archive with a signed description, its zstd images written as they come."""
    # The description is signed, and devices have another name in each run: it names links.
    links = bench.work / "swupdate-devices"

    def make(folder):
        images = []
        for kind in KINDS:
            packed = folder / f"{kind}.zst"
            run("zstd", "-q", "-3", bench.image(kind), "-o", packed)
            digest = hashlib.sha256(packed.read_bytes()).hexdigest()
            images.append(f'{{ filename = "{packed.name}"; type = "raw"; device = "{links / kind}"; '
                          f'compressed = "zstd"; installed-directly = true; sha256 = "{digest}"; }}')
        (folder / "sw-description").write_text(
            'software = { version = "2.0.0"; hardware-compatibility = ["1.0"]; images: ('
            + ", ".join(images) + "); }\n")
        certificate(folder, "-addext", "extendedKeyUsage=emailProtection")
        run("openssl", "cms", "-sign", "-binary", "-nosmimecap", "-outform", "DER", "-signer", "cert.pem",
            "-inkey", "key.pem", "-in", "sw-description", "-out", "sw-description.sig", cwd=folder)
        # The description comes first, its signature second.
        names = ["sw-description", "sw-description.sig", *(f"{kind}.zst" for kind in KINDS)]
        run("cpio", "--quiet", "-o", "-H", "crc", "-O", "v2.swu", cwd=folder, input="\n".join(names).encode())
        for kind in KINDS:
            (folder / f"{kind}.zst").unlink()
    folder = bench.once("swupdate", make)
    links.mkdir(exist_ok=True)
    for kind in KINDS:
        (links / kind).unlink(missing_ok=True)
        (links / kind).symlink_to(bench.partitions["B", kind])
    return script(f"swupdate -H bench:1.0 -k {folder}/cert.pem -d '-u {bench.url(folder)}/v2.swu'",
                  f"sync {' '.join(targets(bench))}")


def rauc(bench):
    """A signed bundle, fetched and verified whole, then mounted and copied."""
    def make(folder):
        content = folder / "content"
        content.mkdir()
        manifest = "[update]\ncompatible=bench\nversion=2.0.0\n[bundle]\nformat=plain\n"
        for kind in KINDS:
            shutil.copy(bench.image(kind), content / f"{kind}.img")
            manifest += f"[image.{kind}]\nfilename={kind}.img\n"
        (content / "manifest.raucm").write_text(manifest)
        certificate(folder)
        run("rauc", "bundle", "--cert", folder / "cert.pem", "--key", folder / "key.pem",
            "--mksquashfs-args=-comp lz4 -Xhc -b 131072 -no-progress", content, folder / "v2.raucb")
        shutil.rmtree(content)
    folder = bench.once("rauc", make)
    host = bench.scratch / "rauc"
    shutil.rmtree(host, ignore_errors=True)
    (host / "mount").mkdir(parents=True)
    # A boot loader that boots A and takes all that it is told.
    loader = host / "loader"
    loader.write_text('#!/bin/sh\n[ "$1" != get-primary ] || echo A\n[ "$1" != get-state ] || echo good\n')
    loader.chmod(0o755)
    system = (f"[system]\ncompatible=bench\nbootloader=custom\nbundle-formats=plain\nmountprefix={host}/mount\n"
              f"statusfile={host}/status\nmax-bundle-download-size={1 << 31}\n"
              f"[handlers]\nbootloader-custom-backend={loader}\n[keyring]\npath={folder}/cert.pem\n")
    for number, name in enumerate("AB"):
        for kind in ("root", "boot", "hash"):
            # The root slot is what boots, the others belong to it.
            belongs = f"bootname={name}" if kind == "root" else f"parent=root.{number}"
            system += f"[slot.{kind}.{number}]\ntype=raw\ndevice={bench.partitions[name, kind]}\n{belongs}\n"
    (host / "system.conf").write_text(system)
    bus = f"unix:path={bench.scratch}/bus"
    if not (bench.scratch / "bus").exists():
        bench.start("dbus-daemon", "--session", "--nofork", f"--address={bus}")
    # The service does the work: it is a child that is waited for, so that its CPU time counts.
    return script(f"export DBUS_SYSTEM_BUS_ADDRESS={bus}",
                  f"rauc --conf={host}/system.conf --override-boot-slot=A service & service=$!",
                  "owner='dbus-send --system --print-reply --dest=org.freedesktop.DBus / "
                  "org.freedesktop.DBus.GetNameOwner string:de.pengutronix.rauc'",
                  "for try in {1..500}; do $owner >/dev/null 2>&1 && break; sleep 0.01; done",
                  "code=0",
                  f"rauc install {bench.url(folder)}/v2.raucb && sync {' '.join(targets(bench))} || code=$?",
                  "kill $service; wait $service || true",
                  "exit $code")


SYSTEMD_PULL = "/lib/systemd/systemd-pull"


def systemd_pull(bench):
    """What systemd-sysupdate starts for a partition: the file's SHA-256 is given, and compared at the end."""
    def make(folder):
        for kind in KINDS:
            with (folder / f"{kind}.img.gz").open("wb") as packed:
                subprocess.run(["gzip", "-6nc", str(bench.image(kind))], check=True, stdout=packed)
            digest = hashlib.sha256((folder / f"{kind}.img.gz").read_bytes()).hexdigest()
            (folder / f"{kind}.sha256").write_text(digest)
    folder = bench.once("systemd-pull", make)
    return script(*(f"{SYSTEMD_PULL} raw --direct --sync=yes --offset=0 "
                    f"--size-max={bench.image(kind).stat().st_size} --verify={(folder / f'{kind}.sha256').read_text()} "
                    f"{bench.url(folder)}/{kind}.img.gz {bench.partitions['B', kind]}" for kind in KINDS))


# What the running set lacks.


def casync(bench, cache=None):
    """Chunks that the running set's partitions lack, each by its digest. The index is not signed. Where the running
    set's chunks lie is kept in `cache` meanwhile, a link for each; else on the medium of the disk."""
    def make(folder):
        for kind in KINDS:
            run("casync", "make", f"--store={folder}/default.castr", folder / f"{kind}.caibx", bench.image(kind))
    served = bench.url(bench.once("casync", make))
    return script(f"export TMPDIR={cache or bench.scratch}",
                  *(f"casync extract --store={served}/default.castr --seed={bench.partitions['A', kind]} "
                    f"{served}/{kind}.caibx {bench.partitions['B', kind]}" for kind in KINDS),
                  f"sync {' '.join(targets(bench))}")


def casync_disk(bench):
    """As casync is without further ado: what it keeps meanwhile lies in a file system on a disk, DIR's."""
    if bench.real:
        raise Missing("with --disk real that is casync's row")
    return casync(bench, cache=bench.on_disk())


def zchunk(bench):
    """Chunks that a packed copy of v1, which the host has kept, lacks; unpacked into the partitions."""
    def make(folder):
        for version in ("v1", "v2"):
            (folder / version).mkdir()
            for kind in KINDS:
                run("zck", "-o", folder / version / f"{kind}.zck", bench.image(kind, version))
    folder = bench.once("zchunk", make)
    host = bench.scratch / "zchunk"
    shutil.rmtree(host, ignore_errors=True)
    shutil.copytree(folder / "v1", host / "old")
    return script(f"cd {host}",
                  *(f"zckdl -q -s old/{kind}.zck {bench.url(folder)}/v2/{kind}.zck\nunzck -c {kind}.zck | "
                    f"dd of={bench.partitions['B', kind]} bs=1M iflag=fullblock oflag=direct conv=notrunc,fsync "
                    "status=none" for kind in KINDS))


PEERS = {
    # It never touches what is zero in the image, so the target has to be zero there.
    "bmap": Peer(bmap, ("bmaptool", "lz4"), "full", before="zeros"),
    "swupdate": Peer(swupdate, ("swupdate", "zstd", "cpio", "openssl"), "full"),
    "rauc": Peer(rauc, ("rauc", "mksquashfs", "dbus-daemon", "dbus-send", "openssl"), "full"),
    "systemd-pull": Peer(systemd_pull, (SYSTEMD_PULL,), "full"),
    "casync": Peer(casync, ("casync",), "delta"),
    "casync-disk": Peer(casync_disk, ("casync",), "delta"),
    "zchunk": Peer(zchunk, ("zck", "zckdl", "unzck"), "delta"),
}
