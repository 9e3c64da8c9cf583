//! Calls of tools, and what is asked before they run.

use std::io;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

use crate::json::{Json, Null, Object, object};
use crate::real::moment::{Answer, Asked, Change, Command, Outcome, Patch};
use crate::real::spine_pen::SpinePen;

impl SpinePen<'_> {
    pub(super) fn ran(&mut self, command: &Command<'_>) -> io::Result<()> {
        if command.terminal {
            // Asked first; a call that is refused has no other record than the question and the answer.
            if let Some(asked) = command.asked {
                self.ask_exec(command, None, asked)?;
                if !asked.answer.granted() {
                    return Ok(());
                }
            }
            self.exec_begin(command)?;
        } else {
            self.exec_begin(command)?;
            if let Some(asked) = command.asked {
                self.ask_exec(command, None, asked)?;
            }
        }
        let refused_at_once = command.asked.is_some_and(|asked| !asked.answer.granted());
        if !refused_at_once {
            self.output(command)?;
            if let Some(asked) = command.retry {
                self.ask_exec(command, Some("command failed; retry without sandbox?"), asked)?;
                if asked.answer.granted() {
                    self.output(command)?;
                }
            }
        }
        if command.goes_on { Ok(()) } else { self.exec_end(command) }
    }

    fn exec_fields(&self, kind: &str, command: &Command<'_>) -> Object {
        let source = match (command.by_user, command.terminal) {
            (true, _) => "user_shell",
            (false, true) => "unified_exec_startup",
            (false, false) => "agent",
        };
        let parsed = object! { "type": "unknown", "cmd": command.text };
        let mut fields = Object::new();
        fields.put("type", kind);
        fields.put("call_id", &command.call);
        fields.put("process_id", &command.terminal.then(|| (command.millis % 60_000 + 1_000).to_string()));
        fields.put("turn_id", &self.active_turn());
        fields.put("command", &["bash", "-lc", command.text]);
        fields.put("cwd", &self.cast.cwd());
        fields.put("parsed_cmd", &[parsed]);
        fields.put("source", source);
        fields
    }

    fn exec_begin(&mut self, command: &Command<'_>) -> io::Result<()> {
        let begin = self.exec_fields("exec_command_begin", command).end();
        self.event(&begin)
    }

    fn ask_exec(&mut self, command: &Command<'_>, reason: Option<&str>, asked: Asked) -> io::Result<()> {
        let words: Vec<&str> = command.text.split(' ').take(2).collect();
        let request = |call: &str, turn: &str| {
            object! {
                "type": "exec_approval_request",
                "call_id": call,
                "turn_id": turn,
                "command": ["bash", "-lc", command.text],
                "cwd": self.cast.cwd(),
                "reason": reason,
                "proposed_execpolicy_amendment": words,
                "parsed_cmd": [object! { "type": "unknown", "cmd": command.text }],
            }
        };
        // In a parent the call's id is not told, but its own turn's.
        let (own, repeated) = (request(&command.call, &self.active_turn()), request(&self.turn, &self.turn));
        self.asked(
            "exec_approval",
            &command.call,
            &own,
            &repeated,
            &decision(asked.answer, &words),
            asked.after,
        )
    }

    fn output(&mut self, command: &Command<'_>) -> io::Result<()> {
        let mut lines = command.output.split_inclusive('\n').peekable();
        while lines.peek().is_some() {
            let wanted = self.random.long_tail(90, 4_000);
            let mut chunk = String::new();
            while (chunk.len() as u64) < wanted {
                let Some(line) = lines.next() else { break };
                chunk.push_str(line);
            }
            let delta = object! {
                "type": "exec_command_output_delta",
                "call_id": command.call,
                "stream": if self.random.percent(12) { "stderr" } else { "stdout" },
                "chunk": STANDARD.encode(&chunk),
            };
            self.own_event(&delta, true)?;
        }
        Ok(())
    }

    fn exec_end(&mut self, command: &Command<'_>) -> io::Result<()> {
        let mut end = self.exec_fields("exec_command_end", command);
        let refused = command.refused();
        let (exit, head) = match command.outcome {
            _ if refused => (-1, String::new()),
            Outcome::Exited(code) => (code, String::new()),
            Outcome::TimedOut => (124, format!("command timed out after {} milliseconds\n", command.millis)),
            Outcome::Broken => (-1, "execution error: Io(Os { code: 2, kind: NotFound })".to_owned()),
        };
        let output = match command.outcome {
            _ if refused => "exec command rejected by user",
            Outcome::Broken => "",
            _ => command.output,
        };
        let millis = if refused { 0 } else { command.millis };
        if !command.by_user && !refused {
            self.clock.pass(millis.min(60_000));
        }
        end.put("stdout", if refused { "" } else { output });
        end.put("stderr", if refused { output } else { "" });
        end.put("aggregated_output", output);
        end.put("exit_code", &exit);
        end.put("duration", &object! { "secs": millis / 1000, "nanos": millis % 1000 * 1_000_000 });
        end.put("formatted_output", &format!("{head}{output}"));
        self.event(&end.end())
    }

    pub(super) fn patched(&mut self, patch: &Patch) -> io::Result<()> {
        let turn = self.active_turn();
        let changes = changes(patch);
        self.event(&object! {
            "type": "patch_apply_begin", "call_id": patch.call, "turn_id": turn,
            "auto_approved": patch.asked.is_none(), "changes": changes,
        })?;
        if let Some(asked) = patch.asked {
            let request = |call: &str, turn: &str| {
                object! {
                    "type": "apply_patch_approval_request", "call_id": call, "turn_id": turn, "changes": changes,
                    "reason": Null,
                }
            };
            let (own, repeated) = (request(&patch.call, &turn), request(&self.turn, &self.turn));
            let answer = match asked.answer {
                // A patch knows no amendment of the policy for commands.
                Answer::ApprovedWithAmendment => Answer::Approved,
                other => other,
            };
            self.asked("patch_approval", &patch.call, &own, &repeated, &decision(answer, &[]), asked.after)?;
        }
        let refused = patch.refused();
        let success = patch.applies && !refused;
        let paths: Vec<&str> = patch.changes.iter().map(|(path, ..)| path.as_str()).collect();
        let stdout = if success {
            format!("Success. Updated the following files:\nM {}\n", paths.join("\nM "))
        } else {
            String::new()
        };
        let stderr = match (refused, success) {
            (true, _) => "patch rejected by user",
            (false, true) => "",
            (false, false) => "Failed to find expected lines in file",
        };
        self.event(&object! {
            "type": "patch_apply_end", "call_id": patch.call, "turn_id": turn, "stdout": stdout, "stderr": stderr,
            "success": success, "changes": changes,
        })?;
        if !success {
            return Ok(());
        }
        let diffs: Vec<String> = patch
            .changes
            .iter()
            .map(|(path, _, text)| format!("diff --git a/{path} b/{path}\n{text}"))
            .collect();
        self.event(&object! { "type": "turn_diff", "unified_diff": diffs.concat() })
    }

    pub(super) fn called(
        &mut self,
        call: &str,
        tool: &str,
        arguments: &str,
        answer: Result<&str, &str>,
    ) -> io::Result<()> {
        let invocation = || object! { "server": "tracker", "tool": tool, "arguments": Json(arguments.as_bytes().to_vec()) };
        self.event(&object! { "type": "mcp_tool_call_begin", "call_id": call, "invocation": invocation() })?;
        let result = match answer {
            Ok(text) => {
                let content = [object! { "type": "text", "text": text }];
                object! { "Ok": object! { "content": content, "is_error": false } }
            }
            Err(text) => object! { "Err": text },
        };
        let duration = object! { "secs": 0_u64, "nanos": self.random.below(900_000_000) };
        self.event(&object! {
            "type": "mcp_tool_call_end", "call_id": call, "invocation": invocation(), "duration": duration, "result": result,
        })
    }

    pub(super) fn searched(&mut self, call: &str, query: &str) -> io::Result<()> {
        self.event(&object! { "type": "web_search_begin", "call_id": call })?;
        let action = object! { "type": "search", "query": query };
        self.event(&object! { "type": "web_search_end", "call_id": call, "query": query, "action": action })
    }

    pub(super) fn spawned(&mut self, call: &str, child: &str, prompt: &str) -> io::Result<()> {
        let mut begin = Object::new();
        begin.put("type", "collab_agent_spawn_begin");
        begin.put("call_id", call);
        begin.put("sender_thread_id", &self.cast.thread);
        begin.put("prompt", prompt);
        self.event(&begin.end())?;
        self.event(&object! {
            "type": "collab_agent_spawn_end", "call_id": call, "sender_thread_id": self.cast.thread,
            "new_thread_id": child, "prompt": prompt, "status": "running",
        })
    }
}

/// A decision as the wire has it.
fn decision(answer: Answer, words: &[&str]) -> Json {
    let text = match answer {
        Answer::Approved => "approved",
        Answer::ApprovedForSession => "approved_for_session",
        Answer::Denied => "denied",
        Answer::Abort => "abort",
        Answer::ApprovedWithAmendment => {
            let amendment = object! { "proposed_execpolicy_amendment": words.to_vec() };
            return object! { "approved_execpolicy_amendment": amendment };
        }
    };
    Json(format!("\"{text}\"").into_bytes())
}

/// The changes of a patch, by path.
fn changes(patch: &Patch) -> Json {
    let mut changes = Object::new();
    for (path, kind, text) in &patch.changes {
        let change = match kind {
            Change::Add => object! { "type": "add", "content": text },
            Change::Delete => object! { "type": "delete", "content": text },
            Change::Update => object! { "type": "update", "unified_diff": text, "move_path": Null },
        };
        changes.put(path, &change);
    }
    changes.end()
}
