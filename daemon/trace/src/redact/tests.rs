#![allow(clippy::unwrap_used, clippy::expect_used)]

use std::borrow::Cow;

use proptest::prelude::*;
use serde_json::{Value, json};

use super::*;

fn redacted(text: &str) -> String {
    Redactor::new().text(text).into_owned()
}

/// Made up here, in the form of the real ones.
const GITHUB: &str = "ghp_0123456789abcdefghijABCDEFGHIJ012345";
const OPENAI: &str = "sk-proj-0123456789abcdefABCDEF0123456789";

#[test]
fn tokens_of_known_form_are_replaced() {
    for secret in [
        GITHUB,
        OPENAI,
        "github_pat_11ABCDEFG0123456789_abcdefghijklmnopqrstuvwxyz",
        "AKIAIOSFODNN7EXAMPLE",
        "xoxb-123456789012-abcdefghijkl",
        "eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxMjM0NTY3ODkwIn0.dozjgNryP4J3jVmNHl0w5N",
        "glpat-abcdefghij0123456789",
        "hf_abcdefghijABCDEFGHIJ0123456789abcd",
        "SG.abcdefghij0123456789AB.abcdefghijABCDEFGHIJ0123456789abcdefghijABC",
        "shpat_0123456789abcdef0123456789abcdef",
        "123456789:AAabcdefghijABCDEFGHIJ0123456789abc",
    ] {
        assert_eq!(redacted(&format!("before {secret} after")), "before [secret:1] after", "{secret}");
    }
}

#[test]
fn values_are_replaced_by_their_name() {
    for (text, expected) in [
        ("password=hunter2!", "password=[secret:1]"),
        ("PGPASSWORD='pa55word' psql", "PGPASSWORD='[secret:1]' psql"),
        ("curl -H 'Authorization: Bearer abc123def456'", "curl -H 'Authorization: Bearer [secret:1]'"),
        ("Authorization: Basic dXNlcjpwYXNz", "Authorization: Basic [secret:1]"),
        ("https://me:pass@example.org/x.git", "https://[secret:1]@example.org/x.git"),
        ("{\"api_key\": \"abcdef123\"}", "{\"api_key\": \"[secret:1]\"}"),
        ("export AWS_SECRET_ACCESS_KEY=wJalrXUtnFEMI/K7MDENG", "export AWS_SECRET_ACCESS_KEY=[secret:1]"),
        ("SERVICE_DSN=aB3dE5gH7jK9mN1pQ3sT5vW7", "SERVICE_DSN=[secret:1]"),
        ("--token=abcdef0123", "--token=[secret:1]"),
        ("DB_PASSWORD=my_db_password_99", "DB_PASSWORD=[secret:1]"),
        (r"x\nAWS_ACCESS_KEY_ID=AKIAIOSFODNN7EXAMPLE", r"x\nAWS_ACCESS_KEY_ID=[secret:1]"),
        ("AccountKey=Eby8vdM02xNOcqFlqUwJ/K1SZFPTOtr==;x", "AccountKey=[secret:1];x"),
        ("curl -s -u me:pa55word https://example.org", "curl -s -u [secret:1] https://example.org"),
        ("-H 'Cookie: theme=dark; session=abc123def'", "-H 'Cookie: [secret:1]'"),
        (
            "https://api.example.org/bot123456789:AAabcdefghijABCDEFGHIJ0123456789abc/x",
            "https://api.example.org/bot[secret:1]/x",
        ),
    ] {
        assert_eq!(redacted(text), expected);
    }
}

/// The arguments of a call are JSON in a string of JSON, and may have JSON in them again.
#[test]
fn secrets_are_seen_behind_the_escapes_of_json_within_json() {
    let text = format!(
        "{GITHUB}\n{OPENAI}\nhttps://me:pass@example.org\nBearer abc123def456\n/home/ann/x\ncurl -u me:pa55word {}",
        r#"{"password": "hunter2!"} -H "Authorization: Basic dXNlcjpwYXNz""#
    );
    for depth in 1..4 {
        let nested = (0..depth).fold(text.clone(), |text, _| json!({ "script": text }).to_string());
        let out = redacted(&nested);
        for secret in
            [GITHUB, OPENAI, "me:pass", "abc123def456", "/home/ann", "pa55word", "hunter2!", "dXNlcjpwYXNz"]
        {
            assert!(!out.contains(secret), "{secret} at depth {depth}: {out}");
        }
        assert!(serde_json::from_str::<Value>(&out).is_ok(), "{out}");
    }
}

#[test]
fn a_secret_that_was_cut_off_is_still_one() {
    assert_eq!(redacted("AWS_SECRET_ACCESS_KEY=wJalrXUtnFEMI/K7MDENG…"), "AWS_SECRET_ACCESS_KEY=[secret:1]");
}

