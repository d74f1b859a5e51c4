//! Which parts of a rule do not hold for a request.

use cedar_policy::{Policy, PolicyId};
use serde_json::{Map, Value, json};

use crate::authority::Authority;
use crate::rule::Rule;
use crate::slice::Slice;

/// Gives the parts of a rule that do not hold, as text; each is asked alone.
pub(super) fn conditions(authority: &Authority, rule: &Rule, slice: &Slice) -> Vec<String> {
    let mut unmet = Vec::new();
    for part in parts(&rule.json) {
        let Some((asked, shown)) = read(&part.asked).zip(read(&part.shown)) else { continue };
        if !authority.permits(asked, slice) {
            unmet.push(part.name(&shown.to_string()));
        }
    }
    if unmet.is_empty() { vec!["its conditions held".to_string()] } else { unmet }
}

fn read(policy: &Value) -> Option<Policy> {
    Policy::from_json(Some(PolicyId::new("part")), policy.clone()).ok()
}

/// One part of a rule.
struct Part {
    /// A policy that permits whatever meets the part.
    asked: Value,
    /// The same without what only guards it: `x has y`.
    shown: Value,
    /// Whether the part is a condition, and not of the scope.
    condition: bool,
}

impl Part {
    /// Takes the part's own text out of the policy that was made of it.
    fn name(&self, policy: &str) -> String {
        let inner = if self.condition {
            policy
                .split_once('{')
                .and_then(|(_, rest)| rest.rsplit_once('}'))
                .map(|(inner, _)| inner.trim())
        } else {
            let scope = policy.split_once('(').and_then(|(_, rest)| rest.rsplit_once(')'));
            scope.map(|(scope, _)| {
                let scope =
                    scope.trim().trim_start_matches("principal,").trim_end_matches("resource");
                scope
                    .trim()
                    .trim_start_matches("action,")
                    .trim_end_matches("action,")
                    .trim()
                    .trim_end_matches(',')
            })
        };
        plain(inner.unwrap_or(policy))
    }
}

fn parts(rule: &Value) -> Vec<Part> {
    let all = json!({ "op": "All" });
    let make = |field: &str, value: Value| {
        let mut policy = Map::new();
        policy.insert("effect".to_string(), json!("permit"));
        for scope in ["principal", "action", "resource"] {
            policy.insert(scope.to_string(), all.clone());
        }
        policy.insert("conditions".to_string(), json!([]));
        policy.insert(field.to_string(), value);
        Value::Object(policy)
    };
    let mut parts = Vec::new();
    for field in ["principal", "resource"] {
        if let Some(scope) = rule.get(field).filter(|scope| **scope != all) {
            let asked = make(field, scope.clone());
            parts.push(Part { shown: asked.clone(), asked, condition: false });
        }
    }
    for condition in rule.get("conditions").and_then(Value::as_array).into_iter().flatten() {
        let kind = condition.get("kind").cloned().unwrap_or_default();
        let body = condition.get("body").cloned().unwrap_or_default();
        let bodies = if kind == "when" { conjuncts(body) } else { vec![body] };
        for body in bodies {
            let policy = |body: &Value| make("conditions", json!([{ "kind": kind, "body": body }]));
            parts.push(Part {
                shown: policy(guarded(&body)),
                asked: policy(&body),
                condition: true,
            });
        }
    }
    parts
}

/// Gives what `x has y && …` guards; the guard goes without saying.
fn guarded(body: &Value) -> &Value {
    let sides = body.get("&&").and_then(|and| and.get("left")?.get("has").and(and.get("right")));
    sides.unwrap_or(body)
}

/// Splits `a && b` into its sides, except that `x has y && …` stays with what it guards.
fn conjuncts(body: Value) -> Vec<Value> {
    let sides = body.get("&&").and_then(|and| Some((and.get("left")?, and.get("right")?)));
    match sides {
        Some((left, _)) if left.get("has").is_some() => vec![body],
        Some((left, right)) => {
            let (left, right) = (left.clone(), right.clone());
            conjuncts(left).into_iter().chain(conjuncts(right)).collect()
        }
        None => vec![body],
    }
}

/// Writes `x["name"]` as people do: `x.name`.
fn plain(text: &str) -> String {
    let mut rest = text;
    let mut plain = String::new();
    while let Some((before, after)) = rest.split_once("[\"") {
        let name = after.split_once("\"]").filter(|(name, _)| {
            !name.is_empty() && name.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_')
        });
        plain.push_str(before);
        rest = match name {
            Some((name, after)) => {
                plain.push('.');
                plain.push_str(name);
                after
            }
            None => {
                plain.push_str("[\"");
                after
            }
        };
    }
    plain + rest
}
