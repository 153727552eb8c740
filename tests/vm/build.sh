# Sourced by run: the programs, the kernel, the loader, releases, the repository, the factory disk.

variant=vm
arch=x86_64
triple=x86_64-unknown-linux-gnu

# Static programs: the images have no libraries. Quicker to build than what is shipped; the code is
# the same.
build_programs() {
    CARGO_PROFILE_RELEASE_LTO=off CARGO_PROFILE_RELEASE_CODEGEN_UNITS=16 \
        CARGO_PROFILE_RELEASE_OPT_LEVEL=2 CARGO_PROFILE_RELEASE_STRIP=symbols \
        RUSTFLAGS='-C target-feature=+crt-static' \
        cargo build --quiet --locked --release --manifest-path "$repository/Cargo.toml" \
        --target "$triple" --target-dir "$cache/cargo" --package updog --package signpost --package migrator --bins
    programs=$cache/cargo/$triple/release
}

newest_kernel() {
    apt-cache depends linux-image-cloud-amd64 2>/dev/null |
        awk '$1 == "Depends:" && $2 ~ /^linux-image-/ { print $2; exit }' || true
}

# Debian's kernel for virtual machines: fetched once, unpacked, never installed.
fetch_kernel() {
    kernel=$cache/kernel
    if [[ ! -e $kernel/ready ]]; then
        rm -rf "$kernel"
        mkdir -p "$kernel"
        local package
        package=$(newest_kernel)
        if [[ ! $package && $(id -u) == 0 ]]; then
            apt-get update -qq || true
            package=$(newest_kernel)
        fi
        [[ $package ]] || die "apt knows no linux-image-cloud-amd64"
        (cd "$kernel" && apt-get download -qq "$package" 2>/dev/null) ||
            die "$package cannot be fetched"
        dpkg-deb -x "$kernel"/*.deb "$kernel" || die "$package cannot be unpacked"
        depmod -b "$kernel" "$(ls "$kernel/lib/modules")" || die "depmod failed"
        touch "$kernel/ready"
    fi
    release=$(ls "$kernel/lib/modules")
}

# TREE MODULE...: with what they need, in the order in which they are loaded
add_modules() {
    local tree=$1 module file
    shift
    mkdir -p "$tree/modules"
    : >"$tree/modules/order"
    for module; do
        modprobe -d "$kernel" -S "$release" --show-depends "$module"
    done | awk '$1 == "insmod" && !seen[$2]++ { print $2 }' | while read -r file; do
        cp "$file" "$tree/modules/"
        basename "$file" >>"$tree/modules/order"
    done
}

# TREE PROGRAM...: with their libraries
add_programs() {
    local tree=$1 program path library
    shift
    for program; do
        path=$(command -v "$program")
        cp -L "$path" "$tree/bin/"
        for library in $(ldd "$path" 2>/dev/null | grep -oE '/[^ ]+' || true); do
            mkdir -p "$tree$(dirname "$library")"
            cp -L "$library" "$tree$library"
        done
    done
}

# TREE: folders to mount at, and a shell
add_basics() {
    local tree=$1 applet
    mkdir -p "$tree"/{bin,sbin,dev,proc,sys,run,tmp,mnt,boot,var}
    cp -L "$(command -v busybox)" "$tree/bin/busybox"
    for applet in $(busybox --list); do
        [[ $applet == busybox || $applet == shutdown ]] || ln -s busybox "$tree/bin/$applet"
    done
}

# TREE FILE
pack() {
    (cd "$1" && find . -print0 | sort -z | cpio --null -o -H newc --quiet --reproducible) >"$2"
}

# TREE FILE [SIZE]: without a journal, as nothing ever writes to it
make_ext4() {
    local size=${3:-$(($(du -sk --apparent-size "$1" | cut -f 1) * 115 / 100 + 512))K}
    rm -f "$2"
    mke2fs -q -t ext4 -b 4096 -m 0 -O ^has_journal -d "$1" "$2" "$size" >/dev/null
}

build_loader() {
    local tree=$work/tree/stage0
    add_basics "$tree"
    add_programs "$tree" kexec
    add_modules "$tree" virtio_pci virtio_blk
    cp "$programs/signpost" "$tree/bin/"
    cp "$here/guest/stage0" "$tree/init"
    pack "$tree" "$work/stage0.cpio"

    tree=$work/tree/initrd
    add_basics "$tree"
    add_programs "$tree" dmsetup
    add_modules "$tree" virtio_pci virtio_blk dm-verity
    cp "$here/guest/initrd" "$tree/init"
    pack "$tree" "$work/initrd.cpio"
}

# VERSION KIND DEADLINE: images/VERSION-{root,boot,hash}; KIND is good, panic, hang or sick
build_images() {
    local version=$1 kind=$2 deadline=$3 image=$work/images/$1 tree=$work/tree/$1 facts
    mkdir -p "$work/images"
    add_basics "$tree"
    rm "$tree/bin/setpriv" # busybox's has no bounding set
    add_programs "$tree" setpriv
    add_modules "$tree" virtio_net softdog
    mkdir -p "$tree"/{etc,usr/bin,usr/lib,usr/share/updog}
    cp "$programs"/{updog,signpost,migrator} "$tree/usr/bin/"
    cp "$here/guest/init" "$tree/sbin/init"
    cp "$here/guest/shutdown" "$tree/bin/shutdown"
    cp "$work/root.json" "$tree/usr/share/updog/"
    printf 'NAME=VM\nVARIANT_ID=%s\nVERSION_ID=%s\n' "$variant" "$version" >"$tree/usr/lib/os-release"
    ln -s ../usr/lib/os-release "$tree/etc/os-release"
    echo 0123456789abcdef0123456789abcdef >"$tree/etc/machine-id"
    echo "$kind" >"$tree/etc/kind"
    echo "$deadline" >"$tree/etc/deadline"
    cat >"$tree/etc/updog.toml" <<TOML
metadata_base_url = "$url/$variant/$arch/"
targets_base_url = "$url/targets/"
TOML
    make_ext4 "$tree" "$image-root"
    rm -rf "$tree"

    facts=$("$programs/updata" verity "$image-root" --hash-out "$image-hash" --json)
    fact() { python3 -c 'import json, sys; print(json.load(sys.stdin)[sys.argv[1]])' "$1" <<<"$facts"; }
    fact root_hash >"$image-roothash"
    tree=$work/tree/boot
    mkdir -p "$tree"
    cp "$kernel/boot/vmlinuz-$release" "$tree/vmlinuz"
    cp "$work/initrd.cpio" "$tree/initrd"
    echo "$kernel_arguments panic=5 vm.roothash=$(<"$image-roothash") vm.salt=$(fact salt)" \
        "vm.blocks=$(($(stat -c %s "$image-root") / 4096))" >"$tree/cmdline"
    make_ext4 "$tree" "$image-boot"
    rm -rf "$tree"
}

build_keys() {
    "$programs/updata" keys new --out "$work/keys" >/dev/null
    "$programs/updata" root new --keys "$work/keys" --out "$work/root.json" >/dev/null
}

# VERSION [ARGUMENT...]
publish() {
    local version=$1 image=$work/images/$1
    shift
    "$programs/updata" release --repo "$work/www" --root-role "$work/root.json" --keys "$work/keys" \
        --variant "$variant" --arch "$arch" --version "$version" --root-image "$image-root" \
        --boot-image "$image-boot" --hash-image "$image-hash" "$@" >>"$work/publish.log" 2>&1 ||
        die "publishing $version: $(tail -n 3 "$work/publish.log")"
}

# FOLDER: the settings that somebody made on 1.0.0
build_settings() {
    local real=v1.0.0_0123456789abcdef
    mkdir -p "$1/$real/live/settings"
    printf '"hello"' >"$1/$real/live/settings/motd"
    ln -s $real "$1/v1.0.0"
    ln -s v1.0.0 "$1/v1.0"
    ln -s v1.0 "$1/v1"
    ln -s v1 "$1/current"
}

# What a factory does, and a first boot: the image is put onto a larger disk, the data partition takes
# what is left, and the two partitions that keep things get their file systems.
build_disk() {
    local disk=$1 image=$work/images/1.0.0 number
    "$programs/updata" disk --out "$disk" --variant "$variant" --arch "$arch" --version 1.0.0 \
        --root-image "$image-root" --boot-image "$image-boot" --hash-image "$image-hash" >/dev/null
    truncate -s +64M "$disk"
    sgdisk -e -d 13 -n 13:0:0 -t "13:$data_type" "$disk" >/dev/null
    build_settings "$work/tree/private/datastore"
    mkdir "$work/tree/data"
    make_kept() {
        mke2fs -q -F -t ext4 -d "$work/tree/$1" -E "offset=$(first_byte "$disk" "$2")" "$disk" \
            "$(($(bytes "$disk" "$2") / 1024))K" >/dev/null
    }
    make_kept private 12
    make_kept data 13
}
