//! The time since a process started, read twice for every record.
//!
//! The system's monotonic clock takes some 25 ns to read, more than all else that a small record
//! costs (`cargo bench -p timecraft-segment` prints it). Where the kernel itself keeps time by the
//! processor's time-stamp counter, so does this clock, at 10 ns: it extrapolates from the last
//! reading of the system's clock, never further than it has measured, and so stays within a
//! fraction of a microsecond of it.

use std::time::Instant;

/// The longest extrapolation, in ticks: some 10 ms.
const MAX_WINDOW: u64 = 1 << 25;
/// The shortest interval that a rate is taken from, in nanoseconds: a reading of the system's clock
/// is off by some tens.
const MIN_INTERVAL_NS: u64 = 1_000_000;

/// Nanoseconds since it was made; never goes back.
#[derive(Debug)]
pub(crate) struct Clock {
    started: Instant,
    /// Whether the counter can be used at all.
    counter: bool,
    /// A reading of both clocks, and for how many ticks after it the rate holds.
    anchor_ticks: u64,
    anchor_ns: u64,
    window: u64,
    /// Nanoseconds a tick, times 2^32.
    rate: u64,
    last: u64,
}

impl Clock {
    pub(crate) fn start() -> Clock {
        let counter = counter::is_the_kernels_clock();
        // One right after the other: the first rate is taken from here.
        let (started, anchor_ticks) = (Instant::now(), counter::read());
        Clock {
            started,
            counter,
            anchor_ticks,
            anchor_ns: 0,
            window: 0,
            rate: 0,
            last: 0,
        }
    }

    /// Nanoseconds since the start; at least what was returned before.
    #[inline]
    pub(crate) fn elapsed_ns(&mut self) -> u64 {
        let ticks = if self.counter { counter::read() } else { 0 };
        let since = ticks.wrapping_sub(self.anchor_ticks);
        let now = if self.counter && since < self.window {
            // The window is below 2^25 ticks and the rate below 2^38: no overflow.
            self.anchor_ns + ((since * self.rate) >> 32)
        } else {
            self.measure()
        };
        self.last = self.last.max(now);
        self.last
    }

    #[cold]
    fn measure(&mut self) -> u64 {
        // 584 years fit.
        let now = self.started.elapsed().as_nanos() as u64;
        if !self.counter {
            return now;
        }
        let ticks = counter::read();
        let (interval, passed) = (now - self.anchor_ns, ticks.wrapping_sub(self.anchor_ticks));
        if interval >= MIN_INTERVAL_NS {
            let rate = (u128::from(interval) << 32) / u128::from(passed.max(1));
            // A counter that went back or stood still, as where a machine was moved, has no rate.
            let plausible = (1 << 26..1 << 38).contains(&rate);
            self.rate = if plausible { rate as u64 } else { 0 };
            self.window = if plausible { passed.min(MAX_WINDOW) } else { 0 };
            (self.anchor_ticks, self.anchor_ns) = (ticks, now);
        }
        now
    }
}

#[cfg(target_arch = "x86_64")]
mod counter {
    #[inline]
    pub(super) fn read() -> u64 {
        // SAFETY: reads a register, and nothing else; every x86-64 processor has it, and a kernel
        // that forbids it to programs does not keep time by it (`is_the_kernels_clock` is asked
        // before this value is used; Linux forbids it only by prctl, to a process that asks for it).
        unsafe { core::arch::x86_64::_rdtsc() }
    }

    /// The kernel keeps time by the counter where it found it constant and the same on all cores.
    pub(super) fn is_the_kernels_clock() -> bool {
        const SOURCE: &str = "/sys/devices/system/clocksource/clocksource0/current_clocksource";
        std::fs::read(SOURCE).is_ok_and(|name| name.trim_ascii() == b"tsc")
    }
}

#[cfg(not(target_arch = "x86_64"))]
mod counter {
    #[inline]
    pub(super) fn read() -> u64 {
        0
    }

    pub(super) fn is_the_kernels_clock() -> bool {
        false
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_clock_never_goes_back_and_stays_near_the_systems() {
        let mut clock = Clock::start();
        let mut last = 0;
        while last < 60_000_000 {
            let before = clock.started.elapsed().as_nanos() as u64;
            let now = clock.elapsed_ns();
            let after = clock.started.elapsed().as_nanos() as u64;
            assert!(now >= last);
            // A microsecond of slack for what is extrapolated; the reads themselves may take long
            // where the machine is busy, which `before` and `after` take in.
            assert!(
                now + 1_000 >= before && now <= after + 1_000,
                "{before} {now} {after}"
            );
            last = now;
        }
    }
}
