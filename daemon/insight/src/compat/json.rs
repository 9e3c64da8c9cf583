//! JSON as the earlier tool reads it.

use serde::de::IgnoredAny;
use serde_json::Value;

/// Reads a line. A number that is out of any range is infinite for that tool, where `serde_json` reads no such line;
/// here it is the greatest number there is.
pub(super) fn read(line: &[u8]) -> Option<Value> {
    serde_json::from_slice(line).ok().or_else(|| serde_json::from_slice(&within_range(line)?).ok())
}

/// The line with numbers that can be held, if that changes anything.
fn within_range(line: &[u8]) -> Option<Vec<u8>> {
    let is_of_a_number = |byte: &u8| matches!(byte, b'0'..=b'9' | b'-' | b'+' | b'.' | b'e' | b'E');
    let (mut held, mut rest) = (Vec::with_capacity(line.len()), line);
    let mut changed = false;
    while let Some(first) = rest.first() {
        let len = match first {
            b'"' => string(rest),
            b'-' | b'0'..=b'9' => rest.iter().take_while(|byte| is_of_a_number(byte)).count(),
            _ => 1,
        };
        let (token, behind) = rest.split_at(len);
        if let Some(greatest) = greatest(token) {
            held.extend_from_slice(greatest.as_bytes());
            changed = true;
        } else {
            held.extend_from_slice(token);
        }
        rest = behind;
    }
    changed.then_some(held)
}

/// How long the string is that a text begins with.
fn string(text: &[u8]) -> usize {
    let mut escaped = false;
    let end = text.iter().skip(1).position(|byte| {
        let ends = *byte == b'"' && !escaped;
        escaped = *byte == b'\\' && !escaped;
        ends
    });
    end.map_or(text.len(), |end| end + 2)
}

/// What stands for a number that nothing can hold.
fn greatest(token: &[u8]) -> Option<String> {
    let number: f64 = std::str::from_utf8(token).ok()?.parse().ok()?;
    let is_json = || serde_json::from_slice::<IgnoredAny>(token).is_ok();
    (number.is_infinite() && is_json()).then(|| format!("{:e}", f64::MAX.copysign(number)))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use serde_json::json;

    use super::*;

    #[test]
    fn a_number_that_is_out_of_range_is_the_greatest_and_the_rest_of_the_line_as_ever() {
        let line = br#"{"a":[1e999,-1E+999, 1 ,{"b":1e999}],"c":"\"1e999\\","d":null,"1e999":true}"#;
        let expected = json!({
            "a": [f64::MAX, f64::MIN, 1, { "b": f64::MAX }], "c": "\"1e999\\", "d": null, "1e999": true,
        });
        assert_eq!(read(line).unwrap(), expected);
    }

    #[test]
    fn what_is_no_json_stays_unreadable() {
        for line in
            [r#"{"a":1e999"#, r#"{"a":1e999,"b":1e}"#, r#"{"a":01e999}"#, r#"{"a":1e999,"b":"#, "\"", "inf"]
        {
            assert_eq!(read(line.as_bytes()), None, "{line}");
        }
        let deep = format!("{}1e999{}", "[".repeat(100_000), "]".repeat(100_000));
        assert_eq!(read(deep.as_bytes()), None);
    }
}
