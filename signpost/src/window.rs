//! A bounded stretch of a device, which is all that anybody gets to write to.

use std::io::{self, ErrorKind};
use std::sync::Arc;

use crate::device::{self, Access, BlockDevice};

/// The bytes `start..start + length` of a device, numbered from 0.
///
/// A read or write that leaves the window fails and moves no byte, also where the device goes on.
#[derive(Clone, Debug)]
pub struct Window {
    device: Arc<dyn BlockDevice>,
    start: u64,
    length: u64,
    access: Access,
    name: String,
}

impl Window {
    /// A window onto `device`, named `name` in messages.
    ///
    /// # Errors
    /// When the window does not lie within the device.
    pub fn new(
        device: Arc<dyn BlockDevice>,
        start: u64,
        length: u64,
        access: Access,
        name: impl Into<String>,
    ) -> io::Result<Self> {
        let name = name.into();
        match start.checked_add(length) {
            Some(end) if end <= device.len() => Ok(Self {
                device,
                start,
                length,
                access,
                name,
            }),
            _ => Err(io::Error::new(
                ErrorKind::InvalidInput,
                format!("{length} bytes at {start} do not fit into {}", device.len()),
            )),
        }
    }

    /// A window onto all of `device`, under the device's own name.
    pub fn whole(device: Arc<dyn BlockDevice>, access: Access) -> Self {
        Self {
            start: 0,
            length: device.len(),
            name: device.name(),
            device,
            access,
        }
    }

    /// What the window may be used for.
    pub const fn access(&self) -> Access {
        self.access
    }

    /// Where on the device `offset` is, if `length` bytes from it on are within the window.
    fn place(&self, offset: u64, length: usize) -> io::Result<u64> {
        device::check_bounds(self.length, offset, length)?;
        self.start
            .checked_add(offset)
            .ok_or_else(|| ErrorKind::InvalidInput.into())
    }
}

impl BlockDevice for Window {
    fn len(&self) -> u64 {
        self.length
    }

    fn block_size(&self) -> u32 {
        self.device.block_size()
    }

    fn read_at(&self, offset: u64, buf: &mut [u8]) -> io::Result<()> {
        self.device.read_at(self.place(offset, buf.len())?, buf)
    }

    fn write_at(&self, offset: u64, buf: &[u8]) -> io::Result<()> {
        device::check_access(self.access)?;
        self.device.write_at(self.place(offset, buf.len())?, buf)
    }

    fn write_direct_at(&self, offset: u64, buf: &[u8]) -> io::Result<()> {
        device::check_access(self.access)?;
        let at = self.place(offset, buf.len())?;
        self.device.write_direct_at(at, buf)
    }

    fn zero_at(&self, offset: u64, length: usize) -> io::Result<bool> {
        device::check_access(self.access)?;
        self.device.zero_at(self.place(offset, length)?, length)
    }

    fn sync(&self) -> io::Result<()> {
        self.device.sync()
    }

    fn read_back_at(&self, offset: u64, buf: &mut [u8]) -> io::Result<()> {
        self.device
            .read_back_at(self.place(offset, buf.len())?, buf)
    }

    fn name(&self) -> String {
        self.name.clone()
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::testing::MemoryDevice;

    const LENGTH: u64 = 100;

    fn memory() -> Arc<MemoryDevice> {
        Arc::new(MemoryDevice::new(vec![0xaa; 100], 512))
    }

    fn window(memory: &Arc<MemoryDevice>, start: u64, length: u64, access: Access) -> Window {
        let device = Arc::clone(memory) as Arc<dyn BlockDevice>;
        Window::new(device, start, length, access, "window").unwrap()
    }

    #[test]
    fn a_window_beyond_the_device_cannot_be_had() {
        for (start, length) in [(0, 101), (100, 1), (101, 0), (1, u64::MAX), (u64::MAX, 1)] {
            let window = Window::new(memory(), start, length, Access::ReadWrite, "window");
            assert!(window.is_err(), "{start} {length}");
        }
        let whole = Window::whole(memory(), Access::ReadOnly);
        assert_eq!((whole.len(), whole.name().as_str()), (LENGTH, "memory"));
    }

    #[test]
    fn a_window_for_reading_does_not_write() {
        let memory = memory();
        let window = window(&memory, 10, 10, Access::ReadOnly);
        let error = window.write_at(0, &[1]).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::PermissionDenied);
        let error = window.zero_at(0, 1).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::PermissionDenied);
        assert_eq!(memory.to_bytes(), [0xaa; 100]);
    }

    proptest! {
        #[test]
        fn no_write_reaches_a_byte_outside(
            start in 0..=LENGTH,
            wanted in 0..=LENGTH,
            offset in prop_oneof![0..120u64, any::<u64>()],
            count in 0usize..120,
        ) {
            let length = wanted.min(LENGTH - start);
            let memory = memory();
            let window = window(&memory, start, length, Access::ReadWrite);
            let data = vec![0x55; count];
            let fits = u128::from(offset) + u128::try_from(count).unwrap() <= u128::from(length);
            prop_assert_eq!(window.write_at(offset, &data).is_ok(), fits);
            let mut expected = vec![0xaa; 100];
            if fits {
                let from = usize::try_from(start + offset).unwrap();
                expected[from..from + count].fill(0x55);
                let mut back = vec![0; count];
                window.read_at(offset, &mut back).unwrap();
                prop_assert_eq!(&back, &data);
                window.read_back_at(offset, &mut back).unwrap();
                prop_assert_eq!(&back, &data);
            } else {
                prop_assert!(window.read_at(offset, &mut vec![0; count]).is_err());
                prop_assert!(window.read_back_at(offset, &mut vec![0; count]).is_err());
            }
            prop_assert_eq!(memory.to_bytes(), expected);
        }
    }
}
