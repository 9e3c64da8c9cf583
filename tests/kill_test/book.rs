//! The book that the children keep themselves: what a daemon says of them can be compared with it.

use std::collections::BTreeMap;
use std::fs;
use std::path::PathBuf;

/// What a child does first: it signs in. One short line is one write, which no other child can break up.
pub(crate) const BEGIN: &str = r#"echo "begin $SPINDLE_RUN_ID" >>"$BOOK/$KEY""#;

/// What a child does last, when nobody has ended it before.
pub(crate) const END: &str = r#"echo "end $SPINDLE_RUN_ID" >>"$BOOK/$KEY""#;

/// Makes a child tell on itself if somebody else is in the room with it.
pub(crate) fn alone_in(room: &str) -> String {
    format!(
        r#"exec 9>"$BOOK/room-{room}"; flock -n 9 || echo "$KEY is not alone in {room}" >>"$BOOK/{COMPLAINTS}""#
    )
}

/// Makes a child complain unless a condition of the shell holds.
pub(crate) fn expect(condition: &str) -> String {
    format!(r#"{condition} || echo "$KEY: not so: {}" >>"$BOOK/{COMPLAINTS}""#, condition.replace('"', "'"))
}

/// The file of what should not have happened.
const COMPLAINTS: &str = "complaints";

/// The directory that children write into, a file for each key.
#[derive(Debug, Clone)]
pub(crate) struct Book(pub(crate) PathBuf);

/// How often something began and came to its end.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Times {
    pub(crate) begun: usize,
    pub(crate) ended: usize,
}

impl Book {
    /// What was written under a key, by run.
    pub(crate) fn read(&self, key: &str) -> BTreeMap<String, Times> {
        let text = fs::read_to_string(self.0.join(key)).unwrap_or_default();
        let mut runs: BTreeMap<String, Times> = BTreeMap::new();
        for line in text.lines() {
            let (word, run) =
                line.split_once(' ').unwrap_or_else(|| panic!("the book of {key} has {line:?}"));
            let times = runs.entry(run.to_owned()).or_default();
            match word {
                "begin" => times.begun += 1,
                "end" => times.ended += 1,
                _ => panic!("the book of {key} has {line:?}"),
            }
        }
        runs
    }

    /// What children complained of.
    pub(crate) fn complaints(&self) -> String {
        fs::read_to_string(self.0.join(COMPLAINTS)).unwrap_or_default()
    }
}
