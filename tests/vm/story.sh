# shellcheck shell=bash disable=SC2154 # run has the names
# Sourced by run: what happens to one host, and what has to be true after each of it. Set B runs 1.1.0
# when something goes wrong, and set A is what the update is written to; with systemd it is the other way
# round.

tell_story() {
    prepare
    line "1.0.0 boots from the factory disk and stays good" boots_from_the_factory
    ((!failed)) || return 0
    line "updog update --reboot over HTTP: 1.1.0 migrates, boots and is marked good" takes_an_update
    ((!failed)) || return 0
    cp --sparse=always "$work/disk.img" "$work/good.img"
    local version
    for version in 1.2.0 1.2.1 1.2.2 1.2.3; do publish "$version"; done
    publish 1.2.4 --migration 1.2.3:1.2.4 --migration "1.1.0:1.2.4:$here/guest/migration-that-fails"
    publish 1.3.0 --migration 1.2.4:1.3.0 --migration 1.1.0:1.3.0
    # What 1.1.0 calls `banner` is the `greeting` of 1.4.0.
    sed 's/banner/greeting/; s/motd/banner/' "$here/guest/migration" >"$work/migration"
    publish 1.4.0 --migration "1.3.0:1.4.0:$work/migration" --migration "1.1.0:1.4.0:$work/migration"
    publish 1.5.0 --migration 1.4.0:1.5.0

    risk "a root block that is damaged: dm-verity resets, 1.1.0 is back" falls_back_from_damage
    risk "a kernel panic: resets by itself, 1.1.0 is back" \
        falls_back 1.2.1 "Kernel panic - not syncing" "Rebooting in 5 seconds"
    risk "a hang: the watchdog resets, 1.1.0 is back" \
        falls_back 1.2.2 "^VM: this release hangs" "softdog: Initiating system reboot"
    risk "never good: the deadline resets, 1.1.0 is back" \
        falls_back 1.2.3 "^VM: this release is never good" "^VM: not good after 10 seconds"
    risk "a migration that fails: resets, 1.1.0 is back with its settings" \
        falls_back 1.2.4 "this migration fails" "^VM: the migrator failed"
    risk "the power is cut $cuts times during an update, which then is finished" survives_power_cuts
    risk "updog rollback --reboot: 1.1.0 is back, 1.3.0 is held" rolls_back
    line "1.4.0 has systemd: the units migrate, and mark the boot good" boots_systemd
    ((!failed)) || return 0
    line "updog-update.service takes 1.5.0, whose check fails: resets, 1.4.0 is back" \
        falls_back_with_systemd 1.5.0 "check.service: Failed with result 'exit-code'" \
        "boot-complete.target: Triggering OnFailure= dependencies"
    ((!failed)) && [[ $long ]] || return 0
    publish 1.6.0 --migration 1.5.0:1.6.0 --migration 1.4.0:1.6.0
    line "updog-update.service takes 1.6.0, whose check never ends: resets, 1.4.0 is back" \
        falls_back_with_systemd 1.6.0 "boot-complete.target: Job boot-complete.target/start timed out"
}

prepare() {
    local start=$SECONDS
    echo "== preparing"
    build_programs
    local built=$((SECONDS - start))
    fetch_packages
    start_server
    build_keys
    build_loader
    build_images 1.0.0 good
    build_images 1.1.0 good
    build_images 1.2.0 good
    build_images 1.2.1 panic
    build_images 1.2.2 hang
    build_images 1.2.3 sick
    build_images 1.2.4 good
    build_images 1.3.0 good
    build_images 1.4.0 good systemd
    build_images 1.5.0 sick systemd
    [[ ! $long ]] || build_images 1.6.0 stuck systemd
    publish 1.0.0
    publish 1.1.0 --migration "1.0.0:1.1.0:$here/guest/migration"
    build_disk "$work/disk.img"
    echo "   $built s for the programs, $((SECONDS - start - built)) s for all else"
}

# NAME FUNCTION [ARGUMENT...]: a line after which, if it fails, the host is what it was before
risk() {
    line "$@"
    ((failed)) || return 0
    kill_machine
    mv "$work/disk.img" "$work/failed-${#results[@]}.img"
    (is_as_before) || die "the host does not boot any more from the disk that it booted from"
}

# 1.1.0 runs, and nothing was tried yet.
is_as_before() {
    kill_machine
    cp --sparse=always "$work/good.img" "$work/disk.img"
    start_machine
    expect_boot 1.1.0 B
}

