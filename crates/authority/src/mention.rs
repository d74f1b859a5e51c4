//! What a policy looks at: found in the policy as data.

use policy::Namespaces;
use serde_json::Value;

/// Says which attributes of the resource a policy reads.
///
/// What is not read directly, as in `resource.site`, may be anything.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Mentions {
    pub(crate) site: bool,
    pub(crate) zone: bool,
    pub(crate) kind: bool,
    pub(crate) device: bool,
    pub(crate) text: bool,
}

impl Mentions {
    const ALL: Self = Self { site: true, zone: true, kind: true, device: true, text: true };

    /// Looks through a policy.
    pub(crate) fn of(policy: &Value) -> Self {
        let mut mentions = Self::default();
        mentions.look(policy.get("conditions").unwrap_or(&Value::Null));
        mentions
    }

    pub(crate) fn and(self, other: Self) -> Self {
        Self {
            site: self.site || other.site,
            zone: self.zone || other.zone,
            kind: self.kind || other.kind,
            device: self.device || other.device,
            text: self.text || other.text,
        }
    }

    fn look(&mut self, value: &Value) {
        match value {
            Value::Array(values) => values.iter().for_each(|value| self.look(value)),
            Value::Object(fields) => {
                for (operator, operands) in fields {
                    self.look_under(operator, operands);
                }
            }
            Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => (),
        }
    }

    fn look_under(&mut self, operator: &str, operands: &Value) {
        let is_resource =
            |value: &Value| value.get("Var").and_then(Value::as_str) == Some("resource");
        match operator {
            "." | "has" if operands.get("left").is_some_and(is_resource) => {
                match operands.get("attr").and_then(Value::as_str) {
                    Some("site") => self.site = true,
                    Some("zone") => self.zone = true,
                    Some("kind") => self.kind = true,
                    Some("device") => self.device = true,
                    Some("text") => self.text = true,
                    // Constant within a namespace.
                    Some("namespace") => (),
                    Some(_) | None => *self = Self::ALL,
                }
            }
            // These see which namespace it is, and no attribute.
            "==" | "!=" | "in" | "is" => {
                for (side, operand) in operands.as_object().into_iter().flatten() {
                    let plain = is_resource(operand) && matches!(side.as_str(), "left" | "right");
                    if !plain {
                        self.look(operand);
                    }
                }
            }
            "Var" if operands.as_str() == Some("resource") => *self = Self::ALL,
            _ => self.look(operands),
        }
    }
}

/// Finds the first thing that a policy names and that cannot be meant.
pub(crate) fn misnamed(policy: &Value, namespaces: &Namespaces) -> Option<String> {
    match policy {
        Value::Array(values) => values.iter().find_map(|value| misnamed(value, namespaces)),
        Value::Object(fields) => {
            let named = |name: &str| fields.get(name).and_then(Value::as_str);
            match (named("type"), named("id")) {
                (Some("Topic"), Some(_)) => Some(
                    "a topic can't be named; use `resource in Namespace::\"…\"` and compare what its template binds"
                        .to_string(),
                ),
                (Some("Namespace"), Some(id)) if namespaces.find(id).is_none() => {
                    let declared: Vec<String> = namespaces.iter().map(|n| format!("`{}`", n.name())).collect();
                    let declared = if declared.is_empty() { "none".to_string() } else { declared.join(", ") };
                    Some(format!("no namespace is named `{}`; declared: {declared}", id.escape_debug()))
                }
                _ => fields.values().find_map(|value| misnamed(value, namespaces)),
            }
        }
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => None,
    }
}

/// Says whether a policy reads a fact of the principal's posture.
pub(crate) fn reads_fact(policy: &Value, name: &str) -> bool {
    match policy {
        Value::Array(values) => values.iter().any(|value| reads_fact(value, name)),
        Value::Object(fields) => {
            let reads = fields.get(".").is_some_and(|access| {
                let of = access.pointer("/left/./attr").and_then(Value::as_str);
                of == Some("posture") && access.get("attr").and_then(Value::as_str) == Some(name)
            });
            reads || fields.values().any(|value| reads_fact(value, name))
        }
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => false,
    }
}
