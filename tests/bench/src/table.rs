//! What comes out: rows of figures, as a table for people or as JSON.

use std::fmt;

use serde::Serialize;

use crate::rows::Measurement;

/// What a figure counts, which says how it is shown.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Unit {
    /// A time.
    Seconds,
    /// Memory.
    Bytes,
    /// A throughput of bytes.
    BytesPerSecond,
    /// A throughput of anything else.
    PerSecond,
}

/// What a figure has to reach.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Target {
    /// At most so many times the reference.
    RatioAtMost(f64),
    /// At least so many times the reference.
    RatioAtLeast(f64),
    /// At most this, in the row's unit.
    AtMost(f64),
    /// At most so much above the reference, in the row's unit.
    AboveReference(f64),
}

/// One line of the table. All figures are in the row's unit.
#[derive(Debug, Clone, Serialize)]
pub(crate) struct Row {
    /// What was measured.
    pub(crate) name: String,
    unit: Unit,
    ours: f64,
    /// What the reference is, and its figure.
    #[serde(skip_serializing_if = "Option::is_none")]
    reference: Option<Named>,
    #[serde(skip_serializing_if = "Option::is_none")]
    ratio: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    target: Option<Target>,
    #[serde(skip_serializing_if = "Option::is_none")]
    met: Option<bool>,
    /// Other figures, for information.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    beside: Vec<Named>,
}

/// A figure of something that is not ours.
#[derive(Debug, Clone, Serialize)]
struct Named {
    name: String,
    value: f64,
}

impl Row {
    pub(crate) fn new(name: impl Into<String>, unit: Unit, ours: f64) -> Self {
        let name = name.into();
        Self { name, unit, ours, reference: None, ratio: None, target: None, met: None, beside: Vec::new() }
    }

    /// Sets it against what was measured beside it.
    pub(crate) fn against(mut self, name: &str, value: f64) -> Self {
        self.ratio = Some(self.ours / value);
        self.reference = Some(Named { name: name.to_owned(), value });
        self
    }

    /// Says what is to be reached, and whether it is.
    pub(crate) fn aiming(mut self, target: Target) -> Self {
        let reference = self.reference.as_ref().map_or(0.0, |reference| reference.value);
        let ratio = self.ratio.unwrap_or(f64::NAN);
        self.met = Some(match target {
            Target::RatioAtMost(limit) => ratio <= limit,
            Target::RatioAtLeast(limit) => ratio >= limit,
            Target::AtMost(limit) => self.ours <= limit,
            Target::AboveReference(limit) => self.ours - reference <= limit,
        });
        self.target = Some(target);
        self
    }

    /// Adds a figure for information.
    pub(crate) fn beside(mut self, name: &str, value: Option<f64>) -> Self {
        self.beside.extend(value.map(|value| Named { name: name.to_owned(), value }));
        self
    }
}

/// The whole table.
#[derive(Debug, Default, Serialize)]
pub(crate) struct Table {
    pub(crate) rows: Vec<Row>,
    pub(crate) failures: Vec<Failed>,
}

/// A measurement that could not be taken.
#[derive(Debug, Serialize)]
pub(crate) struct Failed {
    measurement: String,
    error: String,
}

impl Table {
    pub(crate) fn failed(&mut self, measurement: Measurement, error: &anyhow::Error) {
        self.failures.push(Failed { measurement: measurement.to_string(), error: format!("{error:#}") });
    }
}

impl fmt::Display for Table {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        if !self.rows.is_empty() {
            let head = ["", "ours", "reference", "ratio", "target", "met"];
            writeln!(
                out,
                "{:<38}{:>13}{:>13}{:>8}  {:<18}{}",
                head[0], head[1], head[2], head[3], head[4], head[5]
            )?;
        }
        for row in &self.rows {
            let reference =
                row.reference.as_ref().map_or_else(String::new, |named| shown(named.value, row.unit));
            let ratio = row.ratio.map_or_else(String::new, |ratio| format!("{ratio:.2}"));
            let target = row.target.map_or_else(String::new, |target| row.shown_target(target));
            let met = row.met.map_or("", |met| if met { "yes" } else { "NO" });
            let ours = shown(row.ours, row.unit);
            writeln!(out, "{:<38}{ours:>13}{reference:>13}{ratio:>8}  {target:<18}{met}", row.name)?;
            for named in &row.beside {
                writeln!(out, "{:<38}{:>13}", format!("  {}", named.name), shown(named.value, row.unit))?;
            }
        }
        let mut references: Vec<(&str, &str)> = Vec::new();
        for row in &self.rows {
            let group = row.name.split(',').next().unwrap_or_default();
            let pair = row.reference.as_ref().map(|named| (group, named.name.as_str()));
            references.extend(pair.filter(|pair| !references.contains(pair)));
        }
        if !references.is_empty() {
            writeln!(out, "\nReferences:")?;
        }
        for (row, reference) in references {
            writeln!(out, "  {row}: {reference}")?;
        }
        for failed in &self.failures {
            writeln!(out, "\nNOT MEASURED: {}: {}", failed.measurement, failed.error)?;
        }
        Ok(())
    }
}

impl Row {
    fn shown_target(&self, target: Target) -> String {
        match target {
            Target::RatioAtMost(limit) => format!("ratio ≤ {limit}"),
            Target::RatioAtLeast(limit) => format!("ratio ≥ {limit}"),
            Target::AtMost(limit) => format!("≤ {}", shown(limit, self.unit)),
            Target::AboveReference(limit) => format!("ref. + {}", shown(limit, self.unit)),
        }
    }
}

/// A figure with its unit, scaled for people.
fn shown(value: f64, unit: Unit) -> String {
    const KI: f64 = 1024.0;
    match unit {
        Unit::Seconds if value < 0.001 => format!("{:.1} µs", value * 1e6),
        Unit::Seconds if value < 1.0 => format!("{:.2} ms", value * 1e3),
        Unit::Seconds => format!("{value:.2} s"),
        Unit::Bytes if value < KI * KI => format!("{:.0} KiB", value / KI),
        Unit::Bytes => format!("{:.1} MiB", value / (KI * KI)),
        Unit::BytesPerSecond => format!("{:.0} MiB/s", value / (KI * KI)),
        Unit::PerSecond if value < 100.0 => format!("{value:.2} /s"),
        Unit::PerSecond => format!("{value:.0} /s"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_ratio_is_held_against_its_target_in_the_right_direction() {
        let row = |target| Row::new("r", Unit::Seconds, 3.0).against("a", 2.0).aiming(target).met;
        assert_eq!(row(Target::RatioAtMost(1.5)), Some(true));
        assert_eq!(row(Target::RatioAtMost(1.4)), Some(false));
        assert_eq!(row(Target::RatioAtLeast(1.5)), Some(true));
        assert_eq!(row(Target::RatioAtLeast(1.6)), Some(false));
        assert_eq!(row(Target::AboveReference(1.0)), Some(true));
        assert_eq!(row(Target::AboveReference(0.9)), Some(false));
        assert_eq!(row(Target::AtMost(2.9)), Some(false));
    }

    #[test]
    fn figures_are_scaled_for_people() {
        assert_eq!(shown(0.000_073, Unit::Seconds), "73.0 µs");
        assert_eq!(shown(0.0022, Unit::Seconds), "2.20 ms");
        assert_eq!(shown(1_572_864.0, Unit::Bytes), "1.5 MiB");
        assert_eq!(shown(0.5, Unit::PerSecond), "0.50 /s");
    }
}
