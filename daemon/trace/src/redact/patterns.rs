//! What a secret looks like, and a home directory.
//!
//! One search by literals decides whether a text is looked at any closer: most have none of them. What the
//! patterns find in such a text is judged again where a pattern alone would be too eager (code is full of
//! `token = next`).

use std::ops::Range;
use std::sync::LazyLock;

use aho_corasick::AhoCorasick;
use regex::{Captures, Match, Regex};

use super::Kind;

/// Something to be replaced.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Hit {
    pub(super) range: Range<usize>,
    pub(super) kind: Kind,
    /// The part of it that only what stands around it tells: it can be known again elsewhere.
    pub(super) value: Option<Range<usize>>,
}

impl Hit {
    /// Something that is known by itself.
    pub(super) fn of(range: Range<usize>, kind: Kind) -> Self {
        Self { range, kind, value: None }
    }

    /// Something that is known by its context; of a login, `name:password`, the password.
    fn told(found: Match<'_>, login: bool, kind: Kind) -> Self {
        let behind = found.as_str().find(':').filter(|_| login).map_or(0, |colon| colon + 1);
        Self { range: found.range(), kind, value: Some(found.start() + behind..found.end()) }
    }
}

/// No pattern matches a text that has none of these.
const TRIGGERS: &[&str] = &[
    "sk-",
    "sk_live",
    "sk_test",
    "rk_live",
    "ghp_",
    "gho_",
    "ghu_",
    "ghs_",
    "ghr_",
    "github_pat_",
    "glpat-",
    "akia",
    "asia",
    "aiza",
    "npm_",
    "pypi-",
    "xox",
    "xapp-",
    "hf_",
    "sg.",
    ":aa",
    "dop_v1_",
    "shpat_",
    "ya29.",
    "dckr_pat_",
    "whsec_",
    "curl",
    "eyj",
    "-----begin",
    "auth",
    "bearer",
    "passw",
    "pwd",
    "secret",
    "token",
    "key",
    "credential",
    "cookie",
    "://",
    "/home/",
    "/users/",
    "/root",
    "\\users\\",
    "\\home\\",
];

/// So many bytes before dots are more than somebody leaves who shortens a secret to show it.
const SHORTENED: usize = 12;

/// Names that say of their value that it is secret.
const SECRET_NAME: &str = r"[A-Za-z0-9_.\-]*(?i:passw(?:or)?d|passphrase|pwd|secret|token|api[_\-]?key|access[_\-]?key|private[_\-]?key|secret[_\-]?key|signing[_\-]?key|encryption[_\-]?key|auth[_\-]?key|account[_\-]?key|credentials?)(?:_?[A-Z0-9]+)?";

#[expect(clippy::expect_used, reason = "the words are constant, and a test builds the automaton")]
static TRIGGER: LazyLock<AhoCorasick> = LazyLock::new(|| {
    AhoCorasick::builder().ascii_case_insensitive(true).build(TRIGGERS).expect("a valid list of words")
});

/// Where something begins: also behind an escape, as in JSON that is the text of a JSON string (the arguments
/// of a call), where a line that begins with a token reads `\nghp_…`.
const BEGIN: &str = r"(?:\b|\\[nrtbf])";

/// A quote, or none; within JSON that is text it is escaped as often as it is deep.
const QUOTE: &str = r#"(?:\\*["'])?"#;

