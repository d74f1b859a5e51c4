//! Rules: the policies of a source, each with its name, its place and what it concerns.

use cedar_policy::{
    ActionConstraint, Effect, EntityUid, Policy, PolicyId, PolicySet, PrincipalConstraint,
    ResourceConstraint,
};
use policy::{Action, Cause};
use serde_json::Value;

use crate::problem::Problem;

/// One policy.
#[derive(Debug, Clone)]
pub(crate) struct Rule {
    pub(crate) id: Box<str>,
    pub(crate) policy: Policy,
    /// The policy as data, to look into its conditions.
    pub(crate) json: Value,
    pub(crate) text: Box<str>,
    /// Where the text begins in the source, in bytes.
    pub(crate) offset: usize,
    /// The line of that place, from 1.
    pub(crate) line: u32,
    /// What a denial by this policy is called.
    pub(crate) cause: Cause,
}

/// Reads the policies of a source in their order, and names them.
pub(crate) fn read(source: &str, policies: &PolicySet) -> Result<Vec<Rule>, Vec<Problem>> {
    let mut problems = Vec::new();
    if policies.templates().next().is_some() {
        let offset = source.find('?').unwrap_or(0);
        problems.push(Problem::at(
            source,
            offset,
            "`?principal` and `?resource` are for templates; write a policy",
        ));
    }
    let mut unnamed: Vec<&Policy> = policies.policies().collect();
    unnamed.sort_by_key(|policy| number(policy.id()));
    let mut rules: Vec<Rule> = Vec::new();
    let mut end = 0;
    for policy in unnamed {
        let text = policy.to_cedar().unwrap_or_default();
        let offset = place(source, end, &text);
        end = offset.saturating_add(text.len());
        match name(policy, &rules) {
            Ok((id, policy, json, cause)) => {
                let line = Problem::at(source, offset, "").line;
                rules.push(Rule { id, policy, json, text: text.into(), offset, line, cause });
            }
            Err(text) => problems.push(Problem::at(source, offset, text)),
        }
    }
    if problems.is_empty() { Ok(rules) } else { Err(problems) }
}

fn name(policy: &Policy, earlier: &[Rule]) -> Result<(Box<str>, Policy, Value, Cause), String> {
    let id = match policy.annotation("id") {
        Some(id) if id.is_empty() || id.len() > 128 || id.contains(char::is_control) => {
            return Err("an `@id` has 1 to 128 bytes without control characters".to_string());
        }
        Some(id) => id.to_string(),
        None => policy.id().to_string(),
    };
    if earlier.iter().any(|rule| *rule.id == *id) {
        return Err(format!("two policies are named `{id}`; give each its own `@id`"));
    }
    let cause = match (policy.annotation("cause"), policy.effect()) {
        (None, _) => Cause::Forbidden,
        (Some("quarantined"), Effect::Forbid) => Cause::Quarantined,
        (Some(_), Effect::Permit) => {
            return Err("a `@cause` is for a `forbid`; leave it out here".to_string());
        }
        (Some(other), Effect::Forbid) => {
            return Err(format!(
                "the `@cause` is `{}`; the one there is is `quarantined`",
                other.escape_debug()
            ));
        }
    };
    let policy = policy.new_id(PolicyId::new(&id));
    let json = policy.to_json().map_err(|error| error.to_string())?;
    Ok((id.into(), policy, json, cause))
}

impl Rule {
    pub(crate) fn effect(&self) -> policy::Effect {
        match self.policy.effect() {
            Effect::Permit => policy::Effect::Allow,
            Effect::Forbid => policy::Effect::Deny,
        }
    }

    /// Says whether the rule's scope may hold for an action in a namespace (none: at the door).
    /// What is not clear from the scope may hold; Cedar looks at it again.
    pub(crate) fn concerns(&self, action: Action, namespace: Option<&str>) -> bool {
        let is_action = |uid: &EntityUid| uid.id().unescaped() == action.as_str();
        let action_fits = match self.policy.action_constraint() {
            ActionConstraint::Any => true,
            ActionConstraint::Eq(uid) => is_action(&uid),
            ActionConstraint::In(uids) => uids.iter().any(is_action),
        };
        let resource = if namespace.is_some() { "Topic" } else { "Gateway" };
        let is_in = |uid: &EntityUid| {
            uid.type_name().to_string() != "Namespace" || namespace == Some(uid.id().unescaped())
        };
        let resource_fits = match self.policy.resource_constraint() {
            ResourceConstraint::Any => true,
            ResourceConstraint::Eq(uid) => uid.type_name().to_string() == resource,
            ResourceConstraint::Is(kind) => kind.to_string() == resource,
            ResourceConstraint::In(uid) => is_in(&uid),
            ResourceConstraint::IsIn(kind, uid) => kind.to_string() == resource && is_in(&uid),
        };
        let principal_fits = match self.policy.principal_constraint() {
            PrincipalConstraint::Any | PrincipalConstraint::In(_) => true,
            PrincipalConstraint::Eq(uid) => uid.type_name().to_string() == "Device",
            PrincipalConstraint::Is(kind) | PrincipalConstraint::IsIn(kind, _) => {
                kind.to_string() == "Device"
            }
        };
        action_fits && resource_fits && principal_fits
    }
}

/// Cedar numbers the policies of a text as it meets them: `policy0`, `policy1` …
fn number(id: &PolicyId) -> usize {
    let text: &str = id.as_ref();
    text.strip_prefix("policy").and_then(|number| number.parse().ok()).unwrap_or(usize::MAX)
}

/// Finds a policy's text after the one before it, passing by what stands in comments.
fn place(source: &str, end: usize, text: &str) -> usize {
    let mut from = end;
    while let Some(found) = source.get(from..).and_then(|rest| rest.find(text)) {
        let offset = from + found;
        let line = source[..offset].rsplit('\n').next().unwrap_or_default();
        if !line.contains("//") {
            return offset;
        }
        from = offset + 1;
    }
    end.min(source.len())
}
