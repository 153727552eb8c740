# shellcheck shell=bash disable=SC2154 # run has the names
# Sourced by run: the programs, the kernel, the loader, releases, the repository, the factory disk.

variant=vm
arch=x86_64
multiarch=x86_64-linux-gnu
kernel=$cache/kernel
systemd=$cache/systemd

# Those of --programs, or else those of the tests: of the packages and kinds of targets of
# `cargo test --workspace`, so that nothing is compiled twice where the tests have run.
build_programs() {
    local from=$given_programs program
    if [[ ! $from ]]; then
        env -u CARGO_BUILD_TARGET cargo build --quiet --locked --manifest-path "$repository/Cargo.toml" \
            --target-dir "$repository/target" --workspace --bins --example documents
        from=$repository/target/debug
    fi
    programs=$work/programs
    mkdir -p "$programs"
    for program in updog updata signpost migrator; do
        strip -o "$programs/$program" "$from/$program" || die "cannot be used: $from/$program"
    done
}

newest_kernel() {
    apt-cache depends linux-image-cloud-amd64 2>/dev/null |
        awk '$1 == "Depends:" && $2 ~ /^linux-image-/ { print $2; exit }' || true
}

# NAME PACKAGE...: Debian's packages in $cache/NAME: fetched once, unpacked, never installed
fetch() {
    local to=$cache/$1 package
    shift
    rm -rf "$to"
    mkdir -p "$to"/usr/{bin,lib}
    ln -s usr/bin "$to/bin"
    ln -s usr/lib "$to/lib"
    (cd "$to" && apt-get download -qq "$@" 2>apt.log) || die "cannot be fetched: $*: $(tail -n 1 "$to/apt.log")"
    for package in "$to"/*.deb; do
        dpkg-deb --fsys-tarfile "$package" | tar -x --keep-directory-symlink -C "$to"
    done
    touch "$to/ready"
}

# What the machine runs besides the workspace's programs: Debian's kernel for virtual machines, and systemd.
fetch_packages() {
    if [[ ! -e $kernel/ready ]]; then
        local package
        package=$(newest_kernel)
        if [[ ! $package && $(id -u) == 0 ]]; then
            apt-get update -qq || true
            package=$(newest_kernel)
        fi
        [[ $package ]] || die "apt knows no linux-image-cloud-amd64"
        fetch kernel "$package"
        depmod -b "$kernel" "$(ls "$kernel/lib/modules")"
    fi
    [[ -e $systemd/ready ]] || fetch systemd systemd libsystemd-shared udev
    release=$(ls "$kernel/lib/modules")
}

# MODULE...: their files and those that they need, in the order in which they are loaded
module_files() {
    local module
    for module; do
        modprobe -d "$kernel" -S "$release" --show-depends "$module"
    done | awk '$1 == "insmod" && !seen[$2]++ { print $2 }'
}

# TREE MODULE...: for a shell that loads them
add_modules() {
    local tree=$1 file
    shift
    mkdir -p "$tree/modules"
    module_files "$@" | while read -r file; do
        cp "$file" "$tree/modules/"
        basename "$file" >>"$tree/modules/order"
    done
}

# TREE FILE...: the libraries that they need, at the paths at which they look for them
add_libraries() {
    local tree=$1 found library
    shift
    found=$(LD_LIBRARY_PATH=$systemd/usr/lib/$multiarch/systemd:$systemd/usr/lib/$multiarch ldd "$@" 2>&1 || true)
    [[ $found != *"not found"* ]] || die "libraries: $(grep "not found" <<<"$found" | sort -u)"
    sed -nE 's/^[^/]*(\/.*) \(0x.*/\1/p' <<<"$found" | sort -u | while read -r library; do
        install -D "$library" "$tree${library#"$systemd"}"
    done
}

# TREE PROGRAM...: with their libraries
add_programs() {
    local tree=$1 program path
    shift
    for program; do
        path=$(command -v "$program")
        cp -L --remove-destination "$path" "$tree/bin/"
        add_libraries "$tree" "$path"
    done
}

