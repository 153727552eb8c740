//! Pure: what `signpost status` shows, as text and as JSON.

use std::fmt;

use crate::{BootAttributes, Sets, Slot};
use serde::Serialize;

/// The whole answer.
#[derive(Debug, Serialize)]
pub(crate) struct Status {
    pub(crate) os_disk: String,
    pub(crate) sets: Sets<SetStatus>,
    pub(crate) active: Slot,
    /// What GRUB boots next.
    pub(crate) next: Option<Slot>,
    /// What our own loader boots when GRUB would boot nothing.
    pub(crate) last_resort: Option<Slot>,
    pub(crate) has_boot_ever_succeeded: bool,
    pub(crate) table_damage: Option<String>,
}

/// One set: its own partitions and its own bits.
#[derive(Debug, Serialize)]
pub(crate) struct SetStatus {
    pub(crate) boot: String,
    pub(crate) root: String,
    pub(crate) hash: String,
    #[serde(flatten)]
    pub(crate) bits: BootAttributes,
}

impl fmt::Display for Status {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "OS disk: {}", self.os_disk)?;
        for (
            slot,
            SetStatus {
                boot,
                root,
                hash,
                bits,
            },
        ) in self.sets.iter()
        {
            writeln!(
                f,
                "Set {slot}:   boot={boot} root={root} hash={hash} {bits}"
            )?;
        }
        writeln!(f, "Active:  Set {}", self.active)?;
        match (self.next, self.last_resort) {
            (Some(slot), _) => write!(f, "Next:    Set {slot}"),
            (None, None) => write!(f, "Next:    None"),
            (None, Some(slot)) => write!(f, "Next:    None (last resort: Set {slot})"),
        }
    }
}

#[cfg(test)]
mod tests {
    use crate::PerSlot;

    use super::*;

    fn set(first: u32, bits: u64) -> SetStatus {
        SetStatus {
            boot: format!("/dev/vda{first}"),
            root: format!("/dev/vda{}", first + 1),
            hash: format!("/dev/vda{}", first + 2),
            bits: BootAttributes::from_bits(bits),
        }
    }

    fn status() -> Status {
        Status {
            os_disk: "/dev/vda".to_owned(),
            sets: Sets::Dual(PerSlot {
                a: set(3, 0x0101_0000_0000_0000),
                b: set(8, 0x0012_0000_0000_0000),
            }),
            active: Slot::B,
            next: Some(Slot::B),
            last_resort: None,
            has_boot_ever_succeeded: true,
            table_damage: None,
        }
    }

    #[test]
    fn each_set_is_shown_with_its_own_partitions_and_bits_also_when_b_runs() {
        assert_eq!(
            status().to_string(),
            "OS disk: /dev/vda\n\
             Set A:   boot=/dev/vda3 root=/dev/vda4 hash=/dev/vda5 \
             priority=1 tries_left=0 successful=true\n\
             Set B:   boot=/dev/vda8 root=/dev/vda9 hash=/dev/vda10 \
             priority=2 tries_left=1 successful=false\n\
             Active:  Set B\n\
             Next:    Set B"
        );
    }

    #[test]
    fn nothing_to_boot_is_none_and_the_last_resort_is_named() {
        let nothing = Status {
            next: None,
            ..status()
        };
        assert!(nothing.to_string().ends_with("\nNext:    None"));
        let resort = Status {
            next: None,
            last_resort: Some(Slot::A),
            ..status()
        };
        assert!(
            resort
                .to_string()
                .ends_with("\nNext:    None (last resort: Set A)")
        );
    }

    #[test]
    fn a_disk_with_one_set_shows_no_b() {
        let sets = Sets::Single(set(3, 0x0101_0000_0000_0000));
        let single = Status {
            sets,
            active: Slot::A,
            next: Some(Slot::A),
            ..status()
        };
        assert!(!single.to_string().contains("Set B"));
        assert_eq!(
            serde_json::to_value(&single).unwrap()["sets"]["B"],
            serde_json::Value::Null
        );
    }

    #[test]
    fn json_says_the_same() {
        assert_eq!(
            serde_json::to_value(status()).unwrap(),
            serde_json::json!({
                "os_disk": "/dev/vda",
                "sets": {
                    "A": {
                        "boot": "/dev/vda3", "root": "/dev/vda4", "hash": "/dev/vda5",
                        "priority": 1, "tries_left": 0, "successful": true
                    },
                    "B": {
                        "boot": "/dev/vda8", "root": "/dev/vda9", "hash": "/dev/vda10",
                        "priority": 2, "tries_left": 1, "successful": false
                    }
                },
                "active": "B",
                "next": "B",
                "last_resort": null,
                "has_boot_ever_succeeded": true,
                "table_damage": null
            })
        );
    }
}
