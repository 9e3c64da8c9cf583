//! Words, plans, tokens, troubles: everything of a turn but its calls.

use std::io;

use crate::json::{Json, NOTHING, Null, object};
use crate::real::spine_pen::{SpinePen, instructions, sandbox};
use crate::spine::Ending;

impl SpinePen<'_> {
    pub(super) fn turn_began(&mut self, text: &str) -> io::Result<()> {
        if self.cast.source_is_cli() {
            self.submission(&object! { "type": "add_to_history", "text": text })?;
        }
        self.turn = self.submission(&object! {
            "type": "user_turn",
            "items": [text_item(text)],
            "cwd": self.cast.cwd(),
            "approval_policy": self.cast.approval_policy,
            "sandbox_policy": sandbox(self.cast),
            "model": self.cast.model,
            "effort": "medium",
            "summary": "auto",
            "final_output_json_schema": Null,
        })?;
        self.own_event(&object! { "type": "task_started", "model_context_window": 258_400_u64 }, false)?;
        self.event(&user_message(text))
    }

    pub(super) fn steered(&mut self, text: &str) -> io::Result<()> {
        // The id of this submission never becomes that of a turn.
        self.submission(&object! { "type": "user_input", "items": [text_item(text)] })?;
        self.event(&user_message(text))
    }

    pub(super) fn requested(&mut self) -> io::Result<()> {
        let length = (self.cast.instructions / 12).max(100);
        let context = object! {
            "cwd": self.cast.cwd(),
            "approval_policy": self.cast.approval_policy,
            "sandbox_policy": sandbox(self.cast),
            "model": self.cast.model,
            "effort": "medium",
            "summary": "auto",
            "user_instructions": instructions(length),
            "truncation_policy": object! { "mode": "tokens", "limit": 10_000_u64 },
        };
        self.record("turn_context", &object! { "turn_id": self.active_turn(), "context": context })
    }

    pub(super) fn thought(&mut self, text: &str) -> io::Result<()> {
        let item = format!("rs_{}", self.random.hex(24));
        for part in self.parts(text) {
            let own = self.content_delta("reasoning_content_delta", &item, part);
            self.own_event(&own, true)?;
            self.own_event(&object! { "type": "agent_reasoning_delta", "delta": part }, true)?;
        }
        let content =
            object! { "type": "Reasoning", "id": item, "summary_text": [text], "raw_content": NOTHING };
        self.item_completed(&content)?;
        self.event(&object! { "type": "agent_reasoning", "text": text })
    }

    pub(super) fn said(&mut self, text: &str) -> io::Result<()> {
        let item = format!("msg_{}", self.random.hex(24));
        for part in self.parts(text) {
            let own = self.content_delta("agent_message_content_delta", &item, part);
            self.own_event(&own, true)?;
            self.own_event(&object! { "type": "agent_message_delta", "delta": part }, true)?;
        }
        let content = object! { "type": "AgentMessage", "id": item, "content": [object! { "type": "Text", "text": text }] };
        self.item_completed(&content)?;
        self.event(&object! { "type": "agent_message", "message": text })
    }

    fn content_delta(&self, kind: &str, item: &str, part: &str) -> Json {
        object! {
            "type": kind, "thread_id": self.cast.thread, "turn_id": self.active_turn(), "item_id": item, "delta": part,
        }
    }

    fn item_completed(&mut self, item: &Json) -> io::Result<()> {
        let completed = object! {
            "type": "item_completed", "thread_id": self.cast.thread, "turn_id": self.active_turn(), "item": item,
        };
        self.own_event(&completed, false)
    }

    /// The text as a stream brings it: a few words at a time.
    fn parts<'t>(&mut self, text: &'t str) -> Vec<&'t str> {
        let mut parts = Vec::new();
        let mut rest = text;
        while !rest.is_empty() {
            let wanted = self.random.between(8..=60);
            let wanted = usize::try_from(wanted).unwrap_or(8);
            let cut = rest.char_indices().map(|(at, _)| at).find(|at| *at >= wanted).unwrap_or(rest.len());
            let (part, left) = rest.split_at(cut);
            parts.push(part);
            rest = left;
        }
        parts
    }

    pub(super) fn planned(&mut self, steps: &[(&str, &str)]) -> io::Result<()> {
        let steps: Vec<Json> =
            steps.iter().map(|(step, status)| object! { "step": step, "status": status }).collect();
        self.event(&object! { "type": "plan_update", "explanation": Null, "plan": steps })
    }

    pub(super) fn used(&mut self, tokens: [u64; 4]) -> io::Result<()> {
        for (sum, last) in self.used.iter_mut().zip(tokens) {
            *sum += last;
        }
        let info = object! {
            "total_token_usage": usage(self.used),
            "last_token_usage": usage(tokens),
            "model_context_window": 258_400_u64,
        };
        let primary = object! {
            "used_percent": self.random.below(100), "window_minutes": 300_u64, "resets_at": 1_767_600_000_u64,
        };
        let limits = object! { "primary": primary, "secondary": Null, "credits": Null, "plan_type": Null };
        self.own_event(&object! { "type": "token_count", "info": info, "rate_limits": limits }, false)
    }

    pub(super) fn compacted(&mut self, local: bool, summary: &str, before: &[String]) -> io::Result<()> {
        let history: Vec<Json> =
            before.iter().enumerate().map(|(number, text)| history_item(number, text)).collect();
        let kept = &history[history.len().saturating_sub(2)..];
        let boundary = object! {
            "turn_id": self.active_turn(),
            "kind": if local { "local" } else { "remote" },
            "summary_message": local.then_some(summary),
            "pre_compaction_history": history,
            "post_compaction_history": [&[message("user", summary)], kept].concat(),
        };
        self.record("compaction_boundary", &boundary)?;
        self.event(&object! { "type": "context_compacted" })?;
        let words = "Long threads and several compactions can make the model less precise.";
        self.event(&object! { "type": "warning", "message": words })
    }

    pub(super) fn stream_failed(&mut self, message: &str) -> io::Result<()> {
        let info = object! { "response_stream_disconnected": object! { "http_status_code": Null } };
        self.event(&object! {
            "type": "stream_error", "message": message, "codex_error_info": info, "additional_details": Null,
        })
    }

    pub(super) fn undone(&mut self) -> io::Result<()> {
        self.turn = self.submission(&object! { "type": "undo" })?;
        self.event(&object! { "type": "undo_started", "message": "Taking the last turn's changes back" })?;
        let success = self.random.percent(85);
        self.event(&object! { "type": "undo_completed", "success": success, "message": Null })
    }

    pub(super) fn rolled_back(&mut self, turns: u64) -> io::Result<()> {
        self.turn = self.submission(&object! { "type": "thread_rollback", "num_turns": turns })?;
        self.event(&object! { "type": "thread_rolled_back", "num_turns": turns })
    }

    pub(super) fn ended(&mut self, ending: Ending) -> io::Result<()> {
        if ending == Ending::Shutdown {
            // `shutdown_complete` comes after the recorder has closed.
            self.submission(&object! { "type": "shutdown" })?;
        }
        self.spine.end(self.clock, ending)
    }
}

