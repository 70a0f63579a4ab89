//! In what order numbered pictures arrive.

/// How many numbers back a late picture is still told from a repeated one, and a source from its restart.
const WINDOW: u32 = 64;

/// Counts over the numbers of the pictures shown.
#[derive(Debug, Clone, Default)]
pub(super) struct Order {
    pub(super) first: Option<u32>,
    pub(super) last: Option<u32>,
    pub(super) ascending: u64,
    pub(super) repeated: u64,
    pub(super) backwards: u64,
    pub(super) restarts: u64,
    pub(super) gaps: u64,
    pub(super) missing: u64,
    highest: u32,
    /// Which of the numbers up to `highest` were shown: bit 0 is `highest`, bit 1 the one before.
    shown: u64,
}

impl Order {
    /// Takes the next number; whether it was not shown before.
    pub(super) fn take(&mut self, number: u32) -> bool {
        let Some(last) = self.last.replace(number) else {
            self.first = Some(number);
            self.ascending += 1;
            self.begin(number);
            return true;
        };
        if number == last {
            self.repeated += 1;
            return false;
        }
        if number > self.highest {
            let step = number - self.highest;
            if step > 1 {
                self.gaps += 1;
                self.missing += u64::from(step - 1);
            }
            self.ascending += 1;
            self.highest = number;
            self.shown = self.shown.checked_shl(step).unwrap_or(0) | 1;
            return true;
        }

        let back = self.highest - number;
        if back >= WINDOW {
            self.restarts += 1;
            self.begin(number);
            return true;
        }
        if number < last {
            self.backwards += 1;
        }
        let new = self.shown & (1 << back) == 0;
        if new {
            // Late, not lost. Numbers from before the first were never counted as missing.
            self.shown |= 1 << back;
            if self.first.is_some_and(|first| number > first) {
                self.missing = self.missing.saturating_sub(1);
            }
        } else if number > last {
            // Forward again over pictures that were shown before.
            self.repeated += 1;
        }
        new
    }

    fn begin(&mut self, number: u32) {
        self.highest = number;
        self.shown = 1;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn order(numbers: &[u32]) -> [u64; 6] {
        let mut order = Order::default();
        for number in numbers {
            order.take(*number);
        }
        let Order {
            ascending,
            repeated,
            backwards,
            restarts,
            gaps,
            missing,
            ..
        } = order;
        [ascending, repeated, backwards, restarts, gaps, missing]
    }

    #[test]
    fn each_disorder_has_its_count() {
        assert_eq!(order(&[5, 6, 7]), [3, 0, 0, 0, 0, 0]);
        assert_eq!(order(&[5, 6, 6, 7]), [3, 1, 0, 0, 0, 0]);
        assert_eq!(order(&[5, 8, 9]), [3, 0, 0, 0, 1, 2]);
        assert_eq!(order(&[5, 7, 6, 8]), [3, 0, 1, 0, 1, 0]);
        assert_eq!(order(&[5, 6, 7, 5, 6, 7, 8]), [4, 2, 1, 0, 0, 0]);
        assert_eq!(order(&[500, 501, 0, 1]), [3, 0, 0, 1, 0, 0]);
        assert_eq!(order(&[0, u32::MAX])[5], u64::from(u32::MAX) - 1);
        assert_eq!(order(&[5, 4, 6]), [2, 0, 1, 0, 0, 0]);
    }
}
