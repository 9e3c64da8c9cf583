//! Lists that come in pages.

use clap::Args;
use serde::Serialize;
use serde::ser::{SerializeMap as _, Serializer};

use crate::app::App;
use crate::error::CtlError;
use crate::exit::Exit;
use crate::show::some;

/// Largest page that the daemon gives.
const LARGEST: u32 = 500;

/// How much of a list.
#[derive(Debug, Clone, Args)]
pub(crate) struct PageArgs {
    /// At most so many
    #[arg(long, visible_alias = "page-size", value_name = "N", default_value_t = 50)]
    #[arg(value_parser = clap::value_parser!(u32).range(1..))]
    limit: u32,

    /// All of them, however many
    #[arg(long, conflicts_with = "limit")]
    all: bool,

    /// Go on where an earlier page ended
    #[arg(long, value_name = "TOKEN")]
    page_token: Option<String>,
}

impl PageArgs {
    /// Asks for as many pages as it takes. `ask` is given a size and a token, and answers with rows and the
    /// token of what follows.
    pub(crate) async fn collect<T, E>(
        &self,
        mut ask: impl AsyncFnMut(u32, String) -> Result<(Vec<T>, String), E>,
    ) -> Result<Page<T>, E> {
        let limit = if self.all { usize::MAX } else { self.limit as usize };
        let mut rows = Vec::new();
        let mut token = self.page_token.clone().unwrap_or_default();
        loop {
            let size = u32::try_from(limit - rows.len()).unwrap_or(LARGEST).min(LARGEST);
            let (more, next) = ask(size, token).await?;
            rows.extend(more);
            if next.is_empty() || rows.len() >= limit {
                return Ok(Page { rows, next });
            }
            token = next;
        }
    }
}

/// A part of a list.
pub(crate) struct Page<T> {
    rows: Vec<T>,
    /// Where the list goes on; empty at its end.
    next: String,
}

impl<T> Page<T> {
    /// Shows it: as one JSON document, in which `name` holds the rows as `view` shows them, or as `table` does.
    pub(crate) fn show<'a, V: Serialize>(
        &'a self,
        app: &App,
        name: &'static str,
        view: impl Fn(&'a T) -> V,
        table: impl FnOnce(&[T]) -> Result<(), CtlError>,
    ) -> Result<Exit, CtlError> {
        if app.out.is_json() {
            let rows = self.rows.iter().map(view).collect();
            app.out.document(&Document { name, rows, next: some(&self.next) })?;
            return Ok(Exit::DONE);
        }
        table(&self.rows)?;
        if !self.next.is_empty() {
            app.out.note("there are more: use --all or a larger --limit");
        }
        Ok(Exit::DONE)
    }
}

/// A page as JSON: the rows by their name, then `next_page_token`.
struct Document<'a, V> {
    name: &'static str,
    rows: Vec<V>,
    next: Option<&'a str>,
}

impl<V: Serialize> Serialize for Document<'_, V> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(Some(2))?;
        map.serialize_entry(self.name, &self.rows)?;
        map.serialize_entry("next_page_token", &self.next)?;
        map.end()
    }
}
