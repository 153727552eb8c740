# shellcheck shell=bash disable=SC2034,SC2154 # run has the names
# Sourced by run: one QEMU, what it says on its serial line, and what others read on its disk. What is
# known of the machine lies in $work, so that each story line can be a shell of its own.

# The repository, on loopback; the guest finds it at 10.0.2.2.
start_server() {
    mkdir -p "$work/www"
    python3 -u - "$work/www" >"$work/port" 2>"$work/http.log" 9>&- <<'PYTHON' &
import functools, http.server, io, os, re, sys


class Handler(http.server.SimpleHTTPRequestHandler):
    """Python's, and parts of files."""
    protocol_version = "HTTP/1.1"

    def send_head(self):
        part = re.fullmatch("bytes=([0-9]+)-([0-9]+)", self.headers.get("Range", ""))
        path = self.translate_path(self.path)
        if not part or not os.path.isfile(path):
            return super().send_head()
        first, last = map(int, part.groups())
        with open(path, "rb") as file:
            file.seek(first)
            content = file.read(last - first + 1)
        self.send_response(206)
        self.send_header("Content-Range", f"bytes {first}-{last}/{os.path.getsize(path)}")
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        return io.BytesIO(content)


handler = functools.partial(Handler, directory=sys.argv[1])
server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler)
print(server.server_port, flush=True)
server.serve_forever()
PYTHON
    server=$!
    local tries=0
    until [[ -s $work/port ]]; do
        kill -0 $server || die "the server does not start: $(tail -n 1 "$work/http.log")"
        ((++tries < 300)) || die "the server does not start"
        sleep 0.1
    done
    url=http://10.0.2.2:$(<"$work/port")
}

# With $work/disk.img, in $work, so that no path has to be quoted for QEMU.
start_machine() {
    # shellcheck disable=SC2054 # QEMU's commas
    local machine=(qemu-system-x86_64 -M q35 -accel tcg -cpu max -m 512 -smp 1 -nodefaults
        -display none -kernel "$kernel/boot/vmlinuz-$release" -initrd stage0.cpio
        -append "$kernel_arguments panic=5" -drive if=virtio,format=raw,file=disk.img,cache=writeback
        -netdev user,id=net -device virtio-net-pci,netdev=net,romfile=)
    cd "$work" || exit
    rm -f operator.{in,out} qemu.pid
    mkfifo operator.{in,out}
    echo >>serial.log # ends a line that the power cut short
    wc -l <serial.log >seen
    echo 0 >number
    timeout --kill-after=5 "$machine_seconds" "${machine[@]}" \
        -chardev file,id=console,path=serial.log,append=on -serial chardev:console \
        -chardev pipe,id=operator,path=operator -serial chardev:operator \
        -pidfile qemu.pid 2>>qemu.log 9>&- &
    echo $! >starting
    disown $! # that it is killed is no news
    # For whoever looks into it afterwards; QEMU names the terminal of the second serial line.
    printf '%q ' cd "$work" >again
    printf '&& exec' >>again
    printf ' %q' "${machine[@]}" -serial mon:stdio -serial pty >>again
    until is_running; do
        kill -0 "$(<starting)" 2>/dev/null || die "QEMU does not start: $(tail -n 3 qemu.log)"
        sleep 0.1
    done
    rm starting
}

is_running() { [[ -e $work/qemu.pid ]] && kill -0 "$(<"$work/qemu.pid")" 2>/dev/null; }

# The machine loses its power: no signal that it could handle.
kill_machine() {
    if ! is_running && [[ -e $work/starting ]]; then kill "$(<"$work/starting")" 2>/dev/null || true; fi
    is_running || return 0
    kill -KILL "$(<"$work/qemu.pid")"
    while is_running; do sleep 0.05; done
}

