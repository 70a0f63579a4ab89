//! Messages that can be told apart: each begins with its number.

use crate::Error;

/// A message of some size, whose number can be changed without a copy of the rest.
#[derive(Debug, Clone)]
pub(crate) struct Message(Vec<u8>);

impl Message {
    pub(crate) fn new(size: usize) -> Self {
        Self((0..size).map(|i| (i * 31 % 251) as u8).collect())
    }

    /// Message `number`.
    pub(crate) fn numbered(&mut self, number: u64) -> &[u8] {
        let digits = self.0.len().min(size_of::<u64>());
        self.0[..digits].copy_from_slice(&number.to_le_bytes()[..digits]);
        &self.0
    }

    /// Whether message `number` is what arrived.
    pub(crate) fn check(&mut self, step: &'static str, number: u64, arrived: &[u8]) -> Result<(), Error> {
        if self.numbered(number) == arrived {
            return Ok(());
        }
        let what = if arrived.len() == self.0.len() {
            "other bytes"
        } else {
            "another length"
        };
        Err(Error::Damaged { step, number, what })
    }
}