fn text_item(text: &str) -> Json {
    object! { "type": "text", "text": text, "text_elements": NOTHING }
}

fn user_message(text: &str) -> Json {
    object! {
        "type": "user_message", "message": text, "images": NOTHING, "local_images": NOTHING, "text_elements": NOTHING,
    }
}

/// Numbers of tokens: input, cached, output, reasoning.
pub(crate) fn usage([input, cached, output, reasoning]: [u64; 4]) -> Json {
    object! {
        "input_tokens": input, "cached_input_tokens": cached, "output_tokens": output,
        "reasoning_output_tokens": reasoning, "total_tokens": input + output,
    }
}

/// A message as the model's history has it.
pub(crate) fn message(role: &str, text: &str) -> Json {
    let kind = if role == "assistant" { "output_text" } else { "input_text" };
    object! { "type": "message", "role": role, "content": [object! { "type": kind, "text": text }] }
}

/// An item of a history: in turn a user's words, a call, its output, an answer.
fn history_item(number: usize, text: &str) -> Json {
    let call = format!("call_h{}", number / 4);
    match number % 4 {
        0 => message("user", text),
        1 => {
            let arguments = format!("{{\"command\":[\"bash\",\"-lc\",{:?}]}}", "cat notes.txt");
            object! { "type": "function_call", "name": "shell", "arguments": arguments, "call_id": call }
        }
        2 => object! { "type": "function_call_output", "call_id": call, "output": text },
        _ => message("assistant", text),
    }
}
