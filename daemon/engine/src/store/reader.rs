//! Reading: typed rows by key, by range and by the first components of a key.

use std::marker::PhantomData;
use std::ops::{Bound, RangeBounds};
use std::sync::{Arc, PoisonError, RwLock};

use super::database::{Database, RawRow, RawRows};
use super::error::StoreError;
use super::key::PrefixOf;
use super::table::{Table, decode_key, decode_value, encode_key};

/// Which end of a range comes first.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Order {
    /// Smallest key first.
    Ascending,
    /// Greatest key first.
    Descending,
}

/// The reading side of a store.
///
/// Reads block: on a page that is not cached, for a disk read. They see batches as soon as these are applied,
/// each as a whole, which can be a moment before they are durable: a caller that acts on what it read, towards
/// the outside, first waits for a [`Ticket`](super::Ticket) of its own (an empty batch will do).
#[derive(Clone)]
pub struct Reader {
    database: Arc<RwLock<Option<Arc<Database>>>>,
}

impl Reader {
    pub(super) fn new(database: Arc<Database>) -> Self {
        Self { database: Arc::new(RwLock::new(Some(database))) }
    }

    /// Ends all reading; iterators under way keep what they hold until they are dropped.
    pub(super) fn close(&self) {
        *self.database.write().unwrap_or_else(PoisonError::into_inner) = None;
    }

    pub(super) fn database(&self) -> Result<Arc<Database>, StoreError> {
        self.database.read().unwrap_or_else(PoisonError::into_inner).clone().ok_or(StoreError::Closed)
    }

    /// The row `key`, if there is one.
    pub fn get<T: Table>(&self, key: &T::Key) -> Result<Option<T::Value>, StoreError> {
        let key = encode_key::<T>(key);
        let row = self.database()?.get(&key)?;
        row.map(|row| decode_value::<T>(&key, &row)).transpose()
    }

    /// The rows whose keys are in `range`.
    ///
    /// The iterator is no snapshot: what is written behind its position while it runs is not seen, what is
    /// written before it is.
    pub fn scan<T: Table>(&self, range: impl RangeBounds<T::Key>, order: Order) -> Rows<T> {
        Rows { raw: self.raw(bounds::<T>(&range), order), table: PhantomData }
    }

    /// The rows whose keys begin with the components `prefix`.
    pub fn scan_prefix<T: Table, P: PrefixOf<T::Key>>(&self, prefix: &P, order: Order) -> Rows<T> {
        let start = encode_key::<T>(prefix);
        let end = successor(start.clone());
        Rows { raw: self.raw((Bound::Included(start), end), order), table: PhantomData }
    }

    /// The keys in `range`, without decoding the rows; for deletions.
    pub fn keys<T: Table>(&self, range: impl RangeBounds<T::Key>, order: Order) -> Keys<T> {
        Keys { raw: self.raw(bounds::<T>(&range), order), table: PhantomData }
    }

    fn raw(&self, range: (Bound<Vec<u8>>, Bound<Vec<u8>>), order: Order) -> Scan {
        if is_empty(&range) {
            return Scan { rows: Ok(None), order };
        }
        Scan { rows: self.database().map(|database| Some(database.scan(range))), order }
    }
}

/// Rows of table `T` in order; after an error of the database there are no more, after a row that cannot be
/// decoded the iteration goes on.
pub struct Rows<T> {
    raw: Scan,
    table: PhantomData<fn() -> T>,
}

impl<T: Table> Iterator for Rows<T> {
    type Item = Result<(T::Key, T::Value), StoreError>;

    fn next(&mut self) -> Option<Self::Item> {
        let row = self.raw.next()?;
        Some(row.and_then(|(key, value)| Ok((decode_key::<T>(&key)?, decode_value::<T>(&key, &value)?))))
    }
}

/// Keys of table `T` in order.
pub struct Keys<T> {
    raw: Scan,
    table: PhantomData<fn() -> T>,
}

impl<T: Table> Iterator for Keys<T> {
    type Item = Result<T::Key, StoreError>;

    fn next(&mut self) -> Option<Self::Item> {
        Some(self.raw.next()?.and_then(|(key, _)| decode_key::<T>(&key)))
    }
}

/// A scan in either order, or the reason why there is none.
struct Scan {
    rows: Result<Option<RawRows>, StoreError>,
    order: Order,
}

impl Iterator for Scan {
    type Item = Result<RawRow, StoreError>;

    fn next(&mut self) -> Option<Self::Item> {
        match &mut self.rows {
            Ok(None) => None,
            Ok(Some(rows)) => match self.order {
                Order::Ascending => rows.next(),
                Order::Descending => rows.next_back(),
            },
            Err(_) => std::mem::replace(&mut self.rows, Ok(None)).err().map(Err),
        }
    }
}

/// The range in encoded keys; its open ends are those of the table.
fn bounds<T: Table>(range: &impl RangeBounds<T::Key>) -> (Bound<Vec<u8>>, Bound<Vec<u8>>) {
    let encode = |bound: Bound<&T::Key>| bound.map(|key| encode_key::<T>(key));
    let start = match encode(range.start_bound()) {
        Bound::Unbounded => Bound::Included(vec![T::PREFIX]),
        bound => bound,
    };
    let end = match encode(range.end_bound()) {
        Bound::Unbounded => successor(vec![T::PREFIX]),
        bound => bound,
    };
    (start, end)
}

/// The end of all keys that begin with `prefix`.
fn successor(mut prefix: Vec<u8>) -> Bound<Vec<u8>> {
    while let Some(last) = prefix.pop() {
        if let Some(next) = last.checked_add(1) {
            prefix.push(next);
            return Bound::Excluded(prefix);
        }
    }
    Bound::Unbounded
}

/// Whether a range holds no key at all; sled panics on a start after the end.
fn is_empty((start, end): &(Bound<Vec<u8>>, Bound<Vec<u8>>)) -> bool {
    match (start, end) {
        (Bound::Included(start), Bound::Included(end)) => start > end,
        (Bound::Included(start) | Bound::Excluded(start), Bound::Included(end) | Bound::Excluded(end)) => {
            start >= end
        }
        _ => false,
    }
}