# SECONDS PATTERN: waits for a line after the last one that was waited for, and prints it
expect() {
    local end=$((SECONDS + $1)) seen found alive
    seen=$(<"$work/seen")
    while :; do
        alive=yes
        is_running || alive=
        found=$(said_later | grep -anm 1 -E -e "$2" || true)
        if [[ $found ]]; then
            echo $((seen + ${found%%:*})) >"$work/seen"
            echo "${found#*:}"
            return
        fi
        [[ $alive ]] || die "the machine ended, and never said: $2"
        ((SECONDS < end)) || die "in $1 seconds the machine did not say: $2"
        sleep 0.1
    done
}

# EARLIER: what was said after line EARLIER and up to the last line that was waited for
said_since() { sed -n "$(($1 + 1)),$(<"$work/seen")p" "$work/serial.log" | tr -d '\r'; }

# What was said after the last line that was waited for, in whole lines
said_later() {
    head -n "$(wc -l <"$work/serial.log")" "$work/serial.log" | tail -n "+$(($(<"$work/seen") + 1))" | tr -d '\r'
}

# COMMAND...: types it at the machine and does not wait
type_command() {
    local number=$(($(<"$work/number") + 1))
    echo "$number" >"$work/number"
    is_running || die "the machine has ended; not typed: $*"
    echo "$number $*" 1<>"$work/operator.in" # which waits for no reader
}

# COMMAND...: runs it in the machine, and prints what it said. It has to end with 0.
in_machine() {
    local before ended
    before=$(<"$work/seen")
    type_command "$@"
    ended=$(expect "$patience" "^VM: operator: $(<"$work/number") ended with")
    [[ $ended == *" 0" ]] || die "'$*' in the machine: ${ended#VM: operator: }"
    said_since "$before"
}

# VERSION SET: a boot, from the loader's choice to the operator's prompt
expect_boot() {
    expect "$patience" "^VM: loader: boots Set $2:" >/dev/null
    expect "$patience" "^VM: up: version $1 in set $2" >/dev/null
}

# --- what others read on the disk

first_byte() { sgdisk -i "$2" "$1" | awk '/^First sector/ { print $3 * 512 }'; }
bytes() { sgdisk -i "$2" "$1" | awk '/^Partition size/ { print $3 * 512 }'; }

# DISK SET: priority/tries left/successful, as cgpt reads them
bits() {
    local number=3
    [[ $2 == A ]] || number=8
    echo "$(cgpt show -i $number -P "$1")/$(cgpt show -i $number -T "$1")/$(cgpt show -i $number -S "$1")"
}

# A B: the bits of both sets, and a table that sgdisk finds nothing wrong with. The machine is at rest.
expect_bits() {
    local now
    now="$(bits "$work/disk.img" A) $(bits "$work/disk.img" B)"
    [[ $now == "$1 $2" ]] || die "the sets' bits are $now, not $1 $2"
    sgdisk -v "$work/disk.img" | grep -q '^No problems found' ||
        die "sgdisk: $(sgdisk -v "$work/disk.img" | grep -v '^$' | head -n 3)"
}

# VERSION SET: the set holds that version's images, byte for byte, and veritysetup takes them
expect_set() {
    local first=3 offset number kind disk=$work/disk.img image=$work/images/$1
    [[ $2 == A ]] || first=8
    number=$first
    for kind in boot root hash; do
        offset=$(first_byte "$disk" $number)
        cmp --ignore-initial="$offset:0" --bytes="$(stat -c %s "$image-$kind")" "$disk" "$image-$kind" ||
            die "set $2 does not hold the $kind image of $1"
        dd if="$disk" of="$work/$kind.part" bs=1M iflag=skip_bytes,count_bytes conv=sparse status=none \
            skip="$offset" count="$(bytes "$disk" $number)"
        number=$((number + 1))
    done
    veritysetup verify "$work/root.part" "$work/hash.part" "$(<"$image-roothash")" ||
        die "veritysetup: set $2 is not $1"
    rm "$work"/{boot,root,hash}.part
}