boots_from_the_factory() {
    expect_bits 1/0/1 0/0/0
    start_machine
    expect_boot 1.0.0 A
    has "$(in_machine updog status)" \
        "^1.0.0 runs and boots next" \
        "^disk +/dev/vda$" \
        "^set A +vm 1.0.0, .* runs and boots next$"
    has "$(in_machine signpost has-boot-ever-succeeded)" "^true$"
    has_setting 1.0.0 motd
    expect_bits 1/0/1 0/0/0
    expect_set 1.0.0 A
}

takes_an_update() {
    type_command updog update --reboot
    expect_boot 1.1.0 B
    has "$(<"$work/http.log")" \
        "GET /targets/[0-9a-f]+.vm-x86_64-1.1.0-root.ext4.lz4.map.lz4.* 200 " \
        "GET /targets/[0-9a-f]+.vm-x86_64-1.1.0-root.ext4.lz4.* 206 " \
        "GET /targets/[0-9a-f]+.vm-x86_64-1.1.0-boot.ext4.lz4.* 206 "
    # What is the same in both versions was not fetched, and the hash image was computed.
    has "$(<"$work/serial.log")" "the root image: .* copied from the running set"
    has "$(in_machine updog status)" \
        "^1.1.0 runs and boots next" \
        "^last attempt +update 1.0.0 -> 1.1.0 in set B .* ago: good$"
    has_setting 1.1.0 banner
    expect_bits 1/0/1 2/0/1
    expect_set 1.0.0 A
    expect_set 1.1.0 B
}

# VERSION PATTERN...: an update to a release that starts, says this, and does not come up
falls_back() {
    local version=$1 pattern
    shift
    type_command updog update --image "$version" --reboot
    expect "$patience" "^VM: loader: boots Set A:" >/dev/null
    expect "$patience" "^VM: init: version $version in set A" >/dev/null
    for pattern; do expect "$patience" "$pattern" >/dev/null; done
    is_back "$version"
}

# The medium changes after everything was read back: one byte, in the file system's superblock.
falls_back_from_damage() {
    in_machine updog update --image 1.2.0 >/dev/null
    expect_bits 2/1/0 1/0/1
    in_machine 'printf "\377" | dd of=/dev/vda4 bs=1 seek=1100 conv=notrunc 2>/run/dd && sync' >/dev/null
    type_command reboot -f
    expect "$patience" "^VM: loader: boots Set A:" >/dev/null
    expect "$patience" "device-mapper: verity: .* data block 0 is corrupted" >/dev/null
    expect "$patience" "Restarting system with command 'dm-verity device corrupted'" >/dev/null
    is_back 1.2.0
}

# VERSION: the one before runs again, whole, nobody had to do anything, and the host says what happened
is_back() {
    expect_boot 1.1.0 B
    has "$(in_machine updog status)" \
        "^1.1.0 runs and boots next" \
        "^last attempt +update 1.1.0 -> $1 in set A .* ago: did not come up$"
    has_setting 1.1.0 banner
    expect_bits 2/0/0 1/0/1
    expect_set 1.1.0 B
}

# The moments at which the power goes, of --progress json.
cut_points=(
    '"step":"assemble","image":"root"'
    '"step":"read_back"'
    '"effect":"clear"'
    '"effect":"swap_migrations"'
    '"step":"survey","image":"root"'
    '"event":"progress"'
    '"step":"assemble","image":"boot"'
    '"effect":"mark_valid"'
    '"effect":"arm"'
    '"event":"end"'
)

survives_power_cuts() {
    local point up
    for point in "${cut_points[@]:0:cuts}"; do
        type_command updog --progress json update --image 1.3.0
        expect "$patience" "$point" >/dev/null
        kill_machine
        # The last three are when it is done, or as good as done.
        [[ $point =~ mark_valid|arm|end || $(said_later) != *"VM: operator: "* ]] || die "the power went too late at $point"
        start_machine
        up=$(expect "$patience" "^VM: up: version (1.1.0 in set B|1.3.0 in set A)")
        expect_set 1.1.0 B
        sgdisk -v "$work/disk.img" | grep -q '^No problems found' || die "sgdisk finds problems after: $point"
        [[ $up == *"set A" ]] || continue
        # It was armed already.
        expect_set 1.3.0 A
        expect_bits 2/0/1 1/0/1
        is_as_before
    done
    type_command updog update --image 1.3.0 --reboot
    expect_boot 1.3.0 A
    has_setting 1.3.0 banner
    expect_bits 2/0/1 1/0/1
    expect_set 1.3.0 A
    expect_set 1.1.0 B
}

