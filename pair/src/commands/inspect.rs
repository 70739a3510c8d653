// SPDX-License-Identifier: Apache-2.0 OR MIT
//! `pair inspect`.

use crate::control;
use crate::run::{self, Sockets};
use crate::status::{printable, Exit, Failure};
use serde_json::Value;
use std::io::{self, Write};
use std::path::Path;

/// Prints the device's state at `path`.
///
/// # Errors
/// 125 when no pair is running, or when the device knows no such path.
pub fn inspect(runs: &Path, path: &str, json: bool) -> Result<Exit, Failure> {
    let (_, record) = run::find(runs)?;
    let value = control::inspect(&Sockets(record.sockets).control(), path)
        .map_err(|error| Failure::harness("the device does not show it").caused_by(error))?;
    let text = if json {
        value.to_string() + "\n"
    } else {
        outline(&value)
    };
    // A reader that has seen enough (`| head`) is no failure.
    let _ = io::stdout().lock().write_all(printable(&text).as_bytes());
    Ok(Exit::Pass)
}

/// The tree as indented lines, a leaf each: `name: value`.
fn outline(value: &Value) -> String {
    let mut text = String::new();
    branch(value, 0, &mut text);
    text
}

fn branch(value: &Value, depth: usize, text: &mut String) {
    let entry = |name: &str, value: &Value, text: &mut String| {
        *text += &"  ".repeat(depth);
        *text += name;
        let compound = match value {
            Value::Object(map) => !map.is_empty(),
            // A short row of numbers or words is read more easily as one.
            Value::Array(list) => list.iter().any(|item| item.is_object() || item.is_array()),
            _ => false,
        };
        if compound {
            *text += ":\n";
            branch(value, depth + 1, text);
        } else {
            *text += &format!(": {}\n", leaf(value));
        }
    };
    match value {
        Value::Object(map) => map
            .iter()
            .for_each(|(name, value)| entry(name, value, text)),
        Value::Array(list) if list.iter().any(|item| item.is_object() || item.is_array()) => {
            list.iter()
                .enumerate()
                .for_each(|(n, value)| entry(&n.to_string(), value, text));
        }
        other => *text += &format!("{}\n", leaf(other)),
    }
}

fn leaf(value: &Value) -> String {
    match value {
        Value::String(word) => word.clone(),
        Value::Array(list) => list.iter().map(leaf).collect::<Vec<_>>().join(" "),
        Value::Object(_) => "none".into(),
        Value::Null => "none".into(),
        other => other.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn a_tree_is_an_outline() {
        let tree = json!({"link": {"up": true, "speed": 4}, "msi": [1, 2], "bars": [{"size": "1M"}], "none": []});
        let text = outline(&tree);
        for line in [
            "link:\n",
            "  up: true\n",
            "msi: 1 2\n",
            "bars:\n  0:\n    size: 1M\n",
        ] {
            assert!(text.contains(line), "{line:?} in {text}");
        }
        assert_eq!(outline(&json!("up")), "up\n");
    }
}
