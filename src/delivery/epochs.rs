//! What was accepted before a flush: numbers instead of something that all messages share, which two threads would fight for.

use std::collections::VecDeque;

/// How many epochs there are at most; a flush waits for later messages too where there are so many.
const MAX_EPOCHS: usize = 10_000;

/// The times between flushes: how many of the messages that were accepted in each are in the queue or in flight.
#[derive(Debug)]
pub struct Epochs {
    /// The oldest one of which there may be messages.
    first: u64,
    /// From the first one on, and never empty; the last one is now.
    counts: VecDeque<usize>,
}

impl Default for Epochs {
    fn default() -> Epochs {
        Epochs { first: 1, counts: VecDeque::from([0]) }
    }
}

impl Epochs {
    fn now(&self) -> u64 {
        self.first.saturating_add(u64::try_from(self.counts.len()).unwrap_or_default()).saturating_sub(1)
    }

    /// Counts a message in the one that is now; says which that is.
    pub fn enter(&mut self) -> u64 {
        if let Some(count) = self.counts.back_mut() {
            *count = count.saturating_add(1);
        }
        self.now()
    }

    /// Takes a message out of its epoch.
    pub fn leave(&mut self, epoch: u64) {
        let place = epoch.checked_sub(self.first).and_then(|place| usize::try_from(place).ok());
        if let Some(count) = place.and_then(|place| self.counts.get_mut(place)) {
            *count = count.saturating_sub(1);
        }
        while self.counts.len() > 1 && self.counts.front() == Some(&0) {
            self.counts.pop_front();
            self.first = self.first.saturating_add(1);
        }
    }

    /// Ends the one that is now: the last one of which all messages that were accepted so far are.
    pub fn end(&mut self) -> u64 {
        if self.counts.back() == Some(&0) {
            return self.now().saturating_sub(1);
        }
        let ended = self.now();
        if self.counts.len() < MAX_EPOCHS {
            self.counts.push_back(0);
        }
        ended
    }

    /// Whether nothing is left of an epoch and all before it.
    pub fn is_through(&self, epoch: u64) -> bool {
        let ended = epoch < self.first;
        // The one that is now is not taken off the front.
        ended || (epoch == self.first && self.counts.front() == Some(&0))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_flush_waits_for_what_came_before_it_and_for_nothing_else() {
        let mut epochs = Epochs::default();
        let none = epochs.end();
        assert!(epochs.is_through(none));
        let first = epochs.enter();
        assert_eq!(epochs.enter(), first);
        assert!(epochs.is_through(none));
        let flush = epochs.end();
        assert_eq!(epochs.end(), flush, "nothing came in between");
        let second = epochs.enter();
        assert!(second > first);
        let later = epochs.end();
        epochs.leave(second);
        assert!(!epochs.is_through(flush) && !epochs.is_through(later));
        epochs.leave(first);
        assert!(!epochs.is_through(flush));
        epochs.leave(first);
        assert!(epochs.is_through(flush) && epochs.is_through(later));
        assert_eq!(epochs.counts.len(), 1);
    }

    #[test]
    fn one_that_stays_keeps_no_more_than_so_many_epochs() {
        let mut epochs = Epochs::default();
        let stays = epochs.enter();
        for _ in 0..2 * MAX_EPOCHS {
            let epoch = epochs.enter();
            epochs.end();
            epochs.leave(epoch);
        }
        assert_eq!(epochs.counts.len(), MAX_EPOCHS);
        let last = epochs.enter();
        let flush = epochs.end();
        epochs.leave(stays);
        assert!(!epochs.is_through(flush));
        epochs.leave(last);
        assert!(epochs.is_through(flush));
    }
}
