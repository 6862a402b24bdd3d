//! How much work a batch is worth: compression gives way before the guest does.

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
    /// What to do for a buffer while `waiting` other full ones wait, of `buffers` that there are.
    ///
    /// The guest waits when none is left, so a quarter of the buffers is kept free at any price.
    #[must_use]
    pub fn for_backlog(waiting: usize, buffers: usize) -> Effort {
        // What the guest can still fill, or is filling.
        let left = buffers.saturating_sub(waiting + 1);
        match waiting {
            0 => Effort::Normal,
            _ if left <= buffers / 4 => Effort::Raw,
            _ if left <= buffers / 2 => Effort::Fast,
            _ => Effort::Normal,
        }
    }

    pub(super) fn level(self) -> i32 {
        match self {
            Effort::Normal => 1,
            Effort::Fast | Effort::Raw => -5,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn compression_gives_way_as_buffers_fill() {
        use Effort::{Fast, Normal, Raw};
        let all = |buffers| -> Vec<Effort> {
            (0..buffers)
                .map(|waiting| Effort::for_backlog(waiting, buffers))
                .collect()
        };
        assert_eq!(all(2), [Normal, Raw]);
        assert_eq!(all(3), [Normal, Fast, Raw]);
        assert_eq!(all(4), [Normal, Fast, Raw, Raw]);
        assert_eq!(all(8), [Normal, Normal, Normal, Fast, Fast, Raw, Raw, Raw]);
    }

    #[test]
    fn a_backlog_never_makes_it_try_harder() {
        for buffers in 2..=64 {
            let levels = (0..=buffers).map(|w| Effort::for_backlog(w, buffers) as u8);
            assert!(levels.is_sorted(), "{buffers} buffers");
            assert_eq!(Effort::for_backlog(buffers, buffers), Effort::Raw);
        }
    }
}