#[test]
fn a_value_that_was_told_by_its_context_is_known_again_without_one() {
    for context in [
        "PASSWORD=hunter2xyz",
        "deploy --token hunter2xyz --token=hunter2xyz",
        "Authorization: Bearer hunter2xyz",
        "https://me:hunter2xyz@example.org/x.git",
        "curl -u me:hunter2xyz https://example.org",
        r#"{\"password\": \"hunter2xyz\"}"#,
    ] {
        let text = format!("it is hunter2xyz; {context}; then mysql -phunter2xyz");
        let out = redacted(&text);
        assert!(!out.contains("hunter2xyz") && out.contains("mysql -p[secret:"), "{out}");

        let mut redactor = Redactor::new();
        redactor.text(context);
        assert!(!redactor.text("mysql -phunter2xyz").contains("hunter2xyz"), "{context}");
    }
}

#[test]
fn the_same_value_has_the_same_number_with_context_and_without() {
    let mut redactor = Redactor::new();
    assert_eq!(
        redactor.text("say hunter2xyz to PASSWORD=hunter2xyz and TOKEN=abcdef0123"),
        "say [secret:1] to PASSWORD=[secret:1] and TOKEN=[secret:2]"
    );
    assert_eq!((redactor.report().secrets, redactor.report().total()), (2, 3));
}

