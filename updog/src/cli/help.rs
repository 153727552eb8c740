//! What `--help` teaches beyond the list of flags.

pub(super) const UPDOG: &str = "\
Examples:
  updog status                    how this host stands, and what to do next
  updog check-update              is there an update for this host?
  updog update --reboot           write it, let it boot next, reboot
  updog prepare                   only write it; then, when it suits:
  updog update-apply --reboot     let it boot next, reboot
  updog update-revert             changed your mind before the reboot
  updog refresh                   what is trusted of the repository, and until when
  updog mirror --out DIR          all that a host without a network needs for its update

A set that was just written is tried once. If it does not come up and mark itself good (signpost
mark-successful-boot), the boot loader falls back to the set that runs now.

SIGINT and SIGTERM stop a run between two blocks, never in the middle of a table write; it says what
is left on the disk, and the same command starts over. A second SIGINT ends it at once.

Exit codes: 0 done, or nothing to do; 1 failed; 2 wrong usage; 3 check-update, plan or mirror found
no update; 4 refused, or another session holds the lock; 130 stopped by SIGINT; 143 by SIGTERM.";

pub(super) const STATUS: &str = "\
Examples:
  updog status                    both sets, what boots next, what was tried, what is trusted
  updog status --json             the same for a monitor

Reads this host's files and its disk, takes no lock, and writes nothing. Exit code 1 when a part of
it cannot be read; that part says why, and the rest is told all the same.";

pub(super) const EXPLAIN: &str = "\
Examples:
  updog explain                   every version of the manifest, with every gate
  updog explain --version 1.4.0   only this one; exit code 3 when the manifest has none such
  updog explain --now             as if this host's wave had come

The gates are those of check-update; a version that passes all of them can be taken, and of these
the highest is. Nothing is written but what is trusted of the repository.";

pub(super) const PLAN: &str = "\
Examples:
  updog plan                      what updog update would do now
  updog plan --image 1.3.0        what updog update --image 1.3.0 would do

Exit code 3 when there is nothing to do, 4 when it would be refused, with the reasons. Nothing is
written but what is trusted of the repository.";

pub(super) const CHECK_UPDATE: &str = "\
Examples:
  updog check-update              VARIANT VERSION on stdout, or the reason on stderr and exit code 3
  updog check-update --now        the same without waiting for this host's wave
  updog check-update --all --json every update this host could be given, the highest version first

Nothing is written to the disk's partitions.";

pub(super) const PREPARE: &str = "\
Examples:
  updog prepare                   the update that check-update names
  updog prepare --image 1.4.0     exactly this version, also an older one

The set that does not run is cleared, written, and read back. What it held before, the way back to
the version before this one, is gone once writing starts; the running set is never touched. Refused
(exit code 4) while the running set has not been marked successful. A failure leaves the written set
unbootable; the same command starts over.";

pub(super) const UPDATE_APPLY: &str = "\
Examples:
  updog update-apply              what was prepared boots next, once
  updog update-apply --reboot     and reboot

Refused (exit code 4) when nothing was prepared. Given twice, it finds that done.";

pub(super) const UPDATE_REVERT: &str = "\
Example:
  updog update-revert             the running set boots next; what was prepared stays on the disk

update-apply lets it boot again. On the first boot of a set that is not marked successful yet this
is refused (exit code 4): the other set is the only way back.";

pub(super) const UPDATE: &str = "\
Examples:
  updog update                    write the update that check-update names, and let it boot next
  updog update --reboot           and reboot
  updog update --image 1.3.0      go to exactly this version, also an older one
  updog update --max-rate 500K    leave room on the line: at most 500 KiB a second

Nothing to update is no failure: exit code 0, and a word on stderr.";

pub(super) const VERIFY: &str = "\
Examples:
  updog verify                    the set that does not run: would a rollback find it whole?
  updog verify --set active       the running set
  updog verify --set B --json

Reads every byte from the disk. Exit code 1 when the set is damaged, with the first bad block of each
image, its partition and offset.";

pub(super) const ROLLBACK: &str = "\
Examples:
  updog rollback                  the system from before this one boots next
  updog rollback --reboot         and reboot

The other set is read and compared with its record first. It gets one try: should it not come up,
the boot loader returns to the system that runs now. The version that is left is held: it is not
taken again until a newer one comes, or: updog release-hold VERSION. Refused (exit code 4) when the
other set holds no system that was ever good.";

pub(super) const HISTORY: &str = "\
Examples:
  updog history                   one line an attempt, then what is held back and why
  updog history --json            {\"attempts\": [...], \"holds\": [...]}

A version whose boot was lost twice, or once after it had started, is quarantined; one that was left
by hand is held. Both end when a newer version has proved itself, when the version is published with
other images, or with: updog release-hold VERSION.";

pub(super) const RELEASE_HOLD: &str = "\
Example:
  updog release-hold 1.4.0        1.4.0 may be taken again

Exit code 3 when it was not held back.";

pub(super) const REFRESH: &str = "\
Examples:
  updog refresh                   who signs, which versions, until when
  updog refresh --json            the same for a monitor, with whole key ids and seconds left

Needs no disk and no os-release file, and tells the server nothing of this host.";

pub(super) const FETCH: &str = "\
Examples:
  updog fetch manifest.json --output manifest.json
  updog fetch migrate_v1.1.0.lz4 --output /tmp/migrate --force

The file appears only once all of it came, is what was signed, and is on the disk. One that holds
the target already is left alone; another one is not replaced (exit code 4) without --force. Prints
the digest as sha256sum does. Needs no disk and no os-release file, and tells the server nothing of
this host.";

pub(super) const MIRROR: &str = "\
Examples:
  updog mirror --out /media/usb   what this host would update to, for itself
  updog mirror --out /srv/site --variant demo --arch aarch64 --from 1.0.0 --now
                                  for a host that is not this one
  updog mirror --out /media/usb --image 1.3.0

Chooses as check-update does; exit code 3 when there is nothing. Writes metadata/ and targets/ and
prints the two lines for /etc/updog.toml of the host, which verifies everything from its own root of
trust. The metadata expire as the publisher wrote them: mirror again before. Nothing that is there
already is removed.";

pub(super) const SERVE: &str = "\
Examples:
  updog serve                                      # on the socket that the key socket_path names
  apiclient update check                           # what a client does
  curl --unix-socket /run/api.sock http://localhost/updates/status
  curl --unix-socket /run/api.sock http://localhost/openapi.json

The socket is for its owner and a group (the key socket_group); what overrides the configuration, a
rollback and the release of a hold are for root. One command runs at a time. SIGTERM ends the server
once the command under way is at a safe point.

Exit code: 0 when it was told to stop, 1 when it cannot serve.";
