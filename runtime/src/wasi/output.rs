//! Standard error, for what a guest's host itself has to say while the guest runs.
//!
//! Who reads it may be slow or stuck, and that must hold nobody who was interrupted: from then on,
//! what does not fit is lost.

use std::io::{self, IoSlice};

use rustix::fs::OFlags;

use super::Stop;
use super::channel::{Channel, Handle, Patience};
use crate::interrupt::Interrupter;
use crate::wakeup::Wakeup;

/// Writes to the host's standard error, for as long as the guest is not interrupted.
pub struct Output {
    channel: Channel,
    wakeup: Wakeup,
}

impl Output {
    /// The standard error of this process, for the run that the handle ends.
    #[must_use]
    pub fn stderr(interrupter: &Interrupter) -> Output {
        Output::new(Handle::Inherited(rustix::stdio::stderr()), interrupter)
    }

    fn new(handle: Handle, interrupter: &Interrupter) -> Output {
        Output {
            channel: Channel::shared(handle, OFlags::WRONLY),
            wakeup: interrupter.wakeup().clone(),
        }
    }
}

impl io::Write for Output {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let patience = match self.wakeup.is_set() {
            true => Patience::None,
            false => Patience::Wait,
        };
        let slices = &mut [IoSlice::new(bytes)];
        match self.channel.write(slices, patience, &self.wakeup) {
            (written, _) if written > 0 => Ok(written),
            (_, Ok(())) => Ok(0),
            (_, Err(Stop::Interrupted)) => Err(io::ErrorKind::WouldBlock.into()),
            (_, Err(_)) => Err(io::ErrorKind::Other.into()),
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use std::io::Write;

    use super::*;
    use crate::interrupt::Cause;

    #[test]
    fn an_interrupt_ends_the_wait_for_a_reader_and_what_fits_is_still_said() {
        let interrupter = Interrupter::new().unwrap();
        let (read, write) = rustix::pipe::pipe().unwrap();
        let mut output = Output::new(Handle::Own(write), &interrupter);
        let data = vec![7; 1 << 20];
        std::thread::scope(|scope| {
            scope.spawn(|| interrupter.interrupt(Cause::Timeout));
            assert!(output.write_all(&data).is_err());
        });
        assert!(output.write_all(&data).is_err());
        rustix::io::read(&read, &mut vec![0; 1 << 20]).unwrap();
        output.write_all(b"why it ended\n").unwrap();
        drop(read);
        assert!(output.write_all(b"nobody reads").is_err());
    }
}
