//! Autorunner loops: repositories whose TODO lists are worked through, iteration by iteration, by a script that
//! takes the place of Codex.

use std::fs;
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;

use autorunner::init::{InitOptions, init};
use autorunner::repo::Layout;
use autorunner::state::State;
use spindle_client::v1::run_template::Workflow;
use spindle_client::v1::{AutorunSpec, RunTemplate};

use crate::book::{BEGIN, END};
use crate::load::Load;
use crate::nest::{Nest, outcome};
use crate::plan::Expected;

/// So many items has each list.
const ITEMS: usize = 3;

/// What must become of each loop: one iteration per item.
const EXPECTED: Expected = Expected { outcomes: &["succeeded 0"], begun: ITEMS..=ITEMS, ended: ITEMS };

/// Does the first open item, and tells of it as Codex does.
fn codex() -> String {
    format!(
        r#"#!/bin/sh
if [ "$1" = --version ]; then echo "codex-cli 0.169.0"; exit 0; fi
{BEGIN}
cat >/dev/null
todo=.codex-autorunner/TODO.md
echo '{{"type":"thread.started","thread_id":"0199a213-81c0-7800-8aa1-bbab2a035a53"}}'
echo '{{"type":"turn.started"}}'
sleep 0.4
echo work >>work.txt
sed '/- \[ \]/{{s//- [x]/;:a;n;ba}}' "$todo" >"$todo.new" && mv "$todo.new" "$todo"
echo '{{"type":"item.completed","item":{{"id":"item_0","type":"agent_message","text":"done"}}}}'
echo '{{"type":"turn.completed","usage":{{"input_tokens":1,"cached_input_tokens":0,"output_tokens":1}}}}'
{END}
"#
    )
}

/// A repository with a loop to come.
struct Repository {
    layout: Layout,
}

impl Repository {
    fn new(root: &Path, codex: &Path) -> Self {
        fs::create_dir_all(root).unwrap();
        let repository = Self { layout: Layout::of_root(root) };
        repository.git(&["init", "--quiet", "--initial-branch=main"]);
        repository.git(&["config", "user.name", "Test"]);
        repository.git(&["config", "user.email", "test@example.invalid"]);
        init(root, InitOptions::default(), jiff::Timestamp::now()).unwrap();
        let items: Vec<_> = (1..=ITEMS).map(|item| format!("- [ ] Item {item}")).collect();
        fs::write(repository.todo(), format!("# TODO\n\n{}\n", items.join("\n"))).unwrap();
        repository.configure("binary: codex", &format!("binary: {}", codex.display()));
        repository.configure("sleep_seconds: 5", "sleep_seconds: 0");
        repository.configure("auto_commit: false", "auto_commit: true");
        repository
    }

    fn todo(&self) -> PathBuf {
        self.layout.dir().join("TODO.md")
    }

    fn configure(&self, from: &str, to: &str) {
        let text = fs::read_to_string(self.layout.config()).unwrap();
        assert!(text.contains(from), "{from} is not in {text}");
        fs::write(self.layout.config(), text.replace(from, to)).unwrap();
    }

    fn git(&self, arguments: &[&str]) -> String {
        let output = Command::new("git").args(arguments).current_dir(self.layout.root()).output().unwrap();
        assert!(output.status.success(), "{output:?}");
        String::from_utf8(output.stdout).unwrap()
    }

    /// What is in the repository is what each iteration has left there, once.
    fn check(&self) {
        let todo = fs::read_to_string(self.todo()).unwrap();
        assert_eq!((todo.matches("- [x]").count(), todo.matches("- [ ]").count()), (ITEMS, 0), "{todo}");
        let work = fs::read_to_string(self.layout.root().join("work.txt")).unwrap();
        assert_eq!(work.lines().count(), ITEMS);
        assert_eq!(self.git(&["log", "--format=%h"]).lines().count(), ITEMS);

        let log = fs::read_to_string(self.layout.log()).unwrap();
        let blocks: Vec<&str> = log.lines().filter(|line| line.starts_with("===")).collect();
        let expected: Vec<String> = (1..=ITEMS)
            .flat_map(|run| [format!("=== run {run} start ==="), format!("=== run {run} end (code 0) ===")])
            .collect();
        assert_eq!(blocks, expected, "{log}");
        let state = State::load(&self.layout.state()).unwrap();
        assert_eq!((state.last_run_id, state.last_exit_code), (Some(ITEMS as u64), Some(0)));
        assert!(!self.layout.lock().exists());
    }
}

impl Load {
    /// Works through one repository after the other.
    pub(crate) async fn keep_looping(self: Arc<Self>) {
        let codex = self.book.0.join("codex");
        fs::write(&codex, self::codex()).unwrap();
        fs::set_permissions(&codex, fs::Permissions::from_mode(0o755)).unwrap();
        let mut round = 0_u32;
        while !self.has_enough() {
            round += 1;
            let key = format!("loop-{round}");
            let root = self.book.0.join(format!("repository-{round}"));
            let repository = Repository::new(&root, &codex);
            let spec = AutorunSpec { repo: root.as_os_str().as_bytes().to_vec(), once: false };
            let template = RunTemplate {
                workflow: Some(Workflow::Autorun(spec)),
                options: Some(self.blank(&key).options),
            };
            let run = self.start(&key, template, EXPECTED).await;
            let ended = self.client.wait_run(&run, &mut Nest::patience()).await.unwrap();
            assert_eq!(outcome(&ended), EXPECTED.outcomes[0], "{key}: {ended:?}");
            repository.check();
        }
    }
}
