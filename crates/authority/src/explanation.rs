//! Explanations: what is decided, by which rules, and what would have to be otherwise.

use std::fmt;

use policy::{Action, Cause, DeviceStanding, Effect, Epoch, Request};

use crate::authority::{Authority, Judgement, Scope};
use crate::bound;
use crate::rule::Rule;

mod unmet;

/// Why a request is allowed or denied, for operators.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Explanation {
    /// Why, in a word.
    pub cause: Cause,
    /// Why, in a sentence.
    pub text: String,
    /// The rules that decide.
    pub policies: Vec<Deciding>,
    /// What went wrong in evaluating rules.
    pub errors: Vec<Box<str>>,
    /// The namespace that the topic or filter belongs to.
    pub namespace: Option<Box<str>>,
    /// What it binds: variables and values.
    pub binding: Vec<(Box<str>, Box<str>)>,
    /// What it is decided with.
    pub epoch: Epoch,
    /// For a denial: what would have to be otherwise.
    pub advice: Vec<String>,
}

/// A rule that decides.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Deciding {
    /// Its name.
    pub id: Box<str>,
    /// What it does when it holds.
    pub effect: Effect,
    /// Where it begins in the policy's text: the line, from 1.
    pub line: u32,
    /// Its text.
    pub source: Box<str>,
}

impl Authority {
    /// Explains a request: the same answer as [`Authority::decide`], with its reasons.
    pub fn explain(&self, request: &Request<'_>) -> Explanation {
        let epoch = self.epoch(request.device);
        let scope = match self.scope(request) {
            Ok(scope) => scope,
            Err(cause) => {
                return Explanation {
                    cause,
                    text: sentence(cause, &[], request),
                    policies: Vec::new(),
                    errors: Vec::new(),
                    namespace: None,
                    binding: Vec::new(),
                    epoch,
                    advice: self.advice_before_rules(cause, request),
                };
            }
        };
        let Judgement { cause, rule_idxs, errors } = self.judge(&scope, request);
        let policies: Vec<Deciding> =
            rule_idxs.iter().filter_map(|idx| self.rules.get(*idx)).map(Deciding::from).collect();
        let values = scope.binding.iter().flat_map(|binding| binding.values());
        Explanation {
            cause,
            text: sentence(cause, &policies, request),
            policies,
            errors,
            namespace: scope.binding.as_ref().map(|binding| binding.namespace().name().into()),
            binding: values
                .map(|(variable, value)| (variable.name().into(), value.into()))
                .collect(),
            epoch,
            advice: self.advice(cause, &scope, request),
        }
    }

    fn advice_before_rules(&self, cause: Cause, request: &Request<'_>) -> Vec<String> {
        match cause {
            Cause::NoNamespace | Cause::TooWide => {
                let shapes = self.namespaces().iter();
                shapes
                    .map(|n| {
                        format!("`{}` is `{}` for this device", n.name(), n.fill(request.device))
                    })
                    .collect()
            }
            Cause::NotActive => vec![format!(
                "its stage is `{}`; only `claimed` and `active` devices are in service",
                request.device.stage
            )],
            Cause::PolicyUnusable => vec!["mend the policy: it does not compile here".to_string()],
            _ => Vec::new(),
        }
    }

    fn advice(&self, cause: Cause, scope: &Scope<'_>, request: &Request<'_>) -> Vec<String> {
        match cause {
            // Rules are taken apart here, which is as deep as reading them.
            Cause::NotGranted => bound::with_stack(|| self.near_grants(scope, request)),
            Cause::Quarantined => quarantine_advice(request.device),
            Cause::Forbidden => vec!["no grant outweighs a rule that forbids".to_string()],
            Cause::PolicyError => {
                vec!["mend the rule: one that may forbid and fails denies".to_string()]
            }
            _ => Vec::new(),
        }
    }

    /// Says of the rules that come closest to granting the request what in them does not hold.
    fn near_grants(&self, scope: &Scope<'_>, request: &Request<'_>) -> Vec<String> {
        let Ok(slice) = self.slice(scope, request) else { return Vec::new() };
        let permits = self.rules_of(scope).filter(|rule| rule.effect() == Effect::Allow);
        let mut near: Vec<(&Rule, Vec<String>)> =
            permits.map(|rule| (rule, unmet::conditions(self, rule, &slice))).collect();
        near.sort_by_key(|(_, unmet)| unmet.len());
        let sentence = |(rule, unmet): (&Rule, Vec<String>)| {
            format!(
                "`{}` (line {}) would grant it if `{}`",
                rule.id,
                rule.line,
                unmet.join("` and `")
            )
        };
        let mut advice: Vec<String> = near.into_iter().take(MAX_ADVICE).map(sentence).collect();
        if advice.is_empty() {
            let place = match &scope.binding {
                Some(binding) => format!(" in `{}`", binding.namespace().name()),
                None => String::new(),
            };
            advice.push(format!("no rule grants anybody to {}{place}", request.ask.action()));
        }
        advice
    }
}

impl Explanation {
    /// Gives the effect.
    pub fn effect(&self) -> Effect {
        self.cause.effect()
    }
}

impl From<&Rule> for Deciding {
    fn from(rule: &Rule) -> Self {
        Self {
            id: rule.id.clone(),
            effect: rule.effect(),
            line: rule.line,
            source: rule.text.clone(),
        }
    }
}

impl fmt::Display for Explanation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{}: {}", self.effect(), self.text)?;
        if let Some(namespace) = &self.namespace {
            write!(f, "namespace {namespace}:")?;
            for (variable, value) in &self.binding {
                write!(f, " {variable}={value}")?;
            }
            writeln!(f)?;
        }
        for advice in &self.advice {
            writeln!(f, "- {advice}")?;
        }
        for error in &self.errors {
            writeln!(f, "! {error}")?;
        }
        for policy in &self.policies {
            writeln!(f, "\n{} (line {}):\n{}", policy.id, policy.line, policy.source)?;
        }
        write!(f, "posture {}, policy {}", self.epoch.posture, self.epoch.policy)
    }
}

/// Says it all in one sentence.
fn sentence(cause: Cause, policies: &[Deciding], request: &Request<'_>) -> String {
    let device = &request.device.id;
    let action = request.ask.action();
    let wish = match (action, request.ask.topic()) {
        (Action::Connect, _) | (_, None) => format!("`{device}` may {{}} {action}"),
        (Action::Publish, Some(topic)) => format!("`{device}` may {{}} publish to `{topic}`"),
        (Action::Subscribe, Some(filter)) => format!("`{device}` may {{}} subscribe to `{filter}`"),
        (Action::Receive, Some(topic)) => format!("`{device}` may {{}} receive from `{topic}`"),
    };
    let wish = match cause.effect() {
        Effect::Allow => wish.replacen(" {}", "", 1),
        Effect::Deny => wish.replacen("{}", "not", 1),
    };
    let names: Vec<String> = policies.iter().map(|policy| format!("`{}`", policy.id)).collect();
    let by = if names.is_empty() { String::new() } else { format!(" ({})", names.join(", ")) };
    format!("{wish}: {}{by}", cause.text())
}

fn quarantine_advice(device: &DeviceStanding) -> Vec<String> {
    let Some(fact) = device.posture.quarantined() else { return Vec::new() };
    let reason = fact.reason.as_deref().map(|reason| format!(": {reason}")).unwrap_or_default();
    vec![format!(
        "in quarantine since {} by {}{reason}; recover it to end that",
        fact.since, fact.source
    )]
}

/// The most rules that advice speaks of.
const MAX_ADVICE: usize = 3;
