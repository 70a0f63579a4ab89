//! Which load is tried next.

/// How often the loads between the last good and the first bad one are halved: then they are within 4 % to 6 % of one
/// another.
const HALVINGS: u32 = 4;

/// Beyond this, 2 million frames a second, nobody asks.
const MOST: u32 = 65_536;

/// Doubles until a load fails, then halves.
#[derive(Debug, Default)]
pub(super) struct Search {
    good: u32,
    bad: Option<u32>,
    halvings: u32,
}

impl Search {
    /// The load of the first step, N × 30 frames a second.
    pub(super) const FIRST: u32 = 32;

    /// What to try next, if the highest good load is not known well enough.
    pub(super) fn next(&self) -> Option<u32> {
        match self.bad {
            None if self.good == 0 => Some(Self::FIRST),
            None => Some(self.good * 2).filter(|next| *next <= MOST),
            Some(bad) if self.halvings < HALVINGS && bad - self.good > 1 => Some(self.good.midpoint(bad)),
            Some(_) => None,
        }
    }

    /// How a load went.
    pub(super) fn tell(&mut self, load: u32, good: bool) {
        self.halvings += u32::from(self.bad.is_some());
        if good {
            self.good = load;
        } else {
            self.bad = Some(load);
        }
    }

    /// The highest good load; 0 if there was none.
    pub(super) fn highest(&self) -> u32 {
        self.good
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What a stack that can do `limit` is tried with, and what is found.
    fn search(limit: u32) -> (Vec<u32>, u32) {
        let mut search = Search::default();
        let mut tried = Vec::new();
        while let Some(load) = search.next() {
            tried.push(load);
            search.tell(load, load <= limit);
        }
        (tried, search.highest())
    }

    #[test]
    fn doubles_then_halves() {
        assert_eq!(
            search(300),
            (vec![32, 64, 128, 256, 512, 384, 320, 288, 304], 288)
        );
        assert_eq!(search(20), (vec![32, 16, 24, 20, 22], 20));
        assert_eq!(search(1), (vec![32, 16, 8, 4, 2], 0));
        assert_eq!(search(u32::MAX).1, MOST);
    }
}