/// All patterns in one, so that a text is read once. Which group took part says what was found.
#[expect(clippy::expect_used, reason = "the pattern is constant, and a test builds it")]
static PATTERN: LazyLock<Regex> = LazyLock::new(|| {
    let groups: [(&str, &str); 11] = [
        (
            "pem",
            r"-----BEGIN [A-Z0-9 ]*PRIVATE KEY(?: BLOCK)?-----(?s:.*?)(?:-----END [A-Z0-9 ]*PRIVATE KEY(?: BLOCK)?-----|\z)",
        ),
        ("jwt", r"%BEGIN%(?P<jwt_value>eyJ[A-Za-z0-9_\-]{8,}\.eyJ[A-Za-z0-9_\-]{8,}\.[A-Za-z0-9_\-]{8,})"),
        (
            "token",
            concat!(
                r"%BEGIN%(?P<token_value>sk-[A-Za-z0-9_\-]{16,}|[sr]k_(?:live|test)_[A-Za-z0-9]{16,}|gh[pousr]_[A-Za-z0-9]{20,}",
                r"|github_pat_[A-Za-z0-9_]{20,}|glpat-[A-Za-z0-9_\-]{16,}|(?:AKIA|ASIA)[A-Z0-9]{16}\b|AIza[A-Za-z0-9_\-]{30,}",
                r"|npm_[A-Za-z0-9]{30,}|pypi-[A-Za-z0-9_\-]{40,}|xox[abeoprs]-[A-Za-z0-9\-]{10,}|xapp-[A-Za-z0-9\-]{10,}",
                r"|hf_[A-Za-z0-9]{30,}|SG\.[A-Za-z0-9_\-]{16,}\.[A-Za-z0-9_\-]{16,}|dop_v1_[a-f0-9]{40,}|shpat_[a-fA-F0-9]{32}",
                r"|ya29\.[A-Za-z0-9_\-]{20,}|dckr_pat_[A-Za-z0-9_\-]{20,}|whsec_[A-Za-z0-9+/=]{20,})",
                r"|(?:%BEGIN%|bot)(?P<bot_token>[0-9]{8,10}:AA[A-Za-z0-9_\-]{30,})",
            ),
        ),
        ("url", r#"%BEGIN%[a-zA-Z][a-zA-Z0-9+.\-]*://(?P<userinfo>[^\s/@"'<>\\`]+)@"#),
        (
            "header",
            r"(?i:%BEGIN%(?:proxy-)?authorization%QUOTE%\s*[:=]\s*%QUOTE%(?:(?:bearer|basic|token|digest)\s+)?|%BEGIN%bearer\s+|%BEGIN%x-(?:api|auth)-(?:key|token)%QUOTE%\s*[:=]\s*%QUOTE%)(?P<header_value>[A-Za-z0-9._~+/=%;\-]{8,})",
        ),
        (
            "cookie",
            r#"(?i:%BEGIN%(?:set-)?cookie%QUOTE%:\s*%QUOTE%)(?P<cookies>[^\s"'\\=;]+=[^"'\\\r\n]{4,})"#,
        ),
        // Bounded, or a line with many commands would be read to its end for each of them.
        (
            "login",
            r#"%BEGIN%curl\b[^\r\n|&;]{0,128}?\s(?:-u|--user)(?:\s+|=)?%QUOTE%(?P<user>[^\s:"'\\]+:[^\s"'\\]{4,})"#,
        ),
        (
            "assignment",
            concat!(
                r"(?P<name>%NAME%)%QUOTE%(?P<equals>\s*(?:=>|:=|=|:)\s*)",
                r#"(?:\\*"(?P<double>(?:[^"\s\\]|\\+[^"\s\\]){6,})|\\*'(?P<single>(?:[^'\s\\]|\\+[^'\s\\]){6,})|(?P<bare>[^\s"'`,;&|<>(){}\[\]\\]{6,}))"#
            ),
        ),
        (
            "env",
            r#"%BEGIN%(?P<env_name>[A-Z][A-Z0-9]*_[A-Z0-9_]*)=["']?(?P<env_value>[A-Za-z0-9+/_=.\-]{20,})"#,
        ),
        (
            "home",
            r"(?:^|[^A-Za-z0-9._~\-]|\\[nrtbf])(?P<home_path>(?:(?:/var|/usr|/export)?/home|/Users)/[A-Za-z0-9][A-Za-z0-9._\-]*|[A-Za-z]:[\\/]+(?i:users)[\\/]+[A-Za-z0-9][A-Za-z0-9._\-]*)",
        ),
        ("root", r"(?:^|[^A-Za-z0-9._~\-]|\\[nrtbf])(?P<root_path>/root)(?:[^A-Za-z0-9._\-]|$)"),
    ];
    let parts: Vec<String> = groups
        .iter()
        .map(|(name, pattern)| {
            let pattern =
                pattern.replace("%NAME%", SECRET_NAME).replace("%BEGIN%", BEGIN).replace("%QUOTE%", QUOTE);
            format!("(?P<{name}>{pattern})")
        })
        .collect();
    Regex::new(&parts.join("|")).expect("a valid pattern")
});

/// Whether a name says of its value that it is secret: a key of a JSON object.
#[expect(clippy::expect_used, reason = "the pattern is constant, and a test builds it")]
static WHOLE_NAME: LazyLock<Regex> = LazyLock::new(|| {
    Regex::new(&format!("^(?:{SECRET_NAME}|(?i:authorization|proxy-authorization|x-api-key))$"))
        .expect("a valid pattern")
});

/// Whether a text is worth looking at.
pub(super) fn may_match(text: &[u8]) -> bool {
    // `NAME=`: the name of a variable may be anything.
    let variable =
        |pair: &[u8]| pair[1] == b'=' && (pair[0].is_ascii_uppercase() || pair[0].is_ascii_digit());
    TRIGGER.is_match(text) || text.windows(2).any(variable)
}

/// Whether the value of a JSON key of this name is a secret.
pub(super) fn names_a_secret(key: &str, value: &str) -> bool {
    key.len() <= 128
        && value.len() >= 6
        && !value.contains(char::is_whitespace)
        && WHOLE_NAME.is_match(key)
        && is_no_placeholder(value)
        && !is_plain_word(value)
}

/// All that is to be replaced in a text, in order and without overlap.
pub(super) fn find(text: &str) -> Vec<Hit> {
    let mut hits = Vec::new();
    let mut from = 0;
    while let Some(found) = PATTERN.captures_at(text, from) {
        let Some(whole) = found.get(0) else { break };
        if let Some(hit) = judge(&found) {
            // What was matched before the value may be the end of the next thing, so go on right behind it.
            from = hit.range.end.max(whole.start() + 1);
            hits.push(hit);
        } else {
            // Only the name is skipped, or the escape before it: the rest may be something that another pattern knows.
            let variable = found.name("env_name").map(|name| match name.start() {
                start if start > whole.start() => start,
                _ => name.end() + 1,
            });
            let behind = variable.or_else(|| found.name("equals").map(|equals| equals.end()));
            from = behind.unwrap_or(whole.end()).max(whole.start() + 1);
        }
        while !text.is_char_boundary(from) {
            from += 1;
        }
    }
    hits
}

/// What a match really is.
fn judge(found: &Captures<'_>) -> Option<Hit> {
    let hit = |name: &str, kind| found.name(name).map(|group| Hit::of(group.range(), kind));
    if found.name("url").is_some() {
        let userinfo = found.name("userinfo")?;
        // `git@`, `user@`: a name alone is no secret; a long one is a token.
        let (name, password) =
            userinfo.as_str().split_once(':').map_or((userinfo.as_str(), ""), |(name, rest)| (name, rest));
        let secret = !password.is_empty() || (name.len() >= 16 && !is_plain_word(name));
        return if secret && is_no_placeholder(userinfo.as_str()) {
            Some(Hit::told(userinfo, true, Kind::Url))
        } else {
            None
        };
    }
    if let Some(value) = found.name("header_value") {
        // `Authorization: required`, `a bearer certificate`: words.
        let plain =
            is_plain_word(value.as_str()) && !value.as_str().bytes().any(|byte| byte.is_ascii_uppercase());
        return if plain || !is_no_placeholder(value.as_str()) {
            None
        } else {
            Some(Hit::told(value, false, Kind::Header))
        };
    }
    if found.name("assignment").is_some() {
        return assignment(found);
    }
    if let Some(value) = found.name("env_value") {
        return is_random(value.as_str()).then(|| Hit::told(value, false, Kind::Env));
    }
    if let Some(login) = found.name("user") {
        return is_no_placeholder(login.as_str()).then(|| Hit::told(login, true, Kind::Header));
    }
    hit("pem", Kind::PrivateKey)
        .or_else(|| hit("jwt_value", Kind::Jwt))
        .or_else(|| hit("token_value", Kind::Token))
        .or_else(|| hit("bot_token", Kind::Token))
        .or_else(|| hit("cookies", Kind::Header))
        .or_else(|| hit("home_path", Kind::Home))
        .or_else(|| hit("root_path", Kind::Home))
}

/// `password=…` and the like. Code and prose have many of these that are no secrets.
fn assignment(found: &Captures<'_>) -> Option<Hit> {
    let name = found.name("name")?.as_str();
    let equals = found.name("equals")?.as_str();
    let quoted = found.name("double").or_else(|| found.name("single"));
    let value = quoted.or_else(|| found.name("bare"))?;
    let text = value.as_str();
    let bare = quoted.is_none();
    // `token: Token`, `password = getpass.getpass`, `secret == other`: names, not values.
    let spaced = equals.trim() != equals;
    let tied = is_plain_word(text)
        && (text.to_ascii_lowercase().contains(&name.to_ascii_lowercase())
            || name.to_ascii_lowercase().contains(&text.to_ascii_lowercase()));
    let code = bare && (spaced || equals.trim() != "=") && is_plain_word(text);
    let number = text.bytes().all(|byte| byte.is_ascii_digit() || matches!(byte, b'.' | b',' | b'_'));
    let doubled = text.starts_with(['=', '/', '~']);
    if tied || code || number || doubled || !is_no_placeholder(text) || (bare && is_known_word(text)) {
        return None;
    }
    // A dotted name is a member of something, whatever it is called.
    if bare && text.contains('.') && is_plain_word(text) {
        return None;
    }
    Some(Hit::told(value, false, Kind::Assignment))
}

/// Letters, dots and underscores: a name or a word rather than a value.
fn is_plain_word(text: &str) -> bool {
    text.bytes()
        .all(|byte| byte.is_ascii_alphabetic() || matches!(byte, b'_' | b'.' | b':' | b'-' | b'?' | b'!'))
}

fn is_known_word(text: &str) -> bool {
    ["undefined", "required", "optional", "string", "String", "boolean", "number", "process.env", "Option"]
        .iter()
        .any(|word| text.starts_with(word))
}

/// Not `$VAR`, `<your-key>`, `%s`, `***`, or what was replaced before.
fn is_no_placeholder(text: &str) -> bool {
    let starts = text.starts_with(['$', '<', '%', '{', '*', '[']);
    let same = text.bytes().all(|byte| Some(byte) == text.bytes().next());
    // `sk-12…`: shortened by somebody who knew. What was cut because it was long has its beginning left.
    let shown = ["...", "…"].iter().filter_map(|dots| text.find(dots)).min();
    !starts && !same && !text.contains("${") && shown.is_none_or(|shown| shown >= SHORTENED)
}

/// Letters and digits without a pattern to them. Hexadecimal alone is a hash more often than a key, and a
/// path has slashes between words.
pub(super) fn is_random(text: &str) -> bool {
    let has_digit = text.bytes().any(|byte| byte.is_ascii_digit());
    let has_upper = text.bytes().any(|byte| byte.is_ascii_uppercase());
    let has_lower = text.bytes().any(|byte| byte.is_ascii_lowercase());
    let hex = text.bytes().all(|byte| byte.is_ascii_hexdigit());
    let path = text.starts_with('/') || text.starts_with('.') || text.contains("/.");
    has_digit && has_upper && has_lower && !hex && !path && entropy(text) >= 3.9
}

/// Bits per byte.
fn entropy(text: &str) -> f64 {
    let mut counts = [0_u32; 256];
    for byte in text.bytes() {
        counts[usize::from(byte)] += 1;
    }
    #[expect(clippy::cast_precision_loss, reason = "the patterns bound the length far below 2^52")]
    let total = text.len() as f64;
    counts
        .iter()
        .filter(|count| **count > 0)
        .map(|count| {
            let share = f64::from(*count) / total;
            -share * share.log2()
        })
        .sum()
}
