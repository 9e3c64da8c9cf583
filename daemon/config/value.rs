//! The types of values: how each is read from TOML, named in errors, and shown.

use std::collections::BTreeMap;
use std::num::{NonZeroU64, NonZeroUsize};
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::time::Duration;

use engine::Status;
use toml::Spanned;
use toml::de::{DeString, DeValue};

use super::suggest::{choice, did_you_mean};

/// A parsed value and its place in the text.
pub(crate) type Node<'i> = Spanned<DeValue<'i>>;

/// A value that is not allowed, or a key that is not known.
#[derive(Debug)]
pub(crate) struct Wrong {
    /// Where in the text, in bytes.
    pub(crate) span: Range<usize>,
    /// What is wrong, what is allowed.
    pub(crate) message: String,
}

impl Wrong {
    pub(crate) fn new(span: Range<usize>, message: impl Into<String>) -> Self {
        Self { span, message: message.into() }
    }
}

/// A type that a key can have.
pub(crate) trait Value: Sized {
    /// Whether it is text in TOML, so that a variable holds it without quotes.
    const QUOTED: bool;

    /// What is allowed, to come after "expected".
    fn form() -> String;

    /// Reads it.
    fn read(node: &Node<'_>) -> Result<Self, Wrong>;

    /// As TOML; none: there is no value.
    fn show(&self) -> Option<toml::Value>;
}

/// A place for a value, whatever its type: what the table of keys points to.
pub(crate) trait Field {
    /// See [`Value::QUOTED`].
    fn is_quoted(&self) -> bool;
    /// See [`Value::form`].
    #[cfg(test)]
    fn form(&self) -> String;
    /// Reads a value into the place, which stays as it is when the value is wrong.
    fn set(&mut self, node: &Node<'_>) -> Result<(), Wrong>;
    /// See [`Value::show`].
    fn show(&self) -> Option<toml::Value>;
}

impl<T: Value> Field for T {
    fn is_quoted(&self) -> bool {
        T::QUOTED
    }

    #[cfg(test)]
    fn form(&self) -> String {
        T::form()
    }

    fn set(&mut self, node: &Node<'_>) -> Result<(), Wrong> {
        *self = T::read(node)?;
        Ok(())
    }

    fn show(&self) -> Option<toml::Value> {
        Value::show(self)
    }
}

fn unexpected<T: Value>(node: &Node<'_>) -> Wrong {
    let found = match node.get_ref() {
        DeValue::String(text) => format!("{text:?}"),
        DeValue::Integer(number) => number.to_string(),
        DeValue::Float(number) => number.to_string(),
        DeValue::Boolean(switch) => switch.to_string(),
        DeValue::Array(_) => "a list".to_owned(),
        DeValue::Table(_) => "a table".to_owned(),
        DeValue::Datetime(_) => "a date".to_owned(),
    };
    Wrong::new(node.span(), format!("expected {}, found {found}", T::form()))
}

/// Reads text and gives it to `parse`, which says what it would add to the usual message, if anything.
fn from_text<T: Value>(
    node: &Node<'_>,
    parse: impl FnOnce(&str) -> Result<T, Option<String>>,
) -> Result<T, Wrong> {
    let DeValue::String(text) = node.get_ref() else { return Err(unexpected::<T>(node)) };
    parse(text).map_err(|more| {
        let mut wrong = unexpected::<T>(node);
        wrong.message.extend(more.map(|more| format!("; {more}")));
        wrong
    })
}

fn integer(node: &Node<'_>) -> Option<u64> {
    let DeValue::Integer(number) = node.get_ref() else { return None };
    u64::from_str_radix(number.as_str(), number.radix()).ok()
}

impl Value for bool {
    const QUOTED: bool = false;

    fn form() -> String {
        "true or false".to_owned()
    }

    fn read(node: &Node<'_>) -> Result<Self, Wrong> {
        node.get_ref().as_bool().ok_or_else(|| unexpected::<Self>(node))
    }

    fn show(&self) -> Option<toml::Value> {
        Some((*self).into())
    }
}

/// Whole numbers of several types, each with its smallest value.
macro_rules! whole_numbers {
    ($($type:ty: $smallest:literal),*) => {$(
        impl Value for $type {
            const QUOTED: bool = false;

            fn form() -> String {
                concat!("a whole number from ", $smallest).to_owned()
            }

            fn read(node: &Node<'_>) -> Result<Self, Wrong> {
                integer(node).and_then(|number| number.try_into().ok()).ok_or_else(|| unexpected::<Self>(node))
            }

            fn show(&self) -> Option<toml::Value> {
                Some(i64::try_from(u64::try_from(*self).unwrap_or(u64::MAX)).unwrap_or(i64::MAX).into())
            }
        }
    )*};
}

/// A number of things of which there is at least one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct AtLeastOne(pub(crate) NonZeroUsize);

impl TryFrom<u64> for AtLeastOne {
    type Error = std::num::TryFromIntError;

