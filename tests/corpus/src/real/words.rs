//! What users and agents say, and what programs print. All of it is made up.

use crate::random::Random;

/// What users ask for; `{}` is a file.
pub(crate) const WISHES: [&str; 16] = [
    "Please add a check for empty input to {} and a test for it.",
    "The totals in {} are off by one cent for some invoices, find out why and fix it.",
    "Explain what {} does and where it is called from.",
    "Rename the settings struct in {} so that it says what it holds.",
    "Make the importer in {} accept semicolons as separators too.",
    "Our nightly job is slow. Profile {} and make the hot loop faster, without changing results.",
    "Write documentation for the public functions of {}.",
    "Split {} into two modules, it has grown too long.",
    "Upgrade the date library and adapt {}.",
    "The page for {} shows the wrong time zone in winter. Ça ne va pas: « 13 h » au lieu de « 14 h ».",
    "Add a dry-run option to the command in {}.",
    "Let {} read its limits from the configuration file.",
    "Tests in {} fail now and then on slow machines. Make them wait for the condition instead.",
    "Port {} from callbacks to async.",
    "Add structured logging to {}, with request ids.",
    "Find dead code around {} and take it out.",
];

/// What users say when it did not go well.
pub(crate) const COMPLAINTS: [&str; 8] = [
    "No, that is still broken. The same test fails.",
    "That's not what I asked for. Only {} should change.",
    "Why did you touch the lock file? Put it back as it was.",
    "WRONG AGAIN. Read {} before you change it!",
    "I already told you: no new dependencies.",
    "Stop, this makes no sense. Look at the error message once more.",
    "It compiles now but the result is the same as before.",
    "Please undo the change in {} and try something simpler.",
];

/// What users say when it did.
pub(crate) const PRAISE: [&str; 5] = [
    "Perfect, thanks! Now do the same for {}.",
    "Great, exactly what I wanted.",
    "Nice. Please commit it with a short message.",
    "Works. One more thing: mention it in the changelog.",
    "Good. What else is left to do in {}?",
];

/// What users say into a running turn.
pub(crate) const ASIDES: [&str; 4] = [
    "by the way, the database runs on port 5433 here",
    "use the helper in {} if you can",
    "skip the slow tests for now",
    "also keep the old name as an alias",
];

/// What agents say.
const SENTENCES: [&str; 18] = [
    "I'll look at how the module is laid out first.",
    "The failing assertion compares rounded values with exact ones.",
    "There are two callers, and both pass the limit as a string.",
    "I have changed the parser so that it keeps the position of the token.",
    "The tests pass now.",
    "Next I will run the whole suite to be sure that nothing else depends on it.",
    "The configuration is read twice, which explains the double log line.",
    "This needs a small migration, because the column may be null.",
    "I left the public signature as it was.",
    "The cause is an off-by-one in the loop that groups rows by day.",
    "Here is what changed:\n\n- `parse_row` returns an error instead of an empty row\n- the test covers both separators",
    "I could not reproduce the failure locally, so I added more output to the test.",
    "The command was refused, so I'll use a read-only way to get the same information.",
    "Dans ce fichier, l'encodage est mélangé: UTF-8 et Latin-1.",
    "The build takes 40 s, most of it in code generation → cached now.",
    "Both paths lead to the same lock, so a deadlock is possible when they meet.",
    "I'm going to write the fix as a separate function with its own test.",
    "Everything is committed on the current branch.",
];

/// What models think.
const THOUGHTS: [&str; 10] = [
    "**Looking for the cause**\n\nThe error names a line that does not exist any more, so the binary is stale.",
    "**Planning the change**\n\nSmallest change first: make the type optional, then fix what the compiler finds.",
    "**Reading tests**\n\nThere is a fixture for this case, but it is never used.",
    "**Considering alternatives**\n\nA cache would hide the problem. Better to remove the second query.",
    "**Checking assumptions**\n\nDoes the list come sorted? The API does not promise it.",
    "**Running the suite**\n\nTwo failures, one of them unrelated.",
    "**Deciding on names**\n\n`limit` is taken, `ceiling` says it better.",
    "**Reviewing the diff**\n\nThe import is not needed. The rest is as intended.",
    "**Handling the refusal**\n\nNo network here. The vendored copy must do.",
    "**Wrapping up**\n\nSummarise what was done and what was left.",
];

/// Programs: what is run, what kind of output it has, and how often in a hundred it fails.
pub(crate) const PROGRAMS: [(&str, Print, u64); 18] = [
    ("cargo test -p {} --quiet", Print::Tests, 25),
    ("cargo build --locked", Print::Build, 15),
    ("npm run build", Print::Build, 18),
    ("npm install", Print::Build, 10),
    ("pytest -q tests", Print::Tests, 28),
    ("rg -n 'fn parse' src", Print::Found, 20),
    ("grep -rn TODO src", Print::Found, 25),
    ("ls -la", Print::Listing, 1),
    ("find . -name '*.toml' -newer Cargo.lock", Print::Listing, 2),
    ("git status --short", Print::Listing, 1),
    ("git diff --stat", Print::Listing, 1),
    ("git log --oneline -20", Print::Listing, 1),
    ("sed -n '1,220p' src/{}.rs", Print::Code, 3),
    ("cat src/{}.rs", Print::Code, 4),
    ("diff -u a.json b.json", Print::Code, 40),
    ("make deploy", Print::Build, 35),
    ("curl -sS http://localhost:8080/health", Print::Log, 30),
    ("docker compose logs --tail 100 api", Print::Log, 8),
];

/// What the output of a program looks like.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Print {
    Build,
    Tests,
    Found,
    Listing,
    Code,
    Log,
}