rolls_back() {
    # Where the line before has failed, the host does not run 1.3.0.
    has "$(in_machine signpost status)" "^Active: +Set A"
    type_command updog rollback --reboot
    expect_boot 1.1.0 B
    has "$(in_machine updog status)" \
        "^1.1.0 runs and boots next" \
        "^last attempt +rollback 1.3.0 -> 1.1.0 in set B .* ago: good$" \
        "^held back +1.3.0 is held: 1.3.0 was left by hand"
    has_setting 1.1.0 banner
    expect_bits 1/0/1 2/0/1
    expect_set 1.1.0 B
}

boots_systemd() {
    local unit
    type_command updog update --image 1.4.0 --reboot
    expect_boot 1.4.0 A
    # Nothing has failed, and nothing is under way any more.
    has "$(in_machine systemctl is-system-running --wait)" "^running$"
    for unit in migrator mark-successful-boot has-boot-ever-succeeded; do
        has "$(in_machine systemctl show -p ActiveState,Result,ExecMainStatus "$unit")" "^ActiveState=active$" "^Result=success$" "^ExecMainStatus=0$"
    done
    has "$(in_machine systemctl show -p ActiveState,OnFailure boot-complete.target)" "^ActiveState=active$" "^OnFailure=reboot.target$"
    has "$(in_machine cat /run/has-boot-ever-succeeded)" "^true$"
    has "$(in_machine journalctl --no-pager -o cat -u mark-successful-boot)" \
        "set A: priority=2 tries_left=0 successful=false -> priority=2 tries_left=0 successful=true"
    # sysctl.d, system.conf.d and tmpfiles.d have been read.
    has "$(in_machine "cat /proc/sys/kernel/panic; cd /sys/class/watchdog/watchdog0; cat state timeout; ls -ld /run/updog")" \
        "^10$" "^active$" "^30$" "^drwx------"
    has "$(in_machine updog status)" \
        "^1.4.0 runs and boots next" \
        "^last attempt +update 1.1.0 -> 1.4.0 in set A .* ago: good$"
    has_setting 1.4.0 greeting
    expect_bits 2/0/1 1/0/1
    expect_set 1.4.0 A
}

# VERSION PATTERN...: the units find and install it; it starts, says this, and does not come up
falls_back_with_systemd() {
    local version=$1 pattern
    shift
    has "$(in_machine "systemctl start updog-check.service && journalctl --no-pager -o cat -u updog-check")" "^vm $version$"
    in_machine systemctl start --no-block updog-update.service >/dev/null
    expect "$patience" "updog-update.service: Deactivated successfully" >/dev/null
    expect "$patience" "reboot: Restarting system" >/dev/null
    expect "$patience" "^VM: loader: boots Set B:" >/dev/null
    for pattern; do expect "$patience" "$pattern" >/dev/null; done
    expect "$patience" "reboot: Restarting system" >/dev/null
    expect_boot 1.4.0 A
    has "$(in_machine systemctl is-system-running --wait)" "^running$"
    has "$(in_machine updog status)" \
        "^1.4.0 runs and boots next" \
        "^last attempt +update 1.4.0 -> $version in set B .* ago: did not come up$"
    has_setting 1.4.0 greeting
    expect_bits 1/0/1 2/0/0
    expect_set 1.4.0 A
    expect_set "$version" B
}

# VERSION NAME: the settings are those of that version, and the one that somebody made has this name
has_setting() {
    local major=${1%%.*} minor=${1%.*}
    has "$(in_machine "cd /var/lib/bottlerocket/datastore &&" \
        "for link in current v$major v$minor; do readlink \$link; done &&" \
        "cd current/live/settings && for name in *; do echo \$name is \$(cat \$name); done")" \
        "^v$major$" "^v$minor$" "^v$1$" "^$2 is \"hello\"$"
}

# TEXT PATTERN...: each is a line of it
has() {
    local text=$1 pattern
    shift
    for pattern; do
        grep -qE -e "$pattern" <<<"$text" || die "nowhere '$pattern' in:"$'\n'"$text"
    done
}
