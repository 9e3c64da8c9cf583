//! The tables of docs/signals.md are what the rules say of themselves.

#![allow(clippy::unwrap_used, clippy::expect_used)]

use std::fmt::Write as _;
use std::path::Path;

use crate::rules::{DESCRIPTORS, Descriptor, Reach};
use crate::signal::SignalType;

/// Categories of the earlier tool that only a reader of the words can find.
const NOT_MECHANICAL: [(&str, SignalType, f64); 4] = [
    ("repeated_rephrasing", SignalType::Friction, 0.7),
    ("escalation_tone", SignalType::Friction, 0.85),
    ("platform_confusion", SignalType::Friction, 0.6),
    ("positive_feedback", SignalType::Delight, 0.9),
];

fn row(text: &mut String, rule: &Descriptor) {
    let comes = match rule.reach {
        Reach::Moment => "at a moment",
        Reach::Growing => "grows",
        Reach::Session => "whole session",
    };
    let threshold = format!("**From:** {}", rule.threshold);
    let grading =
        if rule.grading.is_empty() { String::new() } else { format!(" **Severity:** {}", rule.grading) };
    let Descriptor { category, severity, trigger, evidence, .. } = rule;
    writeln!(
        text,
        "| `{category}` | {severity} | {comes} | {trigger} {threshold}{grading} **Evidence:** {evidence} |"
    )
    .unwrap();
}

fn tables() -> String {
    let mut text = String::new();
    for (kind, title) in [(SignalType::Friction, "Friction"), (SignalType::Delight, "Delight")] {
        writeln!(text, "### {title}\n\n| category | severity | comes | when |\n| --- | --- | --- | --- |")
            .unwrap();
        for rule in DESCRIPTORS.iter().filter(|rule| rule.kind == kind) {
            row(&mut text, rule);
        }
        for (category, _, severity) in NOT_MECHANICAL.iter().filter(|(_, of, _)| *of == kind) {
            writeln!(text, "| `{category}` | {severity} | not yet | Not mechanical: only who understands the words can tell. |").unwrap();
        }
        text.push('\n');
    }
    text
}

#[test]
fn the_documentation_lists_the_rules_as_they_are() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/signals.md");
    let (begin, end) = ("<!-- rules: begin -->\n", "<!-- rules: end -->");
    let text = std::fs::read_to_string(&path).unwrap();
    let start = text.find(begin).expect("the page has a mark where the tables begin") + begin.len();
    let length = text[start..].find(end).expect("the page has a mark where the tables end");
    if std::env::var_os("UPDATE_DOCS").is_some() {
        let text = format!("{}{}{}", &text[..start], tables(), &text[start + length..]);
        std::fs::write(&path, text).unwrap();
        return;
    }
    assert_eq!(&text[start..start + length], tables(), "run this test with UPDATE_DOCS=1 to write them anew");
}
