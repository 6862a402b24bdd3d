//! How much work a batch is worth: compression gives way where the guest would wait for long.

use std::time::{Duration, Instant};

/// How sections are stored.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Compression {
    /// zstd at level 1, less under pressure; what does not shrink is stored as it is.
    #[default]
    Zstd,
    /// As it is.
    None,
}

/// How hard the packer tries to make a batch small. A batch reads the same whatever it was.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Effort {
    /// zstd at level 1.
    #[default]
    Normal,
    /// zstd at level -5: source code in 0.8 of the time and 1.5 times as large, programs in 0.6 of it
    /// and 1.3 times. Levels from -10 on are faster, and leave half of what there is to gain.
    Fast,
    /// Payload as it is, columns at level -5: a small part of the bytes, and a large part of what
    /// there is to gain.
    Raw,
}

impl Effort {
    /// What to do while the guest waits for the log for that share of its time.
    ///
    /// A little waiting is worth it: the log of a copy of source code is 2.0 times what zstd makes of the
    /// file, and 2.4 times where all gives way at once. The shares are tuned by
    /// `scripts/bench-sustained.py`, so that a copy in pieces of 4 KiB takes less than twice as long as
    /// without a log.
    #[must_use]
    pub fn for_waiting(share: f64) -> Effort {
        match share {
            ..0.25 => Effort::Normal,
            ..0.32 => Effort::Fast,
            _ => Effort::Raw,
        }
    }

    pub(super) fn level(self) -> i32 {
        match self {
            Effort::Normal => 1,
            Effort::Fast | Effort::Raw => -5,
        }
    }
}

/// For which share of its time the guest has waited lately.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Pressure {
    at: Instant,
    waited: Duration,
    share: f64,
}

impl Pressure {
    /// How long is lately: some dozens of batches.
    const LATELY: Duration = Duration::from_millis(100);

    /// The guest has not waited at all.
    pub(crate) fn none(now: Instant) -> Pressure {
        Pressure {
            at: now,
            waited: Duration::ZERO,
            share: 0.0,
        }
    }

    /// The share by now: the guest has waited for so long in all.
    pub(crate) fn share(&mut self, now: Instant, waited: Duration) -> f64 {
        let passed = now.saturating_duration_since(self.at);
        if !passed.is_zero() {
            let share = waited.saturating_sub(self.waited).div_duration_f64(passed);
            // What is longer ago counts for less and less.
            let weight = 1.0 - (-passed.div_duration_f64(Self::LATELY)).exp();
            self.share += weight * (share.min(1.0) - self.share);
            (self.at, self.waited) = (now, waited);
        }
        self.share
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn compression_gives_way_as_the_guest_waits() {
        use Effort::{Fast, Normal, Raw};
        let efforts = [0.0, 0.2, 0.3, 0.4, 1.0].map(Effort::for_waiting);
        assert_eq!(efforts, [Normal, Normal, Fast, Raw, Raw]);
    }

    #[test]
    fn the_share_is_of_late() {
        let begin = Instant::now();
        let at = |ms| begin + Duration::from_millis(ms);
        let ms = Duration::from_millis;
        let mut pressure = Pressure::none(begin);
        assert_eq!(pressure.share(begin, ms(0)), 0.0);
        // Half of the time, batch by batch.
        let shares = (1..=200).map(|batch| pressure.share(at(4 * batch), ms(2 * batch)));
        let share = shares.last().unwrap();
        assert!((0.49..=0.5).contains(&share), "{share}");
        // A moment without changes little, a long one all.
        let share = pressure.share(at(805), ms(400));
        assert!((0.45..0.49).contains(&share), "{share}");
        let share = pressure.share(at(10_000), ms(400));
        assert!(share < 0.01, "{share}");
        // Time that stands still is no time.
        assert_eq!(pressure.share(at(10_000), ms(400)), share);
    }
}
