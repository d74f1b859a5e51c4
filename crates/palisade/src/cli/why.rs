//! `why`: a decision explained, before it is made or after.

use clap::Args;
use serde_json::Value;

use super::Context;
use super::output::{counted, moment, number, text};
use crate::client::{encode, query};
use crate::exit::{Exit, Failure};

/// What to explain.
#[derive(Debug, Args)]
#[command(
    override_usage = "palisade why <DEVICE> <ACTION> [TOPIC]\n       palisade why <DECISION>"
)]
pub(crate) struct Why {
    /// A device, or the id of a decision (d-…)
    what: String,
    /// connect, publish, subscribe or receive
    action: Option<String>,
    /// The topic; for subscribe a filter
    topic: Option<String>,
}

/// Explains it; a denial ends with its own exit code.
pub(crate) async fn run(context: &Context, why: &Why) -> Result<Exit, Failure> {
    let client = context.client()?;
    let path = match &why.action {
        None => format!("/v1/decisions/{}", encode(&why.what)),
        Some(action) => {
            let pairs = [
                ("device", Some(why.what.as_str())),
                ("action", Some(action.as_str())),
                ("topic", why.topic.as_deref()),
            ];
            format!("/v1/why{}", query(&pairs))
        }
    };
    let explanation = client.get(&path).await?;
    let out = &context.output;
    let allowed = text(&explanation, "/effect") == "allow";
    if out.is_json() {
        out.json(&explanation)?;
    } else {
        out.text(&describe(&explanation))?;
    }
    Ok(if allowed { Exit::Ok } else { Exit::Denied })
}

fn describe(explanation: &Value) -> String {
    let field = |pointer| text(explanation, pointer);
    let mut lines = vec![format!(
        "{}: {} {} {}",
        if field("/effect") == "allow" { "allowed" } else { "denied" },
        field("/device"),
        field("/action"),
        field("/topic"),
    )];
    lines.push(format!("because: {}", field("/text")));
    let policies = explanation.get("policies").and_then(Value::as_array);
    for policy in policies.into_iter().flatten() {
        lines.push(format!("policy {} ({}):", text(policy, "/id"), text(policy, "/effect")));
        lines.extend(text(policy, "/source").lines().map(|line| format!("    {line}")));
    }
    if !field("/namespace").is_empty() {
        lines.push(format!("namespace: {}", field("/namespace")));
    }
    let binding = explanation.get("binding").and_then(Value::as_object);
    for (name, value) in binding.into_iter().flatten() {
        lines.push(format!("    {name} = {}", value.as_str().unwrap_or_default()));
    }
    let advice = explanation.get("advice").and_then(Value::as_array);
    lines.extend(
        advice.into_iter().flatten().filter_map(Value::as_str).map(|a| format!("try: {a}")),
    );
    if !field("/decision").is_empty() {
        let (at, count) = (moment(explanation, "/at"), number(explanation, "/count"));
        let times = counted(count, "time");
        lines.push(format!("decision: {}, {times}, last at {at} UTC", field("/decision")));
    }
    lines.iter().map(|line| line.trim_end()).collect::<Vec<_>>().join("\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_explanation_says_effect_cause_policy_and_binding() {
        let explanation = serde_json::json!({
            "effect": "deny", "cause": "not-granted", "text": "nothing grants this",
            "policies": [{"id": "own-telemetry", "effect": "permit", "source": "permit (…)\nwhen {…};"}],
            "namespace": "telemetry", "binding": {"device": "pump-8"}, "advice": ["use its own topic"],
            "device": "pump-7", "action": "publish", "topic": "a/pump-8/t",
            "decision": "d-0123456789abcdef", "at": "2026-11-21T09:30:00Z", "count": 3,
        });
        expect_test::expect![[r#"
            denied: pump-7 publish a/pump-8/t
            because: nothing grants this
            policy own-telemetry (permit):
                permit (…)
                when {…};
            namespace: telemetry
                device = pump-8
            try: use its own topic
            decision: d-0123456789abcdef, 3 times, last at 2026-11-21 09:30:00 UTC"#]]
        .assert_eq(&describe(&explanation));
    }
}