# TREE: folders to mount at, and a shell
add_basics() {
    local tree=$1 applet
    mkdir -p "$tree"/{dev,proc,sys,run,tmp,mnt,boot,var,usr/bin,usr/lib}
    ln -s usr/bin "$tree/bin"
    ln -s usr/bin "$tree/sbin"
    ln -s usr/lib "$tree/lib"
    ln -s usr/lib "$tree/lib64"
    add_programs "$tree" busybox
    for applet in $(busybox --list); do
        [[ $applet =~ ^(busybox|init|shutdown)$ ]] || ln -s busybox "$tree/bin/$applet"
    done
}

# TREE FILE
pack() {
    (cd "$1" && find . -print0 | sort -z | cpio --null -o -H newc --quiet --reproducible --owner=+0:+0) >"$2"
}

# Files are root's in an image, whoever makes it.
as_root() { if [[ $(id -u) == 0 ]]; then "$@"; else unshare --map-root-user "$@"; fi; }

# TREE FILE [SIZE]: without a journal, as nothing ever writes to it
make_ext4() {
    local size=${3:-$(($(du -sk --apparent-size "$1" | cut -f 1) * 115 / 100 + 512))K}
    rm -f "$2"
    as_root mke2fs -q -t ext4 -b 4096 -m 0 -O ^has_journal -d "$1" "$2" "$size" >/dev/null
}

build_loader() {
    local tree=$work/tree/stage0
    add_basics "$tree"
    add_programs "$tree" kexec
    add_modules "$tree" virtio_pci virtio_blk
    add_programs "$tree" "$programs/signpost"
    cp "$here/guest/stage0" "$tree/init"
    pack "$tree" "$work/stage0.cpio"

    tree=$work/tree/initrd
    add_basics "$tree"
    add_programs "$tree" dmsetup
    add_modules "$tree" virtio_pci virtio_blk dm-verity
    cp "$here/guest/initrd" "$tree/init"
    pack "$tree" "$work/initrd.cpio"
}

# TREE: guest/init as PID 1
add_shell() {
    add_modules "$1" virtio_net softdog
    cp "$here/guest/init" "$1/sbin/init"
    cp "$here/guest/shutdown" "$1/bin/shutdown"
}

# TREE: systemd as PID 1, with those of its units that this image needs, and all that is in dist/
add_systemd() {
    local tree=$1 units=$1/usr/lib/systemd/system file unit target
    local own=(usr/lib/systemd/systemd{,-journald,-modules-load,-shutdown,-sysctl}
        usr/lib/systemd/system-generators/systemd-fstab-generator
        usr/bin/{journalctl,systemctl,systemd-tmpfiles,udevadm})
    # A part of newer versions.
    [[ ! -e $systemd/usr/lib/systemd/systemd-executor ]] || own+=(usr/lib/systemd/systemd-executor)
    (cd "$systemd" && cp --parents "${own[@]}" usr/lib/udev/rules.d/99-systemd.rules "$tree")
    add_libraries "$tree" "${own[@]/#/$systemd/}"
    add_programs "$tree" mount umount
    for file in halt poweroff reboot shutdown; do ln -sf systemctl "$tree/bin/$file"; done
    ln -s ../lib/systemd/systemd "$tree/sbin/init"
    ln -s ../../bin/udevadm "$tree/usr/lib/systemd/systemd-udevd"

    mkdir -p "$units"/{local-fs,sockets,sysinit}.target.wants
    cp "$systemd/usr/share/systemd/tmp.mount" "$units/"
    ln -s ../tmp.mount "$units/local-fs.target.wants/"
    for unit in {basic,boot-complete,emergency,final,local-fs,local-fs-pre,multi-user,network,network-online}.target \
        {paths,reboot,shutdown,slices,sockets,swap,sysinit,timers,umount}.target \
        {emergency,systemd-journald,systemd-modules-load,systemd-reboot,systemd-sysctl}.service \
        systemd-{tmpfiles-setup,udev-trigger,udevd}.service \
        systemd-{journald,journald-dev-log,udevd-control,udevd-kernel}.socket; do
        cp "$systemd/lib/systemd/system/$unit" "$units/"
        for target in sockets sysinit; do
            [[ ! -h $systemd/lib/systemd/system/$target.target.wants/$unit ]] ||
                ln -s "../$unit" "$units/$target.target.wants/"
        done
    done
    ln -s multi-user.target "$units/default.target"
    module_files virtio_net softdog | while read -r file; do install -D "$file" "$tree${file#"$kernel"}"; done
    cp "$kernel/lib/modules/$release"/modules.{builtin,builtin.modinfo,order} "$tree/lib/modules/$release/"
    depmod -b "$tree" "$release"

    # As the README says.
    for file in "$repository"/{signpost,updog,migrator}/dist/*; do
        case $file in
        *.service | *.timer | *.target.d | *.service.d) cp -R "$file" "$units/" ;;
        */system.conf.d) cp -R "$file" "$tree/usr/lib/systemd/" ;;
        *) cp -R "$file" "$tree/usr/lib/" ;;
        esac
    done
    cp -R "$here/guest/systemd/." "$tree"
    LD_LIBRARY_PATH=$systemd/usr/lib/$multiarch/systemd "$systemd/usr/bin/systemctl" --quiet --root="$tree" enable \
        migrator.service mark-successful-boot.service has-boot-ever-succeeded.service \
        check.service network.service operator.service
}

