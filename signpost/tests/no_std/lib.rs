//! A program without an operating system that calls the pure modules: a boot loader in miniature.
//!
//! It brings its own panic handler and allocator. If signpost or anything below it used `std`, there
//! would be two panic handlers, and this would not compile.

#![no_std]

extern crate alloc;

use alloc::vec::Vec;
use core::alloc::{GlobalAlloc, Layout};
use core::panic::PanicInfo;

use signpost::gpt::{Geometry, SoundCopy};
use signpost::loader::{ReadSectors, Step, Unreadable, grub_boot, strict_boot};
use signpost::{BootState, Command, Force, PerSlot, PrivateAttributes, Refusal, Sets, Slot};

struct NoMemory;

unsafe impl GlobalAlloc for NoMemory {
    unsafe fn alloc(&self, _: Layout) -> *mut u8 {
        core::ptr::null_mut()
    }
    unsafe fn dealloc(&self, _: *mut u8, _: Layout) {}
}

#[global_allocator]
static ALLOCATOR: NoMemory = NoMemory;

#[panic_handler]
fn panic(_: &PanicInfo) -> ! {
    loop {}
}

/// A disk that holds nothing.
struct Empty;

impl ReadSectors for Empty {
    fn sector_size(&self) -> usize {
        512
    }
    fn sectors(&self) -> u64 {
        0
    }
    fn read(&self, _: u64, _: &mut [u8]) -> Result<(), Unreadable> {
        Err(Unreadable)
    }
}

#[unsafe(no_mangle)]
pub extern "C" fn boots_b() -> bool {
    let steps: Vec<Step> = grub_boot(&Empty).steps;
    steps.is_empty() && strict_boot(&Empty).pick == Some(Slot::B)
}

pub fn clear(bits: PerSlot<signpost::BootAttributes>) -> Result<BootState, Refusal> {
    let state = BootState::new(Slot::A, Sets::Dual(bits), PrivateAttributes::default());
    state
        .ok_or(Refusal::NoInactiveSet)?
        .apply(Command::ClearInactive, &Force::No)
}

pub fn layout(copy: &SoundCopy, geometry: &Geometry) -> Option<signpost::Layout> {
    let entries: Vec<_> = copy.entries.used().map(|entry| entry.on(geometry)).collect();
    signpost::Layout::from_entries(&entries).ok()
}