const KINDS: [Print; 6] = [Print::Build, Print::Tests, Print::Found, Print::Listing, Print::Code, Print::Log];

/// Names of modules, for files and for output.
pub(crate) const MODULES: [&str; 14] = [
    "invoice", "import", "settings", "clock", "routes", "session", "mailer", "ledger", "report", "queue",
    "parser", "schema", "worker", "export",
];

/// A path within a project.
pub(crate) fn path(random: &mut Random) -> String {
    let (folder, ending) =
        random.pick(&[("src", "rs"), ("src", "py"), ("web", "ts"), ("tests", "rs"), ("docs", "md")]);
    format!("{folder}/{}.{ending}", random.pick(&MODULES))
}

/// One of these texts, with a path in place of `{}`.
pub(crate) fn filled(random: &mut Random, texts: &[&str]) -> String {
    let text = random.pick(texts);
    text.replace("{}", &path(random))
}

/// So many sentences of an agent.
pub(crate) fn speech(random: &mut Random, sentences: u64) -> String {
    (0..sentences).map(|_| random.pick(&SENTENCES)).collect::<Vec<_>>().join(" ")
}

/// So many thoughts of a model.
pub(crate) fn thoughts(random: &mut Random, thoughts: u64) -> String {
    (0..thoughts).map(|_| random.pick(&THOUGHTS)).collect::<Vec<_>>().join("\n\n")
}

/// Output, printed once and cut from again and again: making it anew for every command would take longer
/// than everything else.
#[derive(Debug)]
pub(crate) struct Pool(Vec<String>);

impl Pool {
    /// How much there is of each kind.
    const LENGTH: usize = 512 << 10;

    pub(crate) fn new(random: &Random) -> Self {
        let printed = |kind: &Print| {
            let mut random = random.fork(*kind as u64 + 1);
            let mut text = String::with_capacity(Self::LENGTH + 200);
            while text.len() < Self::LENGTH {
                line(&mut random, *kind, &mut text);
            }
            text
        };
        Self(KINDS.iter().map(printed).collect())
    }

    /// About `length` bytes of output, in whole lines.
    pub(crate) fn cut(&self, random: &mut Random, kind: Print, length: u64) -> &str {
        let text = &self.0[kind as usize];
        let length = usize::try_from(length).unwrap_or(usize::MAX).min(Self::LENGTH / 2);
        let line_after = |from: usize| {
            let bytes = text.as_bytes();
            bytes[from..].iter().position(|byte| *byte == b'\n').map_or(text.len(), |at| from + at + 1)
        };
        let start = line_after(random.index(Self::LENGTH / 2));
        &text[start..line_after(start + length.max(1) - 1)]
    }

    /// A diff of about `length` bytes for a file.
    pub(crate) fn diff(&self, random: &mut Random, length: u64) -> String {
        let mut diff = format!("@@ -{0},7 +{0},9 @@\n", 1 + random.below(400));
        for (number, line) in self.cut(random, Print::Code, length).lines().enumerate() {
            diff.push([' ', '-', '+', '+', ' '][number % 5]);
            diff.push_str(line);
            diff.push('\n');
        }
        diff
    }
}

fn line(random: &mut Random, kind: Print, text: &mut String) {
    let (module, number) = (random.pick(&MODULES), random.below(900) + 1);
    let line = match (kind, random.below(6)) {
        (Print::Build, 0) => format!("\u{1b}[1m\u{1b}[33mwarning\u{1b}[0m: unused variable: `{module}`\n"),
        (Print::Build, 1) => {
            format!("  --> src/{module}.rs:{number}:13\n   |\n{number} |     let {module} = \"x\";\n")
        }
        (Print::Build, 2) => format!("\u{1b}[32m✔\u{1b}[0m built {module} in {number} ms\n"),
        (Print::Build, _) => {
            format!("   Compiling {module} v0.{}.{number} (/home/dev/src/{module})\n", number % 9)
        }
        (Print::Tests, 0) => format!("test {module}::tests::case_{number} ... FAILED\n"),
        (Print::Tests, 1) => {
            format!(
                "assertion `left == right` failed: {module}\n  left: \"{number}\"\n right: \"{}\"\n",
                number + 1
            )
        }
        (Print::Tests, _) => format!("test {module}::tests::keeps_the_order_of_{number}_rows ... ok\n"),
        (Print::Found, _) => {
            format!("src/{module}.rs:{number}:    // TODO: {module} may be \"empty\" here\n")
        }
        (Print::Listing, 0) => format!(" M src/{module}.rs\n?? notes\\{number}.txt\n"),
        (Print::Listing, _) => {
            format!("-rw-r--r--  1 dev dev {:>7} Jan  5 08:{:02} {module}.rs\n", number * 37, number % 60)
        }
        (Print::Code, 0) => "\n".to_owned(),
        (Print::Code, 1) => format!("    /// The {module} of the day, in cents; « {number} » at most.\n"),
        (Print::Code, 2) => {
            format!("\tif {module}.len() > {number} {{\n\t\treturn Err(\"too many\");\n\t}}\n")
        }
        (Print::Code, _) => {
            format!("    let {module}_{number} = self.{module}.get({number}).unwrap_or(&\"none\");\n")
        }
        (Print::Log, 0) => {
            format!("{{\"level\":\"warn\",\"msg\":\"retry {number}\",\"path\":\"/v1/{module}\"}}\n")
        }
        (Print::Log, _) => {
            format!(
                "2026-01-05T08:{:02}:11.{number:03}Z INFO {module} handled GET /v1/{module}/{number} in {} ms\n",
                number % 60,
                number % 97
            )
        }
    };
    text.push_str(&line);
}
