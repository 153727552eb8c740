//! What `--help` teaches beyond the list of flags.

pub(super) const APICLIENT: &str = "\
Examples:
  apiclient update check                  is there an update? The status, as JSON
  apiclient update apply --check --reboot look for one, write it, reboot into it
  apiclient update status                 how updates stand, for people
  apiclient -u /os                        any request; the same as apiclient raw -u /os

Asks the server at /run/api.sock, which `updog serve` is. Who may open the socket may ask.

What was asked for goes on when this program ends. While the server says that a command is under way
it is waited for, however slow the link; it is given up when nothing happens for a minute.

Exit codes: 0 done, or nothing to do; 1 failed; 2 wrong usage; 130 stopped by SIGINT while a command
was waited for, which goes on; 143 by SIGTERM.";

pub(super) const RAW: &str = "\
Examples:
  apiclient raw -u /updates/status
  apiclient raw -u /actions/refresh-updates -m POST
  apiclient raw -u /settings -X PATCH -d '{\"motd\": \"hello\"}'

Prints the body of the answer. Another status than 2xx is a failure, told as
Failed POST request to '/actions/refresh-updates': Status 423 when POSTing ...

A POST to /actions/ asks for the answer to come when the command has ended (Prefer: wait), which
`updog serve` heeds: what looks at the status next finds it done. --no-wait leaves that out.";

pub(super) const UPDATE: &str = "\
Examples:
  apiclient update check          is there an update?
  apiclient update apply          write it, let it boot next
  apiclient reboot                take it
  apiclient update cancel         changed your mind before the reboot
  apiclient update watch          what the engine is doing

explain, plan, history, watch and rollback need `updog serve` at the other end.";

pub(super) const CHECK: &str = "\
Examples:
  apiclient update check
  apiclient update check | jq -r .update_state

Prints nothing but the status. Exit code 0 whether there is an update or not.";

pub(super) const APPLY: &str = "\
Examples:
  apiclient update apply                  what the last check chose
  apiclient update apply --check          look first; prints the status, and ends when there is none
  apiclient update apply --check --reboot and reboot into it

An update that is ready already is not written again; --reboot takes it. Without --check, somebody
has to have checked before.";

pub(super) const CANCEL: &str = "\
Example:
  apiclient update cancel         the running set boots next; what was written stays on the disk

apply lets it boot next again.";

pub(super) const STATUS: &str = "\
Examples:
  apiclient update status         state, what runs, what was chosen, what is under way
  apiclient update status --json  the server's own words; fails while a command hides them

Asks nobody but the server: what is available is what the last check found.";

pub(super) const EXPLAIN: &str = "\
Examples:
  apiclient update explain                    every version, with every gate
  apiclient update explain --version 1.4.0    only this one";

pub(super) const PLAN: &str = "\
Example:
  apiclient update plan           what apply would do now; does none of it";

pub(super) const HISTORY: &str = "\
Example:
  apiclient update history        attempts, the newest first, and what is held back";

pub(super) const WATCH: &str = "\
Examples:
  apiclient update watch          a line for each change and each event
  apiclient update watch --json   the same as JSON

Ends with 0 when the server ends, and with 1 when the connection breaks.";

pub(super) const ROLLBACK: &str = "\
Examples:
  apiclient update rollback           the system from before boots next
  apiclient update rollback --reboot  and reboot into it

Only root may ask for it. The other set is verified first and gets one try; the version that is left
is not taken again by itself.";

pub(super) const REBOOT: &str = "\
Example:
  apiclient reboot                by the server's reboot command; other programs may delay it";
