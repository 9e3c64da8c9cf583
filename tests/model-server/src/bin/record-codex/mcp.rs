//! A Model Context Protocol server with two tools, which give back their text: `say` declares that it
//! changes nothing, `shout` does not, so that newer releases want an approval for it.
//!
//! It speaks JSON-RPC on standard input and output, one object per line, and knows just what the CLI
//! asks for: the handshake, the list of tools, and a call.

use serde_json::{Value, json};
use std::io::{self, BufRead, Write};

/// Serves until its input ends.
pub(crate) fn serve() -> io::Result<()> {
    let mut output = io::stdout().lock();
    for line in io::stdin().lock().lines() {
        let request: Value = serde_json::from_str(&line?)?;
        // A notification has no id and wants no answer.
        if let Some(id) = request.get("id") {
            let answer = json!({"jsonrpc": "2.0", "id": id, "result": result(&request)});
            writeln!(output, "{answer}")?;
            output.flush()?;
        }
    }
    Ok(())
}

fn result(request: &Value) -> Value {
    match request["method"].as_str() {
        Some("initialize") => json!({
            "protocolVersion": request["params"]["protocolVersion"],
            "capabilities": {"tools": {}},
            "serverInfo": {"name": "echo", "version": "1.0.0"},
        }),
        Some("tools/list") => json!({"tools": [tool("say", true), tool("shout", false)]}),
        Some("tools/call") => {
            let text = &request["params"]["arguments"]["text"];
            json!({"content": [{"type": "text", "text": text}], "isError": false})
        }
        _ => json!({}),
    }
}

fn tool(name: &str, read_only: bool) -> Value {
    json!({
        "name": name,
        "description": "Gives back its text.",
        "inputSchema": {
            "type": "object",
            "properties": {"text": {"type": "string"}},
            "required": ["text"],
        },
        "annotations": {"readOnlyHint": read_only},
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_tool_gives_back_its_text() {
        let call =
            json!({"id": 1, "method": "tools/call", "params": {"name": "say", "arguments": {"text": "hi"}}});
        assert_eq!(result(&call)["content"][0]["text"], "hi");
    }
}