    fn try_from(number: u64) -> Result<Self, Self::Error> {
        Ok(Self(NonZeroU64::try_from(number)?.try_into()?))
    }
}

impl From<AtLeastOne> for u64 {
    fn from(number: AtLeastOne) -> Self {
        number.0.get() as u64
    }
}

whole_numbers!(u32: "0", u64: "0", AtLeastOne: "1");

impl Value for String {
    const QUOTED: bool = true;

    fn form() -> String {
        "text".to_owned()
    }

    fn read(node: &Node<'_>) -> Result<Self, Wrong> {
        from_text(node, |text| if text.contains('\0') { Err(None) } else { Ok(text.to_owned()) })
    }

    fn show(&self) -> Option<toml::Value> {
        Some(self.as_str().into())
    }
}

impl Value for PathBuf {
    const QUOTED: bool = true;

    fn form() -> String {
        "an absolute path".to_owned()
    }

    fn read(node: &Node<'_>) -> Result<Self, Wrong> {
        from_text(node, |text| {
            let path = Path::new(text);
            if path.is_absolute() && !text.contains('\0') { Ok(path.to_owned()) } else { Err(None) }
        })
    }

    fn show(&self) -> Option<toml::Value> {
        Some(self.to_string_lossy().into_owned().into())
    }
}

/// Units of time and their lengths in milliseconds, longest first.
const TIMES: [(&str, u64); 6] =
    [("w", 604_800_000), ("d", 86_400_000), ("h", 3_600_000), ("m", 60_000), ("s", 1000), ("ms", 1)];

impl Value for Duration {
    const QUOTED: bool = true;

    fn form() -> String {
        "a length of time such as \"10s\", \"1h30m\" or \"30d\" (units: ms, s, m, h, d, w)".to_owned()
    }

    fn read(node: &Node<'_>) -> Result<Self, Wrong> {
        from_text(node, |text| sum_of_units(text, &TIMES).map(Self::from_millis).ok_or(None))
    }

    fn show(&self) -> Option<toml::Value> {
        Some(in_largest_unit(u64::try_from(self.as_millis()).unwrap_or(u64::MAX), &TIMES).into())
    }
}

/// A number of bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Size(pub(crate) u64);

/// Units of size in bytes. Those of two come first, since sizes are shown in them.
const SIZES: [(&str, u64); 9] = [
    ("TiB", 1 << 40),
    ("GiB", 1 << 30),
    ("MiB", 1 << 20),
    ("KiB", 1 << 10),
    ("TB", 1_000_000_000_000),
    ("GB", 1_000_000_000),
    ("MB", 1_000_000),
    ("kB", 1000),
    ("B", 1),
];

impl Value for Size {
    const QUOTED: bool = true;

    fn form() -> String {
        "a size such as \"64MiB\" (units: B, kB, KiB, MB, MiB, GB, GiB, TB, TiB)".to_owned()
    }

    fn read(node: &Node<'_>) -> Result<Self, Wrong> {
        from_text(node, |text| sum_of_units(text, &SIZES).map(Self).ok_or(None))
    }

    fn show(&self) -> Option<toml::Value> {
        Some(in_largest_unit(self.0, &SIZES).into())
    }
}

/// The sum of numbers that each have a unit, such as `1h30m`; none: it is something else, or too large.
fn sum_of_units(text: &str, units: &[(&str, u64)]) -> Option<u64> {
    let mut rest = text.trim();
    let mut sum = 0_u64;
    if rest.is_empty() {
        return None;
    }
    while !rest.is_empty() {
        let digits = rest.find(|c: char| !c.is_ascii_digit())?;
        let (number, tail) = rest.split_at(digits);
        let tail = tail.trim_start();
        let unit_end = tail.find(|c: char| !c.is_ascii_alphabetic()).unwrap_or(tail.len());
        let (unit, tail) = tail.split_at(unit_end);
        let (_, scale) = units.iter().find(|(name, _)| *name == unit)?;
        sum = sum.checked_add(number.parse::<u64>().ok()?.checked_mul(*scale)?)?;
        rest = tail.trim_start();
    }
    Some(sum)
}

fn in_largest_unit(number: u64, units: &[(&str, u64)]) -> String {
    let fits = |(_, scale): &&(&str, u64)| number != 0 && number.is_multiple_of(*scale);
    let (unit, scale) = units.iter().find(fits).or(units.last()).copied().unwrap_or(("", 1));
    format!("{}{unit}", number / scale)
}

/// Types of which there are only some values, each a word.
macro_rules! choices {
    ($($type:ty: $all:expr, $word:expr;)*) => {$(
        impl Value for $type {
            const QUOTED: bool = true;

            fn form() -> String {
                choice($all.map(|value: $type| $word(&value)))
            }

            fn read(node: &Node<'_>) -> Result<Self, Wrong> {
                from_text(node, |text| {
                    let all: Vec<$type> = $all.collect();
                    let found = all.iter().find(|value| $word(value) == text).cloned();
                    found.ok_or_else(|| did_you_mean(text, all.iter().map(|value| $word(value))))
                })
            }

            fn show(&self) -> Option<toml::Value> {
                Some($word(self).into())
            }
        }
    )*};
}

/// How the log is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum LogFormat {
    /// Lines for people.
    Human,
    /// A JSON object per line.
    Json,
}

impl LogFormat {
    const ALL: [Self; 2] = [Self::Human, Self::Json];

