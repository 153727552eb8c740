//! A disk's two partition sets, and the bits in its partition table that decide which one boots.
//!
//! A disk has a set A and a set B of partitions, each with a whole operating system. One runs; the
//! other one holds the system before it, or takes up the next one. A few attribute bits in the GUID
//! partition table say which of them the boot loader tries first and how often. This crate reads
//! and changes those bits, and gives out the partitions of the inactive set for writing. It is
//! compatible, bit for bit, with Bottlerocket's signpost and with GRUB's `gptprio`.
//!
//! What decides is pure and uses nothing beyond `core` and `alloc`: [`attributes`], [`guid`],
//! [`slot`], [`layout`], [`state`], [`bootloader`], [`gpt`], [`loader`]. These are the whole crate
//! without its default feature `std`, for a boot loader to share. What acts is thin: `device` moves
//! bytes, `window` bounds them, `table` writes a table so that one copy of it is sound at every
//! instant, `discover` asks the kernel, `boot_disk` puts a disk together, and `store` is the door
//! that callers use.
//!
//! It never writes to the running set, never writes to a set that could boot, never acts on a table
//! read earlier, and without a reason in words never takes away the last set that is known to boot.
//!
//! ```
//! use signpost::{BootAttributes, BootState, Command, Force, PerSlot, Refusal, Sets, Slot};
//!
//! // B runs for the first time: it has spent its only try. A is the way back.
//! let a = BootAttributes::from_bits(0x0101 << 48);
//! let b = BootAttributes::from_bits(0x0002 << 48);
//! let sets = Sets::Dual(PerSlot { a, b });
//! let state = BootState::new(Slot::B, sets, Default::default()).expect("B is there");
//! assert_eq!(state.next(), Some(Slot::A));
//!
//! let command = Command::ClearInactive;
//! let refused = state.apply(command, &Force::No);
//! assert_eq!(refused, Err(Refusal::NothingWouldBoot { command }));
//!
//! let healthy = state.apply(Command::MarkSuccessfulBoot, &Force::No)?;
//! assert_eq!(healthy.next(), Some(Slot::B));
//! assert!(healthy.apply(command, &Force::No).is_ok());
//! # Ok::<(), Refusal>(())
//! ```

#![cfg_attr(not(feature = "std"), no_std)]

extern crate alloc;

pub mod attributes;
pub mod bootloader;
pub mod gpt;
pub mod guid;
pub mod layout;
pub mod loader;
pub mod slot;
pub mod state;

#[cfg(feature = "std")]
pub mod boot_disk;
#[cfg(feature = "std")]
pub mod cli;
#[cfg(feature = "std")]
pub mod device;
#[cfg(feature = "std")]
pub mod discover;
#[cfg(feature = "std")]
mod printer;
#[cfg(feature = "std")]
mod status;
#[cfg(feature = "std")]
pub mod store;
#[cfg(feature = "std")]
pub mod table;
#[cfg(all(feature = "std", any(test, feature = "testing")))]
pub mod testing;
#[cfg(feature = "std")]
pub mod window;

pub use attributes::{BootAttributes, Priority, PrivateAttributes, TriesLeft};
pub use bootloader::{Pick, grub_pick, select};
pub use guid::Guid;
pub use layout::Layout;
pub use slot::{Partition, PartitionKind, PartitionSet, PerSlot, Sets, Slot};
pub use state::{BootState, Command, Force, Reason, Refusal};

#[cfg(feature = "std")]
pub use boot_disk::BootDisk;
#[cfg(feature = "std")]
pub use device::{Access, BlockDevice, DIRECT_ALIGNMENT, FileDevice};
#[cfg(feature = "std")]
pub use store::{ActiveChoice, DiskChoice, InactivePartition, Outcome, SlotStore, SpendTry};
#[cfg(feature = "std")]
pub use table::Damage;
#[cfg(feature = "std")]
pub use window::Window;
