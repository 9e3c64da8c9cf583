//! The statements that insert rows, prepared once each.

use std::collections::BTreeMap;
use std::collections::btree_map::Entry;

use rusqlite::types::Value;
use rusqlite::{Connection, Statement, params_from_iter};

use crate::export::ExportError;

/// A row: its values in the order of the table's columns.
pub(super) type Row = Vec<Value>;

/// `row![a, b, …]`: the values of a row, whatever their types.
macro_rules! row {
    ($($value:expr),* $(,)?) => {
        vec![$($crate::export::sqlite::statements::ToValue::to_value(&$value)),*]
    };
}
pub(super) use row;

/// A statement for each table.
pub(super) struct Statements<'a> {
    database: &'a Connection,
    prepared: BTreeMap<(&'static str, bool), Statement<'a>>,
}

impl<'a> Statements<'a> {
    pub(super) fn new(database: &'a Connection) -> Self {
        Self { database, prepared: BTreeMap::new() }
    }

    /// Inserts a row.
    pub(super) fn insert(&mut self, table: &'static str, row: Row) -> Result<(), ExportError> {
        self.run(table, false, row).map(drop)
    }

    /// Inserts a row unless there is one with its key; whether there was none.
    pub(super) fn insert_new(&mut self, table: &'static str, row: Row) -> Result<bool, ExportError> {
        self.run(table, true, row).map(|inserted| inserted > 0)
    }

    fn run(&mut self, table: &'static str, ignoring: bool, row: Row) -> Result<usize, ExportError> {
        let database = self.database;
        let failed = |cause| ExportError::Database { what: table, cause };
        let statement = match self.prepared.entry((table, ignoring)) {
            Entry::Occupied(entry) => entry.into_mut(),
            Entry::Vacant(entry) => {
                let marks = vec!["?"; row.len()].join(", ");
                let ignore = if ignoring { " OR IGNORE" } else { "" };
                let insert = format!("INSERT{ignore} INTO {table} VALUES ({marks})");
                entry.insert(database.prepare(&insert).map_err(failed)?)
            }
        };
        statement.execute(params_from_iter(row)).map_err(failed)
    }
}

/// What can stand in a column.
pub(super) trait ToValue {
    fn to_value(&self) -> Value;
}

impl ToValue for String {
    fn to_value(&self) -> Value {
        Value::Text(self.clone())
    }
}

impl ToValue for &str {
    fn to_value(&self) -> Value {
        Value::Text((*self).to_owned())
    }
}

impl ToValue for bool {
    fn to_value(&self) -> Value {
        Value::Integer(i64::from(*self))
    }
}

impl ToValue for i64 {
    fn to_value(&self) -> Value {
        Value::Integer(*self)
    }
}

impl ToValue for u32 {
    fn to_value(&self) -> Value {
        Value::Integer(i64::from(*self))
    }
}

impl ToValue for f64 {
    fn to_value(&self) -> Value {
        Value::Real(*self)
    }
}

impl<T: ToValue> ToValue for Option<T> {
    fn to_value(&self) -> Value {
        self.as_ref().map_or(Value::Null, ToValue::to_value)
    }
}