#[test]
fn what_was_shown_beforehand_is_known_from_the_beginning_and_counted_once() {
    let first = br#"{"msg":"try \u0068unter2xyz or hunter2xyz"}"#;
    let second = br#"{"password":"hunter2xyz"}"#;
    let mut redactor = Redactor::new();
    redactor.foresee_json(first);
    redactor.foresee_json(second);
    redactor.foresee("nothing");
    assert_eq!(redactor.report(), Report::default());
    assert_eq!(redactor.json(first), &br#"{"msg":"try [secret:1] or [secret:1]"}"#[..]);
    assert_eq!(redactor.json(second), &br#"{"password":"[secret:1]"}"#[..]);
    assert_eq!((redactor.report().secrets, redactor.report().total()), (1, 3));

    let mut inactive = Redactor::inactive();
    inactive.foresee_json(second);
    assert_eq!(inactive.json(first), &first[..]);
}

#[test]
fn known_values_are_seen_in_base64_and_behind_escapes() {
    use base64::Engine as _;
    let encode = |text: &str| base64::engine::general_purpose::STANDARD.encode(text);
    let mut redactor = Redactor::new();
    redactor.text("PASSWORD=hunter2xyz");
    let line = json!({ "chunk": encode("so: hunter2xyz"), "arguments": json!({ "x": "a\"hunter2xyz\"" }).to_string() });
    let out: Value = serde_json::from_slice(&redactor.json(line.to_string().as_bytes())).unwrap();
    assert_eq!(out["chunk"], encode("so: [secret:1]"));
    assert_eq!(out["arguments"], json!({ "x": "a\"[secret:1]\"" }).to_string());
}

#[test]
fn words_numbers_ids_and_paths_stay_where_they_have_no_context() {
    for value in [
        "default_password",
        "password123",
        "01930f5e-77aa-7c01-9b1d-2f0f6a0c4e11",
        "9f31c0de9f31c0de9f31",
        "config/keys/app1.pem",
        "localhost:8080",
        "20261121",
    ] {
        let out = redacted(&format!("PASSWORD='{value}' and {value}"));
        assert!(out.ends_with(&format!(" and {value}")), "{out}");
    }
}

#[test]
fn many_secrets_cost_no_more_than_their_number() {
    let mut redactor = Redactor::new();
    for number in 0..1000 {
        let line = format!("PASSWORD=hunter{number}xyz");
        assert!(redactor.text(&line).ends_with(']'), "{line}");
    }
    assert_eq!(redactor.text("hunter10xyz hunter999xyz"), "[secret:11] hunter999xyz");
}

#[test]
fn what_only_looks_like_a_secret_stays() {
    for text in [
        "let token = parser.next_token();",
        "password=password",
        "def login(user, password=default_password):",
        "token: Token",
        "secret == other_secret",
        "API_KEY=$API_KEY",
        "password: <your-password>",
        "API_KEY=sk-12…",
        "a cookie: chocolate",
        "git@example.org:team/app.git",
        "ssh://git@example.org/app.git",
        "GIT_COMMIT=9f31c0de9f31c0de9f31c0de9f31c0de9f31c0de",
        "the tokens are counted: max_tokens=100000",
        "see https://example.org/home/page and /srv/home/x",
        "task-queue sk-learn eyJ",
    ] {
        assert_eq!(redacted(text), text);
    }
}

#[test]
fn home_directories_become_a_tilde() {
    assert_eq!(redacted("/home/ann/app/src and '/Users/bob'"), "~/app/src and '~'");
    assert_eq!(redacted("file:///home/ann/x"), "file://~/x");
    assert_eq!(redacted(r"C:\Users\Ann\app"), r"~\app");
    assert_eq!(redacted("/root/.ssh, /var/home/ann/x"), "~/.ssh, ~/x");
    assert_eq!(redacted("src/root/x /root-fs /rooted"), "src/root/x /root-fs /rooted");
    assert_eq!(redacted("PATH=/home/ann/bin:/home/ann/.cargo/bin"), "PATH=~/bin:~/.cargo/bin");
}

#[test]
fn the_same_secret_has_the_same_number_in_every_text_of_an_output() {
    let mut redactor = Redactor::new();
    redactor.enter("a");
    assert_eq!(redactor.text(&format!("{GITHUB} {OPENAI}")), "[secret:1] [secret:2]");
    redactor.enter("b");
    assert_eq!(redactor.text(&format!("x {OPENAI}")), "x [secret:2]");
    let report = redactor.report();
    assert_eq!((report.secrets, report.total()), (2, 3));
    assert_eq!(report.replaced[1], Replaced { kind: Kind::Token, file: "b".into(), count: 1 });
    assert!(!serde_json::to_string(&report).unwrap().contains(GITHUB));
}

#[test]
fn a_key_in_a_patch_leaves_as_many_lines_as_it_had() {
    let patch = "@@ -0,0 +1,4 @@\n+-----BEGIN RSA PRIVATE KEY-----\n+MIIEowIBAAKCAQEA\n+-----END RSA PRIVATE KEY-----\n+done\n";
    let out = redacted(patch);
    assert_eq!(out, "@@ -0,0 +1,4 @@\n+[secret:1]\n+[secret:1]\n+[secret:1]\n+done\n");
}

#[test]
fn json_keeps_everything_but_the_secret() {
    let line = format!(
        r#"{{"b":1e400, "a":"\u002fhome/ann \"{GITHUB}\"","a":2 ,"password":"hunter22","/home/ann/f":null}}"#
    );
    let mut redactor = Redactor::new();
    let out = redactor.json(line.as_bytes());
    assert_eq!(
        std::str::from_utf8(&out).unwrap(),
        r#"{"b":1e400, "a":"~ \"[secret:1]\"","a":2 ,"password":"[secret:2]","~/f":null}"#
    );
}

#[test]
fn a_torn_line_is_redacted_as_text() {
    let mut redactor = Redactor::new();
    let out =
        redactor.json(format!("{{\"type\":\"event\",\"text\":\"key {GITHUB} and").as_bytes()).into_owned();
    assert_eq!(String::from_utf8(out).unwrap(), "{\"type\":\"event\",\"text\":\"key [secret:1] and");
}

#[test]
fn output_in_base64_is_looked_into() {
    use base64::Engine as _;
    let encode = |text: &str| base64::engine::general_purpose::STANDARD.encode(text);
    let line =
        json!({"type": "exec_command_output_delta", "chunk": encode(&format!("key {GITHUB}\n"))}).to_string();
    let mut redactor = Redactor::new();
    let out: Value = serde_json::from_slice(&redactor.json(line.as_bytes())).unwrap();
    assert_eq!(out["chunk"], encode("key [secret:1]\n"));

    let mut cut = format!("key {GITHUB} ").into_bytes();
    cut.extend(&"é".as_bytes()[..1]);
    let chunk = base64::engine::general_purpose::STANDARD.encode(cut);
    let out = redactor.json(json!({ "chunk": chunk }).to_string().as_bytes()).into_owned();
    assert_eq!(serde_json::from_slice::<Value>(&out).unwrap()["chunk"], encode("key [secret:1] \u{fffd}"));
}

#[test]
fn an_inactive_redactor_changes_nothing() {
    let mut redactor = Redactor::inactive();
    assert_eq!(redactor.text(GITHUB), GITHUB);
    assert!(matches!(redactor.json(br#"{"password":"hunter22"}"#), Cow::Borrowed(_)));
    let mut value = json!({"password": "hunter22"});
    redactor.value(&mut value);
    assert_eq!(value["password"], "hunter22");
}

#[test]
fn a_text_without_end_or_blank_is_read_in_one_pass() {
    let blob = "key_aB3/".repeat(1 << 14);
    assert_eq!(redacted(&format!("{blob} {GITHUB}")), format!("{blob} [secret:1]"));
    let many = "token=x ".repeat(1 << 13);
    assert_eq!(redacted(&many), many);
    let commands = "curl x token=aB3dE5 ".repeat(1 << 15);
    assert_eq!(redacted(&commands), commands.replace("aB3dE5", "[secret:1]"));
}

proptest! {
    #[test]
    fn any_text_keeps_the_number_of_its_lines(text in "(?s).{0,200}|(password=|/home/|sk-|https://|é|\n|[a-z0-9@:]{1,9}){0,30}") {
        let once = redacted(&text);
        prop_assert_eq!(once.matches('\n').count(), text.matches('\n').count());
    }

    #[test]
    fn any_bytes_pass_as_json_and_valid_json_stays_valid(text in "(?s).{0,80}", key in "[a-z_]{0,12}") {
        let mut redactor = Redactor::new();
        let _ = redactor.json(text.as_bytes());
        let line = json!({key: [text, {"token": GITHUB}]}).to_string();
        let out = redactor.json(line.as_bytes()).into_owned();
        prop_assert!(serde_json::from_slice::<Value>(&out).is_ok());
        prop_assert!(!String::from_utf8(out).unwrap().contains(GITHUB));
    }
}