# VERSION KIND [INIT]: images/VERSION-{root,boot,hash}; INIT is shell (guest/init) or systemd,
# and KIND what goes wrong: good, panic, hang or sick; with systemd good, sick or stuck
build_images() {
    local version=$1 kind=$2 init=${3:-shell} image=$work/images/$1 tree=$work/tree/$1 facts
    mkdir -p "$work/images"
    add_basics "$tree"
    add_programs "$tree" setpriv # busybox's has no bounding set
    add_programs "$tree" "$programs"/{updog,signpost,migrator}
    mkdir -p "$tree"/{etc,usr/share/updog}
    cp "$here/guest/operator" "$tree/usr/bin/"
    cp "$work/root.json" "$tree/usr/share/updog/"
    printf 'NAME=VM\nVARIANT_ID=%s\nVERSION_ID=%s\n' "$variant" "$version" >"$tree/usr/lib/os-release"
    ln -s ../usr/lib/os-release "$tree/etc/os-release"
    echo 0123456789abcdef0123456789abcdef >"$tree/etc/machine-id"
    echo "$kind" >"$tree/etc/kind"
    cat >"$tree/etc/updog.toml" <<TOML
metadata_base_url = "$url/$variant/$arch/"
targets_base_url = "$url/targets/"
TOML
    "add_$init" "$tree"
    # The factory's disk is made for this one, and gets larger ones.
    if [[ $version == 1.0.0 ]]; then make_ext4 "$tree" "$image-root" 64M; else make_ext4 "$tree" "$image-root"; fi
    rm -rf "$tree"

    facts=$("$programs/updata" verity "$image-root" --hash-out "$image-hash" --salt 7c0ffee1 --json)
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
    local disk=$1 image=$work/images/1.0.0
    "$programs/updata" disk --out "$disk" --variant "$variant" --arch "$arch" --version 1.0.0 \
        --root-image "$image-root" --boot-image "$image-boot" --hash-image "$image-hash" >/dev/null
    truncate -s +64M "$disk"
    sgdisk -e -d 13 -n 13:0:0 -t "13:$data_type" "$disk" >/dev/null
    build_settings "$work/tree/private/datastore"
    mkdir "$work/tree/data"
    make_kept() {
        as_root mke2fs -q -F -t ext4 -d "$work/tree/$1" -E "offset=$(first_byte "$disk" "$2")" "$disk" \
            "$(($(bytes "$disk" "$2") / 1024))K" >/dev/null
    }
    make_kept private 12
    make_kept data 13
}