    fn word(self) -> &'static str {
        match self {
            Self::Human => "human",
            Self::Json => "json",
        }
    }
}

/// The kind of a workflow that this daemon knows.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Kind(pub(crate) &'static str);

/// The workflows that `main` registers.
pub(super) const KINDS: [&str; 2] = ["exec", "autorun"];

/// An outcome of a run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Outcome(pub(crate) Status);

choices! {
    LogFormat: Self::ALL.into_iter(), |format: &LogFormat| format.word();
    Kind: KINDS.into_iter().map(Kind), |kind: &Kind| kind.0;
    Outcome: Status::ALL.into_iter().filter(|status| status.is_ended()).map(Outcome),
        |outcome: &Outcome| outcome.0.word();
}

/// A program and its first arguments, as one text in the manner of a shell or as a list. The program is a
/// name to be found on `PATH` or an absolute path: a run's working directory is anywhere.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Words(pub(crate) Vec<String>);

impl Value for Words {
    const QUOTED: bool = true;

    fn form() -> String {
        "a program on PATH or an absolute path, with arguments if need be, such as \"npx codex\"".to_owned()
    }

    fn read(node: &Node<'_>) -> Result<Self, Wrong> {
        let words = match node.get_ref() {
            DeValue::String(text) => shlex::split(text),
            DeValue::Array(_) => Some(Vec::read(node)?),
            _ => None,
        };
        let program_is_found = |words: &Vec<String>| {
            words
                .first()
                .is_some_and(|first| !first.is_empty() && (!first.contains('/') || first.starts_with('/')))
        };
        words.filter(program_is_found).map(Self).ok_or_else(|| unexpected::<Self>(node))
    }

    fn show(&self) -> Option<toml::Value> {
        match self.0.as_slice() {
            [word] if !word.contains(|c: char| c.is_whitespace() || "'\"\\".contains(c)) => {
                Some(word.as_str().into())
            }
            words => Some(words.to_vec().into()),
        }
    }
}

impl<T: Value> Value for Vec<T> {
    const QUOTED: bool = false;

    fn form() -> String {
        format!("a list, each entry {}", T::form())
    }

    fn read(node: &Node<'_>) -> Result<Self, Wrong> {
        let DeValue::Array(entries) = node.get_ref() else { return Err(unexpected::<Self>(node)) };
        entries.iter().map(T::read).collect()
    }

    fn show(&self) -> Option<toml::Value> {
        Some(toml::Value::Array(self.iter().filter_map(Value::show).collect()))
    }
}

impl<K: Value + Ord, V: Value> Value for BTreeMap<K, V> {
    const QUOTED: bool = false;

    fn form() -> String {
        format!("a table, each key {}, each value {}", K::form(), V::form())
    }

    fn read(node: &Node<'_>) -> Result<Self, Wrong> {
        let DeValue::Table(entries) = node.get_ref() else { return Err(unexpected::<Self>(node)) };
        let entry = |(key, value): (&Spanned<DeString<'_>>, &Node<'_>)| {
            let key = Spanned::new(key.span(), DeValue::String(key.get_ref().clone()));
            Ok((K::read(&key)?, V::read(value)?))
        };
        entries.iter().map(entry).collect()
    }

    fn show(&self) -> Option<toml::Value> {
        let entry = |(key, value): (&K, &V)| Some((key.show()?.as_str()?.to_owned(), value.show()?));
        Some(toml::Value::Table(self.iter().filter_map(entry).collect()))
    }
}

impl<T: Value> Value for Option<T> {
    const QUOTED: bool = T::QUOTED;

    fn form() -> String {
        T::form()
    }

    fn read(node: &Node<'_>) -> Result<Self, Wrong> {
        T::read(node).map(Some)
    }

    fn show(&self) -> Option<toml::Value> {
        self.as_ref().and_then(Value::show)
    }
}
