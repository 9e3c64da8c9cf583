//! An object whose members are asked for once: an event, an item, an operation.

use super::head::Cursor;
use super::json::{self, Broken, First, Key, Picked, Picking, Raw, Unread};
use super::text::lossy;
use crate::record::Text;

/// The object of an event, item or operation, of which the kind is known and the rest is not read yet.
///
/// One dialect keeps the members one level deeper, in `payload`, and some of them (a call's id) outside: both
/// are read as one object, the inner member before the outer one. The turn that it names is kept on the way.
pub(super) struct Message<'a> {
    line: &'a [u8],
    at: usize,
    first: First,
    turn: Option<Raw<'a>>,
    end: Option<usize>,
}

impl<'a> Message<'a> {
    /// The rest of an object, from behind a member at `at` on.
    pub(super) fn behind(line: &'a [u8], at: usize) -> Self {
        Self { line, at, first: First::Comma, turn: None, end: None }
    }

    /// A whole value; anything but an object has no members.
    pub(super) fn whole(value: Raw<'a>) -> Self {
        let (line, at) =
            if value.is_object() { (value.line(), value.start() + 1) } else { (b"}".as_slice(), 0) };
        Self { line, at, first: First::Member, turn: None, end: None }
    }

    /// A value that says in `type` of what kind it is, and says so first if it is written the usual way.
    pub(super) fn tagged(value: Unread<'a>) -> Result<(Text<'a>, Self), Broken> {
        let (line, at) = value.place();
        let mut cursor = Cursor { line, at };
        if cursor.step(br#"{"type":"#).is_some()
            && let Some(kind) = cursor.string()
        {
            return Ok((lossy(kind), Self::behind(line, cursor.at)));
        }
        let whole = value.raw()?;
        let [kind] = whole.pick(["type"])?;
        let end = Some(whole.end());
        Ok((kind.and_then(Raw::text).unwrap_or_default(), Self { end, ..Self::whole(whole) }))
    }

    /// Walks its members. The visitor gives the offset behind a value that it has read, and none for one that it
    /// leaves.
    #[inline]
    pub(super) fn walk(
        &mut self,
        mut member: impl FnMut(Key<'a>, Unread<'a>) -> Result<Option<usize>, Broken>,
    ) -> Result<(), Broken> {
        let mut inner = None;
        let mut turn = None;
        let mut take = |key: Key<'a>, value: Unread<'a>| {
            if key.is("turn_id") {
                let named = value.raw()?;
                turn = Some(named);
                return Ok(Some(named.end()));
            }
            member(key, value)
        };
        let end = json::walk(self.line, self.at, self.first, |key, value| {
            if let Some(end) = take(key, value)? {
                return Ok(end);
            }
            let value = value.raw()?;
            if key.is("payload") && value.is_object() {
                inner = Some(value);
            }
            Ok(value.end())
        })?;
        if let Some(inner) = inner {
            json::walk(self.line, inner.start() + 1, First::Member, |key, value| {
                take(key, value)?.map_or_else(|| value.end(), Ok)
            })?;
        }
        self.turn = turn;
        self.end = Some(end);
        Ok(())
    }

    /// Its members of these names; `turn_id` is not among them.
    #[inline]
    pub(super) fn pick<const N: usize>(&mut self, names: [&'static str; N]) -> Result<Picked<'a, N>, Broken> {
        let mut picking = Picking::new(names);
        self.walk(|key, value| picking.take(key, value))?;
        Ok(picking.found)
    }

    /// The turn that it names. None as long as nothing else was asked for.
    pub(super) fn named_turn(&self) -> Option<Text<'a>> {
        self.turn.and_then(Raw::text)
    }

    /// The turn that it names; empty if it does not.
    pub(super) fn turn(&mut self) -> Text<'a> {
        // A break is found by whoever asks for members.
        let _ = self.end();
        self.named_turn().unwrap_or_default()
    }

    /// The offset behind its closing brace.
    pub(super) fn end(&mut self) -> Result<usize, Broken> {
        if self.end.is_none() {
            self.pick([])?;
        }
        Ok(self.end.unwrap_or(self.at))
    }
}
