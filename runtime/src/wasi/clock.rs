//! Clocks, randomness: `clock_res_get`, `clock_time_get`, `random_get`.

use rustix::rand::{GetRandomFlags, getrandom};
use rustix::time::{ClockId, Timespec, clock_getres, clock_gettime};

use super::errno::Errno;
use super::{Outcome, Stop, Wasi};
use crate::memory::{GuestMemory, MAX_WHOLE};

pub(super) const REALTIME: u32 = 0;
pub(super) const MONOTONIC: u32 = 1;
const PROCESS_CPUTIME: u32 = 2;
const THREAD_CPUTIME: u32 = 3;

/// How many random bytes are asked for at once; between, the guest can be interrupted.
const RANDOM_PIECE: u64 = 1 << 20;

/// The host's monotonic clock in nanoseconds.
#[inline]
pub(super) fn monotonic() -> u64 {
    nanoseconds(clock_gettime(ClockId::Monotonic))
}

/// The wall clock in nanoseconds since 1970.
#[inline]
pub(super) fn realtime() -> u64 {
    nanoseconds(clock_gettime(ClockId::Realtime))
}

#[inline]
fn nanoseconds(time: Timespec) -> u64 {
    let seconds = u64::try_from(time.tv_sec).unwrap_or(0);
    seconds
        .saturating_mul(1_000_000_000)
        .saturating_add(time.tv_nsec.cast_unsigned())
}

/// What the clocks that measure a guest's own time answer, as in wasmtime, and those that are
/// none.
fn no_clock(id: u32) -> Stop {
    match id {
        PROCESS_CPUTIME | THREAD_CPUTIME => Errno::BADF.into(),
        _ => Errno::INVAL.into(),
    }
}

impl Wasi {
    #[inline]
    pub(super) fn clock_time_get(
        &self,
        memory: &mut GuestMemory<'_>,
        id: u32,
        out: u64,
    ) -> Outcome {
        let now = match id {
            REALTIME => realtime(),
            MONOTONIC => monotonic() - self.started,
            other => return Err(no_clock(other)),
        };
        Ok(memory.write_u64(out, now)?)
    }

    pub(super) fn clock_res_get(&self, memory: &mut GuestMemory<'_>, id: u32, out: u64) -> Outcome {
        let resolution = match id {
            REALTIME => clock_getres(ClockId::Realtime),
            MONOTONIC => clock_getres(ClockId::Monotonic),
            other => return Err(no_clock(other)),
        };
        Ok(memory.write_u64(out, nanoseconds(resolution))?)
    }

    pub(super) fn random_get(
        &self,
        memory: &mut GuestMemory<'_>,
        buffer: u64,
        length: u64,
    ) -> Outcome {
        memory.slice(buffer, length)?;
        if length > MAX_WHOLE {
            let why = format!("random_get of {length} bytes, and the limit is {MAX_WHOLE} a call");
            return Err(Stop::Because(Errno::INVAL, why));
        }
        let end = buffer + length;
        let mut at = buffer;
        while at < end {
            if self.wakeup.is_set() {
                return Err(Stop::Interrupted);
            }
            let piece = at as usize..(at + RANDOM_PIECE).min(end) as usize;
            let filled = memory.fill(&[piece], |slices| match slices {
                [slice] => getrandom(&mut **slice, GetRandomFlags::empty()),
                _ => Ok(0),
            })?;
            match filled {
                Ok(n) => at += n as u64,
                Err(rustix::io::Errno::INTR) => {}
                Err(error) => return Err(error.into()),
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::wasi::Flow;
    use crate::wasi::function::*;
    use crate::wasi::testing::{Guest, trapped};

    #[test]
    fn time_goes_on_from_the_start_of_the_process() {
        let mut guest = Guest::new();
        guest.ok(CLOCK_TIME_GET, &[1, 0, 0]);
        guest.ok(CLOCK_TIME_GET, &[1, 0, 8]);
        let (first, second) = (guest.u64(0), guest.u64(8));
        assert!(first <= second && second < 60_000_000_000);
        guest.ok(CLOCK_TIME_GET, &[0, 0, 0]);
        assert!(realtime().abs_diff(guest.u64(0)) < 60_000_000_000);
        for id in [0, 1] {
            guest.ok(CLOCK_RES_GET, &[id, 0]);
            assert!((1..=1_000_000_000).contains(&guest.u64(0)));
        }
    }

    #[test]
    fn cpu_clocks_are_not_there_and_others_do_not_exist() {
        let mut guest = Guest::new();
        for (id, errno) in [(2, Errno::BADF), (3, Errno::BADF), (4, Errno::INVAL)] {
            guest.fails(errno, CLOCK_TIME_GET, &[id, 0, 0]);
            guest.fails(errno, CLOCK_RES_GET, &[id, 0]);
        }
        trapped(guest.call(CLOCK_TIME_GET, &[1, 0, 4]));
    }

    #[test]
    fn random_bytes_fill_exactly_what_was_asked_for() {
        let mut guest = Guest::with_memory(4 << 20);
        guest.ok(RANDOM_GET, &[100, 0]);
        guest.ok(RANDOM_GET, &[100, (2 << 20) + 5]);
        let end = 100 + (2 << 20) + 5;
        assert!(
            guest.memory[..100]
                .iter()
                .chain(&guest.memory[end..])
                .all(|b| *b == 0)
        );
        for piece in guest.memory[100..end].chunks(4096) {
            assert!(piece.len() < 16 || piece.iter().any(|b| *b != 0));
        }
        trapped(guest.call(RANDOM_GET, &[4 << 20, 1]));
        trapped(guest.call(RANDOM_GET, &[0, 1 << 32]));
        let mut large = Guest::with_memory((64 << 20) + 1);
        large.ok(RANDOM_GET, &[1, 64 << 20]);
        large.fails(Errno::INVAL, RANDOM_GET, &[0, (64 << 20) + 1]);
        guest.wakeup.wake();
        assert_eq!(guest.call(RANDOM_GET, &[0, 1]), Flow::Interrupted);
    }
}
