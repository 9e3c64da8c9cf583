//! Which session has started a sub-agent whose own records do not say so.

use std::collections::VecDeque;

use engine::store::StoreError;

/// Among how many sessions, from the sub-agent's own on, the one is looked for that has started it. As many are read
/// in a few milliseconds.
pub(super) const EARLIER: usize = 1000;

/// Where a session stands in the index: the latest beginning first.
pub(super) type Position = (u64, String);

/// A session of the index with the sessions that it says to have started.
pub(super) type Told = Result<(Position, Vec<String>), StoreError>;

/// The sessions that have started others, for questions that come in the order of the index, as those of a page do: no
/// session is read twice for them, however many there are.
pub(super) struct Starters<'a> {
    open: Box<dyn Fn(Position) -> Rows<'a> + 'a>,
    /// Goes on where `ahead` ends.
    rows: Option<Rows<'a>>,
    /// What was read from the last question's place on.
    ahead: VecDeque<(Position, Vec<String>)>,
}

type Rows<'a> = Box<dyn Iterator<Item = Told> + 'a>;

impl<'a> Starters<'a> {
    /// `open` gives the sessions of the index from a place on.
    pub(super) fn new<I: Iterator<Item = Told> + 'a>(open: impl Fn(Position) -> I + 'a) -> Self {
        Self { open: Box::new(move |from| Box::new(open(from))), rows: None, ahead: VecDeque::new() }
    }

    /// The session that tells of a sub-agent that it is its own: the first one in the order of the index.
    pub(super) fn of(&mut self, (time, id): &Position) -> Result<Option<&str>, StoreError> {
        // Who starts another began before, and mostly not long before; or within the same tick of the clock.
        let from = (*time, String::new());
        while self.ahead.front().is_some_and(|(place, _)| *place < from) {
            self.ahead.pop_front();
        }
        if self.ahead.is_empty() {
            self.rows = None;
        }
        let rows = self.rows.get_or_insert_with(|| (self.open)(from));
        for number in 0..EARLIER {
            if number == self.ahead.len() {
                let Some(row) = rows.next() else { break };
                self.ahead.push_back(row?);
            }
            if self.ahead[number].1.contains(id) {
                return Ok(Some(&self.ahead[number].0.1));
            }
        }
        Ok(None)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use std::cell::Cell;

    use super::*;

    /// The index at the time `n` has a session `s<n>`; every third one is a review, and started by the session that
    /// stands so far behind it.
    fn index(sessions: u64, behind: u64) -> Vec<(Position, Vec<String>)> {
        let started = |by: u64| by.checked_sub(behind).filter(|review| review.is_multiple_of(3));
        (0..sessions)
            .map(|time| {
                let children = started(time).map(|review| format!("s{review}"));
                ((time, format!("s{time}")), children.into_iter().collect())
            })
            .collect()
    }

    fn reviews(index: &[(Position, Vec<String>)]) -> impl Iterator<Item = &Position> {
        index.iter().map(|(place, _)| place).filter(|place| place.0.is_multiple_of(3))
    }

    /// The answers for all reviews, and how many sessions were read for them.
    fn ask(index: &[(Position, Vec<String>)]) -> (Vec<Option<String>>, usize) {
        let read = Cell::new(0);
        let open = |from: Position| {
            let rows = index.iter().skip_while(move |(place, _)| *place < from);
            rows.cloned().inspect(|_| read.set(read.get() + 1)).map(Ok)
        };
        let mut starters = Starters::new(open);
        let found = reviews(index).map(|place| starters.of(place).unwrap().map(str::to_owned)).collect();
        drop(starters);
        (found, read.get())
    }

    #[test]
    fn no_session_is_read_twice_for_the_reviews_of_a_page() {
        for behind in [1, 2, 50, 999, 1000, 5000] {
            let index = index(3000, behind);
            let (_, read) = ask(&index);
            assert!(read <= index.len(), "{read} for those that stand {behind} behind");
        }
    }

    #[test]
    fn each_review_is_given_what_a_walk_of_its_own_finds() {
        for behind in [1, 2, 50, 999, 1000, 5000] {
            let index = index(3000, behind);
            let alone: Vec<_> = reviews(&index)
                .map(|place| {
                    let mut walk = index.iter().skip_while(|(other, _)| other < place).take(EARLIER);
                    walk.find(|(_, children)| children.contains(&place.1)).map(|(other, _)| other.1.clone())
                })
                .collect();
            assert_eq!(ask(&index).0, alone, "{behind} behind");
            assert_eq!(alone.iter().any(Option::is_some), behind < 1000);
        }
    }

    #[test]
    fn a_session_of_the_same_time_may_be_the_starter_wherever_its_id_stands() {
        let index = [((7, "a".to_owned()), vec!["b".to_owned()]), ((7, "b".to_owned()), Vec::new())];
        let mut starters = Starters::new(|from: Position| {
            index.iter().skip_while(move |(place, _)| *place < from).cloned().map(Ok)
        });
        assert_eq!(starters.of(&index[1].0).unwrap(), Some("a"));
    }

    #[test]
    fn sessions_that_a_filter_has_left_out_are_leapt_over() {
        let index = index(3000, 1);
        let read = Cell::new(0);
        let mut starters = Starters::new(|from: Position| {
            let rows = index.iter().skip_while(move |(place, _)| *place < from);
            rows.cloned().inspect(|_| read.set(read.get() + 1)).map(Ok)
        });
        for time in [3, 2997] {
            let starter = starters.of(&(time, format!("s{time}"))).unwrap().map(str::to_owned);
            assert_eq!(starter, Some(format!("s{}", time + 1)));
        }
        assert_eq!(read.get(), 4);
    }
}
