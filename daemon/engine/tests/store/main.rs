//! The store through its public face.

#![allow(clippy::unwrap_used, clippy::expect_used)]

mod blobs;
mod commits;
mod damage;
mod full_disk;
mod kill;
mod limits;
mod model;
mod opening;
mod transfer;

use std::path::Path;

use engine::store::{Batch, Options, Order, Store, Table, TableInfo};
use uuid::Uuid;

/// A message to store.
#[derive(Clone, PartialEq, prost::Message)]
struct Note {
    #[prost(string, tag = "1")]
    text: String,
}

impl Note {
    fn new(text: impl Into<String>) -> Self {
        Self { text: text.into() }
    }
}

/// Rows by number.
struct Numbered;

impl Table for Numbered {
    const NAME: &'static str = "numbered";
    const PREFIX: u8 = 1;
    type Key = u64;
    type Value = Note;
}

/// Rows by name and number, beside those of [`Numbered`].
struct Named;

impl Table for Named {
    const NAME: &'static str = "named";
    const PREFIX: u8 = 2;
    type Key = (String, u64);
    type Value = Note;
}

/// Rows by all kinds of keys.
struct Mixed;

impl Table for Mixed {
    const NAME: &'static str = "mixed";
    const PREFIX: u8 = 254;
    type Key = (Vec<u8>, String, Uuid);
    type Value = Note;
}

const TABLES: &[TableInfo] =
    &[TableInfo::of::<Numbered>(), TableInfo::of::<Named>(), TableInfo::of::<Mixed>()];

/// Small, so that tests run on small disks.
fn options() -> Options {
    Options { free_space_floor: 1 << 20, ..Options::default() }
}

fn open(directory: &Path) -> Store {
    Store::open(directory, TABLES, &options()).unwrap()
}

fn put(number: u64, text: &str) -> Batch {
    let mut batch = Batch::new();
    batch.put::<Numbered>(&number, &Note::new(text));
    batch
}

/// All rows of a table, in order.
fn rows<T: Table>(store: &Store) -> Vec<(T::Key, T::Value)> {
    store.scan::<T>(.., Order::Ascending).collect::<Result<_, _>>().unwrap()
}
